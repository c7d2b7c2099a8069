package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Options configures a tree.
type Options struct {
	// Name is the prefix of every topic; "" means "node".
	Name string
	// Children, in order of start.
	Children []Child
	Policy   Policy
	Bus      *Bus             // nil: a bus of its own with default bounds
	Now      func() time.Time // nil: time.Now
	// Jitter draws uniformly from [0, d]; nil: math/rand/v2.
	Jitter func(d time.Duration) time.Duration
	// Log gets what the actor library itself has to say, from WARN up; nil
	// drops it. The kernel logs nothing of its own.
	Log slog.Handler
}

// Tree is a running list of supervised children.
type Tree struct {
	root     *root
	pid      *actor.PID
	refs     map[string]*Ref
	bus      *Bus
	ledger   *Ledger
	ownBus   bool
	watchdog sync.WaitGroup
	unwatch  context.CancelFunc

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
// The caller must call Stop.
func (t *Tree) Start() error {
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

func (o *Options) check() error {
	if o.Name == "" {
		o.Name = "node"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Jitter == nil {
		o.Jitter = fullJitter
	}
	errs := []error{o.Policy.Validate()}
	seen := map[string]bool{}
	for _, c := range o.Children {
		errs = append(errs, c.check(seen))
	}
	return errors.Join(errs...)
}

func newRoot(o Options, bus *Bus) *root {
	r := &root{
		policy: o.Policy.withDefaults(), topic: o.Name, bus: bus, now: o.Now, jitter: o.Jitter,
		ledger: newLedger(o.Name, bus, o.Now), byName: map[string]*service{},
		stray: map[string]string{},
	}
	r.ended, r.end = context.WithCancelCause(context.Background())
	for _, c := range o.Children {
		q := c.QueueCap
		if q == 0 {
			q = defaultQueueCap
		}
		s := &service{child: c, cell: &cell{name: c.Name, cap: q}, record: record{state: Running}}
		r.services = append(r.services, s)
		r.byName[c.Name] = s
		r.ledger.add(c, s.cell)
	}
	if o.Log == nil {
		o.Log = slog.NewTextHandler(io.Discard, nil)
	}
	r.sys = actor.NewActorSystemWithConfig(&actor.Config{
		// Ticks for actors that have just gone are no news; the throttle's
		// goroutine lives for one interval after each of them.
		DeadLetterThrottleInterval: time.Millisecond,
		DiagnosticsSerializer:      func(actor.Actor) string { return "" },
		LoggerFactory:              func(*actor.ActorSystem) *slog.Logger { return slog.New(warnings{o.Log}) },
	})
	return r
}

// warnings passes WARN and worse: below that the library prints whole messages.
type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}
func (w warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{w.Handler.WithAttrs(a)} }
func (w warnings) WithGroup(n string) slog.Handler      { return warnings{w.Handler.WithGroup(n)} }

// lastResort is the strategy above the root: never reached while the root
// swallows its own panics; it must not escalate, that would end the process.
type lastResort struct{ root *root }

// HandleFailure implements actor.SupervisorStrategy.
func (l *lastResort) HandleFailure(_ *actor.ActorSystem, sv actor.Supervisor, who *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	defer func() { _ = recover() }()
	l.root.fault("", crashOf("the supervisor fell: ", reason))
	sv.ResumeChildren(who)
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

func (t *Tree) tell(msg any) { t.root.sys.Root.Send(t.pid, msg) }

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
// when the new incarnation fell at once, ctx's.
func (t *Tree) Restart(ctx context.Context, child, reason string) (int64, error) {
	return t.order(ctx, order{verbRestart, child, reason})
}

// Kill makes a child crash between two messages and returns its restart count
// when the crash is entered. While the child is down it waits for the next
// incarnation, as long as ctx lasts; each kill is one crash. Errors:
// ErrUnknownChild, ErrStopped, ErrNotRunning in a storm or quarantine, ctx's.
func (t *Tree) Kill(ctx context.Context, child, reason string) (int64, error) {
	return t.order(ctx, order{verbKill, child, reason})
}

// Hang makes a child hang at its next turn, deaf to its ctx, until the
// watchdog abandons it; it returns when the order is given. It waits like Kill.
func (t *Tree) Hang(ctx context.Context, child, reason string) (int64, error) {
	return t.order(ctx, order{verbHang, child, reason})
}

func (t *Tree) order(ctx context.Context, o order) (int64, error) {
	if t.pid == nil {
		return 0, ErrStopped // not started
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer context.AfterFunc(t.root.ended, func() { cancel(ErrStopped) })()
	c := NewCall[order, int64](o)
	t.tell(c)
	return c.Wait(ctx)
}

// Stop stops the children in reverse order of their start, waits for each
// until ctx ends, and leaves nothing behind that can end. After the first call
// it returns the first call's result. Errors: ErrAbandoned.
func (t *Tree) Stop(ctx context.Context) error {
	t.stopOnce.Do(func() { t.stopErr = t.stop(ctx) })
	return t.stopErr
}

func (t *Tree) stop(ctx context.Context) error {
	if t.pid == nil {
		return nil // never started
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
	t.root.sys.Root.Stop(t.pid)
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
