package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Policy holds the figures of supervision (contract §9). The zero value of a
// field takes the default named beside it.
type Policy struct {
	BackoffMin      time.Duration // 100 ms: ceiling of the first delay
	BackoffMax      time.Duration // 5 s: no ceiling is above it
	Window          time.Duration // 60 s: crashes older than this do not count
	MaxRestarts     int           // 5: one more inside Window is a storm
	QuarantineAfter int           // 10: that many inside Window is a quarantine
	ForgiveAfter    time.Duration // 60 s: healthy for so long, and the past is forgotten
	ProbeAfter      time.Duration // 60 s: pause before a quarantined child's half-open probe
	Watchdog        time.Duration // 2 s: one message, or Actor.Stop before a restart, may take so long
	StartTimeout    time.Duration // 30 s: Actor.Start may take so long
}

func (p Policy) withDefaults() Policy {
	return Policy{
		BackoffMin:      cmp.Or(p.BackoffMin, 100*time.Millisecond),
		BackoffMax:      cmp.Or(p.BackoffMax, 5*time.Second),
		Window:          cmp.Or(p.Window, time.Minute),
		MaxRestarts:     cmp.Or(p.MaxRestarts, 5),
		QuarantineAfter: cmp.Or(p.QuarantineAfter, 10),
		ForgiveAfter:    cmp.Or(p.ForgiveAfter, time.Minute),
		ProbeAfter:      cmp.Or(p.ProbeAfter, time.Minute),
		Watchdog:        cmp.Or(p.Watchdog, 2*time.Second),
		StartTimeout:    cmp.Or(p.StartTimeout, 30*time.Second),
	}
}

// Validate reports every figure that contradicts another or makes no sense.
func (p Policy) Validate() error {
	p = p.withDefaults()
	var errs []error
	for name, d := range map[string]time.Duration{
		"BackoffMin": p.BackoffMin, "BackoffMax": p.BackoffMax, "Window": p.Window, "ForgiveAfter": p.ForgiveAfter,
		"ProbeAfter": p.ProbeAfter, "Watchdog": p.Watchdog, "StartTimeout": p.StartTimeout,
	} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("kernel: policy %s %v is negative", name, d))
		}
	}
	if p.BackoffMin > p.BackoffMax {
		errs = append(errs, fmt.Errorf("kernel: policy BackoffMin %v is above BackoffMax %v", p.BackoffMin, p.BackoffMax))
	}
	if p.MaxRestarts < 1 || p.QuarantineAfter <= p.MaxRestarts {
		errs = append(errs, fmt.Errorf("kernel: policy wants 1 <= MaxRestarts (%d) < QuarantineAfter (%d)", p.MaxRestarts, p.QuarantineAfter))
	}
	return errors.Join(errs...)
}

// verdict is what the policy decides about one crash.
type verdict struct {
	state   State         // Backoff, Storm or Quarantined
	delay   time.Duration // until the next incarnation
	recent  int           // crashes inside the window, this one included
	entered bool          // state is worse than after the crash before
}

// record is one child's past as the policy sees it. It is pure: the clock and
// the dice are arguments.
type record struct {
	crashes []time.Time // inside the window; never more than QuarantineAfter
	streak  int         // crashes since the child was last forgiven
	state   State       // Backoff, Storm or Quarantined; Running when clean
}

// crash enters one more crash and returns the verdict. jitter(d) draws
// uniformly from [0, d]: full jitter ("Exponential Backoff And Jitter", AWS
// Architecture Blog, 2015).
func (r *record) crash(p Policy, now time.Time, jitter func(time.Duration) time.Duration) verdict {
	keep := r.crashes[:0]
	for _, t := range r.crashes {
		if now.Sub(t) < p.Window {
			keep = append(keep, t)
		}
	}
	if len(keep) == p.QuarantineAfter {
		keep = append(keep[:0], keep[1:]...)
	}
	r.crashes = append(keep, now)
	before, n := r.state, len(r.crashes)
	switch {
	case before == Quarantined || n >= p.QuarantineAfter:
		r.state = Quarantined
	case before == Storm || n > p.MaxRestarts:
		r.state = Storm
	default:
		r.state = Backoff
	}
	v := verdict{state: r.state, recent: n, entered: r.state != before}
	switch r.state {
	case Quarantined:
		v.delay = p.ProbeAfter
	case Storm:
		v.delay = p.BackoffMax
	default:
		v.delay = jitter(p.ceiling(r.streak))
	}
	r.streak++
	return v
}

// ceiling is min(BackoffMax, BackoffMin·2^n) without overflow.
func (p Policy) ceiling(n int) time.Duration {
	c := p.BackoffMin
	for ; n > 0; n-- {
		if c > p.BackoffMax/2 {
			return p.BackoffMax
		}
		c *= 2
	}
	return c
}

// dirty reports whether there is anything to forgive.
func (r *record) dirty() bool { return r.streak > 0 }

// troubled reports whether the child still has to prove itself: it runs, but
// as a probe.
func (r *record) troubled() bool { return r.state == Storm || r.state == Quarantined }

func (r *record) forgive() { *r = record{crashes: r.crashes[:0], state: Running} }
