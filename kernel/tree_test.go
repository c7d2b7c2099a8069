package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"micronode/kernel"
)

// puppet is an actor whose methods do what the test says. The diary is shared
// by all incarnations of all puppets of one test.
type puppet struct {
	name    string
	diary   *diary
	start   func(ctx context.Context, life *kernel.Life) error
	receive func(ctx context.Context, msg any) error
	stop    func()
}

type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lines
	d.lines = nil
	return l
}

func (p *puppet) Start(ctx context.Context, life *kernel.Life) error {
	p.diary.add("start " + p.name)
	if p.start != nil {
		return p.start(ctx, life)
	}
	return nil
}

func (p *puppet) Receive(ctx context.Context, msg any) error {
	if p.receive != nil {
		return p.receive(ctx, msg)
	}
	if c, ok := msg.(*echo); ok {
		return answer(c)
	}
	return nil
}

func (p *puppet) Stop() {
	if p.stop != nil {
		p.stop()
	}
	p.diary.add("stop " + p.name)
}

type echo = kernel.Call[string, string]

// answer does what the request says.
func answer(c *echo) error {
	switch c.Req {
	case "panic":
		panic("as told")
	case "error":
		return errors.New("as told")
	case "goexit":
		runtime.Goexit()
	}
	c.Reply(c.Req)
	return nil
}

// stage is a tree in a synctest bubble.
type stage struct {
	*testing.T
	tree  *kernel.Tree
	diary *diary
}

func atCeiling(d time.Duration) time.Duration { return d }

func child(d *diary, name string, change ...func(*puppet)) kernel.Child {
	return kernel.Child{Name: name, Required: true, Planes: []string{name}, QueueCap: 4, New: func() kernel.Actor {
		p := &puppet{name: name, diary: d}
		for _, c := range change {
			c(p)
		}
		return p
	}}
}

// play runs a test on a running tree of puppets called a, b and c, where b is
// changed as the test wants.
func play(t *testing.T, change func(*puppet), act func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		if change == nil {
			change = func(*puppet) {}
		}
		tree, err := start(kernel.Options{
			Name: "test", Jitter: atCeiling,
			Children: []kernel.Child{child(d, "a"), child(d, "b", change), child(d, "c")},
		})
		if err != nil {
			t.Fatal(err)
		}
		s := &stage{t, tree, d}
		synctest.Wait()
		act(s)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = tree.Stop(ctx)
		<-time.After(3 * time.Hour) // what was left behind ends, or the bubble says who does not
	})
}

func start(o kernel.Options) (*kernel.Tree, error) {
	tree, err := kernel.New(o)
	if err != nil {
		return nil, err
	}
	return tree, tree.Start()
}

func (s *stage) service(name string) kernel.ServiceStatus {
	s.Helper()
	for _, st := range s.tree.Ledger().Services() {
		if st.Name == name {
			return st
		}
	}
	s.Fatalf("the ledger does not know %q", name)
	return kernel.ServiceStatus{}
}

func (s *stage) want(name string, state kernel.State, restarts int64) {
	s.Helper()
	synctest.Wait()
	if st := s.service(name); st.State != state || st.Restarts != restarts {
		s.Fatalf("%s is %v after %d restarts (%s); want %v after %d", name, st.State, st.Restarts, st.LastReason, state, restarts)
	}
}

// ready checks the three-state answer: "ready", "degraded" or "not ready".
func (s *stage) ready(want string) {
	s.Helper()
	synctest.Wait()
	r := s.tree.Ledger().Readiness()
	got := "ready"
	if !r.Ready {
		got = "not ready"
	} else if r.Degraded {
		got = "degraded"
	}
	if got != want {
		s.Fatalf("readiness is %s (missing %v); want %s", got, r.Missing, want)
	}
}

func (s *stage) ask(name, q string) error {
	_, err := kernel.Ask[string, string](s.Context(), s.tree.Ref(name), q)
	return err
}

func (s *stage) kill(name string) {
	s.Helper()
	if _, err := s.tree.Kill(s.Context(), name, "drill"); err != nil {
		s.Fatalf("kill %s: %v", name, err)
	}
}

