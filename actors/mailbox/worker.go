package mailbox

import (
	"context"
	"fmt"
	"time"

	httpapi "micronode/http"
	"micronode/kernel"
	"micronode/store/mbox"
)

// Requests to a shard: one message each, and one reply.
type (
	sendCall   = kernel.Call[[]mbox.Message, []httpapi.SendVerdict]
	recvCall   = kernel.Call[recvRequest, received]
	settleCall = kernel.Call[[]mbox.Settlement, []httpapi.SettleVerdict]
	keepCall   = kernel.Call[keepRequest, kept]

	recvRequest struct {
		want   mbox.Want
		waiter *waiter // nil: do not wait
	}
	keepRequest struct {
		httpapi.Keep
		do func(q *mbox.Queue, now mbox.Now, k httpapi.Keep) (int, error)
	}
	kept struct {
		many int
		err  error
	}
	due struct{} // the time has come that the queue named
)

// worker is one incarnation of a shard's actor.
type worker struct {
	box    *Mailbox
	shard  *shard
	life   *kernel.Life
	alarm  time.Duration // when due comes, on the monotonic clock; 0: not armed
	cancel func()
}

// Start takes the shard over from the incarnation before.
func (w *worker) Start(_ context.Context, life *kernel.Life) error {
	w.life, w.cancel = life, func() {}
	if wrong := w.shard.adopt(life.Incarnation(), w.box.now()); wrong != nil {
		w.box.opt.Mended(w.shard.name, wrong)
	}
	w.turn(func(*mbox.Queue, mbox.Now) {}, nil)
	return nil
}

// Receive answers one request.
func (w *worker) Receive(_ context.Context, msg any) error {
	switch m := msg.(type) {
	case *sendCall:
		verdicts := make([]httpapi.SendVerdict, len(m.Req))
		w.turn(func(q *mbox.Queue, now mbox.Now) {
			for i := range m.Req {
				verdicts[i].Sent, verdicts[i].Err = q.Send(now, m.Req[i])
			}
		}, answer(m, &verdicts))
	case *recvCall:
		if err := w.turn(func(q *mbox.Queue, now mbox.Now) {
			messages, err := w.shard.recv(q, now, m.Req.want, m.Req.waiter)
			if !m.Reply(received{messages, err}) { // the receiver has gone: as if nothing had been leased
				giveBack(q, now, messages)
			}
		}, nil); err != nil {
			m.Fail(err)
		}
	case *settleCall:
		verdicts := make([]httpapi.SettleVerdict, len(m.Req))
		w.turn(func(q *mbox.Queue, now mbox.Now) {
			for i := range m.Req {
				verdicts[i].Deadline, verdicts[i].Err = q.Settle(now, m.Req[i])
			}
		}, answer(m, &verdicts))
	case *keepCall:
		var k kept
		w.turn(func(q *mbox.Queue, now mbox.Now) { k.many, k.err = m.Req.do(q, now, m.Req.Keep) }, answer(m, &k))
	case due:
		w.alarm = 0
		w.turn(func(q *mbox.Queue, now mbox.Now) { q.Advance(now) }, nil)
	default:
		return fmt.Errorf("mailbox: unknown message %T", msg)
	}
	return nil
}

// answer replies when what was done is durable. It fails when that cannot be, or
// when the shard belongs to a later incarnation already and nothing was done.
func answer[Q, A any](c *kernel.Call[Q, A], a *A) func(error) {
	return func(err error) {
		if err != nil {
			c.Fail(err)
			return
		}
		c.Reply(*a)
	}
}

// giveBack undoes a Recv of this very moment: the last message first, because
// each goes to the head of its line.
func giveBack(q *mbox.Queue, now mbox.Now, messages []mbox.Delivery) {
	for i := len(messages) - 1; i >= 0; i-- {
		_, _ = q.Settle(now, mbox.Settlement{Verdict: mbox.Release, Receipt: messages[i].Receipt}) // its lease can not be over yet
	}
}

// Stop leaves everything to the next incarnation.
func (w *worker) Stop() { w.cancel() }

// turn works on the shard, tells of the dead, and sets the alarm. The error is
// that of shard.mine: nothing was done.
func (w *worker) turn(work func(q *mbox.Queue, now mbox.Now), durable func(error)) error {
	now, done := w.box.now(), false
	died, next, more := w.shard.turn(w.life.Incarnation(), now, func(q *mbox.Queue) {
		done = true
		work(q, now)
	}, durable)
	if !done {
		w.alarm = 0
		w.cancel()
		return w.shard.why(w.life.Incarnation())
	}
	if len(died) > 0 {
		w.box.opt.Died(w.shard.name, died)
	}
	switch {
	case !more:
		w.cancel()
		w.alarm = 0
	case w.alarm == 0 || next < w.alarm || w.alarm <= now.Mono: // a later one is found out when the alarm comes
		w.cancel()
		w.alarm = max(next, 1)
		w.cancel = w.life.After(next-now.Mono, due{})
	}
	return nil
}
