package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"micronode/config"
)

// Whatever the bytes, Load answers: with a bounded list of faults that all have
// a place, or with a configuration that survives being printed and read again.
func FuzzLoad(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, s := range []string{
		"a=" + strings.Repeat("[", 20000), strings.Repeat("a.", 20000) + "a=1", "fairness.weights.a.b = 1\n[fairness.x]",
		"\xef\xbb\xbfamnesia=true", "''=1", "[['']]", "limits={rps={a=1}}", "limits.rps=99999999999999999999", "log={level='info'}",
		"allowed_hosts=['a',1]", "[fairness.weights.x]\ny=1", "[[mailbox]]\n[mailbox.shards]", "tls.min_version=[]", "drain_grace='1\t'",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := config.Load(config.Source{File: "x.toml", ReadFile: func(string) ([]byte, error) { return data, nil }})
		if err != nil {
			faults := err.(config.Faults)
			if len(faults) == 0 || len(faults) > 201 {
				t.Fatalf("%d faults", len(faults))
			}
			for _, fault := range faults[:min(len(faults), 200)] {
				if fault.Line == 0 || fault.Col == 0 || len(fault.Error()) > 1200 || strings.Contains(fault.Error(), "\n") {
					t.Fatalf("%q %+v", fault.Error(), fault)
				}
			}
			return
		}
		var b strings.Builder
		if err := config.Print(&b, l, config.PrintOptions{Origin: true}); err != nil {
			t.Fatal(err)
		}
		again, err := config.Load(config.Source{File: "y.toml", ReadFile: func(string) ([]byte, error) { return []byte(b.String()), nil }})
		if err != nil || again.SHA != l.SHA {
			t.Fatalf("%v after\n%s", err, b.String())
		}
	})
}
