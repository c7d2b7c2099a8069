package kernel_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"micronode/kernel"
)

type toldHow struct{ f func(error) }

func (c *toldHow) Fail(err error) { c.f(err) }

// An abandoned incarnation that falls late harms nobody. Its Stop runs.
func TestLateFallOfTheAbandoned(t *testing.T) {
	first := true
	play(t, func(p *puppet) {
		p.receive = func(_ context.Context, m any) error {
			if first {
				first = false
				<-time.After(time.Minute)
				panic("late")
			}
			return answer(m.(*echo))
		}
	}, func(s *stage) {
		_ = s.ask("b", "x")
		s.wait(5 * time.Second)
		s.diary.take()
		s.wait(time.Minute)
		if err := s.ask("b", "hello"); err != nil {
			s.Error(err)
		}
		s.want("b", kernel.Running, 1)
		if got := s.diary.take(); !slices.Equal(got, []string{"stop b"}) {
			s.Error("m11", got)
		}
	})
}

// m2
func TestAllThatWaitsIsDelivered(t *testing.T) {
	rel := make(chan struct{})
	play(t, func(p *puppet) {
		p.receive = func(_ context.Context, m any) error { <-rel; return answer(m.(*echo)) }
	}, func(s *stage) {
		rel = make(chan struct{})
		_ = s.tree.Ref("b").Send(kernel.NewCall[string, string]("panic"))
		c1, c2 := kernel.NewCall[string, string]("1"), kernel.NewCall[string, string]("2")
		_, _ = s.tree.Ref("b").Send(c1), s.tree.Ref("b").Send(c2)
		close(rel)
		ctx, c := context.WithTimeout(s.Context(), time.Minute)
		defer c()
		if _, err := c2.Wait(ctx); err != nil {
			s.Error(err)
		}
	})
}

// m5
func TestHostileFailAtStop(t *testing.T) {
	play(t, func(p *puppet) {
		p.receive = func(context.Context, any) error { <-time.After(time.Second); return nil }
	}, func(s *stage) {
		for range 3 {
			_ = s.tree.Ref("b").Send(badFail{})
		}
		ended := make(chan error, 1)
		go func() { ended <- s.tree.Stop(context.Background()) }()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			s.Error("hangs")
		}
	})
}

// m7
func TestTaskFallsDuringStart(t *testing.T) {
	play(t, func(p *puppet) {
		p.start = func(_ context.Context, l *kernel.Life) error {
			if l.Incarnation() == 2 {
				l.Go("t", func(context.Context) error { return errors.New("at once") })
				<-time.After(time.Second)
			}
			return nil
		}
	}, func(s *stage) {
		s.kill("b")
		s.wait(10 * time.Second)
		s.want("b", kernel.Running, 2)
	})
}

// m8
func TestLedgerKnowsBeforeTheCaller(t *testing.T) {
	play(t, func(p *puppet) { p.receive = func(context.Context, any) error { panic("x") } }, func(s *stage) {
		var seen kernel.State
		_ = s.tree.Ref("b").Send(&toldHow{func(error) { seen = s.service("b").State }})
		synctest.Wait()
		if seen != kernel.Backoff {
			s.Error(seen)
		}
	})
}

// m9
func TestLateStart(t *testing.T) {
	play(t, func(p *puppet) {
		p.start = func(_ context.Context, l *kernel.Life) error {
			if l.Incarnation() == 2 {
				<-time.After(10 * time.Minute)
			}
			return nil
		}
	}, func(s *stage) {
		s.kill("b")
		s.wait(time.Hour)
		if err := s.ask("b", "hello"); err != nil {
			s.Error(err)
		}
		ctx, c := context.WithTimeout(s.Context(), time.Second)
		defer c()
		if _, err := s.tree.Kill(ctx, "b", ""); err != nil {
			s.Error(err)
		}
	})
}

// m14
func TestRestartThatFalls(t *testing.T) {
	bad := false
	play(t, func(p *puppet) {
		p.start = func(context.Context, *kernel.Life) error {
			if bad {
				return errors.New("no")
			}
			return nil
		}
	}, func(s *stage) {
		bad = true
		ctx, c := context.WithTimeout(s.Context(), time.Second)
		defer c()
		if _, err := s.tree.Restart(ctx, "b", ""); !errors.Is(err, kernel.ErrCrashed) {
			s.Error(err)
		}
		bad = false
	})
}

