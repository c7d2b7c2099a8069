package actors_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"micronode/actors"
	"micronode/config"
	httpapi "micronode/http"
	"micronode/kernel"
	"micronode/store"
)

// Each actor is killed through the operator socket and stays down until it is
// ordered up: degraded, named, with a header; alive all the while.
func TestKill(t *testing.T) {
	r := start(t, staysDown)
	body := bytesOf(1, 1000)
	r.put(body)
	for _, actor := range ownActors {
		if actor == "policy" {
			continue // its absence denies everything: TestPolicyOutage
		}
		done, err := r.op.Kill(r.ctx(), httpapi.Order{Service: actor, Reason: "drill of " + actor})
		if err != nil || !done.OK || done.Service != actor || done.Restarts != 1 {
			t.Fatalf("%s: %+v, %v", actor, done, err)
		}
		a := r.ask("GET", "/readyz?verbose", nil)
		ready := decode[httpapi.Readiness](t, a.body)
		want := map[string]string{"objects": httpapi.PlaneOpen, "mailbox": httpapi.PlaneOpen}
		switch {
		case actor == "storage":
			want["objects"] = httpapi.PlaneReadOnly
		case slices.Contains(mailActors, actor):
			want["mailbox"] = httpapi.PlaneReadOnly
		}
		open := want["objects"] == httpapi.PlaneOpen && want["mailbox"] == httpapi.PlaneOpen
		if a.status != http.StatusOK || a.header.Get("Ron-Ready") != "degraded" || !ready.Ready || !ready.Degraded ||
			!slices.Equal(ready.Missing, []string{actor}) || !maps.Equal(ready.Planes, want) || ready.RetryAfter < 1 {
			t.Errorf("%s down: %d %q %+v", actor, a.status, a.header.Get("Ron-Ready"), ready)
		}
		i := slices.IndexFunc(ready.Services, func(s httpapi.ServiceState) bool { return s.Name == actor })
		if len(ready.Services) != len(ownActors) || i < 0 {
			t.Errorf("%s down: verbose services %+v", actor, ready.Services)
		} else if s := ready.Services[i]; s.State != "backoff" || s.Restarts != 1 || s.LastReason != "killed: drill of "+actor || s.NextRestart == nil {
			t.Errorf("%s down: %+v", actor, s)
		}
		if write := r.ask("GET", "/readyz?scope=write", nil); (write.status == http.StatusOK) != open ||
			(write.status == http.StatusServiceUnavailable) != (write.header.Get("Retry-After") != "") {
			t.Errorf("%s down: scope=write %d, Retry-After %q", actor, write.status, write.header.Get("Retry-After"))
		}
		if a := r.ask("GET", "/healthz", nil); a.status != http.StatusOK {
			t.Errorf("%s down: healthz %d", actor, a.status)
		}
		r.holds(body)
		if got := r.metric("service_state", `service="`+actor+`"`, `state="backoff"`); got != 1 {
			t.Errorf("%s down: service_state %v", actor, got)
		}
		if got, state := r.metric("ready_dependency_unmet", `dep="`+actor+`"`), r.metric("ready_state"); got != 1 || state != 1 {
			t.Errorf("%s down: ready_dependency_unmet %v, ready_state %v", actor, got, state)
		}
		if done, err := r.op.Restart(r.ctx(), httpapi.Order{Service: actor}); err != nil || done.Restarts != 1 {
			t.Fatalf("%s: restart %+v, %v", actor, done, err)
		}
		if a := r.ask("GET", "/readyz", nil); a.status != http.StatusOK || a.header.Get("Ron-Ready") != "" {
			t.Errorf("%s up: %d %s", actor, a.status, a.body)
		}
		if got := r.metric("service_restarts_total", `service="`+actor+`"`); got != 1 {
			t.Errorf("%s: service_restarts_total %v after one kill", actor, got)
		}
	}
	r.put(bytesOf(2, 1000))
}

// Killed again and again, actors come back by themselves. A kill that finds its
// actor down waits for it, so each kill is one crash: the bus as HTTP shows it
// and /metrics agree with the number of kills.
func TestKillsAreCounted(t *testing.T) {
	t.Parallel()
	r := start(t, lenient)
	const kills = 5
	for range kills {
		for _, actor := range ownActors {
			for range 2 { // the second most likely finds it down
				if _, err := r.op.Kill(r.ctx(), httpapi.Order{Service: actor, Reason: "drill"}); err != nil {
					t.Fatalf("%s: %v", actor, err)
				}
			}
			if a := r.ask("GET", "/healthz", nil); a.status != http.StatusOK {
				t.Errorf("healthz %d", a.status)
			}
		}
	}
	r.healthy()
	seen := map[string]int{}
	for e, err := range r.op.Tail(r.ctx(), httpapi.TailOptions{Since: "1h", Kind: kernel.KindServiceCrashed}) {
		if err != nil {
			t.Fatal(err)
		}
		seen[e.Service]++
		d := decode[kernel.CrashData](t, e.Data)
		if d.Reason != "killed: drill" || d.Restarts != int64(seen[e.Service]) || d.State != "backoff" || d.DelayMS < 0 || d.DelayMS > 1 {
			t.Errorf("%s: %s", e.Service, e.Data)
		}
		if e.Service == "health" && seen[e.Service] == 2*kills { // the last one killed
			break
		}
	}
	for _, actor := range ownActors {
		if got := r.metric("service_restarts_total", `service="`+actor+`"`); got != 2*kills || seen[actor] != 2*kills {
			t.Errorf("%s: service_restarts_total %v, %d events, %d kills", actor, got, seen[actor], 2*kills)
		}
	}
}

