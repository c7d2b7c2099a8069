package kernel_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"micronode/kernel"
)

// held is a tree of a and b whose supervisor can be held up while it enters a
// crash of a. Delays are at their ceiling.
type held struct {
	*stage
	armed bool
	gate  chan struct{}
}

func hold(t *testing.T, change func(*puppet), act func(h *held)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &held{gate: make(chan struct{})}
		d := &diary{}
		tree, err := start(kernel.Options{
			Name: "test", Children: []kernel.Child{child(d, "a"), child(d, "b", change)},
			Jitter: func(d time.Duration) time.Duration {
				if h.armed {
					h.armed = false
					<-h.gate
				}
				return d
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		h.stage = &stage{t, tree, d}
		synctest.Wait()
		act(h)
		_ = tree.Stop(t.Context())
	})
}

// up holds the supervisor up; free lets it go on.
func (h *held) up() {
	h.armed = true
	_ = h.ask("a", "panic")
	synctest.Wait()
}

func (h *held) free() {
	close(h.gate)
	synctest.Wait()
}

// A fall shuts the door and tells the ledger at once, however busy the
// supervisor is.
func TestAFallShutsTheDoorItself(t *testing.T) {
	var fall chan struct{}
	hold(t, func(p *puppet) {
		p.start = func(_ context.Context, l *kernel.Life) error {
			mine := make(chan struct{})
			fall = mine
			l.Go("task", func(ctx context.Context) error {
				select {
				case <-mine:
					return errors.New("oh")
				case <-ctx.Done():
					return nil
				}
			})
			return nil
		}
	}, func(h *held) {
		h.up()
		close(fall)
		h.want("b", kernel.Backoff, 0)
		if err := h.tree.Ref("b").Send("x"); !errors.Is(err, kernel.ErrDown) {
			h.Errorf("sent to one that has fallen: %v", err)
		}
		if p := h.tree.Ledger().Plane("b"); p != kernel.ReadOnly {
			h.Errorf("its plane is %v", p)
		}
		h.free()
	})
}

// A timer that rang while the supervisor was busy is void when what it was for
// is over: here forgiveness must not cut a backoff short.
func TestALateTimerIsVoid(t *testing.T) {
	hold(t, func(*puppet) {}, func(h *held) {
		h.kill("b")
		h.wait(time.Minute) // it runs for 59.9 s, and will be forgiven in 100 ms
		h.up()
		_ = h.ask("b", "panic")
		h.wait(150 * time.Millisecond)
		h.free()
		h.want("b", kernel.Backoff, 2)
		h.wait(200*time.Millisecond - 1)
		h.want("b", kernel.Backoff, 2)
		h.wait(1)
		h.want("b", kernel.Running, 2)
	})
}

// An ordered restart ends the timer of what was before it.
func TestNothingIsForgivenAfterAnOrderedRestart(t *testing.T) {
	for name, at := range map[string]time.Duration{"during the backoff": 50 * time.Millisecond, "before the forgiveness": 30 * time.Second} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(s *stage) {
				s.kill("b")
				s.wait(at)
				if _, err := s.tree.Restart(s.Context(), "b", ""); err != nil {
					s.Error(err)
				}
				s.wait(5 * time.Minute)
				if all := s.events(kernel.KindForgiven); len(all) != 0 {
					s.Errorf("%+v", all)
				}
			})
		})
	}
}

// maxOrders is the kernel's bound of the orders that wait for one child.
const maxOrders = 64

func TestOrdersThatWaitAreBounded(t *testing.T) {
	var gate chan struct{}
	slow := func(p *puppet) {
		p.receive = func(_ context.Context, msg any) error {
			if _, falls := msg.(*told); falls {
				panic("as told")
			}
			return nil
		}
		p.start = func(_ context.Context, l *kernel.Life) error {
			if l.Incarnation() > 1 {
				<-gate
			}
			return nil
		}
	}
	type verb = func(context.Context, string, string) (int64, error)
	for name, c := range map[string]struct {
		order  func(*stage) verb
		before func(*stage)
	}{
		"kills":                {func(s *stage) verb { return s.tree.Kill }, func(s *stage) { s.kill("b") }},
		"hangs":                {func(s *stage) verb { return s.tree.Hang }, func(s *stage) { s.kill("b") }},
		"restarts":             {func(s *stage) verb { return s.tree.Restart }, func(s *stage) { s.kill("b"); s.wait(time.Second) }},
		"restarts during fall": {func(s *stage) verb { return s.tree.Restart }, func(s *stage) { fallSlowly(s, gate) }},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, slow, func(s *stage) {
				gate = make(chan struct{})
				c.before(s)
				ctx, cancel := context.WithCancel(s.Context())
				var wg sync.WaitGroup
				for range maxOrders {
					wg.Go(func() {
						if _, err := c.order(s)(ctx, "b", ""); errors.Is(err, kernel.ErrNotRunning) {
							s.Error("refused within the bound")
						}
					})
				}
				synctest.Wait()
				begun := time.Now()
				if _, err := c.order(s)(ctx, "b", ""); !errors.Is(err, kernel.ErrNotRunning) || time.Since(begun) != 0 {
					s.Errorf("one too many: %v after %v", err, time.Since(begun))
				}
				cancel()
				wg.Wait()
				close(gate)
				s.wait(time.Minute)
				s.want("a", kernel.Running, 0)
				if st := s.service("b"); st.State != kernel.Running {
					s.Errorf("b is %v", st.State)
				}
			})
		})
	}
}

// fallSlowly makes b fall and keeps its fall out of the books until the gate
// opens.
func fallSlowly(s *stage, gate chan struct{}) {
	c := &told{func(error) { <-gate }}
	_ = s.tree.Ref("b").Send(c)
	synctest.Wait()
}

// A restart ordered before the child's first start waits for that.
func TestRestartBeforeTheFirstStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		d := &diary{}
		slow := child(d, "a", func(p *puppet) {
			p.start = func(context.Context, *kernel.Life) error { <-gate; return nil }
		})
		tree, err := start(kernel.Options{Name: "test", Children: []kernel.Child{slow, child(d, "b")}})
		if err != nil {
			t.Fatal(err)
		}
		s := &stage{t, tree, d}
		answer := make(chan error, 1)
		go func() { _, err := tree.Restart(context.Background(), "b", ""); answer <- err }()
		synctest.Wait()
		if all := s.faults(); len(all) != 0 {
			t.Errorf("faults %q", all)
		}
		close(gate)
		synctest.Wait()
		s.want("b", kernel.Running, 0)
		select {
		case err := <-answer:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("no answer though b runs")
		}
		_ = tree.Stop(t.Context())
	})
}

// A foreign Fail that blocks, or ends its goroutine, keeps no child down.
func TestAFailThatDoesNotReturn(t *testing.T) {
	for name, fail := range map[string]func(error){
		"blocks":             func(error) { <-time.After(time.Hour) },
		"ends its goroutine": func(error) { runtime.Goexit() },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(p *puppet) {
				p.receive = func(_ context.Context, msg any) error {
					if _, falls := msg.(*told); falls {
						panic("as told")
					}
					return nil
				}
			}, func(s *stage) {
				calls := 0
				_ = s.tree.Ref("b").Send(&told{func(err error) { calls++; fail(err) }})
				s.wait(time.Minute)
				s.want("b", kernel.Running, 1)
				if calls != 1 {
					s.Errorf("Fail was called %d times", calls)
				}
			})
		})
	}
}
