package policy

import (
	"errors"
	"sync/atomic"
	"time"
)

// ErrOutage says that nobody vouches for the policy: everything is denied.
var ErrOutage = errors.New("policy: nobody decides")

// Stale is how long a decision may rest on the last word of whoever vouches for
// the policy. BeatEvery is how often that word is given.
const (
	Stale     = 750 * time.Millisecond
	BeatEvery = 100 * time.Millisecond
)

// Gate is where requests ask. The policy in force is lent by an actor that says
// again and again that it stands by it; when it is silent, everything is denied.
type Gate struct {
	mono func() time.Duration
	lent atomic.Pointer[Engine]
	beat atomic.Int64 // of mono
}

// NewGate makes a gate that denies everything.
func NewGate(mono func() time.Duration) *Gate { return &Gate{mono: mono} }

// Lend puts a policy into force.
func (g *Gate) Lend(e *Engine) {
	g.beat.Store(int64(g.mono()))
	g.lent.Store(e)
}

// Replace puts another policy into force, unless there is an outage: then whoever
// mends it lends the new one.
func (g *Gate) Replace(e *Engine) {
	if old := g.lent.Load(); old != nil {
		g.lent.CompareAndSwap(old, e)
	}
}

// Beat says that the policy in force is the right one.
func (g *Gate) Beat() { g.beat.Store(int64(g.mono())) }

// Withdraw denies everything from now on.
func (g *Gate) Withdraw() { g.lent.Store(nil) }

// Engine is the policy in force, nil in an outage.
func (g *Gate) Engine() *Engine {
	if g.mono()-time.Duration(g.beat.Load()) > Stale {
		return nil
	}
	return g.lent.Load()
}

// Decide asks the policy in force. Errors: ErrOutage.
func (g *Gate) Decide(r *Request) (Decision, error) {
	e := g.Engine()
	if e == nil {
		return Decision{}, ErrOutage
	}
	return e.Decide(r), nil
}
