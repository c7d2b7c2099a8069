package admit_test

import (
	"container/heap"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"micronode/http/admit"
)

// offer is one client of a simulation: an open loop, Poisson arrivals.
type offer struct {
	flow  admit.Flow
	class admit.Class
	rate  float64       // requests a second
	works time.Duration // in its slot
	cost  int
}

// outcome is what became of a client's requests.
type outcome struct {
	offered, served int
	units           int
	refused         map[error]int
	waits           []time.Duration // of the served
	lost            []time.Duration // of the refused: how long they waited for it
}

func (o *outcome) p99() time.Duration {
	slices.Sort(o.waits)
	if len(o.waits) == 0 {
		return 0
	}
	return o.waits[len(o.waits)*99/100]
}

type event struct {
	at time.Duration
	do func()
}

type calendar []event

func (c calendar) Len() int           { return len(c) }
func (c calendar) Less(i, j int) bool { return c[i].at < c[j].at }
func (c calendar) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *calendar) Push(e any)        { *c = append(*c, e.(event)) }
func (c *calendar) Pop() any {
	old := *c
	e := old[len(old)-1]
	*c = old[:len(old)-1]
	return e
}

// world is a machine in virtual time, with a calendar of what is to come.
type world struct {
	t     *testing.T
	m     *admit.Machine
	now   time.Duration
	dates calendar
	told  map[*admit.Ticket]func(error)
}

func newWorld(t *testing.T, l admit.Limits) *world {
	w := &world{t: t, told: map[*admit.Ticket]func(error){}}
	w.m = admit.NewMachine(l, func(k *admit.Ticket, err error) {
		f := w.told[k]
		delete(w.told, k)
		w.at(w.now, func() { f(err) }) // not within the machine's own call
	})
	return w
}

func (w *world) at(when time.Duration, f func()) { heap.Push(&w.dates, event{when, f}) }

// run lets time pass. The machine is asked when it wants to be called, and called
// then, as a Gate does.
func (w *world) run(until time.Duration) {
	for {
		next, due := until, false
		if at, ok := w.m.NextDue(w.now); ok && at < next {
			next, due = at, true
		}
		if len(w.dates) > 0 && w.dates[0].at <= next {
			e := heap.Pop(&w.dates).(event)
			w.now = max(w.now, e.at)
			e.do()
			continue
		}
		w.now = max(w.now, next)
		if !due {
			return
		}
		w.m.Advance(w.now)
	}
}

// offer begins a client's arrivals.
func (w *world) offer(o offer, rng *rand.Rand) *outcome {
	out := &outcome{refused: map[error]int{}}
	var arrive func()
	arrive = func() {
		w.at(w.now+time.Duration(rng.ExpFloat64()/o.rate*float64(time.Second)), arrive)
		out.offered++
		k, came := new(admit.Ticket), w.now
		refused := func(err error) {
			var r *admit.Refusal
			if !errors.As(err, &r) || r.After <= 0 {
				w.t.Errorf("refused with %v", err)
				return
			}
			out.refused[r.Kind]++
			out.lost = append(out.lost, w.now-came)
			w.m.End(w.now, k)
		}
		works := func(err error) {
			if err != nil {
				refused(err)
				return
			}
			out.served++
			out.units += o.cost
			out.waits = append(out.waits, w.now-came)
			w.at(w.now+o.works, func() { w.m.End(w.now, k) })
		}
		if err := w.m.Begin(w.now, k, o.flow, o.class); err != nil {
			refused(err)
			return
		}
		w.told[k] = works
		switch waits, err := w.m.Enter(w.now, k, o.cost); {
		case !waits && w.told[k] != nil:
			delete(w.told, k)
			works(err)
		}
	}
	w.at(time.Duration(rng.Float64()/o.rate*float64(time.Second)), arrive)
	return out
}

