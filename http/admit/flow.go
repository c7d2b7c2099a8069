package admit

import (
	"container/list"
	"time"
)

// flow is one client as the machine knows it.
type flow struct {
	key     string
	weight  int
	rps     int // of its quota; 0: none
	quota   tokens
	open    int     // requests begun
	line    queue   // of those that wait
	waits   int     // in line, without those that resume
	writes  int     // of them
	deficit int     // units that it may spend in its turn; below zero it owes some
	credit  float64 // units that it has not asked for lately, of its share
	accrued time.Duration
	turn    bool   // it is having its turn
	epoch   uint64 // of both: see Machine.calm
	seen    bool   // it had to wait lately
	seenAt  time.Duration
	at      *list.Element
	list    *ring // it is on; nil: none
	before  *flow // on its ring
	after   *flow
}

// idle reports whether nothing of the flow is under way.
func (f *flow) idle() bool { return f.open == 0 && f.list == nil && !f.seen }

// ring is a list of flows, in the order of their turns.
type ring struct {
	first, last *flow
	n           int
}

func (r *ring) push(f *flow) {
	f.list, f.before, f.after = r, r.last, nil
	if r.last != nil {
		r.last.after = f
	} else {
		r.first = f
	}
	r.last = f
	r.n++
}

func (r *ring) remove(f *flow) {
	if f.before != nil {
		f.before.after = f.after
	} else {
		r.first = f.after
	}
	if f.after != nil {
		f.after.before = f.before
	} else {
		r.last = f.before
	}
	f.list, f.before, f.after, f.turn = nil, nil, nil, false
	r.n--
}

// Ticket is one request. It is made by Begin, and belongs to the machine until
// End.
type Ticket struct {
	flow  *flow
	class Class
	state state
	cost  int
	until time.Duration // of its patience
	again bool          // it resumes: it has had its token, and has no patience to lose
	prev  *Ticket       // in the flow's line
	next  *Ticket
	older *Ticket // among those of its class that wait
	newer *Ticket
	wake  chan error // of a Gate
}

type state uint8

const (
	stateNone   state = iota
	stateOpen         // begun
	stateQueued       // in line
	stateHeld         // has a slot
	stateParked       // has had one
)

// queue is a flow's line: first those that resume, then newcomers, each in order.
type queue struct {
	first, last *Ticket
	resuming    *Ticket // the last of those that resume; nil: none
}

func (q *queue) push(t *Ticket) {
	prev := q.last
	if t.again {
		prev = q.resuming
		q.resuming = t
	}
	t.prev = prev
	if prev == nil {
		t.next, q.first = q.first, t
	} else {
		t.next, prev.next = prev.next, t
	}
	if t.next == nil {
		q.last = t
	} else {
		t.next.prev = t
	}
}

func (q *queue) remove(t *Ticket) {
	if t == q.resuming {
		q.resuming = t.prev
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		q.first = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		q.last = t.prev
	}
	t.prev, t.next = nil, nil
}

// ages holds the newcomers of one class that wait, the oldest first.
type ages struct{ oldest, newest *Ticket }

func (a *ages) push(t *Ticket) {
	t.older = a.newest
	if a.newest != nil {
		a.newest.newer = t
	} else {
		a.oldest = t
	}
	a.newest = t
}

func (a *ages) remove(t *Ticket) {
	if t.older != nil {
		t.older.newer = t.newer
	} else {
		a.oldest = t.newer
	}
	if t.newer != nil {
		t.newer.older = t.older
	} else {
		a.newest = t.older
	}
	t.older, t.newer = nil, nil
}
