package kernel

import (
	"cmp"
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// incarnation is one life of a child: the actor value, its goroutines and what
// it is busy with. It is never reused.
type incarnation struct {
	cell   *cell
	ledger *Ledger
	gen    uint64
	make   func() Actor
	actor  Actor
	ctx    context.Context // ends with the incarnation; handed to every call of the actor
	cancel context.CancelFunc
	tasks  sync.WaitGroup // goroutines started with Life.Go, alarms that are set
	alarms alarms

	startLimit, limit time.Duration
	now               func() time.Time
	tell              func(msg any) // to the root

	mu        sync.Mutex
	since     time.Time // when the current turn began; zero while idle
	turnLimit time.Duration
	turn      uint64 // counts turns
	inHand    any    // the message of the current turn
	fallen    *crash // a reason to crash at the next turn
	hang      bool   // a drill: hang at the next turn
	begun     bool   // Actor.Start has returned
	abandoned chan struct{}
}

func newIncarnation(r *root, s *service) *incarnation {
	gen := uint64(1)
	if s.inc != nil {
		gen = s.inc.gen + 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	inc := &incarnation{
		cell: s.cell, ledger: r.ledger, gen: gen, make: s.child.New, ctx: ctx, cancel: cancel,
		startLimit: cmp.Or(s.child.StartTimeout, r.policy.StartTimeout),
		limit:      cmp.Or(s.child.Watchdog, r.policy.Watchdog),
		now:        r.now, tell: r.tell, abandoned: make(chan struct{}),
	}
	inc.alarms.inc = inc
	return inc
}

// end tells the incarnation that it is over: its ctx ends, its alarms do not
// ring any more.
func (i *incarnation) end() {
	i.cancel()
	i.alarms.end()
}

// name is unique over the life of the tree.
func (i *incarnation) name() string { return i.cell.name + "~" + strconv.FormatUint(i.gen, 10) }

// begin marks the start of a turn for the watchdog.
func (i *incarnation) begin(limit time.Duration, msg any) {
	i.mu.Lock()
	i.since, i.turnLimit, i.inHand = i.now(), limit, msg
	i.turn++
	i.mu.Unlock()
}

// done marks the end of a turn and returns the message it was about.
func (i *incarnation) done() any {
	i.mu.Lock()
	defer i.mu.Unlock()
	msg := i.inHand
	i.since, i.inHand = time.Time{}, nil
	return msg
}

// stuck reports whether the current turn is past its limit.
func (i *incarnation) stuck(now time.Time) (turn uint64, limit time.Duration, over bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.turn, i.turnLimit, !i.since.IsZero() && now.Sub(i.since) > i.turnLimit
}

// abandon gives up on a turn that is stuck: the caller is answered, the
// goroutines are told, and nothing that the old goroutine does later counts.
// It reports false when the turn has ended meanwhile.
func (i *incarnation) abandon(turn uint64) bool {
	i.mu.Lock()
	if i.since.IsZero() || i.turn != turn {
		i.mu.Unlock()
		return false
	}
	msg := i.inHand
	i.since, i.inHand = time.Time{}, nil
	close(i.abandoned)
	i.mu.Unlock()
	i.cell.down(i)
	i.end()
	fail(msg, ErrCrashed)
	return true
}

// abandonAny abandons whatever turn there is.
func (i *incarnation) abandonAny() bool {
	i.mu.Lock()
	turn := i.turn
	i.mu.Unlock()
	return i.abandon(turn)
}

// hangs reports whether a drill has told it to.
func (i *incarnation) hangs() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.hang
}

func (i *incarnation) hasStarted() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.begun
}

func (i *incarnation) isAbandoned() bool {
	select {
	case <-i.abandoned:
		return true
	default:
		return false
	}
}

// fall makes the actor crash at its next turn, which comes at once.
func (i *incarnation) fall(c *crash) {
	i.mu.Lock()
	if i.fallen == nil {
		i.fallen = c
	}
	i.mu.Unlock()
	i.cell.wake(i)
}

// hangNext makes the actor hang at its next turn, which comes at once.
func (i *incarnation) hangNext() {
	i.mu.Lock()
	i.hang = true
	i.mu.Unlock()
	i.cell.wake(i)
}

func (i *incarnation) orders() (*crash, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fallen, i.hang
}

// tick says: look into your cell.
type tick struct{}

// IgnoreDeadLetterLogging: a tick for an actor that is gone means nothing.
func (tick) IgnoreDeadLetterLogging() {}

// Receive is the actor library's entry: the lifecycle and the ticks.
func (i *incarnation) Receive(ctx actor.Context) {
	switch ctx.Message().(type) {
	case *actor.Started:
		i.start(ctx)
	case tick:
		i.step()
	case *actor.Stopping:
		i.stop()
	}
}

// start runs Actor.Start, then opens the cell.
func (i *incarnation) start(ctx actor.Context) {
	i.begin(i.startLimit, nil)
	i.guarded(func() error {
		i.actor = i.make()
		return i.actor.Start(i.ctx, &Life{i})
	})
	i.done()
	if i.isAbandoned() {
		return
	}
	i.mu.Lock()
	i.begun = true
	i.mu.Unlock()
	root, self := ctx.ActorSystem().Root, ctx.Self()
	i.cell.up(i, func() { root.Send(self, tick{}) })
	i.alarms.begin()
	i.tell(started{i})
	if c, _ := i.orders(); c != nil { // one of its goroutines fell before there was a cell to wake
		i.cell.wake(i)
	}
}

// step takes one turn: an order first, else the oldest message.
func (i *incarnation) step() {
	if i.isAbandoned() {
		return
	}
	switch fallen, hang := i.orders(); {
	case fallen != nil:
		i.shut()
		panic(fallen)
	case hang:
		i.begin(i.limit, nil)
		<-i.abandoned // deaf to its ctx, as a real hang is
		return
	}
	msg := i.cell.next(i)
	if msg == nil {
		return
	}
	if c, ok := msg.(claimer); ok && !c.claim() {
		return // its caller gave up: surely not done
	}
	i.begin(i.limit, msg)
	i.guarded(func() error { return i.actor.Receive(i.ctx, msg) })
	i.done()
}

// shut is the first thing that a crash does, still on the actor's goroutine:
// no message is accepted, and readiness says so, before any caller hears of it.
func (i *incarnation) shut() {
	if i.cell.down(i) {
		i.ledger.update(i.cell.name, func(st *ServiceStatus) {
			if st.State == Probing {
				st.State = Storm
			} else {
				st.State = Backoff
			}
		})
	}
}

// guarded runs f; its panic or error goes on as a panic, after the caller
// whose message it was has been answered.
func (i *incarnation) guarded(f func() error) {
	defer func() {
		v := recover()
		if v == nil {
			return // also runtime.Goexit: the turn stays open and the watchdog finds it
		}
		c := crashOf("panic: ", v)
		i.shut()
		fail(i.done(), ErrCrashed)
		panic(c)
	}()
	if err := f(); err != nil {
		panic(&crash{reason: clip(err.Error(), maxReason)})
	}
}

// stop ends the goroutines, then runs Actor.Stop. It never panics: the library
// would never finish the stop.
func (i *incarnation) stop() {
	i.cell.down(i)
	i.end()
	i.begin(i.limit, nil)
	returned := false
	defer func() {
		if v := recover(); v != nil {
			i.tell(stopFailed{i, crashOf("panic in Stop: ", v)})
		} else if !returned {
			return
		}
		i.done()
	}()
	i.tasks.Wait()
	if i.actor != nil {
		i.actor.Stop()
	}
	returned = true
}
