package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"micronode/kernel"
)

// hung() of a child that is not the one being stopped advances the stop.
func TestHungDuringStopOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		slow := child(d, "c", func(p *puppet) { p.stop = func() { <-time.After(1900 * time.Millisecond) } })
		hang := child(d, "b", func(p *puppet) {
			p.receive = func(context.Context, any) error { <-time.After(time.Minute); return nil }
		})
		tree, err := start(kernel.Options{Children: []kernel.Child{child(d, "a"), hang, slow}})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_ = tree.Ref("b").Send(kernel.NewCall[string, string]("x"))
		<-time.After(time.Second)
		d.take()
		begun := time.Now()
		err = tree.Stop(context.Background())
		got := d.take()
		t.Logf("stop returned after %v: %v; diary %v", time.Since(begun), err, got)
		if !slices.Contains(got, "stop c") {
			t.Errorf("Tree.Stop returned while c still runs; diary %v", got)
		}
		<-time.After(time.Hour)
		t.Logf("later %v", d.take())
	})
}

// a probe that crashes makes the node ready for a moment.
func TestProbeCrashFlapsReady(t *testing.T) {
	play(t, nil, func(s *stage) {
		for range 6 {
			s.kill("b")
			s.wait(5 * time.Second)
		}
		s.want("b", kernel.Probing, 6)
		seq := s.tree.Bus().Seq()
		s.kill("b")
		s.want("b", kernel.Storm, 7)
		for _, e := range s.events(kernel.KindReadyChanged) {
			if d := e.Data.(kernel.ReadyData); e.Seq > seq && d.Ready {
				s.Errorf("in the middle of a storm: %+v", d)
			}
		}
	})
}

// New panics once.
func TestNewPanicsOnRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		var bad atomic.Bool
		b := child(d, "b")
		good := b.New
		b.New = func() kernel.Actor {
			if bad.Swap(false) {
				panic("constructor")
			}
			return good()
		}
		tree, _ := start(kernel.Options{Name: "test", Jitter: atCeiling, Children: []kernel.Child{child(d, "a"), b, child(d, "c")}})
		s := &stage{t, tree, d}
		synctest.Wait()
		bad.Store(true)
		s.kill("b")
		s.wait(time.Hour)
		st := s.service("b")
		if st.State != kernel.Running {
			t.Errorf("an hour after New panicked once: %+v", st)
		}
		ctx, c := context.WithTimeout(t.Context(), time.Minute)
		defer c()
		_, err := tree.Restart(ctx, "b", "")
		if err != nil {
			t.Errorf("operator's restart: %v", err)
		}
		_ = tree.Stop(t.Context())
	})
}

func TestNewPanicsAtBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		n := 0
		b := child(d, "b")
		good := b.New
		b.New = func() kernel.Actor {
			if n++; n == 1 {
				panic("constructor")
			}
			return good()
		}
		tree, _ := start(kernel.Options{Name: "test", Jitter: atCeiling, Children: []kernel.Child{child(d, "a"), b, child(d, "c")}})
		s := &stage{t, tree, d}
		s.wait(time.Hour)
		if s.service("b").State != kernel.Running || s.service("c").State != kernel.Running {
			t.Errorf("b %v c %v", s.service("b").State, s.service("c").State)
		}
		_ = tree.Stop(t.Context())
	})
}

// Goexit in Stop.
func TestGoexitInStop(t *testing.T) {
	d := &diary{}
	first := true
	synctest.Test(t, func(t *testing.T) {
		b := child(d, "b", func(p *puppet) {
			p.stop = func() {
				if first {
					first = false
					runtime.Goexit()
				}
			}
		})
		tree, _ := start(kernel.Options{Name: "test", Jitter: atCeiling, Children: []kernel.Child{child(d, "a"), b, child(d, "c")}})
		s := &stage{t, tree, d}
		synctest.Wait()
		s.kill("b")
		s.wait(time.Hour)
		if st := s.service("b"); st.State != kernel.Running {
			t.Errorf("an hour later: %v (%s)", st.State, st.LastReason)
		}
		ctx, c := context.WithTimeout(t.Context(), 5*time.Second)
		defer c()
		ended := make(chan error, 1)
		go func() { ended <- tree.Stop(ctx) }()
		select {
		case err := <-ended:
			t.Log("stop:", err)
		case <-time.After(time.Minute):
			t.Fatal("Tree.Stop is not back a minute after its deadline of 5 s")
		}
	})
}

// started arrives after the crash was told to the caller.
type told struct{ f func(error) }

func (c *told) Fail(err error) { c.f(err) }

func TestLateStartedSaysRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		gate, jit := make(chan struct{}), make(chan struct{})
		b := child(d, "b", func(p *puppet) {
			p.start = func(context.Context, *kernel.Life) error { <-gate; return nil }
			p.receive = func(context.Context, any) error { panic("x") }
		})
		b.StartTimeout = time.Hour
		block := true
		tree, _ := start(kernel.Options{Name: "test", Children: []kernel.Child{child(d, "a"), b},
			Jitter: func(x time.Duration) time.Duration {
				if block {
					block = false
					<-jit
				}
				return x
			}})
		s := &stage{t, tree, d}
		synctest.Wait()
		go func() { _, _ = tree.Kill(context.Background(), "a", "") }()
		synctest.Wait() // the root is in Jitter
		close(gate)
		synctest.Wait() // b serves, its started waits at the root
		var seen kernel.State
		var plane kernel.Plane
		_ = tree.Ref("b").Send(&told{func(error) {
			close(jit)
			<-time.After(time.Millisecond)
			seen, plane = s.service("b").State, tree.Ledger().Plane("b")
		}})
		s.wait(time.Second)
		if seen == kernel.Running || plane == kernel.Open {
			t.Errorf("when the caller hears of the crash the ledger says %v, plane %v", seen, plane)
		}
		_ = tree.Stop(t.Context())
	})
}

// a restart ordered while the probe is still in Start.
func TestRestartDuringProbeStart(t *testing.T) {
	slow := atomic.Bool{}
	play(t, func(p *puppet) {
		p.start = func(context.Context, *kernel.Life) error {
			if slow.Load() {
				<-time.After(3 * time.Second)
			}
			return nil
		}
	}, func(s *stage) {
		for range 5 {
			s.kill("b")
			s.wait(5 * time.Second)
		}
		slow.Store(true)
		s.kill("b")
		s.wait(6 * time.Second) // in Start as a probe
		if _, err := s.tree.Restart(s.Context(), "b", "mended"); err != nil {
			s.Error(err)
		}
		synctest.Wait()
		if st := s.service("b"); st.State != kernel.Running {
			s.Errorf("after the operator's restart: %v", st.State)
		}
	})
}

// probing after never run: plane.
func TestProbingPlane(t *testing.T) {
	n := 0
	play(t, func(p *puppet) {
		p.start = func(context.Context, *kernel.Life) error {
			if n++; n <= 6 {
				return errors.New("no")
			}
			return nil
		}
	}, func(s *stage) {
		s.wait(30 * time.Second)
		if st := s.service("b").State; st != kernel.Probing {
			s.Errorf("state %v", st)
		}
		if p := s.tree.Ledger().Plane("b"); p == kernel.Closed {
			s.Errorf("b runs and serves since many seconds (as a probe); plane %v", p)
		}
	})
}

// planes change without an event.
func TestPlaneChangeTold(t *testing.T) {
	play(t, nil, func(s *stage) {
		l := s.tree.Ledger()
		l.Raise(kernel.Cause{Name: "disk", Effect: kernel.PlaneReadOnly, Plane: "a"})
		l.Raise(kernel.Cause{Name: "disk", Effect: kernel.PlaneClosed, Plane: "a"})
		all := s.events(kernel.KindReadyChanged)
		if got := all[len(all)-1].Data.(kernel.ReadyData).Planes["a"]; got != l.Plane("a").String() {
			s.Errorf("the last event says %s, the ledger %v", got, l.Plane("a"))
		}
	})
}

func TestKillBeforeStart(t *testing.T) {
	tree, _ := kernel.New(kernel.Options{Children: []kernel.Child{child(&diary{}, "a")}})
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("panics: %v", v)
		}
	}()
	ctx, c := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer c()
	_, err := tree.Kill(ctx, "a", "")
	t.Log(err)
}

func TestForgiveOfADead(t *testing.T) {
	play(t, func(p *puppet) { p.receive = func(context.Context, any) error { panic("x") } }, func(s *stage) {
		s.kill("b")
		s.wait(200 * time.Millisecond)
		s.wait(59*time.Second + 800*time.Millisecond)
		var seen kernel.State
		_ = s.tree.Ref("b").Send(&told{func(error) { <-time.After(time.Second); seen = s.service("b").State }})
		s.wait(2 * time.Second)
		if seen == kernel.Running {
			s.Error("forgiven and running while it is crashing")
		}
	})
}

func TestTwiceHungAtStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		var all []kernel.Child
		for i := range 6 {
			all = append(all, child(d, fmt.Sprintf("x%d", i), func(p *puppet) {
				p.receive = func(context.Context, any) error { <-time.After(time.Minute); return nil }
			}))
		}
		all = append(all, child(d, "z", func(p *puppet) { p.stop = func() { <-time.After(1900 * time.Millisecond) } }))
		tree, _ := start(kernel.Options{Children: all})
		synctest.Wait()
		for i := range 6 {
			_ = tree.Ref(fmt.Sprintf("x%d", i)).Send("x")
		}
		<-time.After(time.Second)
		ended := make(chan error, 1)
		go func() { ended <- tree.Stop(context.Background()) }()
		select {
		case err := <-ended:
			t.Log(err, d.take())
		case <-time.After(time.Hour):
			t.Error("never ends")
		}
		<-time.After(time.Hour)
	})
}
