package kernel

import (
	"context"
	"io"
	"sync"
)

// Sub is one subscription. One goroutine reads it.
type Sub struct {
	bus  *Bus
	q    Query
	wake chan struct{} // cap 1

	mu     sync.Mutex
	buf    ring
	lag    uint64 // lost since the last Next
	closed bool
}

func (s *Sub) push(e Event) {
	s.mu.Lock()
	if s.buf.push(e) {
		s.lag++
		s.bus.lagged.Add(1)
	}
	s.mu.Unlock()
	s.kick()
}

func (s *Sub) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Sub) end() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.kick()
}

// Next waits for the next event. lag counts the events that this subscriber
// lost directly before it. After Close of either side the events that wait are
// still delivered, then io.EOF; ctx's error when ctx ends first.
func (s *Sub) Next(ctx context.Context) (e Event, lag uint64, err error) {
	for {
		s.mu.Lock()
		if s.buf.n > 0 {
			e, lag = s.buf.pop(), s.lag
			s.lag = 0
			s.mu.Unlock()
			return e, lag, nil
		}
		closed := s.closed
		s.mu.Unlock()
		if closed {
			return Event{}, 0, io.EOF
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return Event{}, 0, context.Cause(ctx)
		}
	}
}

// Close ends the subscription. It may be called more than once.
func (s *Sub) Close() {
	s.bus.mu.Lock()
	delete(s.bus.subs, s)
	s.bus.mu.Unlock()
	s.end()
}

// Handle runs fn for every event of the subscription on a goroutine of its
// own until the bus or the subscription closes. A panic or runtime.Goexit of fn
// costs that one event; it is published as a Fault and never ends the process.
// The returned function closes the subscription, lets fn finish what waits, and
// returns.
func (s *Sub) Handle(fn func(e Event, lag uint64)) (stop func()) {
	var wg sync.WaitGroup
	var read func()
	read = func() {
		ended := false
		defer func() {
			if !ended { // fn took this goroutine down: another goes on
				wg.Go(read)
			}
		}()
		for {
			e, lag, err := s.Next(context.Background()) // ends with Close
			if err != nil {
				ended = true
				return
			}
			s.handle(fn, e, lag)
		}
	}
	wg.Go(read)
	return func() {
		s.Close()
		wg.Wait()
	}
}

func (s *Sub) handle(fn func(Event, uint64), e Event, lag uint64) {
	returned := false
	defer func() {
		v := recover()
		if returned || e.Kind == KindFault { // never answer a fault with a fault
			return
		}
		c := &crash{reason: "event handler ended by runtime.Goexit on " + e.Kind}
		if v != nil {
			c = crashOf("event handler panicked on "+e.Kind+": ", v)
		}
		s.bus.Publish(Event{Topic: e.Topic, Kind: KindFault, Service: e.Service, Data: FaultData{What: c.reason, Stack: c.stack}})
	}()
	fn(e, lag)
	returned = true
}
