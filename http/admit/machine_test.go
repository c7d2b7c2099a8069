package admit_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"micronode/http/admit"
)

// book is what a machine should know, kept by hand.
type book struct {
	m       *admit.Machine
	l       admit.Limits
	now     time.Duration
	tickets []*admit.Ticket
	what    map[*admit.Ticket]string // begun, waits, waits again, works, parked
	newest  []time.Duration          // when tokens were spent
	fail    func(format string, args ...any)
}

func newBook(l admit.Limits, fail func(string, ...any)) *book {
	b := &book{l: l, what: map[*admit.Ticket]string{}, fail: fail}
	b.m = admit.NewMachine(l, func(k *admit.Ticket, err error) {
		was := b.what[k]
		if was != "waits" && was != "waits again" {
			fail("decided %v on one that %s", err, was)
		}
		b.decide(k, was == "waits again", err)
	})
	return b
}

func (b *book) decide(k *admit.Ticket, again bool, err error) {
	switch {
	case err != nil && again:
		b.what[k] = "parked"
	case err != nil:
		b.what[k] = "begun"
	default:
		b.what[k] = "works"
		if !again {
			b.newest = append(b.newest, b.now)
		}
	}
}

func (b *book) begin(flow admit.Flow, c admit.Class) {
	k := new(admit.Ticket)
	if err := b.m.Begin(b.now, k, flow, c); err != nil {
		if !errors.Is(err, admit.ErrOpen) {
			b.fail("Begin: %v", err)
		}
		return
	}
	b.tickets = append(b.tickets, k)
	b.what[k] = "begun"
}

func (b *book) enter(k *admit.Ticket, cost int) {
	if b.what[k] != "begun" {
		return
	}
	b.what[k] = "waits"
	waits, err := b.m.Enter(b.now, k, cost)
	if !waits && b.what[k] == "waits" {
		b.decide(k, false, err)
	}
	if waits != (b.what[k] == "waits") {
		b.fail("Enter says it waits: %v, it %s", waits, b.what[k])
	}
}

func (b *book) resume(k *admit.Ticket, cost int) {
	if b.what[k] != "parked" {
		return
	}
	b.what[k] = "waits again"
	if waits := b.m.Resume(b.now, k, cost); !waits && b.what[k] == "waits again" {
		b.decide(k, true, nil)
	}
}

func (b *book) park(k *admit.Ticket) {
	if b.what[k] == "works" {
		b.what[k] = "parked" // others may be let in by it
		b.m.Park(b.now, k)
	}
}

func (b *book) withdraw(k *admit.Ticket) {
	was := b.what[k]
	waits := was == "waits" || was == "waits again"
	if waits {
		b.what[k] = map[string]string{"waits": "begun", "waits again": "parked"}[was]
	}
	if b.m.Withdraw(b.now, k) != waits {
		b.fail("Withdraw of one that %s", was)
	}
}

func (b *book) end(i int) {
	k := b.tickets[i]
	b.tickets = append(b.tickets[:i], b.tickets[i+1:]...)
	delete(b.what, k)
	b.m.End(b.now, k)
}

// check holds the machine against the book.
func (b *book) check() {
	s := b.m.Stats()
	count := map[string]int{}
	for _, w := range b.what {
		count[w]++
	}
	waits := count["waits"] + count["waits again"]
	switch l := s.Limits; {
	case s.Inflight != count["works"], s.Open != len(b.tickets), s.Parked != count["parked"], s.Queued != waits:
		b.fail("%+v, by the book %v of %d", s, count, len(b.tickets))
	case s.Inflight > l.Inflight, s.Open > l.Open, count["waits"] > l.QueueTotal, s.QueuedWrites > max(1, l.QueueTotal/2):
		b.fail("beyond a bound: %+v", s)
	case l.RPS < 0 && s.Inflight < l.Inflight && s.Queued > 0:
		b.fail("a slot is free, tokens are no matter, and %d wait", s.Queued)
	case s.Inflight < l.Inflight && count["waits again"] > 0:
		b.fail("a slot is free, and %d wait to resume", count["waits again"])
	case len(b.tickets) == 0 && s.Flows > admit.MaxFlows:
		b.fail("%d flows are remembered", s.Flows)
	}
	for i, at := range b.newest { // in any window, no more than rate and burst allow
		for j := i; j < len(b.newest); j++ {
			if n, most := float64(j-i+1), (b.newest[j]-at).Seconds()*float64(s.Limits.RPS)+float64(s.Limits.Burst)+1e-3; s.Limits.RPS > 0 && n > most {
				b.fail("%v tokens in %v", n, b.newest[j]-at)
			}
		}
	}
}

