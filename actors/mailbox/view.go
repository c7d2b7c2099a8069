package mailbox

import (
	"cmp"
	"context"
	"slices"

	httpapi "micronode/http"
	"micronode/kernel"
	"micronode/store/mbox"
)

// Topics implements httpapi.MailboxView. It asks no actor.
func (d Door) Topics(after string, limit int) []mbox.Topic {
	var all []mbox.Topic
	now := d.m.now()
	for _, s := range d.m.shards {
		s.look(func(q *mbox.Queue) {
			for _, t := range q.Topics(now) {
				if t.Name > after {
					all = append(all, t)
				}
			}
		})
	}
	slices.SortFunc(all, func(a, b mbox.Topic) int { return cmp.Compare(a.Name, b.Name) })
	return all[:min(limit, len(all))]
}

// Peek implements httpapi.MailboxView. It asks no actor.
func (d Door) Peek(topic string, limit int) (all []mbox.Waiting) {
	now := d.m.now()
	d.m.shardOf(topic).look(func(q *mbox.Queue) { all = q.Peek(now, topic, limit) })
	return all
}

// Dead implements httpapi.MailboxView. It asks no actor.
func (d Door) Dead(topic string, ask httpapi.DeadQuery) (all []mbox.DeadLetter, err error) {
	d.m.shardOf(topic).look(func(q *mbox.Queue) {
		if ask.Only == (mbox.ID{}) {
			all = q.Dead(topic, ask.After, ask.Limit)
			return
		}
		var one mbox.DeadLetter
		if one, err = q.DeadOne(topic, ask.Only); err == nil {
			all = []mbox.DeadLetter{one}
		}
	})
	return all, err
}

// Reprocess implements httpapi.MailboxKeep.
func (d Door) Reprocess(ctx context.Context, k httpapi.Keep) (int, error) {
	return d.keep(ctx, k, true, func(q *mbox.Queue, now mbox.Now, k httpapi.Keep) (int, error) {
		return q.Reprocess(now, k.Topic, k.Limit, k.Only)
	})
}

// PurgeDead implements httpapi.MailboxKeep.
func (d Door) PurgeDead(ctx context.Context, k httpapi.Keep) (int, error) {
	return d.keep(ctx, k, d.m.opt.Frees == nil || !d.m.opt.Frees(), func(q *mbox.Queue, now mbox.Now, k httpapi.Keep) (int, error) {
		return q.PurgeDead(now, k.Topic, k.Limit, k.Only)
	})
}

// Purge implements httpapi.MailboxKeep.
func (d Door) Purge(ctx context.Context, k httpapi.Keep) (int, error) {
	return d.keep(ctx, k, d.m.opt.Frees == nil || !d.m.opt.Frees(), func(q *mbox.Queue, now mbox.Now, k httpapi.Keep) (int, error) {
		return q.Purge(now, k.Topic, k.Limit), nil
	})
}

func (d Door) keep(ctx context.Context, k httpapi.Keep, write bool, do func(*mbox.Queue, mbox.Now, httpapi.Keep) (int, error)) (int, error) {
	if err := d.m.open(write); err != nil {
		return 0, err
	}
	s := d.m.shardOf(k.Topic)
	r, err := kernel.Ask[keepRequest, kept](ctx, s.ref, keepRequest{Keep: k, do: do})
	if err != nil {
		return 0, words(s, err)
	}
	return r.many, r.err
}

// Load is what the mailbox holds now and has done since it was made.
type Load struct {
	mbox.Stats
	Waiters     int
	Fullest     int   // messages in the fullest shard
	MaxBytes    int64 // of all shards
	Inflight    int64 // leases
	MaxInflight int64
}

// Load adds the shards up. It asks no actor.
func (m *Mailbox) Load() Load {
	l := Load{MaxBytes: m.bytes.Max(), Inflight: m.inflight.Used(), MaxInflight: m.inflight.Max()}
	for _, s := range m.shards {
		s.look(func(q *mbox.Queue) {
			st := q.Stats()
			l.Fullest = max(l.Fullest, st.Ready+st.Delayed+st.Leased+st.Dead)
			l.add(st)
		})
		l.Waiters += s.line.len()
	}
	l.Bytes = m.bytes.Used()
	return l
}

func (l *Load) add(s mbox.Stats) {
	l.Enqueued += s.Enqueued
	l.Delivered += s.Delivered
	l.Redelivered += s.Redelivered
	l.Acked += s.Acked
	l.Nacked += s.Nacked
	l.Expired += s.Expired
	l.Died += s.Died
	l.Duplicates += s.Duplicates
	l.Purged += s.Purged
	l.Ready += s.Ready
	l.Delayed += s.Delayed
	l.Leased += s.Leased
	l.Dead += s.Dead
	l.Topics += s.Topics
	l.Keys += s.Keys
}
