package actors

import (
	"context"
	"sync/atomic"
	"time"

	"micronode/kernel"
)

const (
	checkEvery = time.Second
	// quietFor is how long a check must find nothing before its cause is
	// cleared, so that readiness does not flap.
	quietFor = 5 * time.Second
)

type checkNow struct{}

// lookout looks once a second at what no actor's state tells, and raises or
// clears causes in the ledger. Readiness itself never waits for it. The actors
// health and mailbox are lookouts.
type lookout struct {
	n      *Node
	make   func() []check // for one incarnation
	checks []check
}

// check is one question. look returns a line for a person while there is
// trouble. It runs on the lookout; what it has to remember across restarts
// is in seen.
type check struct {
	cause string
	look  func() string
	last  time.Time // when look last found something; zero: never
}

// seen is how far the health actor has looked. The node lends it to each
// incarnation, so what happens while none runs is found by the next.
type seen struct {
	lagged  atomic.Uint64
	corrupt atomic.Int64
	shed    atomic.Uint64
}

// Start takes over the causes that an earlier incarnation may have left.
func (l *lookout) Start(_ context.Context, life *kernel.Life) error {
	l.checks = l.make()
	for i := range l.checks {
		l.checks[i].last = l.n.opt.Now() // an inherited cause is cleared in its time
	}
	life.Tick(checkEvery, checkNow{})
	return nil
}

// Receive looks.
func (l *lookout) Receive(_ context.Context, msg any) error {
	if _, ok := msg.(checkNow); !ok {
		return nil
	}
	now, ledger := l.n.opt.Now(), l.n.tree.Ledger()
	for i := range l.checks {
		c := &l.checks[i]
		if trouble := c.look(); trouble != "" {
			c.last = now
			ledger.Raise(kernel.Cause{Name: c.cause, Detail: trouble, Effect: kernel.Warn})
		} else if !c.last.IsZero() && now.Sub(c.last) >= quietFor {
			c.last = time.Time{}
			ledger.Clear(c.cause)
		}
	}
	return nil
}

// Stop leaves the causes for the next incarnation.
func (l *lookout) Stop() {}
