package httpapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"micronode/store/mbox"
)

// mboxStream answers POST /mbox/recv/stream: an envelope a line until the client
// leaves or the plane drains. What the client holds is bounded by its window, so
// a slow one does not lease what it can not work on. A stream that can not go on
// is cut: who asks again is told why.
func (s *server) mboxStream(ctx context.Context, w *reply, r *http.Request) error {
	want, err := s.wantOf(w, r, true)
	if err != nil {
		return err
	}
	ctx, done, err := s.streams.begin(ctx, w)
	if err != nil {
		return err
	}
	defer done()
	want.Holder = &mbox.Holder{Window: cmp.Or(want.Max, mbox.DefaultBatch)}
	messages, err := s.recvNow(ctx, want) // what is refused at once is refused with a status
	if err != nil {
		return err
	}
	w.place.leave()
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = []string{TypeNDJSON}, headerNoStore
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	for {
		if err := s.writeLines(ctx, w, messages); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil // the node or the client ends it: what was sent is whole
		}
		messages, err = s.recvAWhile(ctx, w, want)
		if err != nil && ctx.Err() == nil {
			return s.cutStream(w, err)
		}
	}
}

// recheckEvery is how long a stream that waits may rest on a capability that may
// have ended or been revoked: half of the second that a revocation may take.
const recheckEvery = 500 * time.Millisecond

// recvAWhile waits for messages until there are some, or it is time to look again
// whether the client still may.
func (s *server) recvAWhile(ctx context.Context, w *reply, want wanted) ([]mbox.Delivery, error) {
	for {
		patience, cancel := context.WithTimeout(ctx, recheckEvery)
		messages, err := s.recvParked(ctx, patience, w, want)
		cancel()
		if err != nil || len(messages) > 0 || ctx.Err() != nil {
			return messages, err
		}
	}
}

// writeLines sends messages, a line each, in one piece; after the end of the
// stream, or when they can not be written, they go back.
func (s *server) writeLines(ctx context.Context, w *reply, messages []mbox.Delivery) error {
	if ctx.Err() != nil {
		s.handBack(messages)
		return nil
	}
	if len(messages) > 0 {
		buf := s.buffers.get()
		defer s.buffers.put(buf)
		buf.Grow(sizeOf(messages))
		b := buf.AvailableBuffer()
		for i := range messages {
			b = append(appendEnvelope(b, &messages[i]), '\n')
		}
		if _, err := w.Write(b); err != nil {
			s.handBack(messages)
			return http.ErrAbortHandler
		}
	}
	if http.NewResponseController(w).Flush() != nil {
		s.handBack(messages)
		return http.ErrAbortHandler
	}
	return nil
}

// cutStream ends a stream that has begun in a way that its client sees.
func (s *server) cutStream(w *reply, err error) error {
	if !errors.Is(err, http.ErrAbortHandler) {
		k := kindOf(err)
		s.rejected(k)
		w.reason = k.reason
	}
	return http.ErrAbortHandler
}
