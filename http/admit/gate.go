package admit

import (
	"context"
	"sync"
	"time"
)

// Gate is a [Machine] for many goroutines. Who waits is woken by whoever makes
// room, or by the gate's one timer.
type Gate struct {
	now func() time.Duration

	mu    sync.Mutex // guards all that follows
	m     *Machine
	timer *time.Timer   // nil: never needed yet
	due   time.Duration // when it rings; 0: it does not
	gone  bool
}

// NewGate makes a gate. now is a clock that never goes back.
func NewGate(l Limits, now func() time.Duration) *Gate {
	g := &Gate{now: now}
	g.m = NewMachine(l, tell)
	return g
}

// tell wakes the request that was decided.
func tell(t *Ticket, err error) { t.wake <- err }

// Pass is one request's way through a gate. It lives in its request and is not
// copied once begun; its methods are called by one goroutine at a time.
type Pass struct {
	ticket Ticket
	gate   *Gate
}

// Begin takes an open place, nothing else. Errors: [ErrOpen].
func (g *Gate) Begin(p *Pass, f Flow, c Class) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	p.gate = g
	return g.m.Begin(g.now(), &p.ticket, f, c)
}

// Enter asks for the right to work at the given cost, and waits for it in line.
// Errors: [ErrQuota], [ErrRate], [ErrBusy] in a [*Refusal], or that of ctx.
func (p *Pass) Enter(ctx context.Context, cost int) error {
	return p.ask(ctx, func(now time.Duration) (bool, error) { return p.gate.m.Enter(now, &p.ticket, cost) })
}

// Park gives the slot back while the request waits for its client.
func (p *Pass) Park() {
	p.gate.change(func(m *Machine, now time.Duration) { m.Park(now, &p.ticket) })
}

// resumeWait is how long a request that has begun to work may wait to go on: slots
// are held for work alone, so that something else has hung when none comes free.
const resumeWait = 5 * time.Second

// Resume asks for a slot again, at the given cost, and waits as long as ctx does,
// at most resumeWait. Errors: [ErrBusy], or that of ctx.
func (p *Pass) Resume(ctx context.Context, cost int) error {
	return p.ask(ctx, func(now time.Duration) (bool, error) { return p.gate.m.Resume(now, &p.ticket, cost), nil })
}

// End gives everything back; ending twice, or what never began, changes nothing.
func (p *Pass) End() {
	if p.gate != nil {
		p.gate.change(func(m *Machine, now time.Duration) { m.End(now, &p.ticket) })
	}
}

// ask puts a question to the machine and waits for the answer.
func (p *Pass) ask(ctx context.Context, question func(now time.Duration) (waits bool, err error)) error {
	g, t := p.gate, &p.ticket
	g.mu.Lock()
	if t.wake == nil && !g.m.easy(g.now()) {
		t.wake = make(chan error, 1)
	}
	waits, err := question(g.now())
	if waits && g.gone {
		g.m.Withdraw(g.now(), t)
		waits, err = false, g.m.no(ErrBusy, time.Second)
	}
	g.arm()
	g.mu.Unlock()
	if waits && t.again {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, resumeWait, &Refusal{ErrBusy, time.Second})
		defer cancel()
	}
	if !waits {
		select {
		case <-t.wake: // it was told what it knows
		default:
		}
		return err
	}
	select {
	case err := <-t.wake:
		return err
	case <-ctx.Done():
	}
	g.mu.Lock()
	withdrawn := g.m.Withdraw(g.now(), t)
	g.arm()
	g.mu.Unlock()
	if !withdrawn { // decided in the same moment: what it got goes back with End
		<-t.wake
	}
	return context.Cause(ctx)
}

func (g *Gate) change(f func(m *Machine, now time.Duration)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(g.m, g.now())
	g.arm()
}

// arm sets the timer to when the machine has something to do; mu is held.
func (g *Gate) arm() {
	now := g.now()
	due, ok := g.m.NextDue(now)
	switch {
	case !ok:
		return // a timer that rings for nothing does no harm
	case g.due != 0 && g.due <= due:
		return
	}
	g.due = due
	if g.timer == nil {
		g.timer = time.AfterFunc(due-now, g.ring)
	} else {
		g.timer.Reset(due - now)
	}
}

func (g *Gate) ring() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.due = 0
	if g.gone {
		return
	}
	g.m.Advance(g.now())
	g.arm()
}

// Configure puts other limits into force.
func (g *Gate) Configure(l Limits) {
	g.change(func(m *Machine, now time.Duration) { m.Configure(now, l) })
}

// Stats returns the figures of this moment.
func (g *Gate) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.m.Stats()
}

// Close refuses all that wait, from now on too, and stops the timer. What works
// goes on and ends as ever.
func (g *Gate) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = true
	if g.timer != nil {
		g.timer.Stop()
	}
	g.m.refuseAll(g.now())
}
