package pebble_test

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

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

func TestModel(t *testing.T) {
	type life struct {
		fs  vfs.FS
		now func() time.Time
	}
	lives := map[storetest.ModelStore]life{}
	begin := func(t *rapid.T, l life) storetest.ModelStore {
		s, err := pebble.Open(pebble.Options{Dir: "data", FS: l.fs, Now: l.now})
		if err != nil {
			t.Fatal(err)
		}
		lives[s] = l
		return s
	}
	end := func(t *rapid.T, s storetest.ModelStore) {
		delete(lives, s)
		if err := s.(*pebble.Store).Close(); err != nil {
			t.Error(err)
		}
	}
	storetest.RunModel(t, storetest.ModelOptions{
		New: func(t *rapid.T, now func() time.Time) storetest.ModelStore { return begin(t, life{vfs.NewMem(), now}) },
		End: end,
		Restart: func(t *rapid.T, s storetest.ModelStore) storetest.ModelStore {
			l := lives[s]
			end(t, s)
			return begin(t, l)
		},
		Overhead: pebble.ObjectOverhead, InPlace: true,
	})
}
