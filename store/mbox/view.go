package mbox

import "slices"

// The views below change nothing, not even what is overdue: what they show is
// as the last call left it.

// Topics returns the topics that hold messages, in no order.
func (q *Queue) Topics(now Now) []Topic {
	out := make([]Topic, 0, len(q.topics))
	for _, t := range q.topics {
		row := Topic{
			Name:  t.name,
			Ready: t.count[ready], Delayed: t.count[delayed], Leased: t.count[leased], Dead: t.count[dead],
			Bytes: t.bytes,
		}
		if m := t.ready.head; m != nil {
			row.Oldest = max(0, now.Mono-m.at)
		}
		out = append(out, row)
	}
	return out
}

// Peek returns up to limit messages of a topic: the ready ones in the order of
// delivery, then the delayed and leased ones by time. Limit 0 is everything.
func (q *Queue) Peek(now Now, topic string, limit int) []Waiting {
	t := q.topics[topic]
	if t == nil {
		return nil
	}
	n := t.ready.n + t.timed.n
	if limit > 0 {
		n = min(n, limit)
	}
	out := make([]Waiting, 0, n)
	for m := range t.ready.all() {
		if len(out) == n {
			return out
		}
		out = append(out, m.waiting(now))
	}
	if len(out) == n {
		return out
	}
	for _, m := range t.byTime()[:n-len(out)] {
		out = append(out, m.waiting(now))
	}
	return out
}

func (m *message) waiting(now Now) Waiting {
	w := Waiting{Delivery: m.delivery(), State: m.state.String(), LastError: m.lastErr}
	if m.state != ready {
		w.Due = max(0, m.due-now.Mono)
	}
	if m.state == leased {
		w.Deadline = now.Wall.Round(0).Add(m.due - now.Mono)
	}
	return w
}

// byTime returns the delayed and leased messages in the order of their timers.
func (t *topic) byTime() []*message {
	all := make([]*message, 0, t.timed.n)
	for m := range t.timed.all() {
		all = append(all, m)
	}
	slices.SortFunc(all, byDue)
	return all
}
