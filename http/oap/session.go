package oap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"slices"
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

// take carries out one frame. A number that is open is its exchange's, whatever
// application the frame names.
func (s *session) take(f *Frame) {
	s.mu.Lock()
	x := s.open[f.Corr]
	s.mu.Unlock()
	switch {
	case f.Flags&(FlagResp|FlagEvent) != 0 || f.Flags&FlagReq == 0:
		if x != nil {
			x.abort(ErrNotRequest)
			return
		}
		s.refuse(f.Corr, ErrNotRequest)
	case f.App == AppHello && x == nil:
		s.hello(f)
	case f.Flags&FlagStart != 0:
		s.start(f)
	default:
		s.data(f)
	}
}

func (s *session) hello(f *Frame) {
	body := bytes.TrimSpace(f.Payload)
	if len(body) > 0 && (body[0] != '{' || !json.Valid(body)) {
		s.refuse(f.Corr, ErrBadHello)
		return
	}
	_ = s.write(&Frame{Flags: FlagResp | FlagEnd, Code: 200, Corr: f.Corr, Tenant: f.Tenant, Payload: s.o.Hello()}) // a dead connection shows at the next read
}

// start begins an exchange.
func (s *session) start(f *Frame) {
	s.mu.Lock()
	old := s.open[f.Corr]
	full := len(s.open) >= s.limits.Inflight
	s.mu.Unlock()
	switch {
	case old != nil:
		old.abort(ErrDuplicateStart)
	case full:
		s.refuse(f.Corr, ErrTooManyStreams)
	default:
		s.begin(f)
		return
	}
	if f.Flags&FlagEnd == 0 {
		s.mu.Lock()
		s.expectLate(f.Corr)
		s.mu.Unlock()
	}
}

func (s *session) begin(f *Frame) {
	kept, err := s.keep(f)
	if err != nil {
		s.refuse(f.Corr, err)
		return
	}
	own := make([]byte, len(f.Cap)+len(f.Payload)) // one copy: the views end with the next frame
	n := copy(own, f.Cap)
	copy(own[n:], f.Payload)
	x := &Exchange{s: s, app: f.App, corr: f.Corr, tenant: f.Tenant, cap: own[:n:n], verb: own[n:], unary: f.Flags&FlagEnd != 0, frames: 1}
	x.ctx, x.cancel = context.WithTimeout(s.ctx, s.limits.StreamTotal)
	if !x.unary {
		x.chunks = make(chan chunk, 1)
	}
	select {
	case s.places <- struct{}{}:
	case <-s.ctx.Done():
		x.cancel()
		s.o.Memory.Add(-kept)
		return
	}
	s.mu.Lock()
	x.whole = x.unary
	s.open[f.Corr] = x
	s.forgetLate(f.Corr)
	if s.running++; s.running == 1 {
		s.o.State(s.conn, true)
	}
	s.mu.Unlock()
	s.handlers.Go(func() {
		defer s.returned()
		defer s.o.Memory.Add(-kept)
		defer x.cancel()
		defer x.over()
		s.o.Handle(x.ctx, x)
	})
}

// keep counts what a START makes the node keep, where that is much, before any
// handler could say whether it wants it.
func (s *session) keep(f *Frame) (kept int64, err error) {
	switch n := len(f.Payload); {
	case n <= maxVerb:
		return 0, nil
	case f.Flags&FlagEnd == 0 || n > MaxVerb:
		return 0, ErrVerbTooLarge
	default:
		kept = int64(n)
	}
	if s.o.Memory.Add(kept) > s.o.MemoryMax {
		s.o.Memory.Add(-kept)
		return 0, ErrNoMemory
	}
	return kept, nil
}

// grown counts the buffer of a large frame while it arrives.
func (s *session) grown() error {
	n := int64(len(s.dec.buf))
	if n <= bufferKept {
		n = 0
	}
	more := n - s.buffer
	s.buffer = n
	if s.o.Memory.Add(more) > s.o.MemoryMax && more > 0 {
		return ErrNoMemory
	}
	return nil
}

