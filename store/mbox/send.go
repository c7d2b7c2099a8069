package mbox

import (
	"encoding/binary"
	"time"

	"github.com/oklog/ulid/v2"
)

// Send accepts a message that has passed [Message.Check]. A duplicate is
// answered even by a full shard. Errors: ErrKeyNeeded, ErrKeyReused, ErrFull,
// ErrBytes; after an error nothing was kept.
func (q *Queue) Send(now Now, m Message) (Sent, error) {
	q.Advance(now)
	if m.Key == "" && q.o.RequireKey {
		return Sent{}, ErrKeyNeeded
	}
	if k := q.keys.find(m.Topic, m.Key); k != nil {
		if k.hash != m.Hash {
			return Sent{}, ErrKeyReused
		}
		q.done.Duplicates++
		return Sent{ID: k.id, Duplicate: true}, nil
	}
	if len(q.table) >= q.o.Capacity {
		return Sent{}, ErrFull
	}
	row := &message{
		name: m.Topic, payload: m.Payload, hash: m.Hash, attrs: m.Attrs, key: m.Key, corrID: m.CorrID,
		sent: now.Wall.Round(0), at: now.Mono,
	}
	charge := row.cost()
	if m.Key != "" {
		charge += keyCost(m.Topic, m.Key)
	}
	if !q.bytes.take(charge) {
		return Sent{}, ErrBytes
	}
	row.id = q.newID(now.Wall)
	row.life = life{state: ready, seq: q.nextSeq()}
	if m.Delay > 0 {
		row.state, row.due = delayed, now.Mono+m.Delay
	}
	q.accept(row)
	return Sent{ID: row.id}, nil
}

// accept keeps a message. The row comes before the key: a key without its
// message would answer the sender's next try with a promise that nobody keeps.
func (q *Queue) accept(m *message) {
	q.journal.sent(m.id)
	if m.key != "" {
		q.journal.key(keyName{m.name, m.key})
	}
	q.table[m.id] = m
	q.done.Enqueued++
	m.topic = q.topicOf(m.name)
	m.name = m.topic.name // one string for all messages of the topic, and their keys
	m.topic.bytes += int64(len(m.payload))
	q.list(m)
	if m.key != "" {
		q.keys.add(q.keyOf(m))
	}
	if m.state == ready {
		q.o.OnReady(m.name)
	}
}

// newID returns the next id: the wall clock's milliseconds and 80 random bits.
// When the clock stands still or has gone back, it is the last id plus one, so
// that ids grow whatever the clock does.
func (q *Queue) newID(wall time.Time) ID {
	next := ulid.ULID(q.lastID)
	ms := uint64(min(max(wall.UnixMilli(), 0), int64(ulid.MaxTime())))
	if last := next.Time(); q.lastID == (ID{}) || ms > last {
		q.drawID(&next, ms)
	} else if !increment(next[6:]) {
		q.drawID(&next, last+1)
	}
	q.lastID = ID(next)
	return q.lastID
}

func (q *Queue) drawID(id *ulid.ULID, ms uint64) {
	_ = id.SetTime(min(ms, ulid.MaxTime())) // in range: it cannot fail
	binary.BigEndian.PutUint64(id[6:], q.source.Uint64())
	binary.BigEndian.PutUint16(id[14:], uint16(q.source.Uint64()))
}

// increment adds one to a big-endian number; false: it wrapped around.
func increment(b []byte) bool {
	for i := len(b) - 1; i >= 0; i-- {
		b[i]++
		if b[i] != 0 {
			return true
		}
	}
	return false
}
