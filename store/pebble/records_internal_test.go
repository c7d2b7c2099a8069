package pebble

import (
	"bytes"
	"testing"
	"time"

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
