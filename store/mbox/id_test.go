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

func TestWantBounds(t *testing.T) {
	for name, w := range map[string]mbox.Want{
		"no topic":         {},
		"short visibility": {Topic: "t", Visibility: mbox.MinVisibility - 1},
		"long visibility":  {Topic: "t", Visibility: mbox.MaxVisibility + 1},
		"negative":         {Topic: "t", Visibility: -1},
		"fewer than none":  {Topic: "t", Max: -1},
		"many":             {Topic: "t", Max: mbox.MaxBatch + 1},
		"negative bytes":   {Topic: "t", MaxBytes: -1},
		"many bytes":       {Topic: "t", MaxBytes: mbox.MaxRecvBytes + 1},
	} {
		if err := w.Check(); !errors.Is(err, mbox.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, w := range []mbox.Want{
		{Topic: "t"},
		{Topic: "9/A.b_c:d-", Visibility: mbox.MinVisibility, Max: 1, MaxBytes: 1},
		{Topic: "t", Visibility: mbox.MaxVisibility, Max: mbox.MaxBatch, MaxBytes: mbox.MaxRecvBytes},
	} {
		if err := w.Check(); err != nil {
			t.Errorf("%+v: %v", w, err)
		}
	}
}

// TestReceiptHasOneText: line breaks, padding, another alphabet and stray bits
// make no second spelling.
func TestReceiptHasOneText(t *testing.T) {
	r := mbox.Receipt{Shard: 250, ID: mbox.ID{255}, Nonce: [16]byte{15: 255}}
	text := r.String()
	if again, err := mbox.ParseReceipt(text); err != nil || again != r || len(text) != mbox.ReceiptLen {
		t.Fatalf("%q: %+v, %v", text, again, err)
	}
	for _, bad := range []string{"", text + "A", text[1:], text + "=", text[:43] + "\n", "\n" + text, "\r\n" + text[2:], strings.Repeat("+", 44), strings.Repeat("é", 22)} {
		if _, err := mbox.ParseReceipt(bad); !errors.Is(err, mbox.ErrBadReceipt) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestIDText(t *testing.T) {
	id := mbox.ID{1, 2, 3, 15: 9}
	text, err := id.MarshalText()
	var again mbox.ID
	if err != nil || again.UnmarshalText(text) != nil || again != id || string(text) != id.String() {
		t.Fatalf("%s, %v: %v", text, err, again)
	}
	kept := id
	if err := kept.UnmarshalText([]byte("no ULID")); !errors.Is(err, mbox.ErrInvalid) || kept != id {
		t.Fatalf("%v, %v", err, kept)
	}
}
