package oap

import (
	"context"
	"errors"
)

// answer is one frame of the server's.
type answer struct {
	flags, code uint16
	payload     []byte
}

func (a *answer) last() bool { return a.flags&FlagEnd != 0 }

// request is an exchange as its client sees it. It is for one goroutine.
type request struct {
	c       *Client
	app     uint16
	corr    uint64
	answers chan answer
	done    chan struct{} // closed when nothing more is wanted
	begun   bool          // START is out
	over    bool          // the last answer has come, or the connection is lost
}

// begin waits for a place among the open exchanges. The caller calls end.
func (c *Client) begin(ctx context.Context, app uint16) (*request, error) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.gone:
		return nil, c.reason()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++ // 0 stays free: it is what faults without an exchange have
	x := &request{c: c, app: app, corr: c.next, answers: make(chan answer, 1), done: make(chan struct{})}
	c.open[x.corr] = x
	return x, nil
}

// end gives the place back. An exchange that is not over is given up: a second
// START of its corr_id ends it at the server without an answer that counts
// (contract §7).
func (x *request) end() {
	close(x.done)
	x.c.mu.Lock()
	delete(x.c.open, x.corr)
	x.c.mu.Unlock()
	if x.begun && !x.over {
		_ = x.send(context.Background(), FlagReq|FlagStart|FlagEnd, nil) // a lost connection has given it up too
	}
	<-x.c.slots
}

// send sends one frame; the capability goes with START.
func (x *request) send(ctx context.Context, flags uint16, payload []byte) error {
	f := Frame{Flags: flags, App: x.app, Corr: x.corr, Payload: payload}
	if flags&FlagStart != 0 {
		f.Cap = x.c.o.Cap
	}
	size := HeaderBytes + len(f.Cap) + len(payload)
	if size > MaxFrame || len(f.Cap) > 0xffff {
		return errTooLong
	}
	err := x.c.write(ctx, AppendFrame(make([]byte, 0, size), &f))
	x.begun = x.begun || err == nil
	return err
}

var errTooLong = errors.New("oap: the request does not fit a frame of 1 MiB with a capability of at most 65535 bytes; send less at a time")

// next waits for the next frame of the answer. An answer that is an error comes as
// that error.
func (x *request) next(ctx context.Context) (a answer, err error) {
	select {
	case a = <-x.answers:
		return a, x.judge(&a)
	default:
	}
	select {
	case a = <-x.answers:
	case <-ctx.Done():
		return a, ctx.Err()
	case <-x.c.gone:
		select {
		case a = <-x.answers: // it came before
		default:
			x.over = true
			return a, x.c.reason()
		}
	}
	return a, x.judge(&a)
}

func (x *request) judge(a *answer) error {
	x.over = x.over || a.last()
	if a.last() && a.code >= 400 {
		return x.c.errorOf(a.code, a.payload)
	}
	return nil
}

// early reports whether the server has ended the exchange before the request did.
func (x *request) early() (a answer, ok bool) {
	select {
	case a = <-x.answers:
		return a, true
	default:
		return a, false
	}
}

// all waits for the rest of an answer and joins its payloads.
func (x *request) all(ctx context.Context) (body []byte, err error) {
	for {
		a, err := x.next(ctx)
		switch {
		case err != nil:
			return nil, err
		case len(body)+len(a.payload) > maxAnswer:
			return nil, errors.New("oap: the answer is longer than 16 MiB; ask for less at a time")
		case body == nil:
			body = a.payload
		default:
			body = append(body, a.payload...)
		}
		if a.last() {
			return body, nil
		}
	}
}

// Call makes an exchange whose request is one frame, such as the mailbox's verbs,
// and returns all payloads of the answer joined. Errors: that of the answer, of ctx,
// or of the connection.
func (c *Client) Call(ctx context.Context, app uint16, verb []byte) ([]byte, error) {
	x, err := c.begin(ctx, app)
	if err != nil {
		return nil, err
	}
	defer x.end()
	if err := x.send(ctx, FlagReq|FlagStart|FlagEnd, verb); err != nil {
		return nil, err
	}
	return x.all(ctx)
}
