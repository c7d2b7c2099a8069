package oap

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"micronode/http/inflate"
)

// Of a connection's end.
const (
	maxLate     = 128 // exchanges that ended before their request did, remembered
	goodbyeWait = 250 * time.Millisecond
	goodbyeRead = 4 << 20
	halfWait    = time.Second // for the answers to a client that has said all it will
)

var errGone = errors.New("oap: the connection is gone")

// session is one connection. One goroutine reads it; handlers write to it.
type session struct {
	o      *Options
	limits Limits
	conn   net.Conn
	ctx    context.Context // of the connection: a session is a life of its own
	cancel context.CancelCauseFunc
	dec    Decoder
	due    time.Time // of the frame that has begun; zero: none has
	buffer int64     // counted of dec's

	handlers sync.WaitGroup
	places   chan struct{} // a token for each handler; more than may be open, since some have answered and not returned
	rested   chan struct{} // holds a token when the last handler has returned

	turn chan struct{} // holds a token while somebody writes and uses out
	out  []byte

	mu      sync.Mutex // guards all that follows, and the fields of exchanges that say so
	open    map[uint64]*Exchange
	late    []uint64
	running int       // handlers
	quiet   time.Time // since when none is
}

// run reads until the connection ends or a frame is at fault.
func (s *session) run() {
	for {
		f, ok, err := s.dec.Next(s.ctx)
		switch {
		case err != nil && errors.Is(err, inflate.ErrBusy): // the frame was whole
			s.refuse(s.dec.Corr(), err)
			continue
		case err != nil:
			s.goodbye(err)
			return
		case ok:
			s.due = time.Time{}
			s.take(&f)
			continue
		}
		switch err := s.read(); {
		case err == nil:
		case errors.Is(err, errIdle), s.ctx.Err() != nil:
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.goodbye(ErrFrameSlow)
			return
		case errors.Is(err, ErrNoMemory):
			s.goodbye(ErrNoMemory)
			return
		case errors.Is(err, io.EOF) && s.dec.Left() == 0:
			s.finish()
			return
		default:
			return
		}
	}
}

var errIdle = errors.New("oap: the connection has idled too long")

// read waits for more bytes: for the rest of a frame not long, for a new one as
// long as handlers work, else until the connection has idled enough. It fails with
// the deadline only when a frame is late.
func (s *session) read() error {
	begun := s.dec.Left() > 0
	if begun && s.due.IsZero() {
		s.due = s.o.Now().Add(s.limits.FrameTimeout)
	}
	for {
		due := s.due
		if !begun {
			due = s.idleEnd()
		}
		if err := s.conn.SetReadDeadline(due); err != nil {
			return err
		}
		if s.ctx.Err() != nil {
			return context.Cause(s.ctx)
		}
		room := s.dec.Room()
		if err := s.grown(); err != nil {
			return err
		}
		n, err := s.conn.Read(room)
		s.dec.Filled(n)
		switch {
		case n > 0:
			return nil
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded) || begun:
			return err
		case s.o.Now().Before(s.idleEnd()): // it was not idle meanwhile
		default:
			return errIdle
		}
	}
}

// idleEnd is when the connection will have idled enough, if nothing happens. Who
// waits for an answer may be silent.
func (s *session) idleEnd() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running > 0 {
		return s.o.Now().Add(s.limits.IdleTimeout)
	}
	return s.quiet.Add(s.limits.IdleTimeout)
}

// finish lets whole requests be answered after the client has closed its half, and
// gives the others up. It does not wait long: a client that has gone looks the same.
func (s *session) finish() {
	s.mu.Lock()
	working := s.running > 0
	for _, x := range s.open {
		if !x.whole {
			x.cancel()
		}
	}
	s.mu.Unlock()
	patience := time.NewTimer(halfWait)
	defer patience.Stop()
	for working {
		select {
		case <-s.rested:
		case <-patience.C:
			return
		case <-s.ctx.Done():
			return
		}
		s.mu.Lock()
		working = s.running > 0
		s.mu.Unlock()
	}
}
