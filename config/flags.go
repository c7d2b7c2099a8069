package config

import (
	"github.com/spf13/pflag"
)

// flagText is a flag whose text Load will judge, so that a bad flag is told
// together with every other fault.
type flagText struct{ text, typ string }

func (f *flagText) String() string     { return f.text }
func (f *flagText) Set(s string) error { f.text = s; return nil }
func (f *flagText) Type() string       { return f.typ }

// RegisterFlags adds --config, --set and the dedicated flag of every key that
// has one. Flags of reserved keys are hidden; giving one is a fault of Load.
func RegisterFlags(fs *pflag.FlagSet) {
	fs.String("config", "", "TOML file to load (RON_CONFIG)")
	fs.StringArray("set", nil, "any key as `section.key=value`, may be repeated")
	for _, k := range Keys() {
		if k.Flag == "" {
			continue
		}
		v := &flagText{text: k.Default, typ: k.Type}
		doc := k.Doc
		if k.flagMean != "" {
			v.typ, v.text, doc = typeBool, "", k.flagDoc
		}
		f := fs.VarPF(v, k.Flag, "", doc)
		f.Hidden = k.Reserved != ""
		if k.flagMean != "" {
			f.NoOptDefVal = "true"
		}
	}
}

// FromFlags is what was given on a parsed command line: Args, Set and File of a
// Source. The caller adds Env.
func FromFlags(fs *pflag.FlagSet) Source {
	src := Source{Args: map[string]string{}}
	for _, k := range Keys() {
		f := fs.Lookup(k.Flag)
		if k.Flag == "" || f == nil || !f.Changed {
			continue
		}
		v := f.Value.String()
		on, isBool := parseBool(v)
		if k.flagMean != "" && isBool && on {
			v = k.flagMean
		} else if k.flagMean != "" && isBool && k.Type != typeBool {
			continue // --dev=false asks for nothing
		}
		src.Args[k.Name] = v
	}
	if f := fs.Lookup("config"); f != nil && f.Changed {
		src.File, src.named = f.Value.String(), true
	}
	if set, err := fs.GetStringArray("set"); err == nil {
		src.Set = set
	}
	return src
}
