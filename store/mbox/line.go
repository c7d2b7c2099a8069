package mbox

import "iter"

// line is a list of messages that runs through the messages themselves. A
// message is in one line of its topic at a time.
type line struct {
	head, tail *message
	n          int
}

// push appends m.
func (l *line) push(m *message) { l.insert(m, l.tail) }

// place puts m where its seq belongs. That is the end, but for a released
// message: it goes ahead of all but those before it that were released earlier.
func (l *line) place(m *message) {
	if l.tail == nil || l.tail.seq < m.seq {
		l.push(m)
		return
	}
	var after *message
	for e := l.head; e.seq < m.seq; e = e.next {
		after = e
	}
	l.insert(m, after)
}

// insert puts m behind after, or first when after is nil.
func (l *line) insert(m, after *message) {
	m.prev, m.next = after, l.head
	if after != nil {
		m.next = after.next
		after.next = m
	} else {
		l.head = m
	}
	if m.next != nil {
		m.next.prev = m
	} else {
		l.tail = m
	}
	l.n++
}

func (l *line) remove(m *message) {
	if m.prev != nil {
		m.prev.next = m.next
	} else {
		l.head = m.next
	}
	if m.next != nil {
		m.next.prev = m.prev
	} else {
		l.tail = m.prev
	}
	m.prev, m.next = nil, nil
	l.n--
}

// all yields the messages in order; the one that is yielded may be removed.
func (l *line) all() iter.Seq[*message] {
	return func(yield func(*message) bool) {
		for m := l.head; m != nil; {
			next := m.next
			if !yield(m) {
				return
			}
			m = next
		}
	}
}
