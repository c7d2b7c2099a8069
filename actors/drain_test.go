package actors_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"micronode/actors"
	"micronode/config"
	"micronode/kernel"
	"micronode/store"
	"micronode/store/mem"
)

// atStop is a child that is told when it stops, after the drain of the door and
// before anything else of the node.
type atStop struct{ hook func() }

func (atStop) Start(context.Context, *kernel.Life) error { return nil }
func (atStop) Receive(context.Context, any) error        { return nil }
func (a atStop) Stop()                                   { a.hook() }

func stopping(hook func()) setup {
	return func(_ *config.Config, o *actors.Options) {
		o.Children = append(o.Children, kernel.Child{Name: "guest", New: func() kernel.Actor { return atStop{hook} }})
	}
}

// What does not end in the time of the drain is cut before the actors stop,
// counted while metrics are still to be had, and logged; the stop is no failure.
func TestDrainCuts(t *testing.T) {
	t.Parallel()
	d, reg, objects := &diary{}, prometheus.NewRegistry(), &toldStore{}
	var cut float64
	scrape := func() {
		all, err := reg.Gather()
		if err != nil {
			t.Error(err)
		}
		for _, f := range all {
			if f.GetName() == "tasks_aborted_total" {
				cut = f.GetMetric()[0].GetCounter().GetValue()
			}
		}
	}
	r := start(t, told(objects), logged(t, d, "info"), stopping(scrape), func(c *config.Config, o *actors.Options) {
		c.DrainDeadline, o.Metrics = 500*time.Millisecond, actors.NewMetrics(reg)
	})
	body, send := io.Pipe()
	failed := make(chan error, 1)
	go func() {
		_, _, err := r.data.Put(context.Background(), body, store.PutOptions{Size: -1})
		failed <- err
	}()
	if _, err := send.Write([]byte("slow")); err != nil {
		t.Fatal(err)
	}
	<-objects.begun
	r.stop()
	_ = send.CloseWithError(errors.New("gives up"))
	if err := <-failed; err == nil {
		t.Error("a request that was cut is answered")
	}
	if cut != 1 {
		t.Errorf("tasks_aborted_total is %v", cut)
	}
	l := pick(d.lines(t), "event", "DrainCut")
	if len(l) != 1 || l[0]["level"] != "warn" || l[0]["requests"] != 1.0 || !strings.Contains(l[0]["reason"].(string), "deadline") {
		t.Errorf("the log says %v", l)
	}
}

// A short drain has time for requests too: what ends in its first half is whole.
func TestShortDrain(t *testing.T) {
	t.Parallel()
	objects := &toldStore{}
	r := start(t, told(objects), func(c *config.Config, _ *actors.Options) { c.DrainDeadline = 1500 * time.Millisecond })
	body, send := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, _, err := r.data.Put(context.Background(), body, store.PutOptions{Size: -1})
		done <- err
	}()
	if _, err := send.Write([]byte("slow")); err != nil {
		t.Fatal(err)
	}
	<-objects.begun
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r.stop()
	}()
	for addr := strings.TrimPrefix(r.base, "http://"); ; { // until the drain of the door has begun
		c, err := net.DialTimeout("tcp", addr, 20*time.Millisecond)
		if err != nil {
			break
		}
		_ = c.Close()
	}
	_ = send.Close()
	if err := <-done; err != nil {
		t.Errorf("cut in the first half of the drain: %v", err)
	}
	<-stopped
}

// For the grace everybody is let in and served; without, nobody waits for it.
func TestDrainGrace(t *testing.T) {
	t.Parallel()
	long := func(c *config.Config, _ *actors.Options) { c.DrainGrace = time.Hour }
	r := start(t, long)
	ctx, enough := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- r.node.Stop(ctx, true) }()
	r.event(kernel.KindShutdown, "")
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for i := range 2000 { // which takes longer than the listeners stay open without grace
		res, err := c.Get(r.base + "/healthz")
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		_ = res.Body.Close()
	}
	enough()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	start(t, long).stop() // ends
}

// A child that does not stop is left behind in time for the rest of the stop.
func TestChildrenHaveADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c, o := devConfig(), actors.Options{NoDoor: true, Objects: mem.New(mem.Options{})}
		c.Supervisor.Watchdog = time.Hour
		stopping(func() { <-release })(&c, &o)
		node, err := actors.Start(config.Loaded{Config: c}, o)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		begun := time.Now()
		if err := node.Stop(t.Context(), false); !errors.Is(err, kernel.ErrAbandoned) || !strings.Contains(err.Error(), "guest") {
			t.Errorf("stop: %v", err)
		}
		if took := time.Since(begun); took != c.DrainDeadline-600*time.Millisecond { // of virtual time
			t.Errorf("children had %v of %v", took, c.DrainDeadline)
		}
		close(release)
		synctest.Wait()
	})
}

// stuck is where a log goes whose reader does not read, until released.
type stuck struct {
	diary
	begun, release chan struct{}
	once           sync.Once
}

func newStuck() *stuck { return &stuck{begun: make(chan struct{}), release: make(chan struct{})} }

func (s *stuck) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.begun) })
	<-s.release
	return s.diary.Write(p)
}

// A log that takes no line does not keep a node from stopping.
func TestStuckLog(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := newStuck()
	log, err := actors.NewLogger(s, "info", false)
	if err != nil {
		t.Fatal(err)
	}
	loaded, o := options(t, func(c *config.Config, o *actors.Options) { c.DrainDeadline, o.Logger = 500*time.Millisecond, log })
	node, err := actors.Start(loaded, o)
	if err != nil {
		t.Fatal(err)
	}
	<-s.begun
	if err := node.Stop(t.Context(), false); !errors.Is(err, actors.ErrLogStuck) {
		t.Errorf("stop: %v", err)
	}
	close(s.release)
}

// A log that was opened for such a reader keeps nobody waiting at all: what
// waits is written when it reads again, and what does not fit is counted.
func TestOpenLog(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	if _, _, err := actors.OpenLog(io.Discard, "loud", false); err == nil {
		t.Error("level loud")
	}
	s := newStuck()
	log, end, err := actors.OpenLog(s, "info", false)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, func(_ *config.Config, o *actors.Options) { o.Logger = log })
	<-s.begun
	r.ask("GET", "/healthz", nil)
	long := strings.Repeat("x", 1<<16)
	for range 100 { // 6 MiB
		log.Info(long)
	}
	r.stop()
	close(s.release)
	end()
	log.Info("too late")
	all := s.lines(t)
	if got := len(pick(all, "msg", long)); got < 10 || got > 16 {
		t.Errorf("%d of 16 lines that fit were kept", got)
	}
	lost := pick(all, "event", "log_lost")
	if len(lost) != 1 || lost[0]["level"] != "warn" || lost[0]["lost"].(float64) < 84 {
		t.Errorf("of the loss it says %v", lost)
	}
	if len(pick(all, "event", "request")) != 1 || len(pick(all, "msg", "too late")) != 0 {
		t.Errorf("%d lines", len(all))
	}
}

// In order, whole, and all of it.
func TestOpenLogOrder(t *testing.T) {
	var d diary
	log, end, err := actors.OpenLog(&d, "info", true)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		log.Sugar().Infof("line %d.", i)
	}
	end()
	rest := d.b.String()
	for i, line := range strings.Split(strings.TrimSpace(rest), "\n") {
		if want := "line " + itoa(i) + "."; !strings.HasSuffix(line, want) {
			t.Fatalf("line %d is %q", i, line)
		}
	}
	if got := strings.Count(rest, "\n"); got != 10_000 {
		t.Errorf("%d lines", got)
	}
}
