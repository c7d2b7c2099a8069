package mem

import (
	"container/heap"
	"time"
)

const (
	// SweepObjects is the most that one Sweep frees.
	SweepObjects = 1024
	// sweepBytes ends a Sweep early: freeing is zeroing.
	sweepBytes = 64 << 20
)

// Sweep frees what has expired by now, soonest first: at most SweepObjects, and no more once 64 MiB are freed.
func (s *Store) Sweep(now time.Time) (expired int) {
	due := s.detachExpired(now)
	for _, o := range due {
		s.unpin(o)
	}
	return len(due)
}

func (s *Store) detachExpired(now time.Time) (due []*object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var size int64
	for len(s.expiry) > 0 && len(due) < SweepObjects && size < sweepBytes && s.expiry[0].expiredAt(now) {
		o := s.expiry[0]
		s.unlink(o)
		size += o.size()
		due = append(due, o)
	}
	return due
}

// reclaim sweeps by the store's own clock and says whether it freed anything.
func (s *Store) reclaim() bool {
	return s.now != nil && s.Sweep(s.now()) > 0
}

// expiryHeap holds the linked objects that expire, the next to go on top. Guarded by Store.mu.
type expiryHeap []*object

func (h *expiryHeap) add(o *object) {
	if o.expires.Load() != nil {
		heap.Push(h, o)
	}
}

func (h *expiryHeap) remove(o *object) {
	if o.slot > 0 {
		heap.Remove(h, o.slot-1)
	}
}

// extend gives o the later of its expiry and at; nil, which is never, is the latest. A life is never shortened.
func (h *expiryHeap) extend(o *object, at *time.Time) {
	old := o.expires.Load()
	switch {
	case old == nil:
	case at == nil:
		h.remove(o)
		o.expires.Store(nil)
	case at.After(*old):
		o.expires.Store(at)
		heap.Fix(h, o.slot-1)
	}
}

// Len, Less, Swap, Push and Pop are heap.Interface.
func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].expires.Load().Before(*h[j].expires.Load()) }

func (h expiryHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i+1, j+1
}

// Push implements heap.Interface.
func (h *expiryHeap) Push(x any) {
	o := x.(*object)
	*h = append(*h, o)
	o.slot = len(*h)
}

// Pop implements heap.Interface.
func (h *expiryHeap) Pop() any {
	last := len(*h) - 1
	o := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	o.slot = 0
	return o
}