func run(t *testing.T, l admit.Limits, long time.Duration, offers ...offer) []*outcome {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 11))
	w := newWorld(t, l)
	outs := make([]*outcome, len(offers))
	for i, o := range offers {
		if o.cost == 0 {
			o.cost = 1
		}
		outs[i] = w.offer(o, rng)
	}
	w.run(long)
	for i, o := range outs {
		t.Logf("%-4s offered %6d served %6d refused %v p99 wait %v", offers[i].flow.Key, o.offered, o.served, o.refused, o.p99())
	}
	return outs
}

func near(t *testing.T, what string, got, want, share float64) {
	t.Helper()
	if got < want*(1-share) || got > want*(1+share) {
		t.Errorf("%s: %.1f, want %.1f within %.0f %%", what, got, want, 100*share)
	}
}

// What is short, in the tests of fairness: tokens, or slots.
var shortages = map[string]admit.Limits{
	"tokens": {RPS: 500},
	"slots":  {RPS: -1, Inflight: 4},
}

// works makes four slots serve 500 requests a second.
const works = 8 * time.Millisecond

func TestTenToOneIsServedEqually(t *testing.T) {
	for name, l := range shortages {
		t.Run(name, func(t *testing.T) {
			o := run(t, l, 20*time.Second,
				offer{flow: admit.Flow{Key: "a"}, rate: 5000, works: works}, offer{flow: admit.Flow{Key: "b"}, rate: 500, works: works})
			near(t, "service of a over b", float64(o[0].served)/float64(o[1].served), 1, .1)
			near(t, "served a second", float64(o[0].served+o[1].served)/20, 500, .05)
		})
	}
}

func TestWeightsAreHonoured(t *testing.T) {
	for name, l := range shortages {
		t.Run(name, func(t *testing.T) {
			o := run(t, l, 20*time.Second,
				offer{flow: admit.Flow{Key: "a", Weight: 1}, rate: 2000, works: works}, offer{flow: admit.Flow{Key: "b", Weight: 2}, rate: 2000, works: works})
			near(t, "service of b over a", float64(o[1].served)/float64(o[0].served), 2, .1)
		})
	}
}

// Cost is what is shared, not requests: who moves more at a time is served less
// often.
func TestCostIsShared(t *testing.T) {
	for name, l := range shortages {
		t.Run(name, func(t *testing.T) {
			o := run(t, l, 20*time.Second,
				offer{flow: admit.Flow{Key: "a"}, rate: 2000, works: works, cost: 1}, offer{flow: admit.Flow{Key: "b"}, rate: 2000, works: works, cost: 17})
			near(t, "units of b over a", float64(o[1].units)/float64(o[0].units), 1, .15)
		})
	}
}

// One greedy flow and nine that ask for less than their share: those get all of
// it, at once.
func TestSmallFlowsAreNotHeldUp(t *testing.T) {
	for name, l := range shortages {
		t.Run(name, func(t *testing.T) {
			offers := []offer{{flow: admit.Flow{Key: "greedy"}, rate: 5000, works: works}}
			for i := range 9 {
				offers = append(offers, offer{flow: admit.Flow{Key: string(rune('a' + i))}, rate: 20, works: works})
			}
			outs := run(t, l, 20*time.Second, offers...)
			var sum, squares float64 // Jain's index over the share of what was asked for, small flows
			for _, o := range outs[1:] {
				x := float64(o.served) / float64(o.offered)
				sum, squares = sum+x, squares+x*x
				if x < .99 {
					t.Errorf("a small flow got %d of %d", o.served, o.offered)
				}
				most := 5 * time.Millisecond // alone, it does not wait
				if name == "slots" {
					most += works // as long as it works: 2 × alone + 5 ms in all
				}
				if p := o.p99(); p > most {
					t.Errorf("p99 of a small flow's wait: %v", p)
				}
			}
			if jain := sum * sum / (9 * squares); jain < .95 {
				t.Errorf("Jain's index %.3f", jain)
			}
		})
	}
}

