package httpapi

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"

	"micronode/store"
)

// Bounds of bodies and answers of the mailbox.
const (
	maxMailboxBody = 2 << 20   // of a request: one payload of 1 MiB in base64, or a batch
	keptBuffer     = 256 << 10 // larger buffers are not kept for the next request
)

// buffers are lent to one request at a time.
type buffers struct{ pool sync.Pool }

func (b *buffers) get() *bytes.Buffer {
	if buf, ok := b.pool.Get().(*bytes.Buffer); ok {
		buf.Reset()
		return buf
	}
	return new(bytes.Buffer)
}

func (b *buffers) put(buf *bytes.Buffer) {
	if buf.Cap() <= keptBuffer {
		b.pool.Put(buf)
	}
}

// readMailbox reads a body whole and hands it to use, which keeps no part of it.
// Each slice has its own deadline; the request as a whole has none until it is read.
func (s *server) readMailbox(w *reply, r *http.Request, use func(raw []byte) error) error {
	if err := checkJSONType(r.Header); err != nil {
		return err
	}
	if r.ContentLength > maxMailboxBody {
		return bodyTooLarge()
	}
	buf := s.buffers.get()
	defer s.buffers.put(buf)
	buf.Grow(int(min(max(r.ContentLength, 0)+bytes.MinRead, sliceBytes))) // more only as it comes
	body := newSlicedBody(w, r, s.limits().RequestTimeout).asking(&s.unread, false)
	defer body.close()
	_, err := buf.ReadFrom(io.LimitReader(body, maxMailboxBody+1))
	w.unread = !body.whole
	switch {
	case err != nil:
		return err
	case buf.Len() > maxMailboxBody:
		return bodyTooLarge()
	}
	return use(buf.Bytes())
}

func bodyTooLarge() error {
	return refuse(store.ErrTooLarge, "A request to the mailbox may have "+strconv.Itoa(maxMailboxBody)+" bytes. Send fewer messages at a time, or put large payloads as objects.")
}

// timely bounds the work that follows a body.
func (s *server) timely(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.limits().RequestTimeout)
}

// writeBytes answers with a body that was made by hand, in one piece.
func (w *reply) writeBytes(body []byte) {
	h := w.Header()
	h["Content-Type"] = headerJSON
	h["Cache-Control"] = headerNoStore
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) // a client that left is seen in the exchange
}
