package httpapi

import (
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// admission decides whether a request may work now. Each enter that returns nil
// is followed by one leave.
type admission interface {
	enter(now time.Time) error
	leave()
}

// slots is a bound on what works at a time, with an optional rate before it.
type slots struct {
	taken atomic.Int64
	max   int64
	rate  *rate.Limiter // nil: any rate
}

func newSlots(inflight, rps int) *slots {
	s := &slots{max: int64(inflight)}
	if rps > 0 {
		s.rate = rate.NewLimiter(rate.Limit(rps), max(1, rps/rateBurstDivisor))
	}
	return s
}

func (s *slots) enter(now time.Time) error {
	if s.rate != nil && !s.rate.AllowN(now, 1) {
		return ErrRateLimited
	}
	if s.taken.Add(1) > s.max {
		s.taken.Add(-1)
		return ErrOverload
	}
	return nil
}

func (s *slots) leave() { s.taken.Add(-1) }

// free is the admission of what must never wait: health, metrics and tails.
type free struct{}

func (free) enter(time.Time) error { return nil }
func (free) leave()                {}

// slot is one request's place in an admission. A poll that waits gives it back
// early; giving it back twice changes nothing.
type slot struct {
	at   admission
	held bool
}

func (s *slot) enter(now time.Time) error {
	err := s.at.enter(now)
	s.held = err == nil
	return err
}

func (s *slot) leave() {
	if s.held {
		s.held = false
		s.at.leave()
	}
}
