package mem

import (
	"bytes"
	"slices"
	"sync/atomic"
	"time"

	"micronode/store"
)

// object is one stored object. Its bytes never change while it is pinned; the index holds one pin, every open blob another.
type object struct {
	entry entry // what index slots point to
	addr  store.Address
	data  []byte // the payload, of at most one group
	large *large // the payload above that

	pins    atomic.Int64
	expires atomic.Pointer[time.Time] // nil: never. Changed under Store.mu
	slot    int                       // place in the expiry heap plus one, 0: none. Guarded by Store.mu
	charge  int64                     // bytes charged for it. Guarded by Store.mu while linked, then by the last pin
}

// large is a payload of several groups, never in one piece, with the tree that verifies them.
type large struct {
	size   int64
	groups [][]byte
	cvs    []store.CV
}

func newObject(a store.Address, groups [][]byte, cvs []store.CV) *object {
	o := &object{addr: a}
	o.entry.obj = o
	switch len(groups) {
	case 0:
	case 1:
		o.data = groups[0]
	default:
		last := len(groups) - 1
		o.large = &large{size: int64(last)*store.GroupSize + int64(len(groups[last])), groups: slices.Concat(groups), cvs: cvs}
	}
	o.charge = o.size() + ObjectOverhead
	o.pins.Store(1)
	return o
}

func (o *object) size() int64 {
	if o.large != nil {
		return o.large.size
	}
	return int64(len(o.data))
}

func (o *object) group(i int64) []byte {
	if o.large != nil {
		return o.large.groups[i]
	}
	return o.data
}

// each calls f with every buffer of the payload.
func (o *object) each(f func([]byte)) {
	if o.large == nil {
		f(o.data)
		return
	}
	for _, g := range o.large.groups {
		f(g)
	}
}

func (o *object) tree() (store.Tree, error) {
	if o.large != nil {
		return store.NewTree(o.addr, o.large.size, o.large.cvs)
	}
	return store.NewTree(o.addr, int64(len(o.data)), nil)
}

func (o *object) info() store.Info {
	info := store.Info{Address: o.addr, Size: o.size()}
	if at := o.expires.Load(); at != nil {
		info.Expires = *at
	}
	return info
}

func (o *object) expiredAt(now time.Time) bool {
	at := o.expires.Load()
	return at != nil && !now.Before(*at)
}

// equal compares payload and tree with those of another object of the same address. Between bytes just hashed and a stored
// copy it is as good as verifying the copy, and far cheaper.
func (o *object) equal(p *object) bool {
	if o.large == nil || p.large == nil {
		return o.large == p.large && bytes.Equal(o.data, p.data)
	}
	return slices.Equal(o.large.cvs, p.large.cvs) && slices.EqualFunc(o.large.groups, p.large.groups, bytes.Equal)
}

// pin keeps the bytes alive. It fails when the last pin is gone.
func (o *object) pin() bool {
	for {
		n := o.pins.Load()
		if n == 0 {
			return false
		}
		if o.pins.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// unpin gives one pin back. The last one zeroes the bytes and only then uncharges them.
func (s *Store) unpin(o *object) {
	if o.pins.Add(-1) > 0 {
		return
	}
	o.each(s.buffers.put)
	s.ledger.give(o.charge)
}
