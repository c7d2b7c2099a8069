package actors_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"micronode/actors"
	"micronode/config"
	"micronode/kernel"
)

// diary is where a node's log goes.
type diary struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (d *diary) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.b.Write(p)
}

// lines returns what was written, each line as the JSON that it has to be.
func (d *diary) lines(t *testing.T) (all []map[string]any) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for line := range strings.Lines(d.b.String()) {
		all = append(all, decode[map[string]any](t, []byte(line)))
	}
	return all
}

// pick returns the lines whose field is value.
func pick(all []map[string]any, field, value string) (some []map[string]any) {
	for _, l := range all {
		if l[field] == value {
			some = append(some, l)
		}
	}
	return some
}

func logged(t *testing.T, d *diary, level string) setup {
	return func(_ *config.Config, o *actors.Options) {
		log, err := actors.NewLogger(d, level, false)
		if err != nil {
			t.Fatal(err)
		}
		o.Logger = log
	}
}

// fragile panics on every message.
type fragile struct{}

func (fragile) Start(context.Context, *kernel.Life) error { return nil }
func (fragile) Receive(context.Context, any) error        { panic("a cup fell") }
func (fragile) Stop()                                     {}

func withFragile(_ *config.Config, o *actors.Options) {
	o.Children = append(o.Children, kernel.Child{Name: "fragile", New: func() kernel.Actor { return fragile{} }})
}

// A crash is one line of level error that says who, why and where.
func TestLogOfACrash(t *testing.T) {
	t.Parallel()
	d := &diary{}
	r := start(t, lenient, withFragile, logged(t, d, "info"))
	if _, err := kernel.Ask[string, string](r.ctx(), r.node.Tree().Ref("fragile"), "tea"); !errors.Is(err, kernel.ErrCrashed) {
		t.Fatalf("the caller was told %v", err)
	}
	r.event(kernel.KindServiceCrashed, "fragile")
	r.healthy()
	r.stop()
	crashes := pick(d.lines(t), "event", kernel.KindServiceCrashed)
	if len(crashes) != 1 {
		t.Fatalf("%d lines of one crash: %v", len(crashes), crashes)
	}
	l := crashes[0]
	if l["level"] != "error" || l["service"] != "fragile" || l["restarts"] != 1.0 || l["state"] != "backoff" ||
		!strings.Contains(l["reason"].(string), "a cup fell") || !strings.Contains(l["stack"].(string), "log_test.go") {
		t.Errorf("%v", l)
	}
	if _, ok := l["delay_ms"].(float64); !ok {
		t.Errorf("no delay_ms: %v", l)
	}
	if _, err := time.Parse(time.RFC3339Nano, l["ts"].(string)); err != nil {
		t.Error(err)
	}
	if strings.Contains(d.b.String(), "tea") {
		t.Error("a payload was logged")
	}
}

// The access log has one line for a request, with what it takes to follow it,
// and no path.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	d := &diary{}
	r := start(t, logged(t, d, "info"))
	r.ask("GET", "/o/b3:secret", nil, "X-Corr-ID", "corr-7", "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	r.stop()
	requests := pick(d.lines(t), "event", "request")
	if len(requests) != 1 {
		t.Fatalf("%v", requests)
	}
	l := requests[0]
	for field, want := range map[string]any{
		"level": "info", "msg": "GET /o/{addr}", "status": 400.0, "reason": "address", "corr_id": "corr-7",
		"trace_id": "0af7651916cd43dd8448eb211c80319c", "plane": "data", "bytes_in": 0.0,
	} {
		if l[field] != want {
			t.Errorf("%s is %v, want %v", field, l[field], want)
		}
	}
	if latency, ok := l["latency_ms"].(float64); !ok || latency < 0 || l["bytes_out"].(float64) == 0 {
		t.Errorf("%v", l)
	}
	if strings.Contains(d.b.String(), "secret") {
		t.Error("a path was logged")
	}
}

