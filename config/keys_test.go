package config_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micronode/config"
)

func TestDefaultIsTheContract(t *testing.T) {
	want := config.Config{
		HTTPAddr: "127.0.0.1:8080", Amnesia: true, DrainDeadline: 5 * time.Second,
		Log:   config.Log{Level: "info", Format: "auto"},
		Auth:  config.Auth{Mode: "cap"},
		Store: config.Store{ScrubRate: 16 << 20, ScrubInterval: 168 * time.Hour, MaxBytes: 1 << 30, MaxTTL: 720 * time.Hour},
		Mailbox: config.Mailbox{
			Enabled: true, Shards: 8, ShardCapacity: 4096, MaxBytes: 512 << 20, MaxInflight: 8192, Visibility: 5 * time.Second,
			MaxAttempts: 5, DedupWindow: 300 * time.Second,
		},
		Limits: config.Limits{
			RPS: 500, Inflight: 512, MaxBodyBytes: 1 << 20, MaxObjectBytes: 64 << 20, MaxConns: 1024, HeaderBytes: 16 << 10,
			DecompressRatio: 10, DecompressMaxBytes: 8 << 20,
			RequestTimeout: 5 * time.Second, HeaderTimeout: 2 * time.Second, IdleTimeout: time.Minute,
		},
		Fairness: config.Fairness{QueuePerFlow: 64, QueueTotal: 512, QueueWait: 30 * time.Millisecond},
		Supervisor: config.Supervisor{
			BackoffMin: 100 * time.Millisecond, BackoffMax: 5 * time.Second, MaxRestarts: 5, Window: time.Minute,
			QuarantineAfter: 10, ForgiveAfter: time.Minute, ProbeAfter: time.Minute, Watchdog: 2 * time.Second,
		},
		TLS: config.TLS{PQMode: "hybrid", MinVersion: "1.3"},
		Bus: config.Bus{Ring: 512, History: 1024},
	}
	if diff := cmp.Diff(want, config.Default()); diff != "" {
		t.Errorf("Default (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, load(t, config.Source{}).Config); diff != "" {
		t.Errorf("Load of nothing (-want +got):\n%s", diff)
	}
}

// Names, variables and flags lead to one key each, or one would hide another.
func TestKeysAreUnambiguous(t *testing.T) {
	seen := map[string]string{}
	claim := func(name, key string) {
		if other, taken := seen[name]; taken {
			t.Errorf("%s belongs to %s and to %s", name, other, key)
		}
		seen[name] = key
	}
	for _, k := range config.Keys() {
		claim(k.Name, k.Name)
		for _, e := range k.Env() {
			claim(e, k.Name)
		}
		if k.Flag != "" {
			claim("--"+k.Flag, k.Name)
		}
		if k.Doc == "" || k.Type == "" {
			t.Errorf("%s lacks a doc line or a type", k.Name)
		}
	}
}

// Each default is one that a person may write.
func TestDefaultsMayBeSet(t *testing.T) {
	for _, k := range config.Keys() {
		if k.Reserved != "" {
			continue
		}
		l := load(t, config.Source{Set: []string{k.Name + "=" + k.Default}})
		if diff := cmp.Diff(config.Default(), l.Config); diff != "" {
			t.Errorf("--set %s=%s (-default +got):\n%s", k.Name, k.Default, diff)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]config.Size{
		"0": 0, "65536": 65536, "64KiB": 64 << 10, "64 KiB": 64 << 10, "1MiB": 1 << 20, "1.5GiB": 3 << 29,
		"64KB": 64000, "10B": 10, "9223372036854775807": 1<<63 - 1,
	} {
		var got config.Size
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
		var again config.Size
		if err := again.UnmarshalText([]byte(got.String())); err != nil || again != got {
			t.Errorf("%q printed as %s reads as %d, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "-1", "1,5MiB", "KiB", "1XiB", "1e3", "9223372036854775808", "99999999EiB", "٣KiB", "1 MiB "} {
		var got config.Size
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q taken as %d", text, got)
		}
	}
	for size, want := range map[config.Size]string{0: "0", 1000: "1000", 1536: "1536", 1536 << 10: "1536KiB", 1 << 40: "1TiB"} {
		if got := size.String(); got != want {
			t.Errorf("Size(%d) = %s, want %s", size, got, want)
		}
	}
}
