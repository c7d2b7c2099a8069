package mbox_test

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"micronode/store/mbox"
)

// naive is the mailbox as one would explain it: rows in a slice, looked through
// from end to end. It knows nothing of how the queue works.
type naive struct {
	o      mbox.Options
	rows   []*row
	keys   []pastKey
	acked  []mbox.Receipt
	turn   int
	stats  mbox.Stats // counts alone
	events []string   // what the hooks are to hear, in order
	others struct{ bytes, leases int64 }
	delays []delay // that the queue has drawn and the model has not used yet
	fault  string  // a delay that cannot be right
}

type delay struct{ limit, drawn time.Duration }

type row struct {
	id      mbox.ID
	m       mbox.Message
	state   string
	turn    int // the order of becoming what it is; kept through a lease
	due     time.Duration
	attempt int
	receipt mbox.Receipt
	holder  *mbox.Holder
	taken   time.Duration
	lastErr string
	sent    mbox.Now
	diedAt  time.Time
}

type pastKey struct {
	topic, key string
	id         mbox.ID
	m          mbox.Message
	until      time.Duration
}

func (n *naive) next() int {
	n.turn++
	return n.turn
}

func (n *naive) say(format string, args ...any) {
	n.events = append(n.events, fmt.Sprintf(format, args...))
}

// in returns the rows of a topic ("": all) that are in one of the states, by turn.
func (n *naive) in(topic string, states ...string) []*row {
	var out []*row
	for _, r := range n.rows {
		if (topic == "" || r.m.Topic == topic) && slices.Contains(states, r.state) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *row) int { return cmp.Compare(a.turn, b.turn) })
	return out
}

// timed returns the rows that wait for a moment, by moment.
func (n *naive) timed(topic string) []*row {
	out := n.in(topic, "delayed", "leased")
	slices.SortStableFunc(out, func(a, b *row) int { return cmp.Compare(a.due, b.due) })
	return out
}

func (n *naive) find(id mbox.ID) *row {
	for _, r := range n.rows {
		if r.id == id {
			return r
		}
	}
	return nil
}

func (n *naive) remove(r *row) {
	n.rows = slices.DeleteFunc(n.rows, func(o *row) bool { return o == r })
}

func (n *naive) bytes() (sum int64) {
	for _, r := range n.rows {
		sum += price(r.m)
	}
	for _, k := range n.keys {
		sum += int64(160 + len(k.topic) + len(k.key))
	}
	return sum
}

func price(m mbox.Message) int64 {
	sum := 256 + len(m.Topic) + len(m.Key) + len(m.CorrID) + len(m.Payload)
	for k, v := range m.Attrs {
		sum += len(k) + len(v)
	}
	return int64(sum)
}

func (n *naive) held(h *mbox.Holder) int {
	held := 0
	for _, r := range n.in("", "leased") {
		if r.holder == h {
			held++
		}
	}
	return held
}

func (n *naive) advance(now mbox.Now) {
	n.keys = slices.DeleteFunc(n.keys, func(k pastKey) bool { return k.until <= now.Mono })
	for {
		timed := n.timed("")
		if len(timed) == 0 || timed[0].due > now.Mono {
			return
		}
		r := timed[0]
		if r.state == "leased" {
			n.stats.Expired++
			n.fail(r, r.due, now.Wall, "visibility timeout")
		} else {
			n.ready(r)
		}
	}
}

func (n *naive) ready(r *row) {
	r.state, r.turn = "ready", n.next()
	n.say("ready %s", r.m.Topic)
}

func (n *naive) fail(r *row, at time.Duration, wall time.Time, why string) {
	holder := r.holder
	r.holder, r.lastErr, r.turn = nil, why, n.next()
	if r.attempt == n.o.MaxAttempts {
		r.state, r.diedAt = "dead", wall
		n.stats.Died++
		n.say("dead %v", r.id)
	} else {
		r.state, r.due = "delayed", at+n.backoff(r.attempt)
	}
	if holder != nil {
		n.say("room %p", holder)
	}
}

// backoff takes the queue's word for the delay, if it is a possible one.
func (n *naive) backoff(attempt int) time.Duration {
	limit := n.o.BackoffBase
	for range attempt {
		limit = min(limit*2, n.o.BackoffCap)
	}
	if len(n.delays) == 0 {
		n.fault = "a backoff was not drawn"
		return 0
	}
	d := n.delays[0]
	n.delays = n.delays[1:]
	if d.limit != limit || d.drawn < 0 || d.drawn > limit {
		n.fault = fmt.Sprintf("a backoff of %v from 0 to %v after attempt %d, the bound is %v", d.drawn, d.limit, attempt, limit)
	}
	return d.drawn
}

func (n *naive) send(now mbox.Now, m mbox.Message) (r *row, known mbox.ID, err error) {
	n.advance(now)
	if m.Key == "" && n.o.RequireKey {
		return nil, known, mbox.ErrKeyNeeded
	}
	for _, k := range n.keys {
		if m.Key == "" || k.topic != m.Topic || k.key != m.Key {
			continue
		}
		if string(k.m.Payload) != string(m.Payload) {
			return nil, known, mbox.ErrKeyReused
		}
		n.stats.Duplicates++
		return nil, k.id, nil
	}
	if len(n.rows) == n.o.Capacity {
		return nil, known, mbox.ErrFull
	}
	charge := price(m)
	if m.Key != "" {
		charge += int64(160 + len(m.Topic) + len(m.Key))
	}
	if n.bytes()+charge+n.others.bytes > n.o.Bytes.Max() {
		return nil, known, mbox.ErrBytes
	}
	r = &row{m: m, sent: now, state: "delayed", due: now.Mono + m.Delay, turn: n.next()}
	if m.Delay == 0 {
		r.state = "ready"
		n.say("ready %s", m.Topic)
	}
	n.stats.Enqueued++
	n.rows = append(n.rows, r)
	return r, known, nil
}

