package httpapi

import (
	"context"
	"time"

	"micronode/store/mbox"
)

// oapMargin is what is left of an exchange's time when its long poll ends.
const oapMargin = 500 * time.Millisecond

// oapSend is POST /mbox/send with one message.
func (s *server) oapSend(ctx context.Context, e *exchange) error {
	item, err := readVerb(e.Verb(), shapeSend, readSend)
	if err != nil {
		return err
	}
	ctx, cancel := s.timely(ctx)
	defer cancel()
	verdicts, err := s.sendAll(ctx, e.corrID, []judged[mbox.Message]{item})
	switch {
	case err != nil:
		return err
	case verdicts[0].Err != nil:
		return verdicts[0].Err
	}
	return e.end(append(appendSent(append(make([]byte, 0, 64), '{'), verdicts[0].Sent), '}'))
}

// oapSettle is POST /mbox/ack or /mbox/nack with one verdict.
func (s *server) oapSettle(v mbox.Verdict) func(context.Context, *exchange) error {
	one := readSettle(v)
	return func(ctx context.Context, e *exchange) error {
		item, err := readVerb(e.Verb(), shapeSettle, one)
		if err != nil {
			return err
		}
		ctx, cancel := s.timely(ctx)
		defer cancel()
		verdicts, err := s.settleAll(ctx, []judged[mbox.Settlement]{item})
		switch {
		case err != nil:
			return err
		case verdicts[0].Err != nil:
			return verdicts[0].Err
		}
		return e.end([]byte(`{"ok":true}`))
	}
}

// oapRecv is POST /mbox/recv. It looks once under its slot; a poll that waits
// holds none. What a client would get that has left goes back.
func (s *server) oapRecv(ctx context.Context, e *exchange) error {
	item, err := readVerb(e.Verb(), shapeRecv, readRecv(false))
	if err != nil {
		return err
	}
	want := item.value
	messages, err := s.recvNow(ctx, want)
	if err == nil && len(messages) == 0 && want.wait > 0 {
		messages, err = s.oapWait(ctx, e, want)
	}
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		s.handBack(messages)
		return err
	}
	b := append(make([]byte, 0, sizeOf(messages)), `{"messages":[`...)
	for i := range messages {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendEnvelope(b, &messages[i])
	}
	if err := e.end(append(b, "]}"...)); err != nil {
		s.handBack(messages)
	}
	return nil
}

// oapWait waits for a message until the wait is over, the exchange's time is
// nearly over, or the plane drains.
func (s *server) oapWait(ctx context.Context, e *exchange, want wanted) ([]mbox.Delivery, error) {
	parked := &e.conn.set.parked
	if parked.Add(1) > s.maxParked {
		parked.Add(-1)
		return nil, refuse(ErrOverload, "As many polls as the node takes are waiting. Poll without wait_ms, or wait for Retry-After.")
	}
	defer parked.Add(-1)
	s.polls.begin()
	defer s.polls.end()
	wait := want.wait
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end)-oapMargin)
	}
	patience, cancel := context.WithTimeout(e.ending, wait)
	defer cancel()
	e.place.leave()
	s.inflight.Add(-1)
	defer s.inflight.Add(1)
	messages, err := s.ports.Mailbox.Queue.Recv(ctx, patience, want.Want)
	return s.stillMay(ctx, messages, err)
}
