package mailbox

import (
	"context"

	httpapi "micronode/http"
	"micronode/kernel"
	"micronode/store/mbox"
)

// Door is the mailbox as the door asks for it (httpapi.MailboxQueue and its
// kin): whole batches, in the door's words.
func (m *Mailbox) Door() Door { return Door{m} }

// Door implements httpapi.MailboxQueue, httpapi.MailboxView and
// httpapi.MailboxKeep.
type Door struct{ m *Mailbox }

// Send implements httpapi.MailboxQueue: a message to each shard that a topic of
// the batch belongs to, one after the other.
func (d Door) Send(ctx context.Context, items []mbox.Message) []httpapi.SendVerdict {
	verdicts := make([]httpapi.SendVerdict, len(items))
	shut := d.m.open(true)
	d.each(len(items), func(i int) *shard {
		if shut != nil {
			verdicts[i].Err = shut
			return nil
		}
		return d.m.shardOf(items[i].Topic)
	}, func(s *shard, which []int) {
		answers, err := kernel.Ask[[]mbox.Message, []httpapi.SendVerdict](ctx, s.ref, pick(items, which))
		for k, i := range which {
			if err != nil {
				verdicts[i].Err = words(s, err)
			} else {
				verdicts[i] = answers[k]
			}
		}
	})
	return verdicts
}

// Settle implements httpapi.MailboxQueue.
func (d Door) Settle(ctx context.Context, items []mbox.Settlement) []httpapi.SettleVerdict {
	verdicts := make([]httpapi.SettleVerdict, len(items))
	shut := d.m.open(false)
	d.each(len(items), func(i int) *shard {
		n := int(items[i].Receipt.Shard)
		switch {
		case shut != nil:
			verdicts[i].Err = shut
		case n >= len(d.m.shards):
			verdicts[i].Err = mbox.ErrUnknown // a receipt of another node
		default:
			return d.m.shards[n]
		}
		return nil
	}, func(s *shard, which []int) {
		answers, err := kernel.Ask[[]mbox.Settlement, []httpapi.SettleVerdict](ctx, s.ref, pick(items, which))
		for k, i := range which {
			if err != nil {
				verdicts[i].Err = words(s, err)
			} else {
				verdicts[i] = answers[k]
			}
		}
	})
	return verdicts
}

// each sorts a batch by shard and calls ask once for each; where says nil for an
// item that is judged already.
func (d Door) each(n int, where func(i int) *shard, ask func(s *shard, which []int)) {
	if n == 1 { // nearly always
		if s := where(0); s != nil {
			ask(s, []int{0})
		}
		return
	}
	parts := map[*shard][]int{}
	var order []*shard
	for i := range n {
		s := where(i)
		if s == nil {
			continue
		}
		if parts[s] == nil {
			order = append(order, s)
		}
		parts[s] = append(parts[s], i)
	}
	for _, s := range order {
		ask(s, parts[s])
	}
}

func pick[T any](items []T, which []int) []T {
	if len(which) == len(items) {
		return items
	}
	part := make([]T, len(which))
	for k, i := range which {
		part[k] = items[i]
	}
	return part
}

// Recv implements httpapi.MailboxQueue.
func (d Door) Recv(ctx, patience context.Context, want mbox.Want) ([]mbox.Delivery, error) {
	if err := d.m.open(false); err != nil {
		return nil, err
	}
	s := d.m.shardOf(want.Topic)
	var w *waiter
	if patience != nil {
		w = newWaiter(want)
	}
	r, err := kernel.Ask[recvRequest, received](ctx, s.ref, recvRequest{want: want, waiter: w})
	switch {
	case err != nil:
		d.gone(s, w)
		return nil, words(s, err)
	case len(r.messages) > 0 || r.err != nil || w == nil:
		return r.messages, r.err
	}
	return d.wait(ctx, patience, s, w)
}

// wait returns what the waiter gets, or nothing when its patience ends.
func (d Door) wait(ctx, patience context.Context, s *shard, w *waiter) ([]mbox.Delivery, error) {
	select {
	case r := <-w.got:
		return r.messages, r.err
	case <-patience.Done():
	case <-ctx.Done():
		d.gone(s, w)
		return nil, context.Cause(ctx)
	}
	if s.line.leave(w) {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		return nil, nil
	}
	r := <-w.got // it was answered in the same moment
	return r.messages, r.err
}

// gone takes a waiter out whose receiver has left, and gives back what it got.
func (d Door) gone(s *shard, w *waiter) {
	if w == nil || s.line.leave(w) {
		return
	}
	d.release(s, (<-w.got).messages)
}

// release gives back what was leased and never handed over. Nobody waits for
// it: where it fails, the leases run out by themselves.
func (d Door) release(s *shard, messages []mbox.Delivery) {
	if len(messages) == 0 {
		return
	}
	back := make([]mbox.Settlement, len(messages))
	for i, m := range messages {
		back[len(back)-1-i] = mbox.Settlement{Verdict: mbox.Release, Receipt: m.Receipt} // the last first: each goes to the head of the line
	}
	_ = s.ref.Send(kernel.NewCall[[]mbox.Settlement, []httpapi.SettleVerdict](back)) // refused: see above
}
