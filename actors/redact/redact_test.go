package redact

import (
	"strings"
	"testing"
	"time"

	"micronode/http/caps"
)

func TestSecretsGo(t *testing.T) {
	ring, err := caps.NewRing(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	m, err := ring.Mint(caps.Spec{Ops: caps.Get})
	if err != nil {
		t.Fatal(err)
	}
	key := strings.Repeat("0f", 32)
	for text, secret := range map[string]string{
		"panic: " + m.Token + " is bad":                  m.Token,
		`{"reason":"` + m.Token + `"}`:                   m.Token,
		"cut " + m.Token[:60]:                            m.Token[:60],
		"key " + key:                                     key,
		`Authorization: Macro abcdefgh12345`:             "abcdefgh12345",
		`map[Authorization:[Bearer hunter2hunter2]]`:     "hunter2hunter2",
		`"authorization\":\"Basic aHVudGVyMg=="`:         "aHVudGVyMg",
		"-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END": "AAAA",
		`-----BEGIN PRIVATE KEY-----\nBBBB`:              "BBBB",
		"https://user:hunter2@example.org/x":             "hunter2",
		"GET /put?token=hunter2&x=1":                     "hunter2",
		`password = "hunter2"`:                           "hunter2",
		`{\"password\":\"hunter2\"}`:                     "hunter2",
		"RON_CAP=hunter2 ronctl":                         "hunter2",
	} {
		if got := String(text); strings.Contains(got, secret) || !strings.Contains(got, Mark) {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestTheRestStays(t *testing.T) {
	for _, text := range []string{
		"", "storage crashed: killed", `{"corr_id":"01M86B8AB0Z1C0M7Q3B66QZX3G","status":200}`, "b3:" + strings.Repeat("ab", 32),
		`"sha":"` + strings.Repeat("ab", 32) + `"`, "http://127.0.0.1:8080/o", strings.Repeat("x", 100), "4bf92f3577b34da6a3ce929d0e0e4736",
	} {
		if got := String(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func FuzzBytes(f *testing.F) {
	f.Add([]byte("Authorization: Macro abcdefgh"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if out := Bytes(text); len(out) > 32*len(text)+64 {
			t.Fatalf("%d bytes became %d", len(text), len(out))
		}
	})
}

func BenchmarkLine(b *testing.B) {
	line := []byte(`{"level":"info","ts":"2026-11-24T08:37:43.398960198Z","msg":"GET /readyz","event":"request","status":503,"corr_id":"01M86B8AB6JTZ9NSEH1FP1ZV7H","latency_ms":0.12,"bytes_in":0,"bytes_out":118,"plane":"data"}`)
	b.ReportAllocs()
	for b.Loop() {
		Bytes(line)
	}
}
