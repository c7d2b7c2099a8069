package mbox

import (
	"time"

	"micronode/store"
)

// state says where a message is. Every message is in exactly one.
type state uint8

const (
	ready   state = iota // in its topic's line
	delayed              // sent with a delay, or in backoff, until due
	leased               // with a consumer, until due
	dead                 // used up its attempts
	states
)

func (s state) String() string { return [states]string{"ready", "delayed", "leased", "dead"}[s] }

// life is all that changes about a message between Send and the end.
type life struct {
	state   state
	seq     uint64        // ready: its place in line, kept through the lease; delayed, dead: the order of becoming so
	due     time.Duration // delayed, leased
	attempt int           // deliveries so far
	nonce   [16]byte      // leased: the secret of the receipt
	holder  *Holder       // leased: whose lease counts against a window, or nil
	taken   time.Duration // leased: when it was delivered, Mono
	lastErr string        // of the latest attempt that failed
	died    time.Time     // dead
}

// message is one row of the table.
type message struct {
	id      ID
	name    string // of the topic
	payload []byte
	hash    store.Address
	attrs   map[string]string
	key     string
	corrID  string
	sent    time.Time     // wall clock
	at      time.Duration // of Send, Mono
	life

	// Books.
	topic      *topic
	prev, next *message // in a line of the topic
	timer      int      // index in the heap of timers
}

// messageOverhead is what a message is charged beside its bytes: the row, its
// place in the table and in the heap. The words of its last failure are not
// charged, since a nack cannot be refused; MaxReason bounds them.
const messageOverhead = 256

// cost is the message's charge to the budget of bytes.
func (m *message) cost() int64 {
	n := messageOverhead + len(m.name) + len(m.payload) + len(m.key) + len(m.corrID)
	for name, value := range m.attrs {
		n += len(name) + len(value)
	}
	return int64(n)
}

func (m *message) delivery() Delivery {
	return Delivery{
		ID: m.id, Topic: m.name, Payload: m.payload, Hash: m.hash, Attrs: m.attrs,
		Key: m.key, CorrID: m.corrID, Sent: m.sent, Attempt: m.attempt,
	}
}

// topic is what the books know of a topic that holds messages.
type topic struct {
	name  string
	ready line // by seq
	timed line // delayed and leased, in no order: the heap has one
	dead  line // by seq
	count [states]int
	bytes int64 // of payloads
}

func (t *topic) messages() int { return t.ready.n + t.timed.n + t.dead.n }

func (t *topic) line(s state) *line {
	switch s {
	case ready:
		return &t.ready
	case dead:
		return &t.dead
	default:
		return &t.timed
	}
}

// topicOf returns the books of a topic, making them when there are none.
func (q *Queue) topicOf(name string) *topic {
	t := q.topics[name]
	if t == nil {
		t = &topic{name: name}
		q.topics[name] = t
	}
	return t
}

// become is the one place where a message changes its state: the books let go
// of it, the truth is written, and the books take it in again.
func (q *Queue) become(m *message, next life) {
	q.journal.moved(m.id)
	q.unlist(m)
	m.life = next
	q.list(m)
}

// forget ends a message.
func (q *Queue) forget(m *message) {
	q.journal.moved(m.id)
	delete(q.table, m.id)
	q.unlist(m)
	m.topic.bytes -= int64(len(m.payload))
	if m.topic.messages() == 0 {
		delete(q.topics, m.topic.name)
	}
	q.bytes.give(m.cost())
}

// list enters a message into the books as its life says. The unit of a lease
// has been taken from the budget before.
func (q *Queue) list(m *message) {
	m.topic.count[m.state]++
	q.count[m.state]++
	switch m.state {
	case ready:
		m.topic.ready.place(m)
	case dead:
		m.topic.dead.place(m)
	case leased, delayed:
		m.topic.timed.push(m)
		q.timers.add(m)
	}
	if m.holder != nil {
		m.holder.held++
	}
}

// unlist undoes list, and gives the unit of a lease back.
func (q *Queue) unlist(m *message) {
	m.topic.count[m.state]--
	q.count[m.state]--
	m.topic.line(m.state).remove(m)
	if m.state == delayed || m.state == leased {
		q.timers.remove(m)
	}
	if m.state == leased {
		q.leases.give(1)
	}
	if m.holder != nil {
		m.holder.held--
	}
}