// Twelve kills, a storm and a quarantine are readable: few lines, and each
// change of readiness once.
func TestLogOfAStorm(t *testing.T) {
	t.Parallel()
	d := &diary{}
	r := start(t, logged(t, d, "info"), func(c *config.Config, _ *actors.Options) {
		c.Supervisor.BackoffMin, c.Supervisor.BackoffMax, c.Supervisor.ProbeAfter = time.Millisecond, time.Millisecond, time.Millisecond
	})
	for i := range 12 {
		if _, err := r.node.Tree().Kill(r.ctx(), "storage", "drill"); err != nil {
			t.Fatalf("kill %d: %v", i+1, err)
		}
		r.event(kernel.KindServiceCrashed, "storage")
		for up := false; !up; { // runs again, trusted or not
			up = r.event(kernel.KindHealth, "storage").Data.(kernel.HealthData).OK
		}
	}
	r.stop()
	all := d.lines(t)
	if len(all) >= 200 || len(pick(all, "event", kernel.KindServiceCrashed)) != 12 {
		t.Errorf("%d lines, %d of crashes", len(all), len(pick(all, "event", kernel.KindServiceCrashed)))
	}
	for _, kind := range []string{kernel.KindRestartStorm, kernel.KindQuarantined} {
		if l := pick(all, "event", kind); len(l) != 1 || l[0]["level"] != "error" || l[0]["next"] == "" {
			t.Errorf("%s: %v", kind, l)
		}
	}
	last := ""
	for _, l := range pick(all, "event", kernel.KindReadyChanged) {
		if msg := l["msg"].(string); msg == last {
			t.Errorf("%q is said twice", msg)
		} else if last = msg; (msg == "ready") != (l["level"] == "info") || (msg != "ready") != (l["level"] == "warn") {
			t.Errorf("%v", l)
		}
	}
}

// Requests are sampled under load; warnings and errors never are.
func TestLogIsSampled(t *testing.T) {
	t.Parallel()
	d := &diary{}
	r := start(t, logged(t, d, "info"))
	const many = 1500
	tcp := &http.Transport{}
	defer tcp.CloseIdleConnections()
	c := &http.Client{Transport: tcp} // checking each answer would make it slow
	for range many {
		res, err := c.Get(r.base + "/healthz")
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatal(res, err)
		}
		_ = res.Body.Close()
	}
	for range 300 { // fewer than a subscriber's ring
		r.node.Bus().Publish(kernel.Event{Topic: "micronode.crash", Kind: kernel.KindServiceCrashed, Service: "drill", Data: kernel.CrashData{Reason: "drill"}})
	}
	r.stop()
	all := d.lines(t)
	if got := len(pick(all, "event", "request")); got < 100 || got == many {
		t.Errorf("%d lines of %d requests", got, many)
	}
	if got := len(pick(all, "event", kernel.KindServiceCrashed)); got != 300 {
		t.Errorf("%d lines of 300 errors", got)
	}
}

// The level and the form are the caller's.
func TestNewLogger(t *testing.T) {
	if _, err := actors.NewLogger(&diary{}, "loud", false); err == nil || !strings.Contains(err.Error(), "loud") {
		t.Errorf("level loud: %v", err)
	}
	for level, want := range map[string]int{"debug": 4, "info": 3, "warn": 2, "error": 1} {
		for _, text := range []bool{false, true} {
			d := &diary{}
			log, err := actors.NewLogger(d, level, text)
			if err != nil {
				t.Fatal(err)
			}
			log.Debug("d")
			log.Info("i")
			log.Warn("w")
			log.Error("e")
			if got := strings.Count(d.b.String(), "\n"); got != want || json.Valid(d.b.Bytes()[:bytes.IndexByte(d.b.Bytes(), '\n')]) == text {
				t.Errorf("level %s, text %v:\n%s", level, text, d.b.String())
			}
		}
	}
}