// wait lets virtual time pass.
func (s *stage) wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (s *stage) events(kind string) []kernel.Event {
	sub := s.tree.Bus().Subscribe(kernel.Query{Kind: kind, Since: time.Unix(0, 1)})
	sub.Close()
	var all []kernel.Event
	for {
		e, _, err := sub.Next(context.Background())
		if err != nil {
			return all
		}
		all = append(all, e)
	}
}

func TestUpInOrderDownInReverse(t *testing.T) {
	d := &diary{}
	synctest.Test(t, func(t *testing.T) {
		tree, err := start(kernel.Options{Children: []kernel.Child{child(d, "a"), child(d, "b"), child(d, "c")}})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if r := tree.Ledger().Readiness(); !r.Ready || r.Degraded || len(r.Missing) > 0 || r.Planes["a"] != kernel.Open {
			t.Errorf("after the start: %+v", r)
		}
		if err := tree.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if r := tree.Ledger().Readiness(); r.Ready || r.Planes["a"] != kernel.Closed {
			t.Errorf("after the stop: %+v", r)
		}
	})
	want := []string{"start a", "start b", "start c", "stop c", "stop b", "stop a"}
	if got := d.take(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestBootIsClosedAndNotReady(t *testing.T) {
	gate := make(chan struct{})
	synctest.Test(t, func(t *testing.T) {
		gate = make(chan struct{})
		d := &diary{}
		slow := child(d, "b", func(p *puppet) {
			p.start = func(context.Context, *kernel.Life) error { <-gate; return nil }
		})
		tree, err := start(kernel.Options{Children: []kernel.Child{child(d, "a"), slow, child(d, "c")}})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r := tree.Ledger().Readiness()
		if r.Ready || !slices.Equal(r.Missing, []string{"b", "c"}) || r.Planes["a"] != kernel.Open || r.Planes["b"] != kernel.Closed {
			t.Errorf("while b starts: %+v", r)
		}
		if got := d.take(); !slices.Equal(got, []string{"start a", "start b"}) {
			t.Errorf("c did not wait for b: %v", got)
		}
		if err := tree.Ref("b").Send("x"); !errors.Is(err, kernel.ErrDown) {
			t.Errorf("a message to a child that has never run: %v", err)
		}
		close(gate)
		synctest.Wait()
		if r := tree.Ledger().Readiness(); !r.Ready || r.Degraded {
			t.Errorf("after: %+v", r)
		}
		_ = tree.Stop(t.Context())
	})
}

func TestEveryWayToDieIsOneCrash(t *testing.T) {
	ask := func(q string, want error) func(*stage) {
		return func(s *stage) {
			if err := s.ask("b", q); !errors.Is(err, want) {
				s.Errorf("the caller hears %v, want %v", err, want)
			}
		}
	}
	taskDies := func(f func(context.Context) error) func(*puppet) {
		return func(p *puppet) {
			p.receive = func(context.Context, any) error { return nil }
			first := true
			p.start = func(_ context.Context, life *kernel.Life) error {
				if life.Incarnation() == 1 && first {
					life.Go("task", func(ctx context.Context) error {
						select {
						case <-time.After(time.Second):
							return f(ctx)
						case <-ctx.Done():
							return nil
						}
					})
				}
				return nil
			}
		}
	}
	second := func(s *stage) { s.wait(time.Second) }
	for name, c := range map[string]struct {
		change func(*puppet)
		die    func(*stage)
		reason string
		stack  bool
	}{
		"a panic":                {nil, ask("panic", kernel.ErrCrashed), "panic: as told", true},
		"an error":               {nil, ask("error", kernel.ErrCrashed), "as told", false},
		"a kill":                 {nil, func(s *stage) { s.kill("b") }, "killed: drill", false},
		"a panic in a task":      {taskDies(func(context.Context) error { panic("oh") }), second, "task panicked: oh", true},
		"an error of a task":     {taskDies(func(context.Context) error { return errors.New("oh") }), second, "task: oh", false},
		"a Goexit in a task":     {taskDies(func(context.Context) error { runtime.Goexit(); return nil }), second, "task ended by runtime.Goexit", false},
		"a Goexit in Receive":    {nil, ask("goexit", kernel.ErrCrashed), "hung: one turn took longer than its watchdog of 2s", false},
		"a hang by order":        {nil, func(s *stage) { _, _ = s.tree.Hang(s.Context(), "b", "drill"); s.wait(3 * time.Second) }, "hung: one turn took longer than its watchdog of 2s", false},
		"a hang in Receive":      {func(p *puppet) { p.receive = hangOnce() }, ask("x", kernel.ErrCrashed), "hung: one turn took longer than its watchdog of 2s", false},
		"a panic with bad value": {func(p *puppet) { p.receive = func(context.Context, any) error { panic(evil{}) } }, ask("x", kernel.ErrCrashed), "panic: %!v(PANIC=Error method: worse)", true},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, c.change, func(s *stage) {
				s.diary.take()
				c.die(s)
				synctest.Wait()
				crashes := s.events(kernel.KindServiceCrashed)
				if len(crashes) != 1 {
					s.Fatalf("%d crash events: %+v", len(crashes), crashes)
				}
				e := crashes[0]
				data := e.Data.(kernel.CrashData)
				if e.Topic != "test.crash" || e.Service != "b" || data.Reason != c.reason || (data.Stack != "") != c.stack ||
					data.Restarts != 1 || data.Recent != 1 || data.DelayMS != 100 || data.State != "backoff" {
					s.Errorf("event %+v", e)
				}
				s.wait(100 * time.Millisecond)
				s.want("b", kernel.Running, 1)
				s.ready("ready")
				if st := s.service("b"); st.LastReason != c.reason || st.LastCrash.IsZero() {
					s.Errorf("ledger: %+v", st)
				}
				if others := s.service("a").Restarts + s.service("c").Restarts; others != 0 {
					s.Errorf("%d restarts of others", others)
				}
			})
		})
	}
}

