package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"micronode/kernel"
)

// clockwork is what the puppets of one test hear of their alarms, and when.
type clockwork struct {
	begun time.Time
	mu    sync.Mutex
	heard []string
}

func (c *clockwork) hear(msg any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = append(c.heard, fmt.Sprintf("%v@%v", msg, time.Since(c.begun)))
}

func (c *clockwork) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.heard
	c.heard = nil
	return h
}

// listener hears its messages; set is what it does in Start.
func (c *clockwork) listener(set func(*kernel.Life) error) func(*puppet) {
	return func(p *puppet) {
		p.start = func(_ context.Context, l *kernel.Life) error {
			if l.Incarnation() == 1 {
				c.begun = time.Now()
			}
			return set(l)
		}
		p.receive = func(_ context.Context, msg any) error {
			if e, ok := msg.(*echo); ok {
				return answer(e)
			}
			c.hear(msg)
			return nil
		}
	}
}

func TestAlarmsRingOnceInOrderOfTime(t *testing.T) {
	var c clockwork
	play(t, c.listener(func(l *kernel.Life) error {
		l.After(2*time.Second, "b")
		l.After(time.Second, "a")
		l.After(0, "at once")
		l.After(-time.Second, "before")
		cancel := l.After(1500*time.Millisecond, "never")
		late := l.After(time.Second, "late")
		l.After(1200*time.Millisecond, "c")
		cancel()
		cancel()
		l.Go("cancels what has rung", func(ctx context.Context) error {
			<-ctx.Done()
			late()
			cancel()
			return nil
		})
		return nil
	}), func(s *stage) {
		s.wait(time.Hour)
		got := c.take()
		slices.Sort(got[2:4]) // of the same moment
		if want := []string{"at once@0s", "before@0s", "a@1s", "late@1s", "c@1.2s", "b@2s"}; !slices.Equal(got, want) {
			s.Errorf("heard %v, want %v", got, want)
		}
	})
}

func TestAlarmsDuringStartWaitForItsEnd(t *testing.T) {
	var c clockwork
	play(t, c.listener(func(l *kernel.Life) error {
		for i := range 9 { // the queue holds 4
			l.After(time.Duration(i)*time.Millisecond, i)
		}
		<-time.After(5 * time.Second)
		if l.Incarnation() == 1 {
			return nil
		}
		return errors.New("what rang dies with it")
	}), func(s *stage) {
		s.wait(6 * time.Second)
		if got, want := c.take(), []string{"0@5s", "1@5s", "2@5s", "3@5s"}; !slices.Equal(got, want) {
			s.Errorf("heard %v, want %v", got, want)
		}
		s.kill("b")
		s.wait(30 * time.Second)
		if got := c.take(); len(got) > 0 {
			s.Errorf("of lives that never began: %v", got)
		}
	})
}

// However an incarnation ends, its alarms end with it; the next one has its own.
func TestAlarmsEndWithTheIncarnation(t *testing.T) {
	for name, end := range map[string]func(*stage){
		"kill":    func(s *stage) { s.kill("b") },
		"panic":   func(s *stage) { _ = s.ask("b", "panic") },
		"restart": func(s *stage) { _, _ = s.tree.Restart(s.Context(), "b", "") },
		"hang":    func(s *stage) { _, _ = s.tree.Hang(s.Context(), "b", "") },
	} {
		t.Run(name, func(t *testing.T) {
			var c clockwork
			var last *kernel.Life
			play(t, c.listener(func(l *kernel.Life) error {
				if last != nil {
					last.After(time.Second, "of the dead")
					last.After(0, "of the dead")
				}
				last = l
				l.After(5*time.Second, l.Incarnation())
				return nil
			}), func(s *stage) {
				s.wait(2 * time.Second)
				end(s)
				s.wait(time.Minute)
				got := c.take()
				if len(got) != 1 || got[0][0] != '2' {
					s.Errorf("heard %v, want the second incarnation's alarm only", got)
				}
				if err := s.tree.Stop(s.Context()); err != nil {
					s.Error(err)
				}
				last.After(0, "after the stop")
				s.wait(time.Minute)
				if got := c.take(); len(got) > 0 {
					s.Errorf("after the stop: %v", got)
				}
			})
		})
	}
}

func TestAlarmThatFindsTheQueueFullIsDropped(t *testing.T) {
	var heard []any
	play(t, func(p *puppet) {
		p.start = func(_ context.Context, l *kernel.Life) error { l.After(time.Second, "alarm"); return nil }
		p.receive = func(ctx context.Context, msg any) error {
			if msg == "block" {
				<-time.After(1500 * time.Millisecond)
			}
			heard = append(heard, msg)
			return nil
		}
	}, func(s *stage) {
		for _, m := range []string{"block", "1", "2", "3", "4"} {
			_ = s.tree.Ref("b").Send(m)
			synctest.Wait()
		}
		s.wait(time.Minute)
		if want := []any{"block", "1", "2", "3", "4"}; !slices.Equal(heard, want) {
			s.Errorf("heard %v, want %v", heard, want)
		}
	})
}
