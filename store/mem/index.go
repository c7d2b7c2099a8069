package mem

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"time"

	"micronode/store"
)

const (
	rootDigits = 4  // hexadecimal digits that the root table resolves
	ctxEvery   = 64 // root slots between looks at the context
)

// index is a trie over the hexadecimal digits of addresses, so that its order is that of addresses. Readers load one atomic
// pointer a level and never wait; a writer (one at a time, under Store.mu) publishes every change by one atomic store.
// A level more takes sixteen times the objects; addresses made to collide cost their maker sixteen times the work a level.
type index struct {
	roots [1 << (4 * rootDigits)]slot
}

type slot = atomic.Pointer[entry]

// entry is what a slot leads to, a leaf or a node: exactly one field is set. It is embedded in what it leads to.
type entry struct {
	obj  *object
	node *node
}

// node resolves one digit. Once it is out of the trie nobody changes it, so a reader inside sees what was there.
type node struct {
	entry entry
	kids  [16]slot
}

func newNode() *node {
	n := &node{}
	n.entry.node = n
	return n
}

func rootOf(a *store.Address) int { return int(binary.BigEndian.Uint16(a[:]) >> (16 - 4*rootDigits)) }

func digit(a *store.Address, i int) int {
	if i%2 == 0 {
		return int(a[i/2] >> 4)
	}
	return int(a[i/2] & 15)
}

// get returns the object at a, or nil.
func (x *index) get(a *store.Address) *object {
	e := x.roots[rootOf(a)].Load()
	for i := rootDigits; e != nil; i++ {
		if e.obj != nil {
			if e.obj.addr != *a {
				return nil
			}
			return e.obj
		}
		e = e.node.kids[digit(a, i)].Load()
	}
	return nil
}

// put links o, in place of what is at its address.
func (x *index) put(o *object) {
	at := &x.roots[rootOf(&o.addr)]
	for i := rootDigits; ; i++ {
		e := at.Load()
		if e == nil || e.obj != nil && e.obj.addr == o.addr {
			at.Store(&o.entry)
			return
		}
		if e.obj != nil { // another address shares the way so far: it moves one level down, then the ways part
			n := newNode()
			n.kids[digit(&e.obj.addr, i)].Store(e)
			at.Store(&n.entry)
			e = &n.entry
		}
		at = &e.node.kids[digit(&o.addr, i)]
	}
}

// remove unlinks the object at a, which is there. A node left with a single leaf gives its place to that leaf.
func (x *index) remove(a *store.Address) {
	var way [2 * len(a)]*slot
	depth := 0
	way[0] = &x.roots[rootOf(a)]
	for e := way[0].Load(); e.node != nil; e = way[depth].Load() {
		depth++
		way[depth] = &e.node.kids[digit(a, rootDigits+depth-1)]
	}
	way[depth].Store(nil)
	for ; depth > 0; depth-- {
		only, kids := way[depth-1].Load().node.only()
		if kids > 1 || only != nil && only.node != nil {
			return
		}
		way[depth-1].Store(only)
	}
}

// only returns how many kids there are, counting no further than 2, and the first of them.
func (n *node) only() (first *entry, kids int) {
	for i := range n.kids {
		e := n.kids[i].Load()
		if e == nil {
			continue
		}
		if kids++; kids > 1 {
			return first, kids
		}
		first = e
	}
	return first, kids
}

// walk collects one page.
type walk struct {
	after store.Address
	now   time.Time
	limit int
	page  []store.Info
}

func (x *index) walk(ctx context.Context, w *walk) error {
	for i := rootOf(&w.after); i < len(x.roots) && len(w.page) < w.limit; i++ {
		if i%ctxEvery == 0 || i == rootOf(&w.after) {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		w.visit(x.roots[i].Load(), rootDigits, i == rootOf(&w.after))
	}
	return nil
}

// visit takes what is below e in order. On the edge, the path of the address to start after, smaller digits are passed over.
func (w *walk) visit(e *entry, i int, edge bool) {
	switch {
	case e == nil || len(w.page) == w.limit:
	case e.obj != nil:
		if (!edge || e.obj.addr.Compare(w.after) > 0) && !e.obj.expiredAt(w.now) {
			w.page = append(w.page, e.obj.info())
		}
	default:
		from := 0
		if edge {
			from = digit(&w.after, i)
		}
		for d := from; d < len(e.node.kids) && len(w.page) < w.limit; d++ {
			w.visit(e.node.kids[d].Load(), i+1, edge && d == from)
		}
	}
}