type evil struct{}

func (evil) Error() string { panic("worse") }

// hangOnce hangs on its first message, deaf to ctx, until the test is over.
func hangOnce() func(context.Context, any) error {
	return func(ctx context.Context, _ any) error {
		<-ctx.Done() // told when abandoned; a bubble can not hold one that never ends
		<-time.After(10 * time.Minute)
		return nil
	}
}

func TestDegradedWhileDownThenReady(t *testing.T) {
	play(t, nil, func(s *stage) {
		s.kill("b")
		s.ready("degraded")
		r := s.tree.Ledger().Readiness()
		if !slices.Equal(r.Missing, []string{"b"}) || r.Planes["b"] != kernel.ReadOnly || r.Planes["a"] != kernel.Open {
			s.Errorf("%+v", r)
		}
		if wait := time.Until(r.RetryAt); wait < time.Second {
			s.Errorf("retry sensible after %v", wait)
		}
		if err := s.ask("b", "hello"); !errors.Is(err, kernel.ErrDown) {
			s.Errorf("asked while down: %v", err)
		}
		s.wait(100 * time.Millisecond)
		s.ready("ready")
		if err := s.ask("b", "hello"); err != nil {
			s.Error(err)
		}
	})
}

func TestWhatWaitsBehindACrashIsDelivered(t *testing.T) {
	var got []string
	release := make(chan struct{})
	change := func(p *puppet) {
		p.receive = func(_ context.Context, msg any) error {
			c := msg.(*echo)
			if c.Req == "crash" {
				<-release
				panic("as told")
			}
			got = append(got, c.Req)
			c.Reply("")
			return nil
		}
	}
	play(t, change, func(s *stage) {
		release = make(chan struct{})
		crash := kernel.NewCall[string, string]("crash")
		behind := []*echo{kernel.NewCall[string, string]("1"), kernel.NewCall[string, string]("2"), kernel.NewCall[string, string]("3")}
		gaveUp := kernel.NewCall[string, string]("gave up")
		for _, c := range append([]*echo{crash}, behind...) {
			if err := s.tree.Ref("b").Send(c); err != nil {
				s.Fatal(err)
			}
		}
		synctest.Wait()
		_ = s.tree.Ref("b").Send(gaveUp)
		if err := s.tree.Ref("b").Send(kernel.NewCall[string, string]("too many")); !errors.Is(err, kernel.ErrBusy) {
			s.Errorf("a message beyond the bound: %v", err)
		}
		ctx, cancel := context.WithCancel(s.Context())
		cancel()
		if _, err := gaveUp.Wait(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, kernel.ErrUnknownOutcome) {
			s.Errorf("gave up before its turn: %v", err)
		}
		if d := s.tree.Ref("b").Depth(); d != 4 {
			s.Errorf("depth %d, want 4", d)
		}
		close(release)
		if _, err := crash.Wait(s.Context()); !errors.Is(err, kernel.ErrCrashed) {
			s.Errorf("the crashing caller hears %v", err)
		}
		for _, c := range behind {
			if _, err := c.Wait(s.Context()); err != nil {
				s.Errorf("%q: %v", c.Req, err)
			}
		}
		if !slices.Equal(got, []string{"1", "2", "3"}) {
			s.Errorf("delivered %v", got)
		}
	})
}

