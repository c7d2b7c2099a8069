package actors_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"micronode/actors"
	"micronode/config"
	httpapi "micronode/http"
	"micronode/kernel"
	"micronode/store"
	"micronode/store/mem"
)

// hour is the pause in a storm: the first five restarts come at once, then
// nothing does within a test.
const hour = time.Hour

func stormy(c *config.Config, _ *actors.Options) {
	c.Supervisor.BackoffMin, c.Supervisor.BackoffMax, c.Supervisor.Window = time.Millisecond, hour, 2*time.Minute
}

// storm kills an actor six times, which is one more than is forgiven.
func (r *rig) storm(actor string, before func(i int)) {
	r.Helper()
	for i := range 6 {
		r.healthy()
		before(i)
		if _, err := r.op.Kill(r.ctx(), httpapi.Order{Service: actor, Reason: "storm"}); err != nil {
			r.Fatalf("kill %d of %s: %v", i+1, actor, err)
		}
		if i < 5 && !r.node.Readiness().Ready {
			r.Errorf("not ready after %d kills", i+1)
		}
	}
}

// A storm of the storage actor: not ready, writes refused, reads open, and the
// operator's restart heals it at once with nothing forgotten.
func TestStormOfStorage(t *testing.T) {
	t.Parallel()
	r := start(t, stormy)
	var acknowledged [][]byte
	r.storm("storage", func(i int) {
		body := bytesOf(byte(i), 50_000*(i+1))
		r.put(body)
		acknowledged = append(acknowledged, body)
	})
	a := r.ask("GET", "/readyz?verbose", nil)
	ready := decode[httpapi.Readiness](t, a.body)
	if a.status != http.StatusServiceUnavailable || a.header.Get("Ron-Ready") != "" || ready.Ready || !ready.Degraded ||
		len(ready.Missing) != 1 || ready.Missing[0] != "storage" || ready.Planes["objects"] != httpapi.PlaneReadOnly {
		t.Errorf("readyz %d %v %+v", a.status, a.header, ready)
	}
	if after, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || after != ready.RetryAfter || after < 3000 || after > 3600 {
		t.Errorf("Retry-After %q, retry_after %d, the next restart is due in an hour", a.header.Get("Retry-After"), ready.RetryAfter)
	}
	if len(ready.Services) != len(ownActors) || ready.Services[3].State != "storm" || ready.Services[3].Restarts != 6 {
		t.Errorf("services %+v", ready.Services)
	}
	e := r.event(kernel.KindRestartStorm, "storage")
	if d, ok := e.Data.(kernel.StormData); !ok || d.Recent != 6 || d.DelayMS != hour.Milliseconds() || d.WindowMS != 120_000 || e.Topic != "micronode.crash" {
		t.Errorf("%+v", e)
	}
	put := r.ask("POST", "/put", []byte("refused"))
	problem := decode[httpapi.Problem](t, put.body)
	if put.status != http.StatusServiceUnavailable || problem.Code != "not_ready" || problem.Reason != "read_only" || !problem.Retryable ||
		problem.CorrID != put.header.Get("X-Corr-ID") || put.header.Get("Retry-After") == "" {
		t.Errorf("put: %d %v %+v", put.status, put.header, problem)
	}
	if del := r.ask("DELETE", "/o/"+store.Sum(acknowledged[0]).String(), nil); del.status != http.StatusServiceUnavailable {
		t.Errorf("delete: %d", del.status)
	}
	for _, body := range acknowledged {
		r.holds(body)
	}
	if got := r.metric("ready_state"); got != 0 {
		t.Errorf("ready_state %v", got)
	}
	if got := r.metric("rejected_total", `reason="503"`); got != 2 {
		t.Errorf(`rejected_total{reason="503"} %v, want the put and the delete`, got)
	}
	for name, give := range map[string]func(context.Context, httpapi.Order) (httpapi.Done, error){"kill": r.op.Kill, "hang": r.op.Hang} {
		if _, err := give(r.ctx(), httpapi.Order{Service: "storage"}); !errors.Is(err, httpapi.ErrConflict) {
			t.Errorf("%s in a storm: %v", name, err)
		}
	}
	if done, err := r.op.Restart(r.ctx(), httpapi.Order{Service: "storage", Reason: "mended"}); err != nil || done.Restarts != 6 {
		t.Fatalf("restart: %+v, %v", done, err)
	}
	if a := r.ask("GET", "/readyz?scope=write", nil); a.status != http.StatusOK || a.header.Get("Ron-Ready") != "" {
		t.Errorf("after the restart: %d %s", a.status, a.body)
	}
	r.put([]byte("taken"))
	for _, body := range acknowledged {
		r.holds(body)
	}
	if got := r.metric("service_restarts_total", `service="storage"`); got != 6 {
		t.Errorf("service_restarts_total %v after six kills", got)
	}
	if _, err := r.op.Kill(r.ctx(), httpapi.Order{Service: "storage"}); err != nil || !r.node.Readiness().Ready {
		t.Errorf("one kill after the operator's restart: %v, %+v", err, r.node.Readiness())
	}
}

