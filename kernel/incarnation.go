package kernel

import (
	"cmp"
	"context"
	"strconv"
	"sync"
	"time"
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
	lane   *lane // runs the turns

	startLimit, limit time.Duration
	now               func() time.Time
	tell              func(msg any)  // to the root
	fault             func(c *crash) // publishes what is no crash any more

	mu        sync.Mutex
	since     time.Time // when the current turn began; zero while idle
	turnLimit time.Duration
	turn      uint64 // counts turns
	inHand    any    // the message of the current turn
	fallen    *crash // a reason to crash at the next turn
	over      bool   // no turn will come that could crash: what falls now is a fault
	drill     drill  // to hang
	begun     bool   // Actor.Start has returned
	ending    bool   // the current turn is Actor.Stop, with all that it waits for
	abandoned chan struct{}
}

// drill is a hang by order.
type drill uint8

const (
	noDrill      drill = iota
	drillOrdered       // for the next turn
	drillHangs         // in it now
)

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
		now:        r.now, tell: r.tell, abandoned: make(chan struct{}), lane: newLane(),
		fault: func(c *crash) { r.fault(s.child.Name, c) },
	}
	inc.alarms.inc = inc
	return inc
}

// end tells the incarnation that it is over: its ctx ends, its alarms do not
// ring any more, and a fall that no turn has seen is told as a fault.
func (i *incarnation) end() {
	i.mu.Lock()
	unseen := i.fallen
	i.fallen, i.over = nil, true
	i.mu.Unlock()
	i.cancel()
	i.alarms.end()
	i.trace(unseen)
}

// trace tells of a fall that no crash comes of.
func (i *incarnation) trace(c *crash) {
	if c != nil && !c.meant {
		i.fault(c)
	}
}

// name is unique over the life of the tree.
func (i *incarnation) name() string { return i.cell.name + "~" + strconv.FormatUint(i.gen, 10) }

// begin marks the start of a turn for the watchdog.
func (i *incarnation) begin(limit time.Duration, msg any) {
	i.mu.Lock()
	i.beginLocked(limit, msg)
	i.mu.Unlock()
}

func (i *incarnation) beginLocked(limit time.Duration, msg any) {
	i.since, i.turnLimit, i.inHand = i.now(), limit, msg
	i.turn++
}

// done marks the end of a turn.
func (i *incarnation) done() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.since, i.inHand = time.Time{}, nil
}

// letGo takes the message of the current turn out of its hand; the turn goes on.
func (i *incarnation) letGo() any {
	i.mu.Lock()
	defer i.mu.Unlock()
	msg := i.inHand
	i.inHand = nil
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

// hangs reports whether it hangs by order now.
func (i *incarnation) hangs() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.drill == drillHangs
}

// callOff takes back an order to hang that has not begun, and reports whether
// one has: what is in hand then is the drill, and no work.
func (i *incarnation) callOff() (hangs bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.drill == drillOrdered {
		i.drill = noDrill
	}
	return i.drill == drillHangs
}

// stops reports whether it is in Actor.Stop.
func (i *incarnation) stops() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.ending
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

// fall makes the actor crash at its next turn, which comes at once. A second
// fall, or one that comes when the incarnation is over, is a fault.
func (i *incarnation) fall(c *crash) {
	i.mu.Lock()
	crashes := i.fallen == nil && !i.over
	if crashes {
		i.fallen = c
	}
	i.mu.Unlock()
	if !crashes {
		i.trace(c)
		return
	}
	i.cell.wake(i)
}

// hangNext makes the actor hang at its next turn, which comes at once.
func (i *incarnation) hangNext() {
	i.mu.Lock()
	i.drill = drillOrdered
	i.mu.Unlock()
	i.cell.wake(i)
}

func (i *incarnation) hasFallen() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fallen != nil
}

// obey takes what the next turn is to do instead of a message. A hang begins
// with it.
func (i *incarnation) obey() (fallen *crash, hang bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	fallen, i.fallen = i.fallen, nil
	if fallen == nil && i.drill == drillOrdered {
		i.drill = drillHangs
		i.beginLocked(i.limit, nil)
	}
	return fallen, i.drill == drillHangs
}