func TestGivingUpOnABegunRequestIsUnknown(t *testing.T) {
	change := func(p *puppet) {
		p.receive = func(_ context.Context, msg any) error {
			<-time.After(time.Second)
			msg.(*echo).Reply("late")
			return nil
		}
	}
	play(t, change, func(s *stage) {
		ctx, cancel := context.WithTimeout(s.Context(), time.Millisecond)
		defer cancel()
		_, err := kernel.Ask[string, string](ctx, s.tree.Ref("b"), "x")
		if !errors.Is(err, kernel.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
			s.Error(err)
		}
	})
}

func TestStormQuarantineProbeForgiveness(t *testing.T) {
	play(t, nil, func(s *stage) {
		for n := range 5 {
			s.kill("b")
			s.ready("degraded")
			s.wait(100 * time.Millisecond << n)
			s.want("b", kernel.Running, int64(n+1))
		}
		s.kill("b")
		s.want("b", kernel.Storm, 6)
		s.ready("not ready")
		s.wait(5*time.Second - 1)
		s.want("b", kernel.Storm, 6)
		s.wait(1)
		s.want("b", kernel.Probing, 6)
		s.ready("not ready") // it runs, but has to prove itself
		if err := s.ask("a", "others serve"); err != nil {
			s.Error(err)
		}
		for n := range 3 {
			s.kill("b")
			s.want("b", kernel.Storm, int64(7+n))
			s.wait(5 * time.Second)
		}
		s.kill("b")
		s.want("b", kernel.Quarantined, 10)
		s.wait(time.Minute - 1)
		s.want("b", kernel.Quarantined, 10)
		s.wait(1)
		s.want("b", kernel.Probing, 10)
		s.kill("b") // the half-open probe fails
		s.want("b", kernel.Quarantined, 11)
		s.wait(time.Minute)
		s.want("b", kernel.Probing, 11)
		s.wait(time.Minute - 1)
		s.ready("not ready")
		s.wait(1)
		s.want("b", kernel.Running, 11)
		s.ready("ready")
		for kind, want := range map[string]int{
			kernel.KindServiceCrashed: 11, kernel.KindRestartStorm: 1, kernel.KindQuarantined: 1, kernel.KindForgiven: 1,
		} {
			if got := len(s.events(kind)); got != want {
				s.Errorf("%d events %s, want %d", got, kind, want)
			}
		}
		s.kill("b")
		s.want("b", kernel.Backoff, 12) // the past is forgotten
	})
}