// m18
func TestPanicDuringRestartCountsOnce(t *testing.T) {
	play(t, func(p *puppet) {
		p.receive = func(context.Context, any) error { <-time.After(time.Second); panic("x") }
	}, func(s *stage) {
		_ = s.tree.Ref("b").Send("x")
		synctest.Wait()
		_, _ = s.tree.Restart(s.Context(), "b", "")
		s.wait(time.Minute)
		if st := s.service("b"); st.Restarts != 1 {
			s.Error(st.Restarts)
		}
	})
}

// m19
func TestTwoStubbornAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		deaf := func(p *puppet) { p.receive = func(context.Context, any) error { <-time.After(time.Hour); return nil } }
		a, b := child(d, "a", deaf), child(d, "b", deaf)
		a.Watchdog, b.Watchdog = 24*time.Hour, 24*time.Hour
		tree, _ := start(kernel.Options{Children: []kernel.Child{a, b}})
		synctest.Wait()
		_, _ = tree.Ref("a").Send("x"), tree.Ref("b").Send("x")
		synctest.Wait()
		ctx, c := context.WithTimeout(t.Context(), time.Second)
		defer c()
		begun := time.Now()
		err := tree.Stop(ctx)
		if took := time.Since(begun); took > 2*time.Second {
			t.Error(took, err)
		}
		<-time.After(3 * time.Hour)
	})
}

// m22
func TestPlaneWhileStartingAgain(t *testing.T) {
	play(t, func(p *puppet) {
		p.start = func(_ context.Context, l *kernel.Life) error {
			if l.Incarnation() == 2 {
				<-time.After(5 * time.Second)
			}
			return nil
		}
	}, func(s *stage) {
		s.kill("b")
		s.wait(time.Second)
		s.want("b", kernel.Starting, 1)
		s.ready("degraded")
		if p := s.tree.Ledger().Plane("b"); p != kernel.ReadOnly {
			s.Error(p)
		}
		s.wait(time.Minute)
	})
}

// m23
func TestRetryAt(t *testing.T) {
	play(t, nil, func(s *stage) {
		for range 6 {
			s.kill("b")
			s.wait(4900 * time.Millisecond)
		}
		if r := s.tree.Ledger().Readiness(); !r.RetryAt.Equal(s.service("b").NextRestart) {
			s.Error(r.RetryAt)
		}
		s.wait(time.Minute)
	})
}

// m24
func TestWatchdogLooksBehindTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		tree, _ := start(kernel.Options{Name: "test", Jitter: func(time.Duration) time.Duration { return time.Hour },
			Children: []kernel.Child{child(d, "a"), child(d, "b")}})
		s := &stage{t, tree, d}
		synctest.Wait()
		s.kill("a")
		_, _ = tree.Hang(t.Context(), "b", "")
		s.wait(5 * time.Second)
		if st := s.service("b"); st.Restarts != 1 {
			t.Error(st.State, st.Restarts)
		}
		_ = tree.Stop(t.Context())
		<-time.After(3 * time.Hour)
	})
}

// m16
func TestStartedAfterTheCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		gate, jit := make(chan struct{}), make(chan struct{})
		b := child(d, "b", func(p *puppet) { p.start = func(context.Context, *kernel.Life) error { <-gate; return nil } })
		n := 0
		tree, _ := start(kernel.Options{Name: "test", Children: []kernel.Child{child(d, "a"), b},
			Jitter: func(x time.Duration) time.Duration {
				if n++; n == 1 {
					<-jit
				}
				return time.Hour
			}})
		s := &stage{t, tree, d}
		synctest.Wait()
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = tree.Kill(context.Background(), "a", "") })
		synctest.Wait()
		close(gate)
		synctest.Wait()
		_ = s.ask("b", "panic")
		synctest.Wait()
		close(jit)
		s.want("b", kernel.Backoff, 1)
		wg.Wait()
		_ = tree.Stop(t.Context())
	})
}

// m13
func TestHungWhileStopped(t *testing.T) {
	play(t, func(p *puppet) {
		p.receive = func(context.Context, any) error { <-time.After(time.Hour); return nil }
	}, func(s *stage) {
		_ = s.tree.Ref("b").Send("x")
		synctest.Wait()
		ended := make(chan error, 1)
		go func() { ended <- s.tree.Stop(context.Background()) }()
		select {
		case err := <-ended:
			if !errors.Is(err, kernel.ErrAbandoned) {
				s.Error(err)
			}
		case <-time.After(time.Minute):
			s.Error("hangs")
		}
	})
}
