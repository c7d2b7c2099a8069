package kernel_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"micronode/kernel"
)

func (s *stage) faults() (all []string) {
	for _, e := range s.events(kernel.KindFault) {
		all = append(all, e.Service+": "+e.Data.(kernel.FaultData).What)
	}
	return all
}

// busy takes a second for each message and then does what f says.
func busy(f func() error) func(*puppet) {
	return func(p *puppet) {
		p.receive = func(context.Context, any) error { <-time.After(time.Second); return f() }
	}
}

// tasks starts goroutines that do what each f says.
func tasks(all ...func(context.Context) error) func(*puppet) {
	return func(p *puppet) {
		p.receive = func(context.Context, any) error { <-time.After(time.Second); return nil }
		p.start = func(_ context.Context, l *kernel.Life) error {
			if l.Incarnation() > 1 {
				return nil
			}
			for _, f := range all {
				l.Go("task", f)
			}
			return nil
		}
	}
}

func after(d time.Duration, f func() error) func(context.Context) error {
	return func(context.Context) error { <-time.After(d); return f() }
}

func lost() error   { panic("lost") }
func fails() error  { return errors.New("lost") }
func goexit() error { runtime.Goexit(); return nil }

// Whatever falls when no crash can be made of it any more is told as a Fault,
// once; what was only told to go and says so is not.
func TestNothingFallsWithoutATrace(t *testing.T) {
	during := func(end func(*stage)) func(*stage) {
		return func(s *stage) {
			_ = s.tree.Ref("b").Send("x")
			s.wait(100 * time.Millisecond)
			end(s)
		}
	}
	restart := func(s *stage) { _, _ = s.tree.Restart(s.Context(), "b", ""); s.wait(time.Minute) }
	stop := func(s *stage) { _ = s.tree.Stop(s.Context()) }
	outlived := func(f func() error) func(context.Context) error {
		return func(ctx context.Context) error { <-ctx.Done(); return f() }
	}
	hangOnceThen := func(f func() error) func(*puppet) {
		return func(p *puppet) {
			p.receive = func(context.Context, any) error { <-time.After(time.Minute); return f() }
		}
	}
	minute := func(s *stage) { s.wait(2 * time.Minute) }
	for name, c := range map[string]struct {
		change func(*puppet)
		act    func(*stage)
		want   string // in the one fault; "" = none
		stack  bool
	}{
		"Receive panics during an ordered restart":     {busy(lost), during(restart), "b: while it stopped: panic: lost", true},
		"Receive fails during an ordered restart":      {busy(fails), during(restart), "b: while it stopped: lost", false},
		"Receive panics during the stop":               {busy(lost), during(stop), "b: while it stopped: panic: lost", true},
		"Stop panics during an ordered restart":        {func(p *puppet) { p.stop = panicOnce() }, restart, "b: panic in Stop: lost", true},
		"Stop panics during the stop":                  {func(p *puppet) { p.stop = panicOnce() }, stop, "b: panic in Stop: lost", true},
		"Stop ends its goroutine":                      {func(p *puppet) { p.stop = runtime.Goexit }, stop, "b: Stop ended by runtime.Goexit", false},
		"a task panics after its ctx ended":            {tasks(outlived(lost)), restart, "b: task panicked: lost", true},
		"a task panics after its ctx ended, at a stop": {tasks(outlived(lost)), stop, "b: task panicked: lost", true},
		"a task ends its goroutine after its ctx":      {tasks(outlived(goexit)), restart, "b: task ended by runtime.Goexit", false},
		"a task fails after its ctx ended":             {tasks(outlived(fails)), restart, "", false},
		"a task panics before a restart that is first": {tasks(after(500*time.Millisecond, lost)), during(restart), "b: task panicked: lost", true},
		"two tasks panic and one is the crash":         {tasks(after(500*time.Millisecond, fails), after(600*time.Millisecond, lost)), during(minute), "b: task panicked: lost", true},
		"an abandoned one panics late":                 {hangOnceThen(lost), during(minute), "b: after it was abandoned: panic: lost", true},
		"an abandoned one fails late":                  {hangOnceThen(fails), during(minute), "", false},
		"a task panics as its incarnation is hung":     {hangWithTask(lost), during(minute), "b: task panicked: lost", true},
		"Start says that it was told to go": {func(p *puppet) {
			p.start = func(ctx context.Context, _ *kernel.Life) error { <-ctx.Done(); return ctx.Err() }
		}, stop, "", false},
		"a kill comes too late": {busy(func() error { return nil }), during(func(s *stage) {
			_ = s.tree.Ref("b").Send("x")
			go func() { _, _ = s.tree.Kill(context.Background(), "b", "") }()
			synctest.Wait()
			stop(s)
		}), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, c.change, func(s *stage) {
				c.act(s)
				all := s.faults()
				switch {
				case c.want == "" && len(all) == 0:
				case len(all) != 1 || all[0] != c.want:
					s.Errorf("faults %q, want one: %q", all, c.want)
				default:
					e := s.events(kernel.KindFault)[0]
					if stack := e.Data.(kernel.FaultData).Stack; (stack != "") != c.stack || e.Topic != "test.crash" {
						s.Errorf("topic %s, stack %q", e.Topic, stack)
					}
				}
			})
		})
	}
}

func panicOnce() func() {
	first := true
	return func() {
		if first {
			first = false
			panic("lost")
		}
	}
}

// hangWithTask hangs in its first message, and a task of it falls meanwhile.
func hangWithTask(f func() error) func(*puppet) {
	return func(p *puppet) {
		tasks(after(1500*time.Millisecond, f))(p)
		p.receive = func(context.Context, any) error { <-time.After(time.Minute); return nil }
	}
}

// The child that stops last is no exception.
func TestTheLastStopLeavesATraceToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree, err := start(kernel.Options{Children: []kernel.Child{
			child(&diary{}, "only", func(p *puppet) { p.stop = panicOnce() }),
		}})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := tree.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		s := &stage{T: t, tree: tree}
		if all := s.faults(); len(all) != 1 || !strings.Contains(all[0], "panic in Stop: lost") {
			t.Errorf("faults %q", all)
		}
	})
}