// A storm of the ingress actor: not ready, but whoever comes is served.
func TestStormOfIngress(t *testing.T) {
	t.Parallel()
	r := start(t, stormy)
	r.storm("ingress", func(int) {})
	a := r.ask("GET", "/readyz", nil)
	ready := decode[httpapi.Readiness](t, a.body)
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || ready.Planes["objects"] != httpapi.PlaneOpen {
		t.Errorf("readyz %d %v %+v", a.status, a.header, ready)
	}
	if a := r.ask("GET", "/readyz?scope=write", nil); a.status != http.StatusServiceUnavailable {
		t.Errorf("scope=write: %d", a.status)
	}
	body := bytesOf(1, 2<<20)
	r.put(body)
	r.holds(body)
	r.close() // whoever comes anew is let in too
	r.holds(body)
}

// A storm that passes by itself is over when the probe has proved itself.
func TestStormPasses(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *config.Config, _ *actors.Options) {
		c.Supervisor.BackoffMin, c.Supervisor.BackoffMax = time.Millisecond, time.Millisecond
		c.Supervisor.ForgiveAfter = 300 * time.Millisecond
	})
	r.storm("health", func(int) {})
	r.event(kernel.KindRestartStorm, "health")
	r.event(kernel.KindForgiven, "health")
	r.healthy()
}

// stuckStore does not answer before its release.
type stuckStore struct {
	*mem.Store
	release chan struct{}
}

func (s *stuckStore) Open(ctx context.Context, a store.Address) (store.Blob, error) {
	select {
	case <-s.release:
		return s.Store.Open(ctx, a)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Before its first start the plane is closed: neither reads nor writes, and
// readyz says so, while healthz says that the process lives.
func TestNotReadyBeforeTheStart(t *testing.T) {
	t.Parallel()
	objects := &stuckStore{mem.New(mem.Options{}), make(chan struct{})}
	loaded, o := options(t, func(_ *config.Config, o *actors.Options) { o.Objects = objects })
	node, err := actors.Start(loaded, o)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{TB: t, node: node, bus: node.Bus().Subscribe(kernel.Query{})}
	t.Cleanup(r.stop)
	r.connect()
	a := r.ask("GET", "/readyz", nil)
	ready := decode[httpapi.Readiness](t, a.body)
	if a.status != http.StatusServiceUnavailable || ready.Planes["objects"] != httpapi.PlaneClosed || a.header.Get("Retry-After") == "" {
		t.Errorf("readyz %d %+v", a.status, ready)
	}
	if _, err := r.data.Head(r.ctx(), store.Sum(nil)); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("head: %v", err)
	}
	if _, _, err := r.data.Put(r.ctx(), bytes.NewReader([]byte("x")), store.PutOptions{Size: 1}); !errors.Is(err, store.ErrNotReady) {
		t.Errorf("put: %v", err)
	}
	if a := r.ask("GET", "/healthz", nil); a.status != http.StatusOK {
		t.Errorf("healthz %d", a.status)
	}
	close(objects.release)
	if err := node.AwaitReady(r.ctx()); err != nil {
		t.Fatal(err)
	}
	r.put([]byte("x"))
}
