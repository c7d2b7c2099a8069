package kernel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Tree is a running list of supervised children.
type Tree struct {
	root     *root
	refs     map[string]*Ref
	bus      *Bus
	ledger   *Ledger
	ownBus   bool
	watchdog sync.WaitGroup
	unwatch  context.CancelFunc

	mu   sync.Mutex
	pid  *actor.PID // of the root; nil before Start
	over bool       // Stop was called

	stopOnce sync.Once
	stopErr  error
}

// ErrAbandoned: at the stop some children did not end in time and were left
// behind. The message names them.
var ErrAbandoned = errors.New("kernel: left behind at the deadline")

// New describes a tree; nothing runs before Start.
func New(o Options) (*Tree, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	t := &Tree{refs: map[string]*Ref{}, bus: o.Bus, ownBus: o.Bus == nil}
	if t.ownBus {
		t.bus = NewBus(BusOptions{Now: o.Now})
	}
	t.root = newRoot(o, t.bus)
	t.ledger = t.root.ledger
	for _, s := range t.root.services {
		t.refs[s.child.Name] = &Ref{s.cell}
	}
	return t, nil
}

// Start starts the children in order, each when the one before it runs or has
// failed once, and returns at once; [Ledger.Readiness] tells when they run.
// The caller must call Stop. A tree runs once: an error is a second start, or
// ErrStopped after Stop.
func (t *Tree) Start() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.over:
		return ErrStopped
	case t.pid != nil:
		return errors.New("kernel: a tree can not be started twice; make another with New")
	}
	t.ledger.tell()
	props := actor.PropsFromProducer(func() actor.Actor { return t.root }, actor.WithGuardian(&lastResort{t.root}))
	pid, err := t.root.sys.Root.SpawnNamed(props, t.root.topic)
	if err != nil {
		return fmt.Errorf("kernel: start the supervisor: %w", err)
	}
	t.pid = pid
	t.watch()
	return nil
}

func (t *Tree) watch() {
	var all []*watched
	every := time.Minute
	for _, s := range t.root.services {
		all = append(all, &s.watched)
		limit := t.root.policy.Watchdog
		if s.child.Watchdog > 0 {
			limit = s.child.Watchdog
		}
		every = min(every, limit/4)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.unwatch = cancel
	t.watchdog.Go(func() { watchdog(ctx, max(every, time.Millisecond), all, t.root.now, t.tell) })
}

func (t *Tree) tell(msg any) { t.root.sys.Root.Send(t.rootPID(), msg) }

// rootPID is nil before Start.
func (t *Tree) rootPID() *actor.PID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pid
}

// Bus returns the tree's bus.
func (t *Tree) Bus() *Bus { return t.bus }

// Ledger returns the tree's ledger.
func (t *Tree) Ledger() *Ledger { return t.ledger }

// Ref returns the address of a child, or nil for an unknown name.
func (t *Tree) Ref(name string) *Ref { return t.refs[name] }

// Aborted returns how many incarnations hung and were left behind so far.
func (t *Tree) Aborted() int64 { return t.root.aborted.Load() }

// Restart ends a child's incarnation in good order, or cuts its backoff or
// quarantine short, forgets its crashes, and returns its restart count when
// the next incarnation runs. Errors: ErrUnknownChild, ErrStopped, ErrCrashed
// when the new incarnation fell at once, ErrNotRunning when too many orders wait
// for the child already, ctx's.
func (t *Tree) Restart(ctx context.Context, child, reason string) (int64, error) {
	return t.order(ctx, order{verbRestart, child, reason})
}

// Kill makes a child crash between two messages and returns its restart count
// when the crash is entered. While the child is down it waits for the next
// incarnation, as long as ctx lasts; each kill is one crash. Errors:
// ErrUnknownChild, ErrStopped, ErrNotRunning in a storm or quarantine or when
// too many orders wait for the child already, ctx's.
func (t *Tree) Kill(ctx context.Context, child, reason string) (int64, error) {
	return t.order(ctx, order{verbKill, child, reason})
}

// Hang makes a child hang at its next turn, deaf to its ctx, until the
// watchdog abandons it; it returns when the order is given. It waits like Kill.
func (t *Tree) Hang(ctx context.Context, child, reason string) (int64, error) {
	return t.order(ctx, order{verbHang, child, reason})
}

func (t *Tree) order(ctx context.Context, o order) (int64, error) {
	if t.rootPID() == nil {
		return 0, ErrStopped // not started
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer context.AfterFunc(t.root.ended, func() { cancel(ErrStopped) })()
	c := NewCall[order, int64](o)
	t.tell(c)
	return c.Wait(ctx)
}

// Stop stops the children in reverse order of their start, waits for each
// until ctx ends, and leaves nothing behind that can end. The watchdog still ends
// the wait for a message in hand, but not for Actor.Stop and what it waits for.
// After the first call it returns the first call's result. Errors: ErrAbandoned.
func (t *Tree) Stop(ctx context.Context) error {
	t.stopOnce.Do(func() { t.stopErr = t.stop(ctx) })
	return t.stopErr
}

func (t *Tree) stop(ctx context.Context) error {
	t.mu.Lock()
	t.over = true
	pid := t.pid
	t.mu.Unlock()
	if pid == nil {
		t.discard()
		return nil
	}
	done := make(chan []string, 1)
	t.tell(stopAll{done})
	var left []string
	select {
	case left = <-done:
	case <-ctx.Done():
		t.tell(stopHard{})
		left = <-done // bounded: nobody is waited for any more
	}
	t.unwatch()
	t.watchdog.Wait()
	t.root.sys.Root.Stop(pid)
	if t.root.strays.Load() == 0 {
		<-t.root.ended.Done()
	}
	t.root.sys.Shutdown()
	if t.ownBus {
		t.bus.Close()
	}
	if len(left) > 0 {
		return fmt.Errorf("%w: %s", ErrAbandoned, strings.Join(left, ", "))
	}
	return nil
}

// discard ends a tree that has never run.
func (t *Tree) discard() {
	for _, s := range t.root.services {
		s.cell.close()
	}
	t.root.sys.Shutdown()
	if t.ownBus {
		t.bus.Close()
	}
}
