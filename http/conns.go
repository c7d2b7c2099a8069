package httpapi

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// connSet is the connections of one plane, never more than max.
type connSet struct {
	max     int
	now     func() time.Time
	timeout atomic.Int64                                  // ns, of one write of 64 KiB
	kick    chan struct{}                                 // holds one token: something may have changed
	parked  atomic.Int64                                  // long polls that wait
	plain   func(status int, said string, c *conn) []byte // words net/http's own refusals; nil: they stay as they are

	tls   *keeper // nil: plain
	plane string

	mu    sync.Mutex // guards all that follows
	all   map[*conn]struct{}
	queue []waiting // those that have waited longest, as they were found last
	alive int       // goroutines of net/http that serve connections
	gone  bool      // nothing is taken in any more
}

func newConnSet(limit int, timeout time.Duration, now func() time.Time) *connSet {
	s := &connSet{max: limit, now: now, kick: make(chan struct{}, 1), all: map[*conn]struct{}{}}
	s.timeout.Store(int64(timeout))
	return s
}

// patience is how long one write of 64 KiB may take.
func (s *connSet) patience() time.Duration { return time.Duration(s.timeout.Load()) }

// configure sets another bound; who is beyond it stays until others want in.
func (s *connSet) configure(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.max = limit
}

// add takes a connection in. At the bound, the one that has waited longest
// without a complete request makes room (contract §6); false when all are working.
func (s *connSet) add(nc net.Conn) (*conn, bool) {
	c := &conn{Conn: nc, raw: nc, set: s, uid: -1}
	if s.tls != nil {
		c.tls = s.tls.server(nc, s.plane)
		c.Conn = c.tls
	}
	c.since.Store(s.now().UnixNano())
	s.mu.Lock()
	var victim *conn
	if len(s.all) >= s.max {
		if victim = s.longestWaiting(); victim == nil {
			s.mu.Unlock()
			return nil, false
		}
		delete(s.all, victim)
	}
	gone := s.gone
	if !gone {
		s.all[c] = struct{}{}
	}
	s.mu.Unlock()
	if victim != nil {
		_ = victim.raw.Close() // its serving goroutine notices
	}
	return c, !gone
}

// stalledAfter is how long a client may take none of what is written to it before
// its connection makes room for others.
const stalledAfter = time.Second

// waiting is a connection that waits, and since when.
type waiting struct {
	c     *conn
	since int64
}

// foundAtOnce is how many that have waited longest are found at a time: whoever
// begins to wait later comes behind them, so that they stay the first.
const foundAtOnce = 64

// longestWaiting is called with mu held. Who does not read what it asked for makes
// room when nobody else waits. A poll that waits for a message does so only when
// nothing else can: it loses nothing, and /healthz stays reachable.
func (s *connSet) longestWaiting() *conn {
	for range 2 {
		for i, w := range s.queue {
			if _, in := s.all[w.c]; in && w.c.waits() && w.c.since.Load() == w.since {
				s.queue = s.queue[i+1:]
				return w.c
			}
		}
		s.findWaiting()
	}
	var stalled, parked *conn
	late := s.now().Add(-stalledAfter).UnixNano()
	for c := range s.all {
		switch c.state.Load() {
		case connWorking:
			if w := c.writing.Load(); w != 0 && w < late && (stalled == nil || w < stalled.writing.Load()) {
				stalled = c
			}
		case connParked:
			if parked == nil || c.since.Load() < parked.since.Load() {
				parked = c
			}
		}
	}
	return cmp.Or(stalled, parked)
}

// findWaiting looks at all connections.
func (s *connSet) findWaiting() {
	s.queue = s.queue[:0]
	for c := range s.all {
		if c.waits() {
			s.queue = append(s.queue, waiting{c, c.since.Load()})
		}
	}
	slices.SortFunc(s.queue, func(a, b waiting) int { return cmp.Compare(a.since, b.since) })
	clear(s.queue[min(len(s.queue), foundAtOnce):])
	s.queue = s.queue[:min(len(s.queue), foundAtOnce)]
}

func (s *connSet) remove(c *conn) {
	s.mu.Lock()
	delete(s.all, c)
	s.mu.Unlock()
	s.changed()
}

// has reports whether a connection has not had to make room.
func (s *connSet) has(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, in := s.all[c]
	return in
}

func (s *connSet) changed() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (s *connSet) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// quiesce waits until no connection is left, closing those that were quiet for
// drainIdle since began: long enough for a client that was about to send. In a
// short drain it is half of the time there is.
func (s *connSet) quiesce(ctx context.Context, began time.Time) error {
	idle := drainIdle
	if end, ok := ctx.Deadline(); ok {
		idle = min(idle, max(0, end.Sub(s.now()))/2)
	}
	for {
		left, wait := s.closeQuiet(began, idle)
		if left == 0 {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-s.kick:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// closeQuiet returns how many are left, and how long until one may be due.
func (s *connSet) closeQuiet(began time.Time, idle time.Duration) (left int, wait time.Duration) {
	now := s.now()
	wait = drainIdle // without one that is quiet
	var due []*conn
	s.mu.Lock()
	for c := range s.all {
		if c.state.Load() != connQuiet {
			continue
		}
		since := time.Unix(0, c.since.Load())
		if since.Before(began) {
			since = began
		}
		if age := now.Sub(since); age >= idle {
			due = append(due, c)
			delete(s.all, c)
		} else {
			wait = min(wait, idle-age)
		}
	}
	left = len(s.all)
	s.mu.Unlock()
	for _, c := range due {
		_ = c.raw.Close() // its serving goroutine notices
	}
	return left, wait
}

// serving counts the goroutines of net/http, by which waitServed ends.
func (s *connSet) serving(delta int) {
	s.mu.Lock()
	s.alive += delta
	s.mu.Unlock()
	s.changed()
}

// waitServed waits until no goroutine serves a connection any more.
func (s *connSet) waitServed(ctx context.Context) error {
	for {
		s.mu.Lock()
		alive := s.alive
		s.mu.Unlock()
		if alive == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d connections do not end: %w", alive, ctx.Err())
		case <-s.kick:
		}
	}
}

// closeAll cuts every connection and takes no more.
func (s *connSet) closeAll() {
	s.mu.Lock()
	s.gone = true
	all := slices.Collect(maps.Keys(s.all))
	s.mu.Unlock()
	for _, c := range all {
		_ = c.raw.Close() // its serving goroutine notices
	}
}