// Whatever happens in whatever order, the machine and a book kept by hand agree,
// and no bound is passed.
func TestMachineKeepsItsBooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := admit.Limits{
			RPS: rapid.SampledFrom([]int{-1, 10, 100}).Draw(t, "rps"), Burst: rapid.IntRange(1, 5).Draw(t, "burst"),
			Inflight: rapid.IntRange(1, 4).Draw(t, "inflight"), Open: rapid.IntRange(4, 24).Draw(t, "open"),
			QueuePerFlow: rapid.IntRange(1, 6).Draw(t, "queue_per_flow"), QueueTotal: rapid.IntRange(1, 10).Draw(t, "queue_total"),
			FlowRPS: rapid.SampledFrom([]int{0, 0, 20}).Draw(t, "flow_rps"), Wait: 40 * time.Millisecond,
		}
		b := newBook(l, t.Fatalf)
		any := func(t *rapid.T) *admit.Ticket {
			if len(b.tickets) == 0 {
				t.Skip("nobody there")
			}
			return b.tickets[rapid.IntRange(0, len(b.tickets)-1).Draw(t, "who")]
		}
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				b.begin(admit.Flow{Key: rapid.StringMatching("[abc]").Draw(t, "flow"), Weight: rapid.IntRange(0, 3).Draw(t, "weight")},
					admit.Class(rapid.IntRange(0, 1).Draw(t, "class")))
			},
			"enter":    func(t *rapid.T) { b.enter(any(t), rapid.IntRange(0, 20).Draw(t, "cost")) },
			"park":     func(t *rapid.T) { b.park(any(t)) },
			"resume":   func(t *rapid.T) { b.resume(any(t), rapid.IntRange(0, 3).Draw(t, "cost")) },
			"withdraw": func(t *rapid.T) { b.withdraw(any(t)) },
			"end": func(t *rapid.T) {
				any(t)
				b.end(rapid.IntRange(0, len(b.tickets)-1).Draw(t, "whose"))
			},
			"time": func(t *rapid.T) {
				b.now += time.Duration(rapid.IntRange(0, 60).Draw(t, "ms")) * time.Millisecond
				b.m.Advance(b.now)
			},
			"": func(*rapid.T) { b.check() },
		})
		for len(b.tickets) > 0 {
			b.end(len(b.tickets) - 1)
		}
		b.check()
		if s := b.m.Stats(); s.Inflight+s.Open+s.Parked+s.Queued != 0 {
			t.Fatalf("all have ended, and %+v", s)
		}
	})
}

// FuzzMachine is the same, by bytes.
func FuzzMachine(f *testing.F) {
	f.Add([]byte{3, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6})
	f.Add([]byte{0, 10, 10, 10, 11, 11, 11, 16, 12, 17, 13, 14, 15, 16})
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) == 0 || len(ops) > 4096 {
			return
		}
		b := newBook(admit.Limits{
			RPS: []int{-1, 10, 100}[ops[0]%3], Burst: 2, Inflight: 1 + int(ops[0]>>2)%3, Open: 12, QueuePerFlow: 3, QueueTotal: 5, Wait: 20 * time.Millisecond,
		}, t.Fatalf)
		for i, op := range ops[1:] {
			n := int(op / 7)
			if op%7 == 0 {
				b.begin(admit.Flow{Key: string(rune('a' + n%4)), Weight: n % 3}, admit.Class(n/4%2))
			} else if op%7 == 1 {
				b.now += time.Duration(n) * time.Millisecond
				b.m.Advance(b.now)
			} else if len(b.tickets) > 0 {
				switch at := n % len(b.tickets); op % 7 {
				case 2:
					b.enter(b.tickets[at], i%20)
				case 3:
					b.park(b.tickets[at])
				case 4:
					b.resume(b.tickets[at], i%3)
				case 5:
					b.withdraw(b.tickets[at])
				case 6:
					b.end(at)
				}
			}
		}
		b.newest = nil // windows are the other test's
		b.check()
	})
}
