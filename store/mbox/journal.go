package mbox

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"micronode/store"
)

// Row is a message as a durable journal keeps it. The monotonic clock ends with
// the process, so its moments are on the wall clock here.
type Row struct {
	// Body: written once.
	ID      ID
	Topic   string
	Payload []byte
	Hash    store.Address
	Attrs   map[string]string
	Key     string
	CorrID  string
	Sent    time.Time

	// Life: written whenever it changes.
	State   uint8 // 0 ready, 1 delayed, 2 leased, 3 dead
	Seq     uint64
	Attempt int
	Nonce   [16]byte
	Due     time.Time // delayed, leased
	Taken   time.Time // leased
	LastErr string
	Died    time.Time
}

// KeyRow is an idempotency key as a durable journal keeps it.
type KeyRow struct {
	Topic, Key string
	ID         ID
	Hash       store.Address
	Until      time.Time
}

// Mail is all that a journal holds: what a start reads whole, bounded by the mailbox's bytes.
type Mail struct {
	Rows    []Row
	Keys    []KeyRow
	Damaged []error // records that cannot be read; they stay where they are
}

// Changes are what a queue has changed since it was asked last.
type Changes struct {
	Sent     []Row    // body and life
	Moved    []Row    // life only; the body's fields are set all the same
	Gone     []ID     // acknowledged or purged
	Keys     []KeyRow // remembered
	KeysGone []KeyRow // forgotten; only the names are set
}

// Empty reports whether there is nothing to write.
func (c *Changes) Empty() bool {
	return len(c.Sent)+len(c.Moved)+len(c.Gone)+len(c.Keys)+len(c.KeysGone) == 0
}

// journal is what has changed, as names: what became of them is looked up when
// somebody asks. A name is noted before the change, so a crash between the two
// writes too much rather than too little.
type journal struct {
	rows map[ID]bool // true: the body too
	keys map[keyName]struct{}
}

func newJournal() *journal {
	return &journal{rows: map[ID]bool{}, keys: map[keyName]struct{}{}}
}

func (j *journal) moved(id ID) {
	if j == nil {
		return
	}
	if _, noted := j.rows[id]; !noted {
		j.rows[id] = false
	}
}

func (j *journal) sent(id ID) {
	if j != nil {
		j.rows[id] = true
	}
}

func (j *journal) key(n keyName) {
	if j != nil {
		j.keys[n] = struct{}{}
	}
}

// Changes returns what has changed since the last call, and forgets it. It is
// empty unless Options.Journal is set.
func (q *Queue) Changes(now Now) (c Changes) {
	if q.journal == nil {
		return c
	}
	for id, body := range q.journal.rows {
		switch m := q.table[id]; {
		case m == nil:
			c.Gone = append(c.Gone, id)
		case body:
			c.Sent = append(c.Sent, m.row(now))
		default:
			c.Moved = append(c.Moved, m.row(now))
		}
	}
	for n := range q.journal.keys {
		if k := q.keys.byName[n]; k != nil {
			c.Keys = append(c.Keys, KeyRow{n.topic, n.key, k.id, k.hash, now.at(k.until)})
		} else {
			c.KeysGone = append(c.KeysGone, KeyRow{Topic: n.topic, Key: n.key})
		}
	}
	clear(q.journal.rows)
	clear(q.journal.keys)
	return c
}

// at is the wall clock's word for a moment of the monotonic one.
func (n Now) at(mono time.Duration) time.Time { return n.Wall.Round(0).Add(mono - n.Mono) }

// back is the opposite of at: what was to come is never further than most away, and
// never past, whatever the wall clock has done in between.
func (n Now) back(at time.Time, most time.Duration) time.Duration {
	return n.Mono + min(max(at.Sub(n.Wall.Round(0)), 0), most)
}

func (m *message) row(now Now) Row {
	r := Row{
		ID: m.id, Topic: m.name, Payload: m.payload, Hash: m.hash, Attrs: m.attrs, Key: m.key, CorrID: m.corrID, Sent: m.sent,
		State: uint8(m.state), Seq: m.seq, Attempt: m.attempt, Nonce: m.nonce, LastErr: m.lastErr, Died: m.died,
	}
	switch m.state {
	case leased:
		r.Taken = now.at(m.taken)
		fallthrough
	case delayed:
		r.Due = now.at(m.due)
	}
	return r
}

// Restore fills an empty queue from a journal's rows, in any order. A lease goes
// on for what was left of it, and its receipt is good; counts begin anew. The
// bounds are not asked: what was accepted is kept.
func (q *Queue) Restore(now Now, rows []Row, keys []KeyRow) {
	for i := range rows {
		m := rows[i].message(now)
		most := q.o.MaxAttempts // it may be lower than when the row was written
		if m.state == ready || m.state == delayed {
			most--
		}
		m.attempt = min(m.attempt, most)
		q.table[m.id] = m
		q.lastID = later(q.lastID, m.id)
	}
	for _, k := range keys {
		n := keyName{k.Topic, k.Key}
		if q.keys.byName == nil {
			q.keys.byName = map[keyName]*key{}
		}
		q.keys.byName[n] = &key{name: n, id: k.ID, hash: k.Hash, until: now.back(k.Until, q.o.DedupWindow)}
		q.keys.peak = max(q.keys.peak, len(q.keys.byName))
		q.lastID = later(q.lastID, k.ID)
	}
	q.restored = len(q.table)
	q.apart()
	q.Rebuild(now)
}

// Abandon gives back all that the queue holds of shared bounds: its owner goes on
// with another one.
func (q *Queue) Abandon() {
	for _, m := range q.table {
		if m.holder != nil {
			m.holder.held = 0
		}
	}
	q.bytes.correct(0)
	q.leases.correct(0)
}

// apart gives every message a place of its own: the rows of several queues may
// have come together.
func (q *Queue) apart() {
	all := make([]*message, 0, len(q.table))
	for _, m := range q.table {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *message) int { return cmp.Or(cmp.Compare(a.seq, b.seq), bytes.Compare(a.id[:], b.id[:])) })
	for _, m := range all {
		if m.seq <= q.seq {
			m.seq = q.seq + 1
			q.journal.moved(m.id)
		}
		q.seq = m.seq
	}
}

func (r *Row) message(now Now) *message {
	m := &message{
		id: r.ID, name: r.Topic, payload: r.Payload, hash: r.Hash, attrs: r.Attrs, key: r.Key, corrID: r.CorrID, sent: r.Sent.Round(0),
		at: now.Mono - max(now.Wall.Sub(r.Sent), 0),
		life: life{
			state: min(state(r.State), dead), seq: r.Seq, attempt: r.Attempt, nonce: r.Nonce, lastErr: r.LastErr, died: r.Died,
		},
	}
	switch m.state {
	case leased:
		span := min(max(r.Due.Sub(r.Taken), 0), MaxVisibility)
		m.due = now.back(r.Due, span)
		m.taken = m.due - span
	case delayed:
		m.due = now.back(r.Due, MaxDelay)
	}
	return m
}

func later(a, b ID) ID {
	if bytes.Compare(a[:], b[:]) < 0 {
		return b
	}
	return a
}
