package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"micronode/config"
)

func parse(t *testing.T, args ...string) config.Source {
	t.Helper()
	fs := pflag.NewFlagSet("micronode", pflag.ContinueOnError)
	config.RegisterFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return config.FromFlags(fs)
}

func TestFlags(t *testing.T) {
	for line, want := range map[string]map[string]string{
		"":                               {},
		"--dev":                          {"auth.mode": "dev"},
		"--dev=false":                    {},
		"--dev=maybe":                    {"auth.mode": "maybe"},
		"--chaos --log debug":            {"chaos.enabled": "true", "log.level": "debug"},
		"--amnesia=off":                  {"amnesia": "off"},
		"--http-addr :1 --metrics-addr=": {"http_addr": ":1", "metrics_addr": ""},
		"--oap-addr :2 --store-dir /d":   {"oap_addr": ":2", "store.dir": "/d"},
		"--tls-cert c --tls-key k":       {"tls.cert": "c", "tls.key": "k"},
	} {
		src := parse(t, strings.Fields(line)...)
		if diff := cmp.Diff(want, src.Args); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
	src := parse(t, "--config", "x.toml", "--set", "allowed_hosts=a,b", "--set", "limits.rps=5")
	if src.File != "x.toml" || !cmp.Equal(src.Set, []string{"allowed_hosts=a,b", "limits.rps=5"}) {
		t.Errorf("%+v", src)
	}
}

// A config path that an empty shell variable swallowed is not "no file".
func TestEmptyConfigFlag(t *testing.T) {
	src := parse(t, "--config=")
	src.Env = []string{"RON_CONFIG=other.toml"}
	_, err := config.Load(src)
	if err == nil || err.Error() != "flag --config: the path is empty; name a file or drop the flag" {
		t.Error(err)
	}
}

func TestUsage(t *testing.T) {
	fs := pflag.NewFlagSet("micronode", pflag.ContinueOnError)
	config.RegisterFlags(fs)
	golden(t, "usage.txt", fs.FlagUsages())
}

// A set of flags that were never registered gives the zero Source.
func TestFromForeignFlags(t *testing.T) {
	src := config.FromFlags(pflag.NewFlagSet("other", pflag.ContinueOnError))
	if len(src.Args)+len(src.Set) > 0 || src.File != "" {
		t.Errorf("%+v", src)
	}
}
