package kernel_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"micronode/kernel"
)

// A restart that is ordered while the incarnation falls, and before the books
// know, is carried out after the fall: without delay, with a clean record.
func TestRestartInTheMomentOfACrash(t *testing.T) {
	for name, bad := range map[string]bool{"and the next one runs": false, "and the next one falls": true} {
		t.Run(name, func(t *testing.T) {
			broken := false
			play(t, func(p *puppet) {
				p.receive = func(context.Context, any) error { panic("x") }
				p.start = func(context.Context, *kernel.Life) error {
					if broken {
						return errors.New("no")
					}
					return nil
				}
			}, func(s *stage) {
				for range 3 { // so that the delay would be 800 ms
					s.kill("b")
					s.wait(time.Second)
				}
				hold := make(chan struct{})
				_ = s.tree.Ref("b").Send(&told{func(error) { <-hold }})
				synctest.Wait()
				errs := make([]error, 2)
				var wg sync.WaitGroup
				for i := range errs {
					wg.Go(func() { _, errs[i] = s.tree.Restart(context.Background(), "b", "") })
				}
				synctest.Wait()
				broken = bad
				close(hold)
				begun := time.Now()
				wg.Wait()
				if time.Since(begun) != 0 {
					s.Errorf("the answer came %v later", time.Since(begun))
				}
				want, crashes := error(nil), 4
				if bad {
					want, crashes = kernel.ErrCrashed, 5
				} else {
					s.want("b", kernel.Running, 4)
				}
				if !errors.Is(errs[0], want) || !errors.Is(errs[1], want) {
					s.Errorf("answers %v, want %v", errs, want)
				}
				if n := len(s.events(kernel.KindServiceCrashed)); n != crashes {
					s.Errorf("%d crash events, want %d", n, crashes)
				}
				if n := len(s.events(kernel.KindServiceRestarted)); n != 1 {
					s.Errorf("%d restarts told, want 1 for both orders", n)
				}
				broken = false
			})
		})
	}
}

func TestStopAnswersARestartInTheMomentOfACrash(t *testing.T) {
	play(t, func(p *puppet) { p.receive = func(context.Context, any) error { panic("x") } }, func(s *stage) {
		hold := make(chan struct{})
		_ = s.tree.Ref("b").Send(&told{func(error) { <-hold }})
		synctest.Wait()
		answer := make(chan error, 1)
		go func() { _, err := s.tree.Restart(context.Background(), "b", ""); answer <- err }()
		synctest.Wait()
		go func() { <-time.After(time.Second); close(hold) }()
		_ = s.tree.Stop(s.Context())
		if err := <-answer; !errors.Is(err, kernel.ErrStopped) || errors.Is(err, kernel.ErrUnknownOutcome) {
			s.Error(err)
		}
	})
}

// The stop waits for Actor.Stop and the goroutines of a child until its own
// deadline; the watchdog is for those that are to run again.
func TestStopHasItsOwnDeadline(t *testing.T) {
	slowStop := func(p *puppet) { p.stop = func() { <-time.After(4 * time.Second) } }
	slowTask := func(p *puppet) {
		p.start = func(_ context.Context, l *kernel.Life) error {
			l.Go("slow", func(ctx context.Context) error { <-ctx.Done(); <-time.After(4 * time.Second); return nil })
			return nil
		}
	}
	for name, c := range map[string]struct {
		change   func(*puppet)
		before   func(*stage)
		deadline time.Duration
		left     bool
		aborted  int64
	}{
		"a slow Stop in time":                                      {slowStop, nil, 5 * time.Second, false, 0},
		"a slow goroutine in time":                                 {slowTask, nil, 5 * time.Second, false, 0},
		"a slow Stop past the deadline":                            {slowStop, nil, 3 * time.Second, true, 1},
		"a slow Stop after a crash in time":                        {slowStop, func(s *stage) { s.kill("b"); s.wait(time.Second) }, 5 * time.Second, false, 0},
		"a slow Stop after a crash is cut when it is to run again": {slowStop, func(s *stage) { s.kill("b"); s.wait(3 * time.Second) }, 5 * time.Second, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, c.change, func(s *stage) {
				if c.before != nil {
					c.before(s)
				}
				ctx, cancel := context.WithTimeout(s.Context(), c.deadline)
				defer cancel()
				err := s.tree.Stop(ctx)
				if left := errors.Is(err, kernel.ErrAbandoned); left != c.left {
					s.Errorf("stop: %v", err)
				}
				if n := s.tree.Aborted(); n != c.aborted {
					s.Errorf("%d left behind, want %d", n, c.aborted)
				}
			})
		})
	}
}

// A drill that has not begun is no reason to abandon the work before it.
func TestStopBeforeADrilledHang(t *testing.T) {
	play(t, busyReply, func(s *stage) {
		c := kernel.NewCall[string, string]("x")
		_ = s.tree.Ref("b").Send(c)
		synctest.Wait()
		if _, err := s.tree.Hang(s.Context(), "b", ""); err != nil {
			s.Fatal(err)
		}
		if err := s.tree.Stop(s.Context()); err != nil {
			s.Error(err)
		}
		if _, err := c.Wait(s.Context()); err != nil {
			s.Errorf("the message in hand: %v", err)
		}
		if n := s.tree.Aborted(); n != 0 {
			s.Errorf("%d left behind", n)
		}
	})
}

func busyReply(p *puppet) {
	p.receive = func(_ context.Context, m any) error { <-time.After(time.Second); m.(*echo).Reply(""); return nil }
}

func TestATreeRunsOnce(t *testing.T) {
	fresh := func(d *diary) *kernel.Tree {
		tree, err := kernel.New(kernel.Options{Children: []kernel.Child{child(d, "a")}})
		if err != nil {
			t.Fatal(err)
		}
		return tree
	}
	t.Run("not after its stop", func(t *testing.T) {
		d := &diary{}
		tree := fresh(d)
		sub := tree.Bus().Subscribe(kernel.Query{})
		if err := tree.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if err := tree.Start(); !errors.Is(err, kernel.ErrStopped) {
			t.Errorf("start after the stop: %v", err)
		}
		if _, err := tree.Kill(t.Context(), "a", ""); !errors.Is(err, kernel.ErrStopped) {
			t.Errorf("an order: %v", err)
		}
		if err := tree.Ref("a").Send("x"); !errors.Is(err, kernel.ErrStopped) {
			t.Errorf("a message: %v", err)
		}
		if e, _, err := sub.Next(t.Context()); err == nil {
			t.Errorf("told %+v of a tree that never ran", e)
		}
		if got := d.take(); len(got) > 0 {
			t.Errorf("ran: %v", got)
		}
	})
	t.Run("not twice", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &diary{}
			tree := fresh(d)
			if err := tree.Start(); err != nil {
				t.Error(err)
			}
			if err := tree.Start(); err == nil || !strings.Contains(err.Error(), "twice") {
				t.Errorf("a second start: %v", err)
			}
			synctest.Wait()
			if err := tree.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			if err := tree.Start(); !errors.Is(err, kernel.ErrStopped) {
				t.Errorf("start after the stop: %v", err)
			}
			if got := d.take(); !slices.Equal(got, []string{"start a", "stop a"}) {
				t.Errorf("ran: %v", got)
			}
		})
	})
}
