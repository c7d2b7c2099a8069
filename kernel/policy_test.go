package kernel

import (
	"testing"
	"time"
)

// atCeiling makes the dice show the highest number.
func atCeiling(d time.Duration) time.Duration { return d }

func TestRecordDecides(t *testing.T) {
	p := Policy{}.withDefaults()
	type step struct {
		after time.Duration // since the crash before
		state State
		delay time.Duration
	}
	ms, s := time.Millisecond, time.Second
	for name, steps := range map[string][]step{
		"backoff doubles to the cap and no storm comes while crashes are rare": {
			{0, Backoff, 100 * ms}, {15 * s, Backoff, 200 * ms}, {15 * s, Backoff, 400 * ms}, {15 * s, Backoff, 800 * ms},
			{15 * s, Backoff, 1600 * ms}, {15 * s, Backoff, 3200 * ms}, {15 * s, Backoff, 5 * s}, {15 * s, Backoff, 5 * s},
		},
		"the sixth crash inside the window is a storm, the tenth a quarantine": {
			{0, Backoff, 100 * ms}, {s, Backoff, 200 * ms}, {s, Backoff, 400 * ms}, {s, Backoff, 800 * ms}, {s, Backoff, 1600 * ms},
			{s, Storm, 5 * s}, {s, Storm, 5 * s}, {s, Storm, 5 * s}, {s, Storm, 5 * s},
			{s, Quarantined, 60 * s}, {61 * s, Quarantined, 60 * s},
		},
		"a quarantine that goes on crashing keeps no more than it needs": {
			{0, Backoff, 100 * ms}, {s, Backoff, 200 * ms}, {s, Backoff, 400 * ms}, {s, Backoff, 800 * ms}, {s, Backoff, 1600 * ms},
			{s, Storm, 5 * s}, {s, Storm, 5 * s}, {s, Storm, 5 * s}, {s, Storm, 5 * s},
			{s, Quarantined, 60 * s}, {s, Quarantined, 60 * s}, {s, Quarantined, 60 * s},
		},
		"the window slides: a crash exactly as old as the window does not count": {
			{0, Backoff, 100 * ms}, {s, Backoff, 200 * ms}, {s, Backoff, 400 * ms}, {s, Backoff, 800 * ms}, {s, Backoff, 1600 * ms},
			{56 * s, Backoff, 3200 * ms},
		},
		"a storm is left only by forgiveness": {
			{0, Backoff, 100 * ms}, {s, Backoff, 200 * ms}, {s, Backoff, 400 * ms}, {s, Backoff, 800 * ms}, {s, Backoff, 1600 * ms},
			{s, Storm, 5 * s}, {59 * s, Storm, 5 * s}, {59 * s, Storm, 5 * s},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var r record
			r.forgive()
			now := time.Unix(1e9, 0)
			for i, want := range steps {
				now = now.Add(want.after)
				before := r.state
				got := r.crash(p, now, atCeiling)
				if got.state != want.state || got.delay != want.delay {
					t.Fatalf("crash %d: %v after %v, want %v after %v", i+1, got.state, got.delay, want.state, want.delay)
				}
				if got.entered != (got.state != before) {
					t.Errorf("crash %d: entered=%v from %v to %v", i+1, got.entered, before, got.state)
				}
				if len(r.crashes) > p.QuarantineAfter {
					t.Fatalf("crash %d: the record keeps %d crashes, bound %d", i+1, len(r.crashes), p.QuarantineAfter)
				}
			}
			r.forgive()
			if got := r.crash(p, now, atCeiling); got.state != Backoff || got.delay != p.BackoffMin || got.recent != 1 {
				t.Errorf("the first crash after forgiveness: %+v", got)
			}
		})
	}
}

func TestJitterIsFull(t *testing.T) {
	p := Policy{}.withDefaults()
	var r record
	r.forgive()
	asked := time.Duration(-1)
	v := r.crash(p, time.Unix(1e9, 0), func(d time.Duration) time.Duration { asked = d; return 0 })
	if asked != p.BackoffMin || v.delay != 0 {
		t.Errorf("drew from [0, %v] and waits %v; want [0, %v] and 0", asked, v.delay, p.BackoffMin)
	}
	for range 1000 {
		if d := fullJitter(3); d < 0 || d > 3 {
			t.Fatalf("fullJitter(3) = %d", d)
		}
	}
}

func TestPolicyValidate(t *testing.T) {
	for name, c := range map[string]struct {
		p  Policy
		ok bool
	}{
		"defaults":                      {Policy{}, true},
		"backoff upside down":           {Policy{BackoffMin: time.Second, BackoffMax: time.Millisecond}, false},
		"min above the default max":     {Policy{BackoffMin: time.Minute}, false},
		"quarantine not above restarts": {Policy{MaxRestarts: 10}, false},
		"negative":                      {Policy{Watchdog: -1}, false},
		"negative restarts":             {Policy{MaxRestarts: -1}, false},
	} {
		if err := c.p.Validate(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCeilingNeverOverflows(t *testing.T) {
	p := Policy{BackoffMin: time.Hour, BackoffMax: 1<<63 - 1}
	for _, n := range []int{0, 10, 20, 21, 22, 100, 1 << 30} {
		if c := p.ceiling(n); c < p.BackoffMin {
			t.Fatalf("ceiling(%d) = %v", n, c)
		}
	}
}

func TestClip(t *testing.T) {
	for in, want := range map[string]string{"short": "short", "12345678901": "1234567…", "123456é89012": "123456…"} {
		if got := clip(in, 10); got != want {
			t.Errorf("clip(%q) = %q, want %q", in, got, want)
		}
	}
}