// A kill or hang of what is not back within the request's time did nothing.
func TestKillOfWhatIsDown(t *testing.T) {
	t.Parallel()
	r := start(t, staysDown, func(c *config.Config, _ *actors.Options) { c.Limits.RequestTimeout = 250 * time.Millisecond })
	if _, err := r.op.Kill(r.ctx(), httpapi.Order{Service: "health"}); err != nil {
		t.Fatal(err)
	}
	for name, give := range map[string]func(context.Context, httpapi.Order) (httpapi.Done, error){"kill": r.op.Kill, "hang": r.op.Hang} {
		var problem *httpapi.Problem
		if _, err := give(r.ctx(), httpapi.Order{Service: "health"}); !errors.Is(err, httpapi.ErrConflict) || !errors.As(err, &problem) || problem.Status != http.StatusConflict {
			t.Errorf("%s of an actor that is down: %v", name, err)
		}
	}
	if done, err := r.op.Restart(r.ctx(), httpapi.Order{Service: "health"}); err != nil || done.Restarts != 1 {
		t.Fatalf("restart %+v, %v", done, err)
	}
	if r.healthy(); r.metric("service_restarts_total") != 1 {
		t.Error("a refused kill was carried out later")
	}
}

// An actor that hangs is replaced by the watchdog while the others serve, and
// is no obstacle to a clean stop.
func TestHang(t *testing.T) {
	t.Parallel()
	r := start(t, lenient, func(c *config.Config, _ *actors.Options) { c.Supervisor.Watchdog = 100 * time.Millisecond })
	for i, actor := range calmActors {
		if done, err := r.op.Hang(r.ctx(), httpapi.Order{Service: actor, Reason: "drill"}); err != nil || !done.OK {
			t.Fatalf("%s: %+v, %v", actor, done, err)
		}
		body := bytesOf(byte(i), 70_000)
		if _, _, err := r.data.Put(r.ctx(), bytes.NewReader(body), store.PutOptions{Size: -1}); err != nil && (actor != "storage" || !errors.Is(err, store.ErrReadOnly)) {
			t.Errorf("%s hangs: put: %v", actor, err)
		} else if err == nil {
			r.holds(body)
		}
		if d := r.event(kernel.KindServiceCrashed, actor).Data.(kernel.CrashData); !strings.Contains(d.Reason, "watchdog of 100ms") {
			t.Errorf("%s: %+v", actor, d)
		}
		r.healthy()
	}
	if got := r.metric("actors_abandoned_total"); got != float64(len(calmActors)) {
		t.Errorf("actors_abandoned_total %v", got)
	}
	if _, err := r.op.Hang(r.ctx(), httpapi.Order{Service: "health"}); err != nil { // and stop at once
		t.Fatal(err)
	}
}

// Chaos is only for who asked for it, only on the operator socket.
func TestChaosIsFenced(t *testing.T) {
	t.Parallel()
	on := start(t)
	off := start(t, func(c *config.Config, _ *actors.Options) { c.Chaos.Enabled = false })
	order := httpapi.Order{Service: "storage"}
	for name, c := range map[string]*httpapi.Client{"over TCP": on.data, "off": off.op, "off, over TCP": off.data} {
		if _, err := c.Kill(on.ctx(), order); !errors.Is(err, httpapi.ErrNoRoute) {
			t.Errorf("%s: kill: %v", name, err)
		}
		if _, err := c.Hang(on.ctx(), order); !errors.Is(err, httpapi.ErrNoRoute) {
			t.Errorf("%s: hang: %v", name, err)
		}
	}
	for name, give := range map[string]func() error{
		"kill":    func() error { _, err := on.op.Kill(on.ctx(), httpapi.Order{Service: "nobody"}); return err },
		"hang":    func() error { _, err := on.op.Hang(on.ctx(), httpapi.Order{Service: "nobody"}); return err },
		"restart": func() error { _, err := off.op.Restart(on.ctx(), httpapi.Order{Service: "nobody"}); return err },
	} {
		if err := give(); !errors.Is(err, httpapi.ErrUnknownService) {
			t.Errorf("%s of an unknown actor: %v", name, err)
		}
	}
	if v, err := off.op.Version(off.ctx()); err != nil || v.Features.Chaos {
		t.Errorf("version %+v, %v", v, err)
	}
	for _, r := range []*rig{on, off} {
		if ready := r.node.Readiness(); !ready.Ready || ready.Degraded || r.metric("service_restarts_total") != 0 {
			t.Errorf("a refused order did something: %+v", ready)
		}
	}
}

// Orders are shown on the bus with who gave them.
func TestOrdersAreAudited(t *testing.T) {
	t.Parallel()
	r := start(t)
	if done, err := r.op.Restart(r.ctx(), httpapi.Order{Service: "config", Reason: "drill"}); err != nil || done.Restarts != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	e := r.event("Audit", "config")
	text, err := json.Marshal(e.Data)
	if err != nil || e.CorrID == "" || e.Topic != "micronode.audit" || !strings.Contains(string(text), `"action":"restart","actor":"uid:`) ||
		!strings.Contains(string(text), `"reason":"drill","outcome":"ok"`) {
		t.Errorf("%+v %s, %v", e, text, err)
	}
	if _, err := r.op.Shutdown(r.ctx(), httpapi.Order{Reason: "enough"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.op.Drain(r.ctx(), httpapi.Order{}); !errors.Is(err, httpapi.ErrConflict) {
		t.Errorf("a second order to stop: %v", err)
	}
	if asked := <-r.node.StopRequested(); asked.Grace || asked.Reason != "enough" {
		t.Errorf("asked %+v", asked)
	}
}
