package config_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"micronode/config"
)

// Each testdata/X.toml has its faults (or its warnings) in X.txt.
func TestFiles(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			read := file(string(data))
			faults := config.Validate(name, read)
			var b strings.Builder
			for _, f := range faults {
				b.WriteString(f.Error() + "\n")
				if f.File != name || f.Line == 0 || f.Col == 0 {
					t.Errorf("no place: %+v", f)
				}
			}
			if len(faults) == 0 {
				l := load(t, config.Source{File: name, ReadFile: read})
				b.WriteString("valid\n" + strings.Join(append(l.Warnings, ""), "\n"))
			}
			golden(t, strings.TrimSuffix(name, ".toml")+".txt", b.String())
			told, err := json.Marshal(faults)
			if err != nil || strings.Contains(b.String()+string(told), "hunter2") {
				t.Errorf("a secret is told, or %v", err)
			}
		})
	}
}

func printed(t *testing.T, l config.Loaded, o config.PrintOptions) string {
	t.Helper()
	var b strings.Builder
	if err := config.Print(&b, l, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func busy(t *testing.T) config.Loaded {
	return load(t, config.Source{
		File: "etc/m.toml", ReadFile: file("allowed_hosts = [\"a.example\", \"::1\"]\n[limits]\nrps = 600 # more\n"),
		Env:  []string{"RON_LOG=debug", `RON_UDS_PATH=/run/a "b" \é<&>.sock`},
		Set:  []string{"uds.allow_uids=0,1000", "store.max_bytes=1000000"},
		Args: map[string]string{"http_addr": "localhost:0"},
	})
}

func TestPrint(t *testing.T) {
	golden(t, "print.default.txt", printed(t, load(t, config.Source{}), config.PrintOptions{}))
	golden(t, "print.origin.txt", printed(t, busy(t), config.PrintOptions{Origin: true}))
	golden(t, "print.json", printed(t, busy(t), config.PrintOptions{JSON: true}))
	golden(t, "print.origin.json", printed(t, busy(t), config.PrintOptions{JSON: true, Origin: true}))
}

// What is printed is a file that loads to the same values, whatever the path
// in the comments.
func TestPrintRoundTrip(t *testing.T) {
	odd := load(t, config.Source{File: "a\nrps = 1\n.toml", ReadFile: file("limits.rps = 7")})
	for _, l := range []config.Loaded{load(t, config.Source{}), busy(t), odd} {
		for _, o := range []config.PrintOptions{{}, {Origin: true}} {
			text := printed(t, l, o)
			again := load(t, config.Source{File: "again.toml", ReadFile: file(text)})
			if again.SHA != l.SHA || printed(t, again, config.PrintOptions{}) != printed(t, l, config.PrintOptions{}) {
				t.Errorf("differs after a round trip:\n%s", text)
			}
			for name, o := range again.Origins {
				if o.Source != "file" {
					t.Errorf("%s was not printed", name)
				}
			}
		}
	}
}

func TestSchema(t *testing.T) {
	var b strings.Builder
	if err := config.Schema(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "schema.json", b.String())
	var doc struct {
		Properties map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(b.String()), &doc); err != nil {
		t.Fatal(err)
	}
	for _, k := range config.Keys() {
		section, leaf, nested := strings.Cut(k.Name, ".")
		var property struct {
			AnyOf   []struct{ Pattern string }
			Pattern string
			Default any
		}
		raw := doc.Properties[section]
		if nested {
			var s struct {
				Properties map[string]json.RawMessage
			}
			if err := json.Unmarshal(raw, &s); err != nil {
				t.Fatal(k.Name, err)
			}
			raw = s.Properties[leaf]
		}
		if raw == nil {
			if k.Reserved == "" {
				t.Errorf("%s is not in the schema", k.Name)
			}
			continue
		}
		if err := json.Unmarshal(raw, &property); err != nil {
			t.Fatal(k.Name, err)
		}
		for _, alternative := range property.AnyOf {
			property.Pattern += alternative.Pattern
		}
		if property.Pattern != "" && k.Reserved == "" && !regexp.MustCompile(property.Pattern).MatchString(property.Default.(string)) {
			t.Errorf("%s: the default %v is not of the pattern %s", k.Name, property.Default, property.Pattern)
		}
	}
}
