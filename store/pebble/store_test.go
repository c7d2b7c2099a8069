package pebble_test

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"micronode/store"
	"micronode/store/pebble"
	"micronode/store/storetest"
)

func open(t *testing.T, o pebble.Options) *pebble.Store {
	t.Helper()
	if o.Dir == "" {
		o.Dir = "data"
		if o.FS == nil {
			o.Dir = t.TempDir()
		}
	}
	s, err := pebble.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		return open(t, pebble.Options{MaxBytes: 256 << 20, Now: storetest.NewClock().Now})
	})
}

func TestBounded(t *testing.T) {
	storetest.RunBounded(t, func(t *testing.T, maxBytes int64) store.Store {
		return open(t, pebble.Options{MaxBytes: maxBytes, FS: vfs.NewMem()})
	})
}

func TestTTL(t *testing.T) {
	storetest.RunTTL(t, func(t *testing.T, now func() time.Time) store.Store {
		return open(t, pebble.Options{Now: now, FS: vfs.NewMem()})
	})
}
