package mem

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"micronode/store"
)

// nearAddress is one of many that share long prefixes, so that the trie grows deep.
func nearAddress(rng *rand.Rand) (a store.Address) {
	for range rng.IntN(4) {
		a[rng.IntN(len(a))] = byte(1 << rng.IntN(8))
	}
	return a
}

func TestIndexAgainstMap(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var x index
		model := map[store.Address]*object{}
		for range 2000 {
			a := nearAddress(rng)
			if rng.IntN(2) == 0 {
				o := newObject(a, nil, nil)
				x.put(o)
				model[a] = o
			} else if model[a] != nil {
				x.remove(&a)
				delete(model, a)
			}
			if b := nearAddress(rng); x.get(&b) != model[b] || x.get(&a) != model[a] {
				t.Fatalf("seed %d: the index disagrees about %v or %v", seed, a, b)
			}
		}
		wantWalk(t, &x, model)
		for i := range x.roots {
			wantShape(t, x.roots[i].Load())
		}
		for a := range model {
			x.remove(&a)
		}
		for i := range x.roots {
			if x.roots[i].Load() != nil {
				t.Fatalf("seed %d: an empty index keeps a node", seed)
			}
		}
	}
}

// wantShape wants at least two leaves below every node, and returns how many are below e.
func wantShape(t *testing.T, e *entry) (leaves int) {
	t.Helper()
	switch {
	case e == nil:
		return 0
	case e.obj != nil:
		return 1
	}
	for i := range e.node.kids {
		leaves += wantShape(t, e.node.kids[i].Load())
	}
	if leaves < 2 {
		t.Fatalf("a node has %d leaves", leaves)
	}
	return leaves
}

func wantWalk(t *testing.T, x *index, model map[store.Address]*object) {
	t.Helper()
	var want []store.Address
	for a := range model {
		want = append(want, a)
	}
	slices.SortFunc(want, store.Address.Compare)
	if len(want) > 0 && want[0] == (store.Address{}) {
		want = want[1:] // nothing lists the zero address
	}
	for i := -1; i < len(want); i += 1 + len(want)/8 {
		w := walk{limit: len(want) + 1, now: time.Time{}}
		if i >= 0 {
			w.after = want[i]
		}
		if err := x.walk(context.Background(), &w); err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(w.page, want[i+1:], func(got store.Info, a store.Address) bool { return got.Address == a }) {
			t.Fatalf("walk after %d of %d: %d objects out of order", i, len(want), len(w.page))
		}
	}
}

// What stays in the index is found and listed at every moment, whatever comes and goes around it.
func TestIndexReadersAmidChange(t *testing.T) {
	var x index
	address := func(i int) (a store.Address) {
		binary.BigEndian.PutUint32(a[4:], uint32(i)) // all in one root slot, splitting and joining at the last digits
		return a
	}
	const keep = 16
	for i := 1; i <= keep; i++ {
		x.put(newObject(address(i*5), nil, nil))
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for i := 1; i <= keep; i++ {
					if a := address(i * 5); x.get(&a) == nil {
						t.Errorf("object %d is not found", i)
						return
					}
				}
				w := walk{limit: 1000}
				if err := x.walk(context.Background(), &w); err != nil {
					t.Error(err)
				}
				kept := slices.DeleteFunc(w.page, func(i store.Info) bool { return binary.BigEndian.Uint32(i.Address[4:])%5 != 0 })
				if len(kept) != keep {
					t.Errorf("%d of %d objects are listed", len(kept), keep)
					return
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(3, 3))
	there := map[int]bool{}
	for range 20000 {
		i := 1 + rng.IntN(5*keep)
		switch a := address(i); {
		case i%5 == 0:
		case there[i]:
			x.remove(&a)
			delete(there, i)
		default:
			x.put(newObject(a, nil, nil))
			there[i] = true
		}
	}
	close(stop)
	readers.Wait()
}
