package config_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"micronode/config"
)

// sample gives the nth valid value of a key in text form, other than its
// default where there is a choice.
func sample(t *testing.T, k config.Key, n int) string {
	t.Helper()
	switch k.Type {
	case "bool":
		if k.Name == "amnesia" {
			return "true"
		}
		return strconv.FormatBool(n%2 == 1)
	case "int":
		d, err := strconv.Atoi(k.Default)
		if err != nil {
			t.Fatal(err)
		}
		return strconv.Itoa(d + n)
	case "size":
		var s config.Size
		if err := s.UnmarshalText([]byte(k.Default)); err != nil {
			t.Fatal(err)
		}
		return (s/2 + config.Size(n)*1024).String()
	case "duration":
		d, err := time.ParseDuration(k.Default)
		if err != nil {
			t.Fatal(err)
		}
		return (d + time.Duration(n)*time.Millisecond).String()
	case "table":
		return fmt.Sprintf("10.0.0.0/8=%d,::1=7", n)
	case "strings":
		if k.Name == "peers" {
			return fmt.Sprintf("http://host%d.example,https://other:8443", n)
		}
		if k.Name == "trusted_proxies" {
			return fmt.Sprintf("10.0.0.%d,fd00::/8", n)
		}
		return fmt.Sprintf("host%d.example,other", n)
	case "ints":
		return fmt.Sprintf("%d,7", n)
	}
	switch {
	case k.Name == "auth.mode":
		return "dev"
	case len(k.Choices) > 0:
		return k.Choices[n%len(k.Choices)]
	case strings.HasSuffix(k.Name, "_addr"):
		return fmt.Sprintf("127.0.0.1:%d", 9000+n)
	}
	return fmt.Sprintf("/run/%d.sock", n)
}

// beside is what a key does not go without.
func beside(name string) map[string]string {
	all := map[string]string{}
	if strings.HasPrefix(name, "tls.") {
		for _, k := range []string{"tls.cert", "tls.key"} {
			if k != name {
				all[k] = "/x.pem"
			}
		}
	}
	return all
}

// asTOML writes a text form as a line of a file.
func asTOML(k config.Key, text string) string {
	quote := func(s string) string { return `"` + s + `"` }
	switch k.Type {
	case "bool", "int":
		return k.Name + " = " + text + "\n"
	case "ints":
		return k.Name + " = [" + text + "]\n"
	case "table":
		return k.Name + ` = { "` + strings.NewReplacer("=", `" = `, ",", `, "`).Replace(text) + " }\n"
	case "strings":
		return k.Name + " = [" + quote(strings.ReplaceAll(text, ",", `", "`)) + "]\n"
	}
	return k.Name + " = " + quote(text) + "\n"
}

// effective is one key of the printed configuration, in text form.
func effective(t *testing.T, l config.Loaded, name string) string {
	t.Helper()
	var b strings.Builder
	if err := config.Print(&b, l, config.PrintOptions{JSON: true}); err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(b.String()), &doc); err != nil {
		t.Fatal(err)
	}
	var v any = doc
	for _, part := range strings.Split(name, ".") {
		v = v.(map[string]any)[part]
	}
	if list, ok := v.([]any); ok {
		return strings.ReplaceAll(strings.Trim(fmt.Sprint(list), "[]"), " ", ",")
	}
	if table, ok := v.(map[string]any); ok {
		var parts []string
		for _, of := range slices.Sorted(maps.Keys(table)) {
			parts = append(parts, fmt.Sprintf("%s=%v", of, table[of]))
		}
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(v)
}

func canonical(k config.Key, text string) string {
	if k.Type == "duration" {
		d, _ := time.ParseDuration(text)
		text = d.String()
		text = strings.TrimSuffix(text, "m0s") + map[bool]string{true: "m"}[strings.HasSuffix(text, "m0s")]
	}
	return text
}