// With ten flows that all ask for more than their share, shares are equal.
func TestJainOfTheBacklogged(t *testing.T) {
	for name, l := range shortages {
		t.Run(name, func(t *testing.T) {
			offers := []offer{{flow: admit.Flow{Key: "greedy"}, rate: 5000, works: works}}
			for i := range 9 {
				offers = append(offers, offer{flow: admit.Flow{Key: string(rune('a' + i))}, rate: 100, works: works})
			}
			var sum, squares float64
			outs := run(t, l, 20*time.Second, offers...)
			for _, o := range outs {
				x := float64(o.served)
				sum, squares = sum+x, squares+x*x
			}
			if jain := sum * sum / (10 * squares); jain < .98 {
				t.Errorf("Jain's index %.3f", jain)
			}
			if got := float64(outs[0].served); got < .7*sum/10 {
				t.Errorf("the greedy one starves: %v of %v", got, sum/10)
			}
		})
	}
}

// Flows that come and go gain nothing by it.
func TestComingAndGoingGainsNothing(t *testing.T) {
	l := admit.Limits{RPS: 500, QueuePerFlow: 2} // b's line is often empty
	o := run(t, l, 20*time.Second,
		offer{flow: admit.Flow{Key: "a"}, rate: 3000, works: works}, offer{flow: admit.Flow{Key: "b"}, rate: 400, works: works})
	if ratio := float64(o[1].served) / float64(o[0].served); ratio > 1.05 || ratio < .8 { // it is not always there
		t.Errorf("service of b over a: %.2f", ratio)
	}
}

// Three times the rate: the node serves what it promises, the rest is refused with
// the reason and a wait, and soon.
func TestThreeTimesTheRate(t *testing.T) {
	o := run(t, admit.Limits{}, 10*time.Second, offer{flow: admit.Flow{Key: "a"}, rate: 1500, works: time.Millisecond})[0]
	near(t, "served a second", float64(o.served)/10, 505, .03)
	if o.refused[admit.ErrRate] != o.offered-o.served && o.refused[admit.ErrRate] < o.offered-o.served-64 {
		t.Errorf("refusals: %v of %d", o.refused, o.offered-o.served)
	}
	if slowest := slices.Max(o.lost); slowest > 31*time.Millisecond {
		t.Errorf("a refusal took %v", slowest)
	}
	if slowest := slices.Max(o.waits); slowest > 31*time.Millisecond {
		t.Errorf("a request waited %v", slowest)
	}
}

// When there is too much of both, writes go first.
func TestWritesAreShedFirst(t *testing.T) {
	for name, l := range shortages {
		t.Run(name, func(t *testing.T) {
			o := run(t, l, 20*time.Second,
				offer{flow: admit.Flow{Key: "a"}, class: admit.Read, rate: 400, works: works},
				offer{flow: admit.Flow{Key: "a"}, class: admit.Write, rate: 400, works: works})
			reads, writes := float64(o[0].served)/float64(o[0].offered), float64(o[1].served)/float64(o[1].offered)
			if reads < .9 || writes > .6 {
				t.Errorf("served %.2f of the reads and %.2f of the writes", reads, writes)
			}
		})
	}
}

// Many greedy flows fill all places in line; one that comes then has a place.
func TestFullLineHasRoomForTheSmall(t *testing.T) {
	var offers []offer
	for i := range 12 {
		offers = append(offers, offer{flow: admit.Flow{Key: string(rune('A' + i))}, rate: 6000, works: works})
	}
	offers = append(offers, offer{flow: admit.Flow{Key: "small"}, rate: 10, works: works})
	o := run(t, admit.Limits{RPS: 500, QueueTotal: 128}, 10*time.Second, offers...)
	if small := o[len(o)-1]; small.served < small.offered*95/100 {
		t.Errorf("the small flow got %d of %d", small.served, small.offered)
	}
}
