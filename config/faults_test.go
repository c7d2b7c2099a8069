package config_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"micronode/config"
)

type faultCase struct {
	src  config.Source
	want string
}

// Which key, and who said so.
func TestFaultsOfNames(t *testing.T) {
	for name, c := range map[string]faultCase{
		"unknown variable":            {config.Source{Env: []string{"RON_LIMITS_RSP=1"}}, `env RON_LIMITS_RSP: unknown variable; did you mean RON_LIMITS_RPS?`},
		"punctuation":                 {config.Source{Env: []string{"RON_HTTPADDR=1"}}, `env RON_HTTPADDR: unknown variable; did you mean RON_HTTP_ADDR?`},
		"far-off variable":            {config.Source{Env: []string{"RON_CAPTOKEN=hunter2"}}, "env RON_CAPTOKEN: unknown variable; `micronode config schema` lists what there is"},
		"bad variable":                {config.Source{Env: []string{"RON_LIMITS_RPS=lots"}}, `env RON_LIMITS_RPS: limits.rps: "lots" is not a whole number; write it without unit or quotes, as 500`},
		"variables differ":            {config.Source{Env: []string{"RON_LOG=info", "RON_LOG_LEVEL=warn"}}, `env RON_LOG_LEVEL: log.level: differs from RON_LOG; unset one of the two`},
		"reserved variable":           {config.Source{Env: []string{"RON_CONFIG_PUBKEY=/d"}}, `env RON_CONFIG_PUBKEY: config_pubkey: this build has no signed config; unset the variable`},
		"secret variable":             {config.Source{Env: []string{"RON_TLS_KEY=hunter2"}}, `env RON_TLS_KEY: tls.key: cert and key go together; name both files, or neither`},
		"amnesia with a directory":    {config.Source{Args: map[string]string{"store.dir": "/x"}}, `flag --store-dir: store.dir: a directory keeps data on disk, and amnesia=true writes none; set amnesia to false, or leave store.dir out`},
		"persistence without one":     {config.Source{Args: map[string]string{"amnesia": "false"}}, `flag --amnesia: amnesia: amnesia=false keeps data on disk, and store.dir does not say where; set store.dir, or leave amnesia out`},
		"sealing of what is not kept": {config.Source{Set: []string{"keys.identity_file=/k"}}, `flag --set: keys.identity_file: seals keys that are kept in store.dir, and amnesia=true keeps none; set amnesia to false, or leave it out`},
		"peer that is no URL":         {config.Source{Set: []string{"peers=10.0.0.1"}}, `flag --set: peers: "10.0.0.1" is not the base URL of a node; write it as http://10.0.0.7:8080`},
		"set without value":           {config.Source{Set: []string{"limits.rps"}}, `flag --set: takes section.key=value; as --set limits.rps=1000`},
		"set without key":             {config.Source{Set: []string{"=5"}}, `flag --set: takes section.key=value; as --set limits.rps=1000`},
		"set unknown":                 {config.Source{Set: []string{"store.dri=hunter2"}}, `flag --set: store.dri: unknown key; did you mean store.dir?`},
		"flag and set": {
			config.Source{Args: map[string]string{"log.level": "warn"}, Set: []string{"log.level=info"}},
			`flag --set: log.level: differs from --log; give one of the two`,
		},
	} {
		t.Run(name, c.run)
	}
}

// What was said, and how it goes with the rest.
func TestFaultsOfValues(t *testing.T) {
	big := make([]byte, 256<<10+1)
	many := strings.Repeat(",h", 70)[1:]
	for name, c := range map[string]faultCase{
		"control characters": {config.Source{Set: []string{"uds.path=a\nb"}}, `flag --set: uds.path: "a\nb" is not a text; write it in quotes, on one line, as "info"`},
		"long text":          {config.Source{Set: []string{"uds.path=/" + strings.Repeat("x", 5000)}}, `flag --set: uds.path: "/` + strings.Repeat("x", 95) + `…" is too long; at most 4096 bytes`},
		"long socket": {
			config.Source{Set: []string{"uds.path=/" + strings.Repeat("x", 107)}},
			`flag --set: uds.path: is 108 bytes long, a unix socket takes 107; use a shorter directory`,
		},
		"socket directory": {config.Source{Set: []string{"uds.path=/run/"}}, `flag --set: uds.path: is a directory; name the socket in it, as /run/micronode.sock`},
		"long list":        {config.Source{Set: []string{"allowed_hosts=" + many}}, `flag --set: allowed_hosts: "` + many[:96] + `…" has 70 elements; at most 64`},
		"no host": {
			config.Source{Args: map[string]string{"http_addr": ":80", "auth.mode": "dev"}},
			`flag --http-addr: http_addr: ":80": no host means every interface, and auth.mode=dev lets everybody who connects do everything; use 127.0.0.1:80, [::1]:80 or localhost:80, behind a proxy of your own if others must reach it`,
		},
		"no address":           {config.Source{Env: []string{"RON_HTTP_ADDR="}}, `env RON_HTTP_ADDR: http_addr: is empty; write host:port, as 127.0.0.1:8080`},
		"named port":           {config.Source{Env: []string{"RON_HTTP_ADDR=[::1]:http"}}, `env RON_HTTP_ADDR: http_addr: "[::1]:http" has no port from 0 to 65535; write host:port, as 127.0.0.1:8080`},
		"same address":         {config.Source{Env: []string{"RON_METRICS_ADDR=127.0.0.1:8080"}}, `env RON_METRICS_ADDR: metrics_addr: is the same as http_addr; leave it empty to serve /metrics there`},
		"required without TLS": {config.Source{Env: []string{"RON_TLS_PQ_MODE=required"}}, `env RON_TLS_PQ_MODE: tls.pq_mode: pq_mode=required cannot hold without tls.cert and tls.key; name them, or leave it out`},
		"missing file":         {config.Source{File: "nowhere/x.toml"}, `nowhere/x.toml: cannot read the file: no such file or directory; it was named by flag --config`},
		"directory":            {config.Source{Env: []string{"RON_CONFIG=testdata"}}, `testdata: cannot read the file: is a directory; it was named by env RON_CONFIG`},
		"unreadable": {
			config.Source{File: "x.toml", ReadFile: func(string) ([]byte, error) { return nil, errors.New("the disk is gone") }},
			`x.toml: cannot read the file: the disk is gone; it was named by flag --config`,
		},
		"large file": {config.Source{File: "x.toml", ReadFile: file(string(big))}, `x.toml: cannot read the file: larger than 256KiB; it was named by flag --config`},
		// the rules stay silent where a key already has a fault of its own
		"no echo": {config.Source{Set: []string{"supervisor.backoff_min=9h", "supervisor.backoff_max=50ms"}}, `flag --set: supervisor.backoff_min: "9h" is too large; use 1ms to 1h`},
		"second key set": {
			config.Source{Set: []string{"supervisor.backoff_max=50ms"}},
			`flag --set: supervisor.backoff_max: backoff_min (100ms) is above backoff_max (50ms); lower the one or raise the other`,
		},
	} {
		t.Run(name, c.run)
	}
}

func (c faultCase) run(t *testing.T) {
	l, err := config.Load(c.src)
	if err == nil {
		t.Fatalf("no fault, effective %+v", l.Config)
	}
	if err.Error() != c.want {
		t.Errorf("got  %s\nwant %s", err, c.want)
	}
	var faults config.Faults
	if !errors.As(err, &faults) || strings.Contains(fmt.Sprintf("%+v", faults), "hunter2") {
		t.Errorf("not Faults, or a secret in them: %+v", err)
	}
}