func TestReadyChangesStepByStep(t *testing.T) {
	play(t, nil, func(s *stage) {
		s.tree.Ledger().Raise(kernel.Cause{Name: "drain", Effect: kernel.NotReady})
		s.tree.Ledger().Raise(kernel.Cause{Name: "drain", Effect: kernel.NotReady})
		s.tree.Ledger().Clear("drain")
		s.tree.Ledger().Clear("drain")
		s.tree.Ledger().Raise(kernel.Cause{Name: "disk", Effect: kernel.PlaneReadOnly, Plane: "a"})
		if p := s.tree.Ledger().Plane("a"); p != kernel.ReadOnly {
			s.Errorf("plane a is %v", p)
		}
		s.tree.Ledger().Raise(kernel.Cause{Name: "disk", Effect: kernel.PlaneClosed, Plane: "a"})
		if p := s.tree.Ledger().Plane("a"); p != kernel.Closed {
			s.Errorf("plane a is %v", p)
		}
		s.tree.Ledger().Raise(kernel.Cause{Name: "disk", Effect: kernel.PlaneClosed, Plane: "nobody's"})
		var got []string
		for _, e := range s.events(kernel.KindReadyChanged) {
			d := e.Data.(kernel.ReadyData)
			got = append(got, fmt.Sprint(d.Ready, d.Degraded, d.Missing))
		}
		tail := got[len(got)-6:]
		disk := "true true [disk]" // read-only, closed, open again: each is told
		want := []string{"true true [drain]", "false true [drain]", "true false []", disk, disk, disk}
		if !slices.Equal(tail, want) {
			s.Errorf("%q, want %q", tail, want)
		}
	})
}

func TestOrderedRestart(t *testing.T) {
	play(t, nil, func(s *stage) {
		if n, err := s.tree.Restart(s.Context(), "b", "because"); n != 1 || err != nil {
			s.Fatal(n, err)
		}
		s.want("b", kernel.Running, 1)
		if got := s.events(kernel.KindServiceCrashed); len(got) != 0 {
			s.Errorf("an order is no crash: %v", got)
		}
		if got := s.events(kernel.KindServiceRestarted); len(got) != 1 || got[0].Data.(kernel.RestartData).Reason != "because" {
			s.Errorf("%+v", got)
		}
		for range 10 {
			s.kill("b")
			s.wait(5 * time.Second)
		}
		s.want("b", kernel.Quarantined, 11)
		if n, err := s.tree.Restart(s.Context(), "b", ""); n != 11 || err != nil {
			s.Fatal(n, err)
		}
		s.want("b", kernel.Running, 11)
		s.ready("ready")
		s.wait(10 * time.Minute) // no timer of the past comes back
		s.want("b", kernel.Running, 11)
		s.kill("b")
		s.want("b", kernel.Backoff, 12)
	})
}

func TestRestartOfAHungActor(t *testing.T) {
	play(t, nil, func(s *stage) {
		if _, err := s.tree.Hang(s.Context(), "b", ""); err != nil {
			s.Fatal(err)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(s.Context(), time.Second)
		defer cancel()
		if _, err := s.tree.Kill(ctx, "b", ""); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kernel.ErrUnknownOutcome) {
			s.Errorf("kill behind a hang: %v", err)
		}
		if n, err := s.tree.Restart(s.Context(), "b", ""); n != 1 || err != nil {
			s.Fatal(n, err)
		}
		s.want("b", kernel.Running, 1)
		if n := s.tree.Aborted(); n != 1 {
			s.Errorf("%d left behind", n)
		}
	})
}

func TestOrdersToNobody(t *testing.T) {
	play(t, nil, func(s *stage) {
		for name, f := range map[string]func(context.Context, string, string) (int64, error){
			"restart": s.tree.Restart, "kill": s.tree.Kill, "hang": s.tree.Hang,
		} {
			if _, err := f(s.Context(), "nobody", ""); !errors.Is(err, kernel.ErrUnknownChild) {
				s.Errorf("%s: %v", name, err)
			}
		}
		if err := s.tree.Stop(s.Context()); err != nil {
			s.Error(err)
		}
		if _, err := s.tree.Kill(s.Context(), "b", ""); !errors.Is(err, kernel.ErrStopped) {
			s.Errorf("kill after the stop: %v", err)
		}
		if err := s.ask("a", "x"); !errors.Is(err, kernel.ErrStopped) {
			s.Errorf("asked after the stop: %v", err)
		}
	})
}

