package kernel

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the bus when BusOptions names none (contract §10).
const (
	DefaultRing    = 512
	DefaultHistory = 1024
)

// BusOptions configures a Bus. A bound below 1 is the default.
type BusOptions struct {
	Ring    int              // events that wait for one subscriber: DefaultRing
	History int              // events kept for late subscribers: DefaultHistory
	Now     func() time.Time // nil = time.Now
}

// Bus carries events to any number of subscribers in one total order. Publish
// never blocks and never fails: a subscriber that does not keep up loses its
// oldest events and is told how many.
type Bus struct {
	ring   int
	now    func() time.Time
	lagged atomic.Uint64

	mu      sync.Mutex
	seq     uint64
	history history
	subs    map[*Sub]struct{}
	closed  bool
}

// NewBus returns an open bus. It owns no goroutine.
func NewBus(o BusOptions) *Bus {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Ring < 1 {
		o.Ring = DefaultRing
	}
	if o.History < 1 {
		o.History = DefaultHistory
	}
	return &Bus{
		ring: o.Ring, now: o.Now, history: newHistory(o.History), subs: map[*Sub]struct{}{},
	}
}

// Publish gives e the next sequence number, and the time if it has none, and
// hands it to everybody. After Close it does nothing.
func (b *Bus) Publish(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.seq++
	e.Seq = b.seq
	if e.TS.IsZero() {
		e.TS = b.now()
	}
	b.history.push(e)
	for s := range b.subs {
		if s.q.wants(e.Topic, e.Kind) {
			s.push(e)
		}
	}
}

// Query selects events. The zero value selects everything from now on.
type Query struct {
	Topic string    // this topic and all below it; "" = all
	Kind  string    // "" = all
	After uint64    // replay the history after this sequence number, when > 0
	Since time.Time // replay the history from this time on, when not zero
}

// wants reports whether the query selects events of this topic and kind.
func (q *Query) wants(topic, kind string) bool {
	return below(topic, q.Topic) && (q.Kind == "" || q.Kind == kind)
}

// Subscribe starts a subscription; history that the query asks for comes first
// and counts against the ring like any event. What has fallen out of it since
// Query.After is told as lag before the first event: none if nothing of the
// query is lost, else at least one and at most what fell out. Close it.
func (b *Bus) Subscribe(q Query) *Sub {
	s := &Sub{bus: b, q: q, buf: ring{max: b.ring}, wake: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if q.After > 0 || !q.Since.IsZero() {
		b.replay(s)
	}
	if b.closed {
		s.closed = true
		s.kick()
		return s
	}
	b.subs[s] = struct{}{}
	return s
}

// replay copies history. A position beyond the newest event is of an earlier
// bus (numbers begin anew with each process): then everything is new.
func (b *Bus) replay(s *Sub) {
	after := s.q.After
	if after > b.seq {
		after = 0
	}
	if after > 0 {
		s.lag = b.history.missed(&s.q, after)
	}
	for i := range b.history.n {
		e := b.history.at(i)
		if e.Seq <= after || (!s.q.Since.IsZero() && e.TS.Before(s.q.Since)) {
			continue
		}
		if s.q.wants(e.Topic, e.Kind) {
			s.push(e)
		}
	}
}

// Seq returns the number of the newest event.
func (b *Bus) Seq() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seq
}

// Subscribers returns how many subscriptions are open.
func (b *Bus) Subscribers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subs)
}

// Lagged returns how many events slow subscribers have lost in all.
func (b *Bus) Lagged() uint64 { return b.lagged.Load() }

// Close ends every subscription once it has read what waits for it.
func (b *Bus) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for s := range b.subs {
		s.end()
	}
	clear(b.subs)
}

// below reports whether topic is t or lies under it.
func below(topic, t string) bool {
	return t == "" || strings.HasPrefix(topic, t) && (len(topic) == len(t) || topic[len(t)] == '.')
}
