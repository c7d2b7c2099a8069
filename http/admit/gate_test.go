package admit_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"micronode/http/admit"
)

func clock() func() time.Duration {
	began := time.Now()
	return func() time.Duration { return time.Since(began) }
}

func enter(t *testing.T, g *admit.Gate, p *admit.Pass, flow string, c admit.Class) error {
	t.Helper()
	if err := g.Begin(p, admit.Flow{Key: flow}, c); err != nil {
		t.Fatal(err)
	}
	return p.Enter(t.Context(), 1)
}

// Who finds no slot waits its patience, no longer: a write half of it.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := admit.NewGate(admit.Limits{Inflight: 1, Wait: 40 * time.Millisecond}, clock())
		defer g.Close()
		var first, read, write admit.Pass
		if err := enter(t, g, &first, "a", admit.Read); err != nil {
			t.Fatal(err)
		}
		for c, want := range map[*admit.Pass]time.Duration{&read: 40 * time.Millisecond, &write: 20 * time.Millisecond} {
			class := admit.Read
			if c == &write {
				class = admit.Write
			}
			began := time.Now()
			if err := enter(t, g, c, "b", class); !errors.Is(err, admit.ErrBusy) {
				t.Errorf("%v", err)
			}
			if waited := time.Since(began); waited != want {
				t.Errorf("waited %v, want %v", waited, want)
			}
			c.End()
		}
		first.End()
		if s := g.Stats(); s.Open+s.Inflight+s.Queued != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A token that comes in time lets in who waits for it.
func TestWaitsForAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := admit.NewGate(admit.Limits{RPS: 100, Burst: 1}, clock())
		defer g.Close()
		began := time.Now()
		for range 3 {
			var p admit.Pass
			if err := enter(t, g, &p, "a", admit.Read); err != nil {
				t.Fatal(err)
			}
			p.End()
		}
		if took := time.Since(began).Round(time.Millisecond); took != 20*time.Millisecond {
			t.Errorf("three tokens at 100 a second, one at hand: %v", took)
		}
	})
}

// A parked request's slot is anybody's; it comes back ahead of newcomers.
func TestParkAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := admit.NewGate(admit.Limits{Inflight: 1, Wait: time.Second}, clock())
		defer g.Close()
		var slow, quick, third admit.Pass
		if err := enter(t, g, &slow, "a", admit.Write); err != nil {
			t.Fatal(err)
		}
		slow.Park()
		if err := enter(t, g, &quick, "a", admit.Read); err != nil {
			t.Fatal("the slot of a parked request is not free:", err)
		}
		var order []string
		var all sync.WaitGroup
		all.Go(func() {
			if err := enter(t, g, &third, "a", admit.Read); err != nil {
				t.Error(err)
			}
			order = append(order, "newcomer")
			third.End()
		})
		synctest.Wait()
		all.Go(func() {
			if err := slow.Resume(t.Context(), 1); err != nil {
				t.Error(err)
			}
			order = append(order, "resumed")
			slow.End()
		})
		synctest.Wait()
		quick.End()
		all.Wait()
		if len(order) != 2 || order[0] != "resumed" {
			t.Errorf("order %v", order)
		}
	})
}

// A request that may go on and gets no slot, because something has hung, is told
// so in the end.
func TestResumeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := admit.NewGate(admit.Limits{Inflight: 1}, clock())
		defer g.Close()
		var first, hung admit.Pass
		if err := enter(t, g, &first, "a", admit.Write); err != nil {
			t.Fatal(err)
		}
		first.Park()
		if err := enter(t, g, &hung, "b", admit.Read); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := first.Resume(t.Context(), 1); !errors.Is(err, admit.ErrBusy) || time.Since(began) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		first.End()
		hung.End()
		if s := g.Stats(); s.Open+s.Inflight+s.Queued+s.Parked != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Other weights, slots and rates hold from the next decision on, also for those
// who wait.
func TestConfigureLetsInWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := admit.NewGate(admit.Limits{Inflight: 1, Wait: time.Second}, clock())
		defer g.Close()
		var a, b admit.Pass
		if err := enter(t, g, &a, "a", admit.Read); err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() { got <- enter(t, g, &b, "b", admit.Read) }()
		synctest.Wait()
		g.Configure(admit.Limits{Inflight: 2, Wait: time.Second})
		synctest.Wait()
		select {
		case err := <-got:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("a second slot, and it still waits")
		}
		a.End()
		b.End()
	})
}

