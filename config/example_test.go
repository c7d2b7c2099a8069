package config_test

import (
	"fmt"

	"micronode/config"
)

func ExampleLoad() {
	l, err := config.Load(config.Source{
		File:     "node.toml",
		ReadFile: func(string) ([]byte, error) { return []byte("[limits]\nrps = 800\ninflight = 64\n"), nil },
		Env:      []string{"RON_LIMITS_RPS=900"},
		Set:      []string{"store.max_bytes=64KiB", "limits.max_object_bytes=64KiB", "limits.max_body_bytes=64KiB"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(l.Config.Limits.RPS, "from", l.Origins["limits.rps"])
	fmt.Println(l.Config.Limits.Inflight, "from", l.Origins["limits.inflight"])
	fmt.Println(l.Config.Store.MaxBytes, "from", l.Origins["store.max_bytes"])
	fmt.Println(l.Config.Log.Level, "from", l.Origins["log.level"])
	// Output:
	// 900 from env RON_LIMITS_RPS
	// 64 from file node.toml:3
	// 64KiB from flag --set
	// info from default
}

func ExampleLoad_faults() {
	_, err := config.Load(config.Source{
		File:     "node.toml",
		ReadFile: func(string) ([]byte, error) { return []byte("[limits]\nrsp = 800\nidle_timeout = 5\n"), nil },
		Env:      []string{"RON_HTTP_ADR=localhost:80"},
	})
	fmt.Println(err)
	// Output:
	// node.toml:2:1: limits.rsp: unknown key; did you mean limits.rps?
	// node.toml:3:1: limits.idle_timeout: 5 is not a duration; write a number and a unit, as "5s" or "250ms"
	// env RON_HTTP_ADR: unknown variable; did you mean RON_HTTP_ADDR?
}
