package mbox

import "time"

// SpyJitter lets a test see, and choose, every delay of a backoff.
func (q *Queue) SpyJitter(spy func(limit, drawn time.Duration) time.Duration) {
	draw := q.jitter
	q.jitter = func(limit time.Duration) time.Duration { return spy(limit, draw(limit)) }
}

// SetLastID puts the generator of ids anywhere.
func (q *Queue) SetLastID(id ID) { q.lastID = id }

// Damages are the ways in which Wreck spoils the books.
const Damages = 14

// Wreck spoils one part of the books and leaves the truth alone, and says
// whether there was anything to spoil.
func (q *Queue) Wreck(damage int) bool {
	var some *message
	for _, m := range q.table {
		if some == nil || m.seq < some.seq {
			some = m
		}
	}
	switch damage {
	case 0:
		q.count[ready]++
	case 1:
		q.bytes.correct(q.bytes.held + 100)
	case 2:
		q.bytes.correct(q.bytes.held - 50)
	case 3:
		q.leases.correct(q.leases.held + 1)
	case 4:
		q.topics["nobody"] = &topic{name: "nobody"}
	}
	if damage < 5 {
		return true
	}
	if damage == 5 {
		q.keys.oldest, q.keys.newest = nil, nil
		return len(q.keys.byName) > 0
	}
	if some == nil {
		return false
	}
	switch damage {
	case 6:
		clear(q.topics)
	case 7:
		q.timers = nil
		return q.count[delayed]+q.count[leased] > 0
	case 8:
		if len(q.timers) < 2 {
			return false
		}
		q.timers.Swap(0, len(q.timers)-1)
	case 9:
		some.topic.line(some.state).remove(some)
	case 10:
		some.next, some.prev = some, some
	case 11:
		some.topic.bytes++
	case 12:
		if some.holder == nil {
			return false
		}
		some.holder.held = 7
	case 13: // a send that fell before its key was remembered
		k := q.keys.find(some.name, some.key)
		if k == nil || k.id != some.id || k.until <= q.clock {
			return false
		}
		delete(q.keys.byName, k.name)
	}
	return true
}
