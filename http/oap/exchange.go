package oap

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// chunk is a DATA frame on its way to the handler.
type chunk struct {
	bytes []byte
	end   bool
	err   error
}

// Exchange is one request and its answer. It is for one goroutine, its handler's.
type Exchange struct {
	s      *session
	ctx    context.Context // of the handler, as in http.Request
	cancel context.CancelFunc
	app    uint16
	corr   uint64
	tenant [16]byte
	cap    []byte
	verb   []byte
	unary  bool

	chunks chan chunk
	left   []byte
	err    error // of reading
	in     int64

	answered atomic.Bool
	frames   int  // of the reading goroutine
	whole    bool // the request has ended; guarded by session.mu
}

// App is the application that the exchange is for.
func (x *Exchange) App() uint16 { return x.app }

// Verb is the payload of START.
func (x *Exchange) Verb() []byte { return x.verb }

// Cap is the capability that came with START.
func (x *Exchange) Cap() []byte { return x.cap }

// Corr is the client's number of the exchange.
func (x *Exchange) Corr() uint64 { return x.corr }

// Unary reports whether START was the whole request.
func (x *Exchange) Unary() bool { return x.unary }

// Conn is the connection, as it was given to ServeConn.
func (x *Exchange) Conn() net.Conn { return x.s.conn }

// Remote is the peer's address.
func (x *Exchange) Remote() net.Addr { return x.s.conn.RemoteAddr() }

// BytesIn is how many bytes of DATA have been read.
func (x *Exchange) BytesIn() int64 { return x.in }

// Read reads the DATA of the request: io.EOF behind its END, a [*Fault],
// os.ErrDeadlineExceeded when the next frame is late, io.ErrUnexpectedEOF when the
// connection is gone.
func (x *Exchange) Read(p []byte) (int, error) {
	for len(x.left) == 0 {
		if x.err == nil && x.unary {
			x.err = io.EOF
		}
		if x.err != nil {
			return 0, x.err
		}
		x.await()
	}
	n := copy(p, x.left)
	x.left = x.left[n:]
	x.in += int64(n)
	return n, nil
}

// await takes the next chunk, or the reason why there is none.
func (x *Exchange) await() {
	var c chunk
	select {
	case c = <-x.chunks:
	default:
		patience := time.NewTimer(x.s.limits.StreamIdle)
		defer patience.Stop()
		select {
		case c = <-x.chunks:
		case <-patience.C:
			c.err = os.ErrDeadlineExceeded
		case <-x.ctx.Done():
			c.err = io.ErrUnexpectedEOF
			if errors.Is(x.ctx.Err(), context.DeadlineExceeded) {
				c.err = os.ErrDeadlineExceeded
			}
		}
	}
	x.left, x.err = c.bytes, c.err
	if c.end && c.err == nil {
		x.err = io.EOF
	}
}

var (
	errAnswered = errors.New("oap: the exchange has ended")
	errTooLarge = errors.New("oap: the answer does not fit a frame; send it with Write")
)

// Start begins an answer that has more than one frame.
func (x *Exchange) Start(meta []byte) error { return x.send(FlagResp|FlagStart, meta) }

// Write sends bytes of an answer, in frames of at most MaxChunk.
func (x *Exchange) Write(p []byte) (n int, err error) {
	for n < len(p) {
		part := p[n:min(len(p), n+MaxChunk)]
		if err := x.send(FlagResp, part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

func (x *Exchange) send(flags uint16, payload []byte) error {
	switch {
	case x.answered.Load():
		return errAnswered
	case len(payload) > MaxFrame-HeaderBytes:
		return errTooLarge
	}
	return x.s.write(&Frame{Flags: flags, Code: 200, App: x.app, Tenant: x.tenant, Corr: x.corr, Payload: payload})
}

// End completes the answer, once. A body that does not fit a frame is an error, and
// the exchange stays open.
func (x *Exchange) End(code uint16, body []byte) error {
	if len(body) > MaxFrame-HeaderBytes {
		return errTooLarge
	}
	if !x.answered.CompareAndSwap(false, true) {
		return errAnswered
	}
	x.s.ended(x) // first: whoever reads the answer may use the corr_id again
	return x.s.write(&Frame{Flags: FlagResp | FlagEnd, Code: code, App: x.app, Tenant: x.tenant, Corr: x.corr, Payload: body})
}

// abort ends an exchange over its handler's head.
func (x *Exchange) abort(f *Fault) {
	if x.answered.Load() {
		return
	}
	code, body := x.s.o.Fault(f, x.corr)
	_ = x.End(code, body) // a dead connection shows at the next read
	x.cancel()
}
