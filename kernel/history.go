package kernel

import "time"

// history is what late subscribers can still get, and of what is gone as much
// as it takes to tell them whether they have lost anything.
type history struct {
	ring
	lost   map[subject]*loss
	others loss // of subjects beyond maxSubjects
}

// subject is what a query selects by.
type subject struct{ topic, kind string }

// maxSubjects bounds the subjects of lost events that are told apart. Those
// beyond count as lost for everybody.
const maxSubjects = 256

// loss counts the events of one subject that have fallen out of the history.
type loss struct {
	n    uint64
	last uint64    // the newest of them
	at   time.Time // its time
}

func newHistory(max int) history {
	return history{ring: ring{max: max}, lost: map[subject]*loss{}}
}

func (h *history) push(e Event) {
	if h.n == h.max {
		h.forget(h.at(0))
	}
	h.ring.push(e)
}

func (h *history) forget(e Event) {
	of := subject{e.Topic, e.Kind}
	l, known := h.lost[of]
	switch {
	case known:
	case len(h.lost) < maxSubjects:
		l = &loss{}
		h.lost[of] = l
	default:
		l = &h.others
	}
	l.n, l.last, l.at = l.n+1, e.Seq, e.TS
}

// missed returns how many events after the given one are gone that the query
// would have selected: 0 if there are none, else an upper bound.
func (h *history) missed(q *Query, after uint64) uint64 {
	n := h.others.since(q, after)
	for of, l := range h.lost {
		if q.wants(of.topic, of.kind) {
			n += l.since(q, after)
		}
	}
	if n == 0 {
		return 0
	}
	return min(n, h.at(0).Seq-after-1)
}

func (l *loss) since(q *Query, after uint64) uint64 {
	if l.last <= after || l.at.Before(q.Since) {
		return 0
	}
	return min(l.n, l.last-after)
}

// ring is a bounded FIFO that grows to its bound and then drops the oldest.
type ring struct {
	max  int
	buf  []Event
	head int
	n    int
}

func (r *ring) at(i int) Event { return r.buf[(r.head+i)%len(r.buf)] }

// push reports whether an older event had to go.
func (r *ring) push(e Event) (dropped bool) {
	if r.n == len(r.buf) {
		if r.n == r.max {
			r.buf[r.head] = e
			r.head = (r.head + 1) % r.max
			return true
		}
		grown := make([]Event, min(max(16, 2*r.n), r.max))
		for i := range r.n {
			grown[i] = r.at(i)
		}
		r.buf, r.head = grown, 0
	}
	r.buf[(r.head+r.n)%len(r.buf)] = e
	r.n++
	return false
}

func (r *ring) pop() Event {
	e := r.buf[r.head]
	r.buf[r.head] = Event{}
	r.head = (r.head + 1) % len(r.buf)
	r.n--
	return e
}
