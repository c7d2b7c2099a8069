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
	"sync"
	"time"

	"micronode/http/inflate"
)

// Of a connection's end.
const (
	maxLate     = 128 // exchanges that ended before their request did, remembered
	goodbyeWait = 250 * time.Millisecond
	goodbyeRead = 64 << 10
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

	handlers sync.WaitGroup

	writing sync.Mutex // guards the connection's writes, and out
	out     []byte

	mu   sync.Mutex // guards open, late and the fields of exchanges that say so
	open map[uint64]*Exchange
	late []uint64
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
			s.take(&f)
			continue
		}
		if err := s.read(); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && s.ctx.Err() == nil {
				s.goodbye(ErrFrameSlow)
			}
			return
		}
	}
}

// read waits for more bytes: for the rest of a frame not long, for a new one as
// long as exchanges are open, else until the connection has idled enough. It
// fails with the deadline only when a frame is late.
func (s *session) read() error {
	for {
		begun := s.dec.Left() > 0
		wait := s.limits.IdleTimeout
		if begun {
			wait = s.limits.FrameTimeout
		}
		due := s.o.Now().Add(wait)
		for {
			if err := s.conn.SetReadDeadline(due); err != nil {
				return err
			}
			if s.ctx.Err() != nil {
				return context.Cause(s.ctx)
			}
			n, err := s.conn.Read(s.dec.Room())
			s.dec.Filled(n)
			switch {
			case n > 0 && !begun, n > 0 && s.whole():
				return nil
			case n > 0: // more of the same frame, under the same deadline
				continue
			case err == nil:
				continue
			case !errors.Is(err, os.ErrDeadlineExceeded) || begun:
				return err
			case s.busy():
				// who waits for an answer may be silent
			default:
				return io.EOF
			}
			break
		}
	}
}

// whole reports whether Next has something to say.
func (s *session) whole() bool {
	b := s.dec.buf[s.dec.r:s.dec.w]
	if len(b) < HeaderBytes {
		return false
	}
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	return n > MaxFrame || len(b) >= int(n)
}

func (s *session) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open) > 0
}

// take carries out one frame.
func (s *session) take(f *Frame) {
	switch {
	case f.Flags&(FlagResp|FlagEvent) != 0 || f.Flags&FlagReq == 0:
		s.refuse(f.Corr, ErrNotRequest)
	case f.App == AppHello:
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
	own := make([]byte, len(f.Cap)+len(f.Payload)) // one copy: the views end with the next frame
	n := copy(own, f.Cap)
	copy(own[n:], f.Payload)
	x := &Exchange{s: s, app: f.App, corr: f.Corr, tenant: f.Tenant, cap: own[:n:n], verb: own[n:], unary: f.Flags&FlagEnd != 0, frames: 1}
	x.ctx, x.cancel = context.WithTimeout(s.ctx, s.limits.StreamTotal)
	if !x.unary {
		x.chunks = make(chan chunk, 1)
	}
	s.mu.Lock()
	x.whole = x.unary
	s.open[f.Corr] = x
	first := len(s.open) == 1
	s.forgetLate(f.Corr)
	s.mu.Unlock()
	if first {
		s.o.State(s.conn, true)
	}
	s.handlers.Go(func() {
		defer x.cancel()
		defer x.over()
		s.o.Handle(x.ctx, x)
	})
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
	last := len(s.open) == 0
	s.mu.Unlock()
	if last {
		s.o.State(s.conn, false)
	}
}

// expectLate remembers that the rest of a request may still come; mu is held.
func (s *session) expectLate(corr uint64) {
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
	s.writing.Lock()
	defer s.writing.Unlock()
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
