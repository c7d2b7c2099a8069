package oap

import (
	"context"
	"io"
)

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
