package mbox

import (
	"cmp"
	"maps"
	"slices"
)

// Rebuild makes all lines, timers, counts and sums anew from the table of
// messages, then advances to now. It is for the owner that took the queue over
// from one who fell in the middle of a call, of which the hooks are the only
// part that can fail: whatever that call had decided is kept, and nothing else
// is changed. The same table always gives the same queue.
func (q *Queue) Rebuild(now Now) {
	all := slices.SortedFunc(maps.Values(q.table), func(a, b *message) int { return cmp.Compare(a.seq, b.seq) })
	q.topics = make(map[string]*topic, len(q.topics))
	q.timers = make(timers, 0, len(all))
	q.count = [states]int{}
	for _, m := range all {
		if m.holder != nil {
			m.holder.held = 0
		}
	}
	var bytes int64
	for _, m := range all {
		m.topic = q.topicOf(m.name)
		m.topic.bytes += int64(len(m.payload))
		bytes += m.cost()
		q.seq = max(q.seq, m.seq)
		q.list(m)
		if m.key != "" && m.at+q.o.DedupWindow > now.Mono && q.keys.find(m.name, m.key) == nil {
			q.keys.add(q.keyOf(m))
		}
	}
	q.bytes.correct(bytes + q.keys.relink())
	q.leases.correct(int64(q.count[leased]))
	q.Advance(now)
}
