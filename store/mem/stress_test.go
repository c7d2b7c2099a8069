package mem_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"micronode/store"
	"micronode/store/mem"
	"micronode/store/storetest"
)

// TestEverythingAtOnce lets writers, readers, deletes, damage, expiry and sweeps run into one another in a store that is too
// small: a wrong byte never leaves, the bound holds, and in the end nothing is charged.
func TestEverythingAtOnce(t *testing.T) {
	clock := storetest.NewClock()
	s := mem.New(mem.Options{MaxBytes: 5 * store.GroupSize, Now: clock.Now})
	allowed := []error{store.ErrNotFound, store.ErrFull, store.ErrCorrupt}
	check := func(err error) {
		for _, want := range allowed {
			if errors.Is(err, want) {
				return
			}
		}
		if err != nil {
			t.Errorf("unexpected: %v", err)
		}
	}
	var workers sync.WaitGroup
	for w := range 6 {
		workers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 7))
			for range 600 {
				b := storetest.ModelContent(rng.IntN(len(storetest.ModelSizes)))
				switch rng.IntN(8) {
				case 0, 1, 2:
					opt := store.PutOptions{Size: int64(len(b)), TTL: time.Duration(rng.IntN(3)) * time.Second}
					if rng.IntN(2) == 0 {
						opt.Size = -1
					}
					_, _, err := s.Put(context.Background(), bytes.NewReader(b), opt)
					check(err)
				case 3, 4, 5:
					check(readWhole(s, b))
				case 6:
					check(s.Delete(context.Background(), store.Sum(b)))
				case 7:
					if len(b) > 0 {
						check(s.FlipBit(store.Sum(b), int64(rng.IntN(8*len(b)))))
					}
					clock.Advance(300 * time.Millisecond)
					s.Sweep(clock.Now())
				}
				if u := s.Usage(); u.Bytes > u.MaxBytes || u.Bytes < 0 {
					t.Errorf("out of bounds: %+v", u)
				}
			}
		})
	}
	workers.Wait()
	for i := range storetest.ModelSizes {
		if err := s.Delete(context.Background(), store.Sum(storetest.ModelContent(i))); err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Error(err)
		}
	}
	clock.Advance(time.Hour)
	s.Sweep(clock.Now())
	if u := s.Usage(); u.Bytes != 0 || u.Objects != 0 {
		t.Fatalf("all deleted and closed: %+v", u)
	}
}

func readWhole(s *mem.Store, want []byte) error {
	blob, err := s.Open(context.Background(), store.Sum(want))
	if err != nil {
		return err
	}
	var out bytes.Buffer
	_, err = blob.WriteRange(context.Background(), &out, 0, int64(len(want)))
	if !bytes.HasPrefix(want, out.Bytes()) || err == nil && out.Len() != len(want) {
		err = errors.New("a wrong byte left")
	}
	return errors.Join(err, blob.Close())
}
