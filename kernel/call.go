package kernel

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// Errors with which the kernel answers a message in an actor's stead.
var (
	ErrBusy    = errors.New("kernel: actor's queue is full")
	ErrCrashed = errors.New("kernel: actor crashed on this message")
	ErrDown    = errors.New("kernel: actor is restarting")
	ErrStopped = errors.New("kernel: actor is stopped")
	// ErrUnknownOutcome: the caller gave up after the actor had begun; the
	// work may or may not be done.
	ErrUnknownOutcome = errors.New("kernel: gave up on a request that was already begun")
)

// Failer is a message that wants to be told when no actor will answer it:
// refused at the door, in hand during a crash, or left over at the stop. Fail
// is called at most once per cause and must not block.
type Failer interface{ Fail(error) }

// claimer is a message whose sender may have given up before its turn.
type claimer interface{ claim() bool }

const (
	callPending int32 = iota
	callClaimed
	callAbandoned
	callDone
)

type outcome[A any] struct {
	answer A
	err    error
}

// Call is one request of type Q and its one answer of type A. The first of
// Reply and Fail wins, later ones are ignored. It is never reused, so a late
// answer can not reach another caller.
type Call[Q, A any] struct {
	Req   Q
	state atomic.Int32
	done  chan outcome[A]
}

// NewCall wraps a request.
func NewCall[Q, A any](q Q) *Call[Q, A] {
	return &Call[Q, A]{Req: q, done: make(chan outcome[A], 1)}
}

// Reply answers the caller. False: the caller has given up meanwhile, or was
// answered before; what was done for it alone can be undone.
func (c *Call[Q, A]) Reply(a A) bool { return c.finish(outcome[A]{answer: a}) }

// Fail answers the caller with an error.
func (c *Call[Q, A]) Fail(err error) { _ = c.finish(outcome[A]{err: err}) }

func (c *Call[Q, A]) finish(o outcome[A]) bool {
	for {
		s := c.state.Load()
		if s >= callAbandoned {
			return false
		}
		if c.state.CompareAndSwap(s, callDone) {
			c.done <- o
			return true
		}
	}
}

// claim is called by the kernel when the call's turn comes; false means that
// the caller gave up before, and the work is surely not done.
func (c *Call[Q, A]) claim() bool { return c.state.CompareAndSwap(callPending, callClaimed) }

// IgnoreDeadLetterLogging keeps payloads out of the actor library's log.
func (c *Call[Q, A]) IgnoreDeadLetterLogging() {}

// Wait returns the answer. When ctx ends first, the error wraps ctx's; it also
// matches ErrUnknownOutcome if the actor had already begun.
func (c *Call[Q, A]) Wait(ctx context.Context) (A, error) {
	select {
	case o := <-c.done:
		return o.answer, o.err
	case <-ctx.Done():
	}
	var none A
	switch {
	case c.state.CompareAndSwap(callPending, callAbandoned):
		return none, context.Cause(ctx)
	case c.state.CompareAndSwap(callClaimed, callAbandoned):
		return none, fmt.Errorf("%w: %w", ErrUnknownOutcome, context.Cause(ctx))
	default: // answered in the same moment
		o := <-c.done
		return o.answer, o.err
	}
}

// Ask sends q to the actor and waits for its answer. Errors: those of
// [Ref.Send], ErrCrashed, ErrStopped, ctx's own, or what the actor answered.
func Ask[Q, A any](ctx context.Context, to *Ref, q Q) (A, error) {
	c := NewCall[Q, A](q)
	if err := to.Send(c); err != nil {
		var none A
		return none, err
	}
	return c.Wait(ctx)
}
