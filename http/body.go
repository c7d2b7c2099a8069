package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// slicedBody reads a request's body. Each 64 KiB must arrive within the request
// timeout, however long the whole is; how it ended badly is kept in err.
type slicedBody struct {
	intake
	r       *http.Request
	w       *reply
	timeout time.Duration
	err     error // a refusal, once the body broke
	whole   bool  // read to its end
}

func newSlicedBody(w *reply, r *http.Request, timeout time.Duration) *slicedBody {
	return &slicedBody{r: r, w: w, timeout: timeout}
}

// asking makes the body ask for the right to work, and unread count what it keeps:
// all of it, or where the store charges what has come, one slice.
func (b *slicedBody) asking(unread *atomic.Int64, charged bool) *slicedBody {
	b.ctx, b.place, b.unread, b.charged = b.r.Context(), &b.w.place, unread, charged
	return b
}

// Read implements io.Reader.
func (b *slicedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if !b.whole {
		if b.left == 0 {
			if b.err = b.begin(); b.err != nil {
				return 0, b.err
			}
		}
		p = p[:min(len(p), b.left)]
	}
	n, err := b.r.Body.Read(p)
	b.w.in += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = bodyError(err)
		return n, b.err
	}
	if b.err = b.w.tooLong(b.read + int64(n)); b.err != nil {
		return 0, b.err
	}
	if err != nil || b.read+int64(n) == b.r.ContentLength {
		b.finish()
	}
	if b.whole {
		if b.err = b.w.auth.still(); b.err != nil { // it may have been revoked while the body came
			return 0, b.err
		}
	}
	if b.err = b.took(n, b.whole); b.err != nil {
		return 0, b.err
	}
	return n, err
}

// begin waits for the next slice.
func (b *slicedBody) begin() error {
	if err := b.next(); err != nil {
		return err
	}
	if b.read > 0 {
		if err := b.w.auth.still(); err != nil {
			return err
		}
	}
	b.w.become(connBody)
	b.setDeadline(b.w.conn.set.now().Add(b.timeout))
	return nil
}

// finish says that the body is whole. net/http takes the deadline off itself
// when it begins to watch whether the client leaves.
func (b *slicedBody) finish() {
	if b.whole {
		return
	}
	b.whole = true
	b.w.become(connWorking)
}

func (b *slicedBody) setDeadline(t time.Time) {
	_ = http.NewResponseController(b.w).SetReadDeadline(t) // a broken connection shows at the next read
}

func bodyError(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrTimeout
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errBodyCut
	default:
		return fmt.Errorf("%w: %w", errBodyCut, err)
	}
}

// unreadWait is how long a client may go on sending a large body that is not
// wanted, so that it reads the refusal instead of a reset.
const unreadWait = 500 * time.Millisecond

// tooLong reports a body that is not worth reading over: a long or endless one,
// or one that was asked about first.
func tooLong(r *http.Request) bool {
	return r.ContentLength < 0 || r.ContentLength > sliceBytes || r.Header["Expect"] != nil
}

// readOver reads a short body that the route has no use for, before the request
// takes a slot; while it waits, the connection may be closed to make room. A body
// that does not come whole, or is not worth it, ends the connection after the answer.
func (w *reply) readOver(r *http.Request, timeout time.Duration) {
	if !tooLong(r) {
		body := newSlicedBody(w, r, timeout)
		_, _ = io.Copy(io.Discard, body) // how it ended is told by whole
		w.unread = !body.whole
	}
	if w.unread {
		w.lastOnConnection()
	}
}

// leaveBody bounds the wait for a body that nobody will read, as the last thing
// before the handler returns: net/http reads over it then, and meanwhile the
// connection may be closed to make room. After a short one it lives on; a long or
// endless one, or one that was asked about first, ends it.
func (w *reply) leaveBody(r *http.Request, timeout time.Duration) {
	if r.ContentLength == 0 {
		return
	}
	w.become(connBody)
	wait := timeout
	if tooLong(r) {
		wait = min(wait, unreadWait)
		if w.status == 0 {
			w.lastOnConnection()
		}
	}
	_ = http.NewResponseController(w).SetReadDeadline(w.conn.set.now().Add(wait)) // a broken connection needs no deadline
}
