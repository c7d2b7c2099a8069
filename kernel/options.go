package kernel

import (
	"context"
	"errors"
	"io"
	"log/slog"
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
		stray: map[string]*incarnation{},
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