// Orders that come while the child is down wait for it: every kill that is
// answered is one crash, and one whose caller gave up is none.
func TestKillsWaitTheirTurn(t *testing.T) {
	play(t, nil, func(s *stage) {
		s.kill("b")
		gaveUp, cancel := context.WithTimeout(s.Context(), time.Millisecond)
		defer cancel()
		if _, err := s.tree.Kill(gaveUp, "b", ""); !errors.Is(err, context.DeadlineExceeded) {
			s.Errorf("given up: %v", err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := s.tree.Kill(s.Context(), "b", ""); err != nil {
					s.Error(err)
				}
			})
		}
		wg.Wait()
		s.want("b", kernel.Backoff, 5)
		var refused sync.WaitGroup
		for range 2 { // the first makes a storm, which refuses what waits
			refused.Go(func() { _, _ = s.tree.Kill(s.Context(), "b", "") })
		}
		refused.Wait()
		s.want("b", kernel.Storm, 6)
		if _, err := s.tree.Kill(s.Context(), "b", ""); !errors.Is(err, kernel.ErrNotRunning) {
			s.Errorf("in a storm: %v", err)
		}
	})
}

func TestPanicsInLifecycle(t *testing.T) {
	var broken atomic.Bool
	for name, change := range map[string]func(*puppet){
		"start panics": func(p *puppet) {
			p.start = func(context.Context, *kernel.Life) error {
				if broken.Load() {
					panic("no")
				}
				return nil
			}
		},
		"start fails": func(p *puppet) {
			p.start = func(context.Context, *kernel.Life) error {
				if broken.Load() {
					return errors.New("no")
				}
				return nil
			}
		},
		"start hangs": func(p *puppet) {
			p.start = func(ctx context.Context, _ *kernel.Life) error {
				if broken.Load() {
					<-ctx.Done()
					<-time.After(time.Hour)
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			broken.Store(true)
			play(t, change, func(s *stage) {
				s.wait(32 * time.Second)
				if s.service("c").State != kernel.Running {
					s.Error("a child that fails to start keeps the next one down")
				}
				s.ready("not ready")
				if got := s.tree.Ledger().Plane("b"); got != kernel.Closed {
					s.Errorf("a plane that was never up is %v", got)
				}
				broken.Store(false)
				s.wait(5 * time.Minute)
				if st := s.service("b"); st.State != kernel.Running || st.Restarts == 0 {
					s.Errorf("%+v", st)
				}
				s.ready("ready")
			})
		})
	}
	t.Run("stop panics", func(t *testing.T) {
		play(t, func(p *puppet) { p.stop = func() { panic("no") } }, func(s *stage) {
			s.kill("b")
			s.wait(time.Second)
			s.want("b", kernel.Running, 1)
			if f := s.events(kernel.KindFault); len(f) != 1 || !strings.Contains(f[0].Data.(kernel.FaultData).What, "panic in Stop: no") {
				s.Errorf("faults: %+v", f)
			}
			if err := s.tree.Stop(s.Context()); err != nil {
				s.Error(err)
			}
		})
	})
}

// The next incarnation starts only after the goroutines of the one before have
// returned.
func TestTasksEndBeforeTheNextLife(t *testing.T) {
	change := func(p *puppet) {
		p.start = func(_ context.Context, life *kernel.Life) error {
			life.Go("slow to leave", func(ctx context.Context) error {
				<-ctx.Done()
				<-time.After(time.Second)
				p.diary.add("task ends")
				return ctx.Err()
			})
			return nil
		}
	}
	play(t, change, func(s *stage) {
		s.diary.take()
		s.kill("b")
		s.wait(2 * time.Second)
		s.want("b", kernel.Running, 1)
		if got := s.diary.take(); !slices.Equal(got, []string{"task ends", "stop b", "start b"}) {
			s.Errorf("%v", got)
		}
	})
}

func TestTick(t *testing.T) {
	ticks := 0
	change := func(p *puppet) {
		p.start = func(_ context.Context, life *kernel.Life) error { life.Tick(time.Second, "tick"); return nil }
		p.receive = func(context.Context, any) error { ticks++; return nil }
	}
	play(t, change, func(s *stage) {
		s.wait(5*time.Second + time.Millisecond)
		if ticks != 5 {
			s.Errorf("%d ticks in 5 s", ticks)
		}
	})
}

func TestStopDuringBackoffAndStart(t *testing.T) {
	play(t, nil, func(s *stage) {
		s.kill("b")
		if err := s.tree.Stop(s.Context()); err != nil {
			s.Error(err)
		}
		s.diary.take()
		s.wait(time.Hour)
		if got := s.diary.take(); len(got) != 0 {
			s.Errorf("after the stop: %v", got)
		}
	})
	play(t, func(p *puppet) {
		p.start = func(ctx context.Context, _ *kernel.Life) error { <-ctx.Done(); return ctx.Err() }
	}, func(s *stage) {
		if err := s.tree.Stop(s.Context()); err != nil {
			s.Error(err)
		}
	})
}

func TestStopAnswersWhatWaits(t *testing.T) {
	play(t, func(p *puppet) {
		p.receive = func(_ context.Context, msg any) error {
			<-time.After(time.Second)
			msg.(*echo).Reply("")
			return nil
		}
	}, func(s *stage) {
		inHand, waits := kernel.NewCall[string, string]("1"), kernel.NewCall[string, string]("2")
		_ = s.tree.Ref("b").Send(inHand)
		_ = s.tree.Ref("b").Send(waits)
		synctest.Wait()
		if err := s.tree.Stop(s.Context()); err != nil {
			s.Error(err)
		}
		if _, err := inHand.Wait(s.Context()); err != nil {
			s.Errorf("what was in hand is finished: %v", err)
		}
		if _, err := waits.Wait(s.Context()); !errors.Is(err, kernel.ErrStopped) {
			s.Errorf("what waited hears %v", err)
		}
	})
}

func TestStopAtTheDeadlineNamesWhoIsLeftBehind(t *testing.T) {
	play(t, func(p *puppet) {
		p.receive = func(context.Context, any) error { <-time.After(time.Hour); return nil }
	}, func(s *stage) {
		call := kernel.NewCall[string, string]("1")
		_ = s.tree.Ref("b").Send(call)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(s.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		err := s.tree.Stop(ctx)
		if !errors.Is(err, kernel.ErrAbandoned) || !strings.Contains(err.Error(), "b") {
			s.Errorf("stop: %v", err)
		}
		if took := time.Since(begun); took > 1100*time.Millisecond {
			s.Errorf("virtual time passed: %v", took)
		}
		if _, err := call.Wait(s.Context()); !errors.Is(err, kernel.ErrCrashed) {
			s.Errorf("its caller hears %v", err)
		}
		if got := s.diary.take(); !slices.Equal(got[len(got)-2:], []string{"stop c", "stop a"}) {
			s.Errorf("the others still stop in order: %v", got)
		}
		s.wait(2 * time.Hour) // the straggler returns at last and ends
	})
}

func TestStopWithADrilledHang(t *testing.T) {
	play(t, nil, func(s *stage) {
		_, _ = s.tree.Hang(s.Context(), "b", "")
		synctest.Wait()
		begun := time.Now()
		if err := s.tree.Stop(s.Context()); err != nil {
			s.Error(err)
		}
		if took := time.Since(begun); took > 0 {
			s.Errorf("a drill held the stop up for %v", took)
		}
	})
}

func TestStartRefusesNonsense(t *testing.T) {
	ok := child(&diary{}, "ok")
	for name, o := range map[string]kernel.Options{
		"two of a name": {Children: []kernel.Child{ok, ok}},
		"a bad name":    {Children: []kernel.Child{{Name: "No Good", New: ok.New}}},
		"no New":        {Children: []kernel.Child{{Name: "x"}}},
		"a bad policy":  {Policy: kernel.Policy{MaxRestarts: -1}},
		"negative cap":  {Children: []kernel.Child{{Name: "x", New: ok.New, QueueCap: -1}}},
	} {
		if tree, err := start(o); err == nil {
			t.Errorf("%s: accepted", name)
			_ = tree.Stop(t.Context())
		}
	}
}

// A foreign message type whose Fail panics, and a nil, harm nobody.
func TestHostileMessages(t *testing.T) {
	play(t, func(p *puppet) { p.receive = func(context.Context, any) error { panic("no") } }, func(s *stage) {
		_ = s.tree.Ref("b").Send(nil)
		_ = s.tree.Ref("b").Send(badFail{})
		s.wait(time.Second)
		s.want("b", kernel.Running, 1)
		if f := s.events(kernel.KindFault); len(f) != 0 {
			s.Errorf("faults: %+v", f)
		}
	})
}

type badFail struct{}

func (badFail) Fail(error) { panic("no") }
