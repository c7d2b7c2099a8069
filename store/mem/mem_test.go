package mem_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"pgregory.net/rapid"

	"micronode/store"
	"micronode/store/mem"
	"micronode/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store {
		return mem.New(mem.Options{MaxBytes: 256 << 20, Now: storetest.NewClock().Now})
	})
}

func TestConformanceBounded(t *testing.T) {
	storetest.RunBounded(t, func(_ *testing.T, maxBytes int64) store.Store { return mem.New(mem.Options{MaxBytes: maxBytes}) })
}

func TestConformanceTTL(t *testing.T) {
	storetest.RunTTL(t, func(_ *testing.T, now func() time.Time) store.Store {
		return mem.New(mem.Options{MaxBytes: 64 << 20, Now: now})
	})
}

func TestModel(t *testing.T) {
	storetest.RunModel(t, storetest.ModelOptions{
		New:      func(_ *rapid.T, now func() time.Time) storetest.ModelStore { return mem.New(mem.Options{Now: now}) },
		Overhead: mem.ObjectOverhead,
	})
}
