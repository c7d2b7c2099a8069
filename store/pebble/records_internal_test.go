package pebble

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"micronode/store"
	"micronode/store/mbox"
)

// FuzzRecords: no bytes make a decoder panic, sealed or not, and what it accepts is what was encoded.
func FuzzRecords(f *testing.F) {
	r := mbox.Row{ID: mbox.ID{1}, Topic: "t", Payload: []byte("p"), Hash: store.Sum([]byte("p")), Attrs: map[string]string{"a": "b"}, Key: "k", CorrID: "c", Sent: time.Unix(5, 6)}
	f.Add(encodeBody(&r))
	f.Add(encodeLife(&r))
	f.Add((&meta{size: 70000, cvs: make([]store.CV, 2)}).encode(store.Address{}))
	f.Add((&totals{objects: 1, commit: 2}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, seal(bytes.Clone(b), r.ID[:])} {
			got := mbox.Row{ID: r.ID}
			if decodeLife(&got, b) == nil && !bytes.Equal(encodeLife(&got), b) {
				again := mbox.Row{ID: r.ID}
				if err := decodeLife(&again, encodeLife(&got)); err != nil || !cmp.Equal(got, again) {
					t.Errorf("life %+v becomes %+v, %v", got, again, err)
				}
			}
			got = mbox.Row{ID: r.ID}
			if decodeBody(&got, b) == nil {
				again := mbox.Row{ID: r.ID}
				if err := decodeBody(&again, encodeBody(&got)); err != nil || !cmp.Equal(got, again) {
					t.Errorf("body %+v becomes %+v, %v", got, again, err)
				}
			}
		}
		body := append([]byte{byte(len(b) + checkLen)}, seal(bytes.Clone(b), r.ID[:])...)
		_ = decodeBody(&mbox.Row{ID: r.ID}, body)
		for _, b := range [][]byte{b, seal(bytes.Clone(b), make([]byte, 32))} {
			if m, err := decodeMeta(store.Address{}, b); err == nil && !bytes.Equal(m.encode(store.Address{}), b) {
				t.Errorf("meta %+v", m)
			}
		}
		_, _ = decodeTotals(b)
		_, _ = decodeTotals(seal(bytes.Clone(b), keyTotals))
		at := dedupKey("t", "k")
		_, _ = decodeKey(at, b)
		_, _ = decodeKey(at, seal(bytes.Clone(b), at))
		_ = readLog(b, 2)
	})
}

// A directory two formats behind is brought forward step by step; a step that fails leaves the format that it began with, and
// the next start goes on from there.
func TestMigrate(t *testing.T) {
	s, err := Open(Options{Dir: "data", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	h := s.cur.Load()
	boom, fail := errors.New("boom"), true
	steps := []migration{
		func(_ *handle, b *pebble.Batch) error { return b.Set([]byte("nfirst"), []byte("1"), nil) },
		func(_ *handle, b *pebble.Batch) error {
			_ = b.Set([]byte("nsecond"), []byte("2"), nil)
			if fail {
				return boom
			}
			return nil
		},
	}
	there := func(key string) bool { _, err := h.get([]byte(key)); return err == nil }
	f, err := s.migrate(h, formatRecord{Format: 1}, 3, steps)
	if !errors.Is(err, boom) || f.Format != 2 || !there("nfirst") || there("nsecond") {
		t.Fatalf("%+v, %v", f, err)
	}
	if f, err = s.format(h); err != nil || f.Format != 2 {
		t.Fatalf("kept: %+v, %v", f, err)
	}
	fail = false
	if f, err = s.migrate(h, f, 3, steps); err != nil || f.Format != 3 || !there("nsecond") {
		t.Fatalf("%+v, %v", f, err)
	}
	if _, err := s.migrate(h, f, 4, steps); err == nil {
		t.Error("a step that nobody knows")
	}
}
