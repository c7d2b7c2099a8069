package mailbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	httpapi "micronode/http"
	"micronode/store"
	"micronode/store/mbox"
)

// Figures of a consumer loop.
const (
	consumeWait = 30 * time.Second // one wait for messages
	settleWait  = 5 * time.Second  // one verdict, also when the loop ends
	retryBase   = 50 * time.Millisecond
	retryCap    = 2 * time.Second
)

// ConsumeOptions describe a consumer loop.
type ConsumeOptions struct {
	Topic      string
	Parallel   int           // handlers at a time; 0: 1, which keeps the topic's order while nothing is redelivered
	Visibility time.Duration // lease, extended while a handler works; 0: mailbox.visibility
	// Lost is told when a handler was done and its verdict did not count: the
	// message goes to somebody again. May be nil.
	Lost func(d mbox.Delivery, err error)
}

// Handler works on one message: nil acknowledges it, an error (or a panic)
// gives it back with the error's text as last error. ctx ends with the loop, or
// when the lease is lost.
type Handler func(ctx context.Context, d mbox.Delivery) error

// Consume runs handlers on a topic's messages until ctx ends, then waits for
// those under way and returns ctx's error. It goes on over restarts of shards.
// Other errors: mbox.ErrInvalid.
func (m *Mailbox) Consume(ctx context.Context, o ConsumeOptions, h Handler) error {
	o.Parallel = cmp.Or(o.Parallel, 1)
	holder := &mbox.Holder{Window: o.Parallel}
	want := mbox.Want{Topic: o.Topic, Visibility: o.Visibility, Max: min(o.Parallel, mbox.MaxBatch), Holder: holder}
	if err := want.Check(); err != nil {
		return err
	}
	var working sync.WaitGroup
	defer working.Wait()
	slots := make(chan struct{}, o.Parallel)
	for failed := 0; ctx.Err() == nil; {
		messages, err := m.Recv(ctx, want, consumeWait)
		if err != nil && ctx.Err() == nil {
			failed++
			pause(ctx, rand.N(min(retryCap, retryBase<<min(failed, 10))))
			continue
		}
		failed = 0
		for _, d := range messages {
			slots <- struct{}{} // never waits for long: the holder's window is as wide
			working.Go(func() {
				defer func() { <-slots }()
				m.handle(ctx, o, d, h)
			})
		}
	}
	return context.Cause(ctx)
}

// handle works on one message and keeps its lease alive meanwhile.
func (m *Mailbox) handle(ctx context.Context, o ConsumeOptions, d mbox.Delivery, h Handler) {
	work, cancel := context.WithCancelCause(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { m.keepLease(work, cancel, d, o.Visibility) })
	err := guarded(work, d, h)
	cancel(nil)
	keeper.Wait()
	verdict := mbox.Settlement{Verdict: mbox.Ack, Receipt: d.Receipt}
	if err != nil {
		verdict.Verdict, verdict.Reason = mbox.Nack, clip(err.Error())
	}
	if err := m.settleSurely(ctx, verdict); err != nil && o.Lost != nil {
		o.Lost(d, err)
	}
}

// guarded runs the handler; its panic is an error.
func guarded(ctx context.Context, d mbox.Delivery, h Handler) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return h(ctx, d)
}

// keepLease extends the lease at each third of it; when the lease is lost, so is
// the work.
func (m *Mailbox) keepLease(ctx context.Context, cancel context.CancelCauseFunc, d mbox.Delivery, visibility time.Duration) {
	every := cmp.Or(visibility, m.opt.Queue.Visibility, 5*time.Second) / 3
	for pause(ctx, every) {
		_, err := m.Settle(ctx, mbox.Settlement{Verdict: mbox.Extend, Receipt: d.Receipt, Visibility: visibility})
		if errors.Is(err, mbox.ErrLeaseLost) || errors.Is(err, mbox.ErrUnknown) {
			cancel(err)
			return
		}
	}
}

// settleSurely tells a verdict even while the shard restarts and the loop ends.
func (m *Mailbox) settleSurely(ctx context.Context, s mbox.Settlement) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWait)
	defer cancel()
	for failed := 0; ; failed++ {
		_, err := m.Settle(ctx, s)
		if failed > 0 && errors.Is(err, mbox.ErrSettled) {
			return nil // the verdict before had counted
		}
		if !errors.Is(err, store.ErrNotReady) && !errors.Is(err, httpapi.ErrMailboxBusy) ||
			!pause(ctx, rand.N(min(retryCap, retryBase<<min(failed, 10)))) {
			return err
		}
	}
}

// pause waits; false: ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// clip shortens a handler's words to what a nack may say.
func clip(s string) string {
	if len(s) <= mbox.MaxReason {
		return s
	}
	return s[:mbox.MaxReason]
}