// A caller that gives up leaves the line; Close sends all away.
func TestGivingUpAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := admit.NewGate(admit.Limits{Inflight: 1, Wait: time.Hour}, clock())
		var a, b, c, d admit.Pass
		if err := enter(t, g, &a, "a", admit.Read); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := g.Begin(&b, admit.Flow{Key: "a"}, admit.Read); err != nil {
			t.Fatal(err)
		}
		if err := b.Enter(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if s := g.Stats(); s.Queued != 0 {
			t.Errorf("%+v", s)
		}
		got := make(chan error, 1)
		go func() { got <- enter(t, g, &c, "a", admit.Read) }()
		synctest.Wait()
		g.Close()
		if err := <-got; !errors.Is(err, admit.ErrBusy) {
			t.Error(err)
		}
		if err := enter(t, g, &d, "a", admit.Read); !errors.Is(err, admit.ErrBusy) {
			t.Error("after Close:", err)
		}
		for _, p := range []*admit.Pass{&a, &b, &c, &d} {
			p.End()
		}
		if s := g.Stats(); s.Open+s.Inflight+s.Queued != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// One flow cannot have all that may be begun.
func TestOpenIsShared(t *testing.T) {
	g := admit.NewGate(admit.Limits{Open: 8}, clock())
	defer g.Close()
	passes := make([]admit.Pass, 10)
	begun := 0
	for i := range 8 {
		if g.Begin(&passes[i], admit.Flow{Key: "a"}, admit.Read) == nil {
			begun++
		}
	}
	if begun != 6 {
		t.Errorf("one flow began %d of 8", begun)
	}
	if err := g.Begin(&passes[8], admit.Flow{Key: "b"}, admit.Read); err != nil {
		t.Error("another flow:", err)
	}
	for i := range passes {
		passes[i].End()
	}
	if s := g.Stats(); s.Open != 0 || s.Flows != 0 {
		t.Errorf("%+v", s)
	}
}

// A quota is the flow's alone, and tells how long until there is more of it.
func TestQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := admit.NewGate(admit.Limits{RPS: -1, FlowRPS: 10}, clock())
		defer g.Close()
		ask := func(flow admit.Flow) error {
			var p admit.Pass
			defer p.End()
			if err := g.Begin(&p, flow, admit.Read); err != nil {
				return err
			}
			return p.Enter(t.Context(), 1)
		}
		if err := ask(admit.Flow{Key: "a"}); err != nil {
			t.Fatal(err)
		}
		var r *admit.Refusal
		if err := ask(admit.Flow{Key: "a"}); !errors.As(err, &r) || r.Kind != admit.ErrQuota || r.After < 99*time.Millisecond || r.After > 101*time.Millisecond {
			t.Errorf("%+v", err)
		}
		if err := ask(admit.Flow{Key: "b"}); err != nil {
			t.Error("another flow:", err)
		}
		<-time.After(r.After) // in the bubble
		if err := ask(admit.Flow{Key: "a"}); err != nil {
			t.Error("after the wait that was told:", err)
		}
		for i := range 20 {
			if err := ask(admit.Flow{Key: "c", RPS: 200}); err != nil {
				t.Fatal("of a quota of its own, request", i, err)
			}
		}
	})
}

// Ten thousand clients leave no trace.
func TestFlowsAreForgotten(t *testing.T) {
	g := admit.NewGate(admit.Limits{RPS: -1, FlowRPS: 1}, clock())
	defer g.Close()
	for i := range 10_000 {
		var p admit.Pass
		if err := enter(t, g, &p, strconv.Itoa(i), admit.Read); err != nil {
			t.Fatal(err)
		}
		p.End()
	}
	if s := g.Stats(); s.Flows > admit.MaxFlows {
		t.Errorf("%d flows are remembered", s.Flows)
	}
}

// A refusal for want of a slot costs nothing of a quota.
func TestRefusalCostsNoQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := admit.NewGate(admit.Limits{RPS: -1, Inflight: 1, FlowRPS: 1, Wait: 10 * time.Millisecond}, clock())
		defer g.Close()
		var other, refused, again admit.Pass
		if err := enter(t, g, &other, "other", admit.Read); err != nil {
			t.Fatal(err)
		}
		if err := enter(t, g, &refused, "a", admit.Read); !errors.Is(err, admit.ErrBusy) {
			t.Fatal(err)
		}
		refused.End()
		other.End()
		if err := enter(t, g, &again, "a", admit.Read); err != nil {
			t.Error(err)
		}
		again.End()
	})
}

