package mbox_test

import (
	"errors"
	"strings"
	"testing"

	"micronode/store/mbox"
)

func FuzzParseReceipt(f *testing.F) {
	f.Add(mbox.Receipt{Shard: 7, ID: mbox.ID{1}, Nonce: [16]byte{9}}.String())
	for _, bad := range []string{"", "AAGiC06npgYRhIyMiKNuw9sLPpGsfGN-Sqs2AaZi-ug=", strings.Repeat("A", 43) + "\n", strings.Repeat("+", 44)} {
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := mbox.ParseReceipt(s)
		if err != nil && !errors.Is(err, mbox.ErrBadReceipt) {
			t.Errorf("%q: %v", s, err)
		}
		if err == nil && r.String() != s {
			t.Errorf("%q is also written %q", s, r)
		}
	})
}

func FuzzParseID(f *testing.F) {
	f.Add("01M85MX9X60R8R934CH2HPXGYV")
	f.Add("01m85mx9x60r8r934ch2hpxgyv")
	f.Add("81M85MX9X60R8R934CH2HPXGYV")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := mbox.ParseID(s)
		if err != nil && !errors.Is(err, mbox.ErrInvalid) {
			t.Errorf("%q: %v", s, err)
		}
		if again, err2 := mbox.ParseID(id.String()); err == nil && (err2 != nil || again != id) {
			t.Errorf("%q: %v, %v", s, again, err2)
		}
	})
}

func TestMessageBounds(t *testing.T) {
	many := map[string]string{}
	for i := range 33 {
		many[strings.Repeat("x", i+1)] = ""
	}
	for name, m := range map[string]mbox.Message{
		"no topic":        {},
		"space":           {Topic: "a b"},
		"long topic":      {Topic: strings.Repeat("t", 129)},
		"dot first":       {Topic: ".a"},
		"large":           {Topic: "t", Payload: make([]byte, mbox.MaxPayload+1)},
		"negative delay":  {Topic: "t", Delay: -1},
		"long delay":      {Topic: "t", Delay: mbox.MaxDelay + 1},
		"key with escape": {Topic: "t", Key: "\x1b[2J"},
		"long key":        {Topic: "t", Key: strings.Repeat("k", 129)},
		"many attrs":      {Topic: "t", Attrs: many},
		"nameless attr":   {Topic: "t", Attrs: map[string]string{"": "x"}},
		"long attr":       {Topic: "t", Attrs: map[string]string{"a": strings.Repeat("v", 1025)}},
	} {
		if err := m.Check(); !errors.Is(err, mbox.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := mbox.Message{
		Topic: strings.Repeat("t", 128), Payload: make([]byte, mbox.MaxPayload), Delay: mbox.MaxDelay,
		Key: strings.Repeat("k", 128), Attrs: map[string]string{"a": strings.Repeat("é", 512)},
	}
	if err := good.Check(); err != nil {
		t.Errorf("at every bound: %v", err)
	}
}
