package httpapi

import (
	"context"
	"net/http"

	"micronode/store/mbox"
)

// Bounds of receivers that stay, on each plane.
const (
	maxParked  = 16384 // long polls that wait
	maxStreams = 256
)

// mboxRecv answers POST /mbox/recv. It looks once under its slot; a poll that
// waits holds none.
func (s *server) mboxRecv(ctx context.Context, w *reply, r *http.Request) error {
	want, err := s.wantOf(w, r, false)
	if err != nil {
		return err
	}
	messages, err := s.recvNow(ctx, want)
	if err != nil || len(messages) > 0 || want.wait == 0 {
		return s.answerRecv(w, r, messages, err)
	}
	s.polls.begin()
	defer s.polls.end()
	messages, err = s.recvLater(ctx, w, want)
	if err := s.answerRecv(w, r, messages, err); err != nil {
		return err
	}
	_ = http.NewResponseController(w).Flush() // before the door may be closed; who asked may have left
	return nil
}

// answerRecv answers with a [RecvAnswer]. What a client would get that has left
// goes back.
func (s *server) answerRecv(w *reply, r *http.Request, messages []mbox.Delivery, err error) error {
	if err != nil {
		return err
	}
	if err := r.Context().Err(); err != nil {
		s.handBack(messages)
		return err
	}
	buf := s.buffers.get()
	defer s.buffers.put(buf)
	buf.Grow(sizeOf(messages))
	b := append(buf.AvailableBuffer(), `{"messages":[`...)
	for i := range messages {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendEnvelope(b, &messages[i])
	}
	w.writeBytes(append(b, "]}\n"...))
	return nil
}

// wantOf reads the body of recv and recv/stream.
func (s *server) wantOf(w *reply, r *http.Request, stream bool) (want wanted, err error) {
	err = s.readMailbox(w, r, func(raw []byte) error {
		items, _, err := readItems(raw, shapeRecv, false, readRecv(stream))
		if err == nil {
			want, err = items[0].value, items[0].err
		}
		return err
	})
	return want, err
}

// recvNow takes what is there.
func (s *server) recvNow(ctx context.Context, want wanted) ([]mbox.Delivery, error) {
	if err := mayTopic(ctx, want.Topic); err != nil {
		return nil, err
	}
	ctx, cancel := s.timely(ctx)
	defer cancel()
	return s.ports.Mailbox.Queue.Recv(ctx, nil, want.Want)
}

// recvLater waits for a message until the wait is over or the plane drains.
func (s *server) recvLater(ctx context.Context, w *reply, want wanted) ([]mbox.Delivery, error) {
	parked := &w.conn.set.parked
	if parked.Add(1) > s.maxParked {
		parked.Add(-1)
		return nil, refuse(ErrOverload, "As many polls as the node takes are waiting. Poll without wait_ms, or wait for Retry-After.")
	}
	defer parked.Add(-1)
	patience, cancel := context.WithTimeout(w.ending, want.wait)
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, want.wait+s.limits().RequestTimeout) // a queue that does not answer
	defer stop()
	return s.recvParked(ctx, patience, w, want)
}

// recvParked waits as one who holds nothing: no slot, no place among the
// requests in flight, and a connection that may have to make room. What comes for
// a client whose connection did goes back.
func (s *server) recvParked(ctx, patience context.Context, w *reply, want wanted) ([]mbox.Delivery, error) {
	w.place.leave()
	s.inflight.Add(-1)
	defer s.inflight.Add(1)
	w.become(connParked)
	messages, err := s.ports.Mailbox.Queue.Recv(ctx, patience, want.Want)
	w.become(connWorking)
	if !w.conn.set.has(w.conn) {
		s.handBack(messages)
		return nil, http.ErrAbortHandler
	}
	return s.stillMay(ctx, messages, err)
}

// stillMay gives back what came for somebody whose capability is over.
func (s *server) stillMay(ctx context.Context, messages []mbox.Delivery, err error) ([]mbox.Delivery, error) {
	if err != nil {
		return messages, err
	}
	if err := authorityOf(ctx).still(); err != nil {
		s.handBack(messages)
		return nil, err
	}
	return messages, nil
}

// handBack gives back what was leased for a client that has left. Its own
// context is over, so it gets a short one of its own.
func (s *server) handBack(messages []mbox.Delivery) {
	if len(messages) == 0 {
		return
	}
	ctx, cancel := s.timely(context.Background())
	defer cancel()
	back := make([]mbox.Settlement, len(messages))
	for i := range messages { // the last first: each goes to the head of its line
		back[len(back)-1-i] = mbox.Settlement{Verdict: mbox.Release, Receipt: messages[i].Receipt}
	}
	s.ports.Mailbox.Queue.Settle(ctx, back) // where it fails, the leases run out by themselves
}

// sizeOf is about what messages take on the wire.
func sizeOf(messages []mbox.Delivery) int {
	n := 64
	for i := range messages {
		n += 640 + len(messages[i].Payload)*4/3
	}
	return n
}