// Writes have half of the places in line, and a read pushes one out.
func TestWritesHaveHalfTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := admit.NewGate(admit.Limits{RPS: -1, Inflight: 1, QueuePerFlow: 4, QueueTotal: 4, Open: 100, Wait: time.Hour}, clock())
		var works admit.Pass
		if err := enter(t, g, &works, "a", admit.Read); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		passes := make([]admit.Pass, 8)
		errs := make([]error, len(passes))
		next := 0
		come := func(c admit.Class) {
			i := next
			next++
			all.Go(func() { errs[i] = enter(t, g, &passes[i], "a", c) })
			synctest.Wait()
		}
		for range 3 {
			come(admit.Write)
		}
		if s := g.Stats(); s.QueuedWrites != 2 || errs[2] == nil {
			t.Errorf("%+v, the third write: %v", s, errs[2])
		}
		for range 3 {
			come(admit.Read)
		}
		if s := g.Stats(); s.Queued != 4 || s.QueuedWrites != 1 || errs[1] == nil {
			t.Errorf("%+v, the second write: %v", s, errs[1])
		}
		g.Close()
		all.Wait()
		works.End()
		for i := range passes[:next] {
			passes[i].End()
		}
	})
}

// Who had to wait once counts as one that shares for a second, no longer.
func TestRivalsAreForgotten(t *testing.T) {
	m := admit.NewMachine(admit.Limits{RPS: -1, Inflight: 1, QueueTotal: 1000}, func(*admit.Ticket, error) {})
	wait := func(now time.Duration, many int, name string) {
		works := new(admit.Ticket)
		_ = m.Begin(now, works, admit.Flow{Key: "works"}, admit.Read)
		_, _ = m.Enter(now, works, 1)
		all := make([]admit.Ticket, many)
		for i := range all {
			_ = m.Begin(now, &all[i], admit.Flow{Key: name + strconv.Itoa(i)}, admit.Read)
			_, _ = m.Enter(now, &all[i], 1)
		}
		for i := range all {
			m.End(now, &all[i])
		}
		m.End(now, works)
	}
	wait(0, 50, "old")
	wait(2*time.Second, 2, "new")
	if n := m.Stats().Flows; n > 3 {
		t.Errorf("%d flows are remembered", n)
	}
}

func TestManyAtOnce(t *testing.T) {
	g := admit.NewGate(admit.Limits{RPS: -1, Inflight: 3, Wait: 5 * time.Millisecond, QueuePerFlow: 8, QueueTotal: 20}, clock())
	var working, served, refused atomic.Int64
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			for range 200 {
				var p admit.Pass
				if g.Begin(&p, admit.Flow{Key: strconv.Itoa(i % 5)}, admit.Class(i%2)) != nil {
					continue
				}
				if err := p.Enter(t.Context(), 1+i%3); err != nil {
					refused.Add(1)
					p.End()
					continue
				}
				if working.Add(1) > 3 {
					t.Error("more work than there are slots")
				}
				working.Add(-1)
				p.Park()
				if err := p.Resume(t.Context(), 1); err != nil {
					t.Error(err)
				}
				served.Add(1)
				p.End()
			}
		})
	}
	all.Wait()
	g.Close()
	s := g.Stats()
	if s.Open+s.Inflight+s.Queued+s.Parked != 0 || served.Load() == 0 {
		t.Errorf("served %d, refused %d, %+v", served.Load(), refused.Load(), s)
	}
}

func TestCost(t *testing.T) {
	for bytes, want := range map[int64]int{-1: 1, 0: 1, 1: 2, 65536: 2, 65537: 3, 1 << 20: 17} {
		if got := admit.Cost(bytes); got != want {
			t.Errorf("Cost(%d) = %d, want %d", bytes, got, want)
		}
	}
}

func BenchmarkEnterEnd(b *testing.B) {
	g := admit.NewGate(admit.Limits{RPS: -1}, clock())
	defer g.Close()
	flow := admit.Flow{Key: "192.0.2.1"}
	var keep admit.Pass // a connection has more than one request
	_ = g.Begin(&keep, flow, admit.Read)
	defer keep.End()
	b.ReportAllocs()
	for b.Loop() {
		var p admit.Pass
		if g.Begin(&p, flow, admit.Read) != nil || p.Enter(b.Context(), 1) != nil {
			b.Fatal("refused")
		}
		p.End()
	}
}

func BenchmarkEnterEndParallel(b *testing.B) {
	g := admit.NewGate(admit.Limits{RPS: -1}, clock())
	defer g.Close()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var p admit.Pass
			if g.Begin(&p, admit.Flow{Key: "192.0.2.1"}, admit.Read) != nil || p.Enter(b.Context(), 1) != nil {
				b.Error("refused")
			}
			p.End()
		}
	})
}
