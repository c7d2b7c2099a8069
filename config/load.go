package config

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// Loaded is an effective configuration and its provenance.
type Loaded struct {
	Config   Config
	Origins  map[string]Origin // of every key that this build honours
	Warnings []string          // one line each: accepted, but without effect or odd
	SHA      string            // lower-case hex SHA-256 of the effective values, origins aside
	File     string            // the file that was read; empty = none
}

// Load lays flags over environment over file over defaults and checks the
// whole. The error is Faults: all of them, each with its place.
func Load(src Source) (Loaded, error) {
	j := newJudge()
	out := Loaded{Origins: map[string]Origin{}}
	k := koanf.New(".")
	base := layer{}
	for _, key := range j.honoured {
		base[key.Name] = setting{key.def, Origin{Source: fromDefault}}
	}
	path, from := src.file()
	out.File = path
	layers := []layer{base, j.layer(j.fileEntries(path, from, src)), j.layer(src.envEntries()), j.layer(src.flagEntries())}
	for _, l := range layers {
		values := map[string]any{}
		for name, s := range l {
			values[name] = s.value
			out.Origins[name] = s.from
		}
		if err := k.Load(confmap.Provider(values, "."), nil); err != nil {
			j.add(Fault{Msg: "settings do not merge: " + err.Error()})
		}
	}
	for _, key := range j.honoured {
		key.set(&out.Config, k.Get(key.Name))
	}
	j.rules(out)
	if len(j.faults) > 0 {
		return Loaded{}, j.faults.settle()
	}
	out.Warnings = oddities(out.Config)
	out.SHA = fingerprint(out.Config)
	return out, nil
}

// Validate is Load of one file alone: what `micronode config validate PATH`
// lists. A nil read reads from disk.
func Validate(path string, read func(string) ([]byte, error)) Faults {
	_, err := Load(Source{File: path, ReadFile: read, named: true, alone: true})
	faults, _ := err.(Faults) // Load gives nothing else
	return faults
}

// fingerprint hashes the canonical form: one "name = literal" a line, in table order.
func fingerprint(c Config) string {
	h := sha256.New()
	for _, k := range Keys() {
		if k.get != nil {
			h.Write([]byte(k.Name + " = " + literal(k.get(&c)) + "\n"))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