// returned counts a handler out.
func (s *session) returned() {
	s.mu.Lock()
	if s.running--; s.running == 0 {
		s.quiet = s.o.Now()
		s.o.State(s.conn, false)
		select {
		case s.rested <- struct{}{}:
		default:
		}
	}
	s.mu.Unlock()
	<-s.places
}

// over ends what its handler did not, after a panic too.
func (x *Exchange) over() {
	if v := recover(); v != nil {
		x.abort(&Fault{Name: "Panic", Code: 500, Detail: ErrHandler.Detail, Reason: string(debug.Stack())})
		return
	}
	x.abort(ErrHandler)
}

// data hands a piece of a request to its exchange. While the handler has not taken
// the one before, the connection waits.
func (s *session) data(f *Frame) {
	s.mu.Lock()
	x := s.open[f.Corr]
	if x == nil {
		known := s.isLate(f.Corr, f.Flags&FlagEnd != 0)
		s.mu.Unlock()
		if !known {
			s.refuse(f.Corr, ErrNoStart)
		}
		return
	}
	whole := x.whole
	x.whole = whole || f.Flags&FlagEnd != 0
	s.mu.Unlock()
	if whole {
		x.abort(ErrAfterEnd)
		return
	}
	c := chunk{end: f.Flags&FlagEnd != 0}
	switch x.frames++; {
	case len(f.Payload) > MaxChunk:
		c.err = ErrChunkTooLarge
	case x.frames > s.limits.StreamFrames:
		c.err = ErrTooManyFrames
	default:
		c.bytes = append([]byte(nil), f.Payload...)
	}
	select {
	case x.chunks <- c:
	case <-x.ctx.Done():
	}
}

// ended takes an exchange out whose answer is complete.
func (s *session) ended(x *Exchange) {
	s.mu.Lock()
	if s.open[x.corr] == x {
		delete(s.open, x.corr)
	}
	if !x.whole {
		s.expectLate(x.corr)
	}
	s.mu.Unlock()
}

// expectLate remembers that the rest of a request may still come; mu is held.
func (s *session) expectLate(corr uint64) {
	if slices.Contains(s.late, corr) {
		return
	}
	if len(s.late) == maxLate {
		s.late = s.late[:copy(s.late, s.late[1:])]
	}
	s.late = append(s.late, corr)
}

// isLate reports whether a frame belongs to a request that was answered before it
// ended; mu is held.
func (s *session) isLate(corr uint64, end bool) bool {
	for _, known := range s.late {
		if known == corr {
			if end {
				s.forgetLate(corr)
			}
			return true
		}
	}
	return false
}

func (s *session) forgetLate(corr uint64) {
	for i, known := range s.late {
		if known == corr {
			s.late = append(s.late[:i], s.late[i+1:]...)
			return
		}
	}
}

// refuse answers a frame that begins nothing.
func (s *session) refuse(corr uint64, err error) {
	code, body := s.o.Fault(err, corr)
	_ = s.write(&Frame{Flags: FlagResp | FlagEnd, Code: code, Corr: corr, Payload: body}) // a dead connection shows at the next read
}

// goodbye answers a fault of framing and ends the connection so that the client can
// read the answer.
func (s *session) goodbye(err error) {
	if s.ctx.Err() != nil {
		return
	}
	s.refuse(s.dec.Corr(), err)
	half, ok := s.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = s.conn.SetReadDeadline(s.o.Now().Add(goodbyeWait)) // a broken connection needs none
	_, _ = io.CopyN(io.Discard, s.conn, goodbyeRead)
}

// write sends one frame whole.
func (s *session) write(f *Frame) error {
	select {
	case s.turn <- struct{}{}:
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
	defer func() { <-s.turn }()
	if err := s.ctx.Err(); err != nil {
		return context.Cause(s.ctx)
	}
	s.out = AppendFrame(s.out[:0], f)
	err := s.conn.SetWriteDeadline(s.o.Now().Add(s.limits.WriteTimeout))
	if err == nil {
		_, err = s.conn.Write(s.out)
	}
	if cap(s.out) > bufferKept {
		s.out = nil
	}
	if err != nil { // a frame may be half out: nothing can follow
		s.cancel(errGone)
	}
	return err
}
