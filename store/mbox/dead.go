package mbox

func (m *message) letter() DeadLetter {
	return DeadLetter{Delivery: m.delivery(), Reason: reasonAttempts, LastError: m.lastErr, Died: m.died}
}

// Dead returns up to limit dead letters of a topic, oldest death first,
// beginning behind the one named after. When that one is the zero ID, or is not
// a dead letter of the topic any more, it begins with the oldest: a reader who
// loses his place sees letters twice rather than never. Limit 0 is everything.
func (q *Queue) Dead(topic string, after ID, limit int) []DeadLetter {
	t := q.topics[topic]
	if t == nil {
		return nil
	}
	from := t.dead.head
	if m := q.letterOf(topic, after); m != nil {
		from = m.next
	}
	var out []DeadLetter
	for m := from; m != nil && (limit <= 0 || len(out) < limit); m = m.next {
		out = append(out, m.letter())
	}
	return out
}

// DeadOne returns one dead letter of a topic. Errors: ErrUnknown.
func (q *Queue) DeadOne(topic string, id ID) (DeadLetter, error) {
	m := q.letterOf(topic, id)
	if m == nil {
		return DeadLetter{}, ErrUnknown
	}
	return m.letter(), nil
}

func (q *Queue) letterOf(topic string, id ID) *message {
	if m := q.table[id]; m != nil && m.state == dead && m.name == topic {
		return m
	}
	return nil
}

// Reprocess makes dead letters ready again, oldest death first, at the end of
// the line and as if they had never been delivered. Limit 0 is everything; only,
// when it is not the zero ID, is the one letter meant. Errors: ErrUnknown when
// that is none of the topic.
func (q *Queue) Reprocess(now Now, topic string, limit int, only ID) (int, error) {
	q.Advance(now)
	return q.eachDead(topic, limit, only, func(m *message) { q.enqueue(m, 0) })
}

// PurgeDead forgets dead letters; the arguments and errors are those of Reprocess.
func (q *Queue) PurgeDead(now Now, topic string, limit int, only ID) (int, error) {
	q.Advance(now)
	return q.eachDead(topic, limit, only, q.purge)
}

func (q *Queue) eachDead(topic string, limit int, only ID, do func(*message)) (n int, err error) {
	if only != (ID{}) {
		m := q.letterOf(topic, only)
		if m == nil {
			return 0, ErrUnknown
		}
		do(m)
		return 1, nil
	}
	if t := q.topics[topic]; t != nil {
		for m := range t.dead.all() {
			if limit > 0 && n == limit {
				break
			}
			do(m)
			n++
		}
	}
	return n, nil
}

// Purge forgets ready and delayed messages of a topic, first those that are
// ready, in the order of delivery, then the others by time. What is leased
// stays with its consumer. Limit 0 is everything.
func (q *Queue) Purge(now Now, topic string, limit int) (n int) {
	q.Advance(now)
	t := q.topics[topic]
	if t == nil {
		return 0
	}
	for m := range t.ready.all() {
		if limit > 0 && n == limit {
			return n
		}
		q.purge(m)
		n++
	}
	for _, m := range t.byTime() {
		if limit > 0 && n == limit {
			return n
		}
		if m.state == delayed {
			q.purge(m)
			n++
		}
	}
	return n
}

func (q *Queue) purge(m *message) {
	q.forget(m)
	q.done.Purged++
}
