package mbox

import "time"

// Recv leases messages to a receiver, in the order in which they became ready.
// It returns nothing when nothing is ready or the holder has no room.
// Errors: ErrInflight when messages are ready but no lease is left to give.
func (q *Queue) Recv(now Now, w Want) ([]Delivery, error) {
	q.Advance(now)
	t := q.topics[w.Topic]
	if t == nil || t.ready.n == 0 {
		return nil, nil
	}
	w = w.withDefaults(q.o.Visibility)
	limit := min(w.Max, t.ready.n)
	if w.Holder != nil {
		limit = min(limit, w.Holder.Room())
	}
	if limit == 0 {
		return nil, nil
	}
	out := make([]Delivery, 0, limit)
	for total := 0; len(out) < limit && total <= w.MaxBytes; {
		if !q.leases.take(1) {
			break
		}
		m := t.ready.head
		out = append(out, q.lease(now, m, w))
		total += len(m.payload)
	}
	if len(out) == 0 {
		return nil, ErrInflight
	}
	return out, nil
}

func (w Want) withDefaults(visibility time.Duration) Want {
	if w.Visibility <= 0 {
		w.Visibility = visibility
	}
	if w.Max <= 0 {
		w.Max = DefaultBatch
	}
	if w.MaxBytes <= 0 {
		w.MaxBytes = DefaultBytes
	}
	return w
}

// lease hands one message over; its unit of the budget has been taken.
func (q *Queue) lease(now Now, m *message, w Want) Delivery {
	next := life{
		state: leased, seq: m.seq, due: now.Mono + w.Visibility, attempt: m.attempt + 1,
		nonce: q.nonce(), holder: w.Holder, taken: now.Mono, lastErr: m.lastErr,
	}
	q.become(m, next)
	q.done.Delivered++
	if m.attempt > 1 {
		q.done.Redelivered++
	}
	d := m.delivery()
	d.Receipt = Receipt{Shard: q.o.Shard, ID: m.id, Nonce: m.nonce}
	d.Deadline = now.Wall.Round(0).Add(w.Visibility)
	return d
}
