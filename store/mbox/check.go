package mbox

import "fmt"

// Check compares the books with the table of messages, in full: it visits every
// message. Errors: ErrCorrupted with the first thing that does not agree.
func (q *Queue) Check() error {
	for _, check := range []func() error{q.checkRows, q.checkLines, q.checkTimers, q.checkSums, q.checkKeys, q.checkSettled} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func corrupted(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupted}, args...)...)
}

// checkRows: every row is sound in itself.
func (q *Queue) checkRows() error {
	if len(q.table) > max(q.o.Capacity, q.restored) {
		return corrupted("%d messages in a shard for %d", len(q.table), q.o.Capacity)
	}
	seqs := make(map[uint64]ID, len(q.table))
	for id, m := range q.table {
		other, twice := seqs[m.seq]
		seqs[m.seq] = id
		switch {
		case m.id != id:
			return corrupted("message %v is filed under %v", m.id, id)
		case twice:
			return corrupted("messages %v and %v have the same place %d", id, other, m.seq)
		case m.seq == 0 || m.seq > q.seq:
			return corrupted("message %v has place %d, the last one given was %d", id, m.seq, q.seq)
		case m.state >= states:
			return corrupted("message %v has no state", id)
		case m.attempt < 0 || m.attempt > q.o.MaxAttempts || m.state == ready && m.attempt == q.o.MaxAttempts:
			return corrupted("message %v is %v at attempt %d of %d", id, m.state, m.attempt, q.o.MaxAttempts)
		case (m.state == leased || m.state == dead) && m.attempt == 0:
			return corrupted("message %v is %v and was never delivered", id, m.state)
		case m.state != leased && (m.holder != nil || m.nonce != [16]byte{}):
			return corrupted("message %v is %v and has a lease", id, m.state)
		case m.state == leased && m.due > m.taken+MaxVisibility:
			return corrupted("the lease of message %v is longer than %v", id, MaxVisibility)
		case m.topic == nil || m.topic != q.topics[m.name]:
			return corrupted("message %v is not with its topic", id)
		}
	}
	return nil
}

// checkLines: every message is in the one line its state says, in order, and
// the topics count right.
func (q *Queue) checkLines() error {
	listed := 0
	for name, t := range q.topics {
		var count [states]int
		var bytes int64
		for _, l := range []*line{&t.ready, &t.timed, &t.dead} {
			n := 0
			for m := l.head; m != nil; m = m.next {
				switch {
				case n == l.n:
					return corrupted("a line of a topic is longer than its length %d", l.n)
				case q.table[m.id] != m:
					return corrupted("message %v is in a line and not in the table", m.id)
				case m.topic != t || t.line(m.state) != l:
					return corrupted("message %v is %v and in another line", m.id, m.state)
				case m.prev != nil && m.prev.next != m, m.prev == nil && l.head != m, m.next == nil && l.tail != m:
					return corrupted("the line at message %v is broken", m.id)
				case m.prev != nil && l != &t.timed && m.prev.seq > m.seq:
					return corrupted("messages %v and %v are in the wrong order", m.prev.id, m.id)
				}
				n++
				count[m.state]++
				bytes += int64(len(m.payload))
			}
			if n != l.n {
				return corrupted("a line of a topic has %d messages and counts %d", n, l.n)
			}
			listed += n
		}
		if t.name != name || t.count != count || t.bytes != bytes || t.messages() == 0 {
			return corrupted("a topic counts %v of %d bytes and holds %v of %d bytes", t.count, t.bytes, count, bytes)
		}
	}
	if listed != len(q.table) {
		return corrupted("%d messages are in lines and %d in the table", listed, len(q.table))
	}
	return nil
}

// checkTimers: the heap is one, and holds exactly the messages that wait.
func (q *Queue) checkTimers() error {
	for i, m := range q.timers {
		switch {
		case q.table[m.id] != m || m.timer != i:
			return corrupted("timer %d is not that of its message %v", i, m.id)
		case m.state != delayed && m.state != leased:
			return corrupted("message %v is %v and has a timer", m.id, m.state)
		case i > 0 && q.timers.Less(i, (i-1)/2):
			return corrupted("timer %d is out of order", i)
		}
	}
	if n := q.count[delayed] + q.count[leased]; n != len(q.timers) {
		return corrupted("%d timers for %d messages", len(q.timers), n)
	}
	return nil
}

// checkSums: counts and charges are what the rows and keys add up to.
func (q *Queue) checkSums() error {
	var count [states]int
	var bytes int64
	held := make(map[*Holder]int)
	for _, m := range q.table {
		count[m.state]++
		bytes += m.cost()
		if m.holder != nil {
			held[m.holder]++
		}
	}
	for name := range q.keys.byName {
		bytes += keyCost(name.topic, name.key)
	}
	switch {
	case count != q.count:
		return corrupted("the shard counts %v and holds %v", q.count, count)
	case bytes != q.bytes.held:
		return corrupted("the shard is charged %d bytes and holds %d", q.bytes.held, bytes)
	case int64(count[leased]) != q.leases.held:
		return corrupted("the shard is charged %d leases and has %d", q.leases.held, count[leased])
	}
	for h, n := range held {
		if h.held != n {
			return corrupted("a holder counts %d leases and has %d", h.held, n)
		}
	}
	return nil
}

// checkKeys: the list is the map in order of age, and the key of every young
// message is remembered.
func (q *Queue) checkKeys() error {
	n := 0
	for k := q.keys.oldest; k != nil; k = k.next {
		switch {
		case n == len(q.keys.byName):
			return corrupted("more keys are listed than the %d remembered", n)
		case q.keys.byName[k.name] != k:
			return corrupted("the key of message %v is listed and not remembered", k.id)
		case k.next != nil && k.next.until < k.until, k.next == nil && q.keys.newest != k:
			return corrupted("the keys are out of order at message %v", k.id)
		}
		n++
	}
	if n != len(q.keys.byName) {
		return corrupted("%d keys are listed and %d remembered", n, len(q.keys.byName))
	}
	for id, m := range q.table {
		if m.key == "" || m.at+q.o.DedupWindow <= q.clock {
			continue
		}
		if k := q.keys.find(m.name, m.key); k == nil || k.id != id || k.hash != m.hash {
			return corrupted("the key of message %v is not remembered", id)
		}
	}
	return nil
}

// checkSettled: the ring and the map are the same receipts, of no message.
func (q *Queue) checkSettled() error {
	s := &q.settled
	if len(s.ring) != len(s.nonces) || len(s.ring) > settledKept {
		return corrupted("%d acknowledgements in the ring, %d in the map", len(s.ring), len(s.nonces))
	}
	for _, id := range s.ring {
		if _, ok := s.nonces[id]; !ok || q.table[id] != nil {
			return corrupted("message %v is acknowledged and not forgotten", id)
		}
	}
	return nil
}
