package storetest

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"micronode/store"
)

func testSameAtOnce(t *testing.T, s store.Store) {
	const writers = 8
	for i, size := range []int{0, 100, group, 5*group + 3} {
		b := content(uint64(200+i), size)
		before := usage(s)
		var created atomic.Int64
		var start, done sync.WaitGroup
		start.Add(1)
		for w := range writers {
			done.Go(func() {
				opt := store.PutOptions{Size: -1}
				if w%2 == 0 {
					opt.Size = int64(size)
				}
				start.Wait()
				info, fresh, err := s.Put(t.Context(), stream(b), opt)
				if err != nil || info.Address != store.Sum(b) || info.Size != int64(size) {
					t.Errorf("Put: %+v, %v", info, err)
				}
				if fresh {
					created.Add(1)
				}
			})
		}
		start.Done()
		done.Wait()
		if created.Load() != 1 {
			t.Fatalf("%d of %d puts of the same %d bytes say created, want 1", created.Load(), writers, size)
		}
		if after := usage(s); after != (store.Usage{}) && after.Objects != before.Objects+1 {
			t.Fatalf("%d objects after %d puts of the same bytes, were %d", after.Objects, writers, before.Objects)
		}
		wantContent(t, s, b)
	}
}

// testReadersDuringDeletes: a reader finds the whole object or none of it, whatever comes and goes.
func testReadersDuringDeletes(t *testing.T, s store.Store) {
	const rounds, readers = 60, 4
	all := [][]byte{content(210, 300), content(211, group), content(212, 3*group+1)}
	before := usage(s)
	var done sync.WaitGroup
	for range readers {
		done.Go(func() {
			for i := range rounds {
				want := all[i%len(all)]
				got, err := readAll(t.Context(), s, store.Sum(want))
				if err == nil && !bytes.Equal(got, want) {
					t.Errorf("read %d bytes that are not the %d put", len(got), len(want))
				}
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					t.Errorf("read during deletes: %v", err)
				}
			}
		})
	}
	for _, b := range all {
		done.Go(func() {
			for range rounds {
				if info, created, err := s.Put(t.Context(), stream(b), store.PutOptions{Size: -1}); err != nil || !created {
					t.Errorf("Put: %+v, created %v, %v", info, created, err)
				}
				if err := s.Delete(t.Context(), store.Sum(b)); err != nil {
					t.Errorf("Delete: %v", err)
				}
			}
		})
	}
	done.Wait()
	if after := usage(s); after != before {
		t.Fatalf("usage is %+v when all is deleted and closed, was %+v", after, before)
	}
}