// Every key can be set by file, by variable and by --set; a later source wins
// over an earlier one, and the origin says which it was.
func TestPrecedenceOfEveryKey(t *testing.T) {
	for _, k := range config.Keys() {
		if k.Reserved != "" || k.Secret || k.Name == "tls.cert" || k.Name == "store.dir" { // a secret is not printed, cert goes with the key, dir with amnesia=false
			continue
		}
		t.Run(k.Name, func(t *testing.T) {
			for _, env := range k.Env() {
				src := config.Source{Args: beside(k.Name)}
				check := func(n int, origin string) {
					t.Helper()
					l := load(t, src)
					if got, want := effective(t, l, k.Name), canonical(k, sample(t, k, n)); n > 0 && got != want {
						t.Errorf("from %s: %s, want %s", origin, got, want)
					}
					if got := l.Origins[k.Name].String(); got != origin {
						t.Errorf("origin %q, want %q", got, origin)
					}
				}
				check(0, "default")
				src.File, src.ReadFile = "node.toml", file("# first line\n"+asTOML(k, sample(t, k, 1)))
				check(1, "file node.toml:2")
				src.Env = []string{env + "=" + sample(t, k, 2)}
				check(2, "env "+env)
				src.Set = []string{k.Name + "=" + sample(t, k, 1), k.Name + "=" + sample(t, k, 3)}
				check(3, "flag --set")
				if k.Flag != "" {
					src.Set, src.Args = nil, beside(k.Name)
					src.Args[k.Name] = sample(t, k, 3)
					check(3, "flag --"+k.Flag)
				}
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	l := load(t, config.Source{Env: []string{
		"RON_CAP=token", "RON_SOCKET=/x", "RON_ADDR=h:1", "PATH=/bin", "RONIN=1", "nonsense", "RON_CONFIG=",
		"RON_LOG=debug", "RON_LOG_LEVEL=debug", "RON_AMNESIA=on",
	}})
	if l.Config.Log.Level != "debug" || l.File != "" {
		t.Errorf("level %q, file %q", l.Config.Log.Level, l.File)
	}
	asked := ""
	l = load(t, config.Source{Env: []string{"RON_CONFIG=/etc/ron/m.toml"}, ReadFile: func(p string) ([]byte, error) {
		asked = p
		return nil, nil
	}})
	if asked != "/etc/ron/m.toml" || l.File != asked {
		t.Errorf("read %q, loaded %q", asked, l.File)
	}
	asked = ""
	load(t, config.Source{File: "flag.toml", Env: []string{"RON_CONFIG=env.toml"}, ReadFile: func(p string) ([]byte, error) {
		asked += p
		return nil, nil
	}})
	if asked != "flag.toml" {
		t.Errorf("read %q, want the flag's file alone", asked)
	}
}

// A value that nobody else would fault is taken back by a higher source.
func TestHigherSourceMendsLower(t *testing.T) {
	l := load(t, config.Source{
		File: "x.toml", ReadFile: file("http_addr = '0.0.0.0:1'\namnesia = false\nauth.mode = 'cap'\n"),
		Env:  []string{"RON_HTTP_ADDR=LOCALHOST:0", "RON_AMNESIA=1"},
		Args: map[string]string{"auth.mode": "dev"},
	})
	if l.Config.HTTPAddr != "LOCALHOST:0" || !l.Config.Amnesia || l.Config.Auth.Mode != "dev" {
		t.Errorf("%+v", l.Config)
	}
}

func TestLoopbackAddresses(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1:0": true, "127.9.9.9:1": true, "[::1]:65535": true, "localhost:80": true, "[::ffff:127.0.0.1]:1": true,
		"128.0.0.1:1": false, "[::]:1": false, "[fe80::1%lo]:1": false, "localhost.evil.example:1": false, "127.1:1": false,
		"127.0.0.1": false, "127.0.0.1:65536": false, "127.0.0.1:-1": false, "127.0.0.1:": false, "http://127.0.0.1:1": false,
	} {
		for _, key := range []string{"http_addr", "metrics_addr", "oap_addr"} {
			if _, err := config.Load(config.Source{Set: []string{key + "=" + addr, "auth.mode=dev"}}); (err == nil) != ok {
				t.Errorf("%s=%s: %v", key, addr, err)
			}
		}
	}
}

func TestFaultsAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, "k%d = 1\n", i)
	}
	faults := config.Validate("x.toml", file(b.String()))
	if len(faults) != 201 || faults[200].Msg != "4800 more faults" || faults[199].Line != 200 {
		t.Errorf("%d faults, the last %v", len(faults), faults[len(faults)-1])
	}
}

func TestWarnings(t *testing.T) {
	l := load(t, config.Source{
		Set: []string{"store.max_bytes=1MiB", "limits.max_object_bytes=2MiB", "limits.max_body_bytes=3MiB"},
	})
	want := []string{
		"limits.max_object_bytes (2MiB) is above store.max_bytes (1MiB): an object that large is never stored",
		"limits.max_body_bytes (3MiB) is above limits.max_object_bytes (2MiB): a body with a Content-Length may be larger than a stream",
	}
	if !slices.Equal(l.Warnings, want) {
		t.Errorf("got\n%s", strings.Join(l.Warnings, "\n"))
	}
}

// The fingerprint is of the values: the same however they were set.
func TestSHA(t *testing.T) {
	a := load(t, config.Source{Set: []string{"limits.max_body_bytes=1024KiB", "limits.rps=9"}})
	b := load(t, config.Source{Env: []string{"RON_LIMITS_RPS=9"}})
	c := load(t, config.Source{})
	if len(a.SHA) != 64 || a.SHA != b.SHA || a.SHA == c.SHA {
		t.Errorf("%s %s %s", a.SHA, b.SHA, c.SHA)
	}
}