// sent gives the row the id that the queue chose.
func (n *naive) sent(r *row, id mbox.ID) {
	r.id = id
	if r.m.Key != "" {
		n.keys = append(n.keys, pastKey{r.m.Topic, r.m.Key, id, r.m, r.sent.Mono + n.o.DedupWindow})
	}
}

func (n *naive) recv(now mbox.Now, w mbox.Want) (out []*row, err error) {
	n.advance(now)
	visibility, limit, bytes := w.Visibility, w.Max, w.MaxBytes
	if visibility == 0 {
		visibility = n.o.Visibility
	}
	if limit == 0 {
		limit = mbox.DefaultBatch
	}
	if bytes == 0 {
		bytes = mbox.DefaultBytes
	}
	if w.Holder != nil {
		limit = min(limit, w.Holder.Window-n.held(w.Holder))
	}
	line := n.in(w.Topic, "ready")
	if limit <= 0 || len(line) == 0 {
		return nil, nil
	}
	size := 0
	for _, r := range line {
		if len(out) == limit || size > bytes {
			break
		}
		if int64(len(n.in("", "leased")))+n.others.leases == n.o.Inflight.Max() {
			if len(out) == 0 {
				return nil, mbox.ErrInflight
			}
			break
		}
		size += len(r.m.Payload)
		r.state, r.holder, r.taken, r.due = "leased", w.Holder, now.Mono, now.Mono+visibility
		r.attempt++
		n.stats.Delivered++
		if r.attempt > 1 {
			n.stats.Redelivered++
		}
		out = append(out, r)
	}
	return out, nil
}

func (n *naive) settle(now mbox.Now, s mbox.Settlement) (*row, error) {
	n.advance(now)
	if s.Verdict > mbox.Release || len(s.Reason) > mbox.MaxReason && s.Verdict == mbox.Nack {
		return nil, mbox.ErrInvalid
	}
	visibility := s.Visibility
	if visibility == 0 {
		visibility = n.o.Visibility
	} else if s.Verdict == mbox.Extend && (visibility < mbox.MinVisibility || visibility > mbox.MaxVisibility) {
		return nil, mbox.ErrInvalid
	}
	r := n.find(s.Receipt.ID)
	switch {
	case slices.Contains(n.acked, s.Receipt):
		return nil, mbox.ErrSettled
	case r == nil || s.Receipt.Shard != n.o.Shard:
		return nil, mbox.ErrUnknown
	case r.state != "leased" || r.receipt != s.Receipt:
		return nil, mbox.ErrLeaseLost
	}
	switch s.Verdict {
	case mbox.Ack:
		n.stats.Acked++
		n.acked = append(n.acked, s.Receipt)
		n.remove(r)
		if r.holder != nil {
			n.say("room %p", r.holder)
		}
	case mbox.Nack:
		n.stats.Nacked++
		why := s.Reason
		if why == "" {
			why = "nack"
		}
		n.fail(r, now.Mono, now.Wall, why)
	case mbox.Extend:
		r.due = min(now.Mono+visibility, r.taken+mbox.MaxVisibility)
	case mbox.Release:
		n.stats.Released++
		r.state = "ready" // with its old turn
		r.attempt--
		n.say("ready %s", r.m.Topic)
		if r.holder != nil {
			n.say("room %p", r.holder)
		}
		r.holder = nil
	}
	return r, nil
}

// keep selects rows for reprocess and the purges.
func (n *naive) keep(rows []*row, limit int, only mbox.ID) ([]*row, error) {
	if only != (mbox.ID{}) {
		for _, r := range rows {
			if r.id == only {
				return []*row{r}, nil
			}
		}
		return nil, mbox.ErrUnknown
	}
	if limit > 0 && limit < len(rows) {
		rows = rows[:limit]
	}
	return rows, nil
}

func (n *naive) reprocess(now mbox.Now, topic string, limit int, only mbox.ID) (int, error) {
	n.advance(now)
	rows, err := n.keep(n.in(topic, "dead"), limit, only)
	for _, r := range rows {
		r.attempt, r.lastErr, r.diedAt = 0, "", time.Time{}
		n.ready(r)
	}
	return len(rows), err
}

func (n *naive) purgeDead(now mbox.Now, topic string, limit int, only mbox.ID) (int, error) {
	n.advance(now)
	rows, err := n.keep(n.in(topic, "dead"), limit, only)
	n.purged(rows)
	return len(rows), err
}

func (n *naive) purge(now mbox.Now, topic string, limit int) int {
	n.advance(now)
	rows := n.in(topic, "ready")
	for _, r := range n.timed(topic) {
		if r.state == "delayed" {
			rows = append(rows, r)
		}
	}
	rows, _ = n.keep(rows, limit, mbox.ID{})
	n.purged(rows)
	return len(rows)
}

func (n *naive) purged(rows []*row) {
	for _, r := range rows {
		n.remove(r)
		n.stats.Purged++
	}
}
