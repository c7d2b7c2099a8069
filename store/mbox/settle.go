package mbox

import (
	"crypto/subtle"
	"fmt"
	"time"
)

// Words of last_error and reason that are the queue's own.
const (
	expiredError   = "visibility timeout"
	nackedError    = "nack" // of a nack without a reason
	reasonAttempts = "max_attempts"
)

// Check holds a settlement against the bounds of messages. Errors: ErrInvalid.
func (s *Settlement) Check() error {
	switch {
	case s.Verdict > Release:
		return fmt.Errorf("%w: there is no verdict %d", ErrInvalid, s.Verdict)
	case s.Verdict == Nack && len(s.Reason) > MaxReason:
		return fmt.Errorf("%w: a reason may have %d bytes, this one has %d", ErrInvalid, MaxReason, len(s.Reason))
	case s.Verdict == Extend && s.Visibility != 0 && (s.Visibility < MinVisibility || s.Visibility > MaxVisibility):
		return fmt.Errorf("%w: a visibility timeout is from %v to %v", ErrInvalid, MinVisibility, MaxVisibility)
	}
	return nil
}

// Settle carries out a verdict under a receipt. A lease whose deadline has come
// is over, whether or not somebody else has the message now. deadline is that
// of an extended lease, on the wall clock. Errors: ErrUnknown, ErrLeaseLost,
// ErrSettled, ErrOtherTopic, and ErrInvalid from [Settlement.Check]; after an error nothing
// has changed.
func (q *Queue) Settle(now Now, s Settlement) (deadline time.Time, err error) {
	q.Advance(now)
	if err := s.Check(); err != nil {
		return deadline, err
	}
	m, err := q.under(s.Receipt)
	if err != nil {
		return deadline, err
	}
	if s.May != nil && !s.May(m.topic.name) {
		return deadline, ErrOtherTopic
	}
	switch s.Verdict {
	case Ack:
		q.ack(m, s.Receipt)
	case Nack:
		q.done.Nacked++
		if s.Reason == "" {
			s.Reason = nackedError
		}
		q.fail(m, now, s.Reason)
	case Extend:
		deadline = q.extend(now, m, s.Visibility)
	case Release:
		q.release(m)
	}
	return deadline, nil
}

// under finds the message that is leased under the receipt.
func (q *Queue) under(r Receipt) (*message, error) {
	m := q.table[r.ID]
	if m == nil || r.Shard != q.o.Shard {
		if r.Shard == q.o.Shard && q.settled.has(r) {
			return nil, ErrSettled
		}
		return nil, ErrUnknown
	}
	if same := subtle.ConstantTimeCompare(m.nonce[:], r.Nonce[:]) == 1; !same || m.state != leased {
		return nil, ErrLeaseLost
	}
	return m, nil
}

// ack forgets the message. Its payload is left alone: a reader may be writing
// it to a socket still.
func (q *Queue) ack(m *message, r Receipt) {
	q.forget(m)
	q.settled.add(r)
	q.done.Acked++
	q.room(m.holder)
}

// fail ends an attempt: the message is delayed by the backoff, or dead.
func (q *Queue) fail(m *message, at Now, why string) {
	holder := m.holder
	next := life{state: delayed, seq: q.nextSeq(), attempt: m.attempt, lastErr: why}
	if m.attempt >= q.o.MaxAttempts {
		next.state, next.died = dead, at.Wall.Round(0)
	} else {
		next.due = at.Mono + q.jitter(q.backoff(m.attempt))
	}
	q.become(m, next)
	if next.state == dead {
		q.done.Died++
		q.o.OnDead(m.letter())
	}
	q.room(holder)
}

// backoff returns the bound min(cap, base·2^attempt) of a delay.
func (q *Queue) backoff(attempt int) time.Duration {
	if q.o.BackoffBase > q.o.BackoffCap>>min(attempt, 63) {
		return q.o.BackoffCap
	}
	return q.o.BackoffBase << attempt
}

// extend counts the lease anew from now, but never past MaxVisibility after the
// delivery, so that a consumer that hangs while it extends cannot keep a
// message for ever.
func (q *Queue) extend(now Now, m *message, visibility time.Duration) time.Time {
	if visibility == 0 {
		visibility = q.o.Visibility
	}
	q.journal.moved(m.id)
	m.due = min(now.Mono+visibility, m.taken+MaxVisibility)
	q.timers.moved(m)
	return now.Wall.Round(0).Add(m.due - now.Mono)
}

// release takes a delivery back as if it had not been: the message has its old
// place in line and its old number of attempts. Only the counts of deliveries
// stay, for they never fall; Stats.Released says how many of them were this.
func (q *Queue) release(m *message) {
	holder := m.holder
	q.become(m, life{state: ready, seq: m.seq, attempt: m.attempt - 1, lastErr: m.lastErr})
	q.done.Released++
	q.o.OnReady(m.name)
	q.room(holder)
}

// room tells that a lease of the holder ended.
func (q *Queue) room(h *Holder) {
	if h != nil {
		q.o.OnRoom(h)
	}
}
