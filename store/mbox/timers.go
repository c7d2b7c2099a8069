package mbox

import (
	"cmp"
	"container/heap"
	"time"
)

// timers is a heap of the messages that wait for a moment, by (due, seq). Each
// message knows its index.
type timers []*message

// byDue is the order in which timers go off.
func byDue(a, b *message) int {
	if c := cmp.Compare(a.due, b.due); c != 0 {
		return c
	}
	return cmp.Compare(a.seq, b.seq)
}

// Len implements [heap.Interface].
func (h timers) Len() int { return len(h) }

// Less implements [heap.Interface].
func (h timers) Less(i, j int) bool { return byDue(h[i], h[j]) < 0 }

// Swap implements [heap.Interface].
func (h timers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].timer, h[j].timer = i, j
}

// Push implements [heap.Interface].
func (h *timers) Push(x any) {
	m := x.(*message)
	m.timer = len(*h)
	*h = append(*h, m)
}

// Pop implements [heap.Interface].
func (h *timers) Pop() any {
	last := len(*h) - 1
	m := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return m
}

func (h *timers) add(m *message)    { heap.Push(h, m) }
func (h *timers) remove(m *message) { heap.Remove(h, m.timer) }
func (h *timers) moved(m *message)  { heap.Fix(h, m.timer) }

// NextDue returns when Advance has something to do next: the first message's
// moment, or, when that is earlier, the moment from which no idempotency key
// needs remembering. A shard that nobody calls is woken once for its keys, not
// once for each. ok is false when there is nothing to wait for.
func (q *Queue) NextDue() (mono time.Duration, ok bool) {
	if len(q.timers) > 0 {
		mono, ok = q.timers[0].due, true
	}
	if k := q.keys.newest; k != nil && (!ok || k.until < mono) {
		mono, ok = k.until, true
	}
	return mono, ok
}

// Advance lets everything happen that was to happen until now, in the order of
// (due, seq): delayed messages become ready, leases end. A failed message's
// backoff counts from the end of its lease, whenever Advance is called.
func (q *Queue) Advance(now Now) {
	q.clock = max(q.clock, now.Mono)
	if freed := q.keys.expire(now.Mono, q.journal); freed > 0 {
		q.bytes.give(freed)
	}
	for len(q.timers) > 0 && q.timers[0].due <= now.Mono {
		m := q.timers[0]
		if m.state == leased {
			q.done.Expired++
			q.fail(m, Now{Mono: m.due, Wall: now.Wall}, expiredError)
			continue
		}
		q.enqueue(m, m.attempt)
	}
}

// enqueue puts a message at the end of its line.
func (q *Queue) enqueue(m *message, attempt int) {
	next := life{state: ready, seq: q.nextSeq(), attempt: attempt}
	if attempt > 0 {
		next.lastErr = m.lastErr
	}
	q.become(m, next)
	q.o.OnReady(m.name)
}
