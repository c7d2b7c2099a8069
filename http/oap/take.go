package oap

import (
	"bytes"
	"context"
	"encoding/json"
	"runtime/debug"
)

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
