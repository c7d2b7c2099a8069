package actors_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"micronode/actors"
	"micronode/config"
	httpapi "micronode/http"
	"micronode/store"
)

// Everything that a node shows is served, port 0 is resolved, and a stop
// leaves neither a goroutine nor a socket file nor a listener.
func TestServesAndStops(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r := start(t)
	for _, l := range r.node.Listeners() {
		if strings.HasSuffix(l.Address, ":0") {
			t.Errorf("listener %+v: the port is not resolved", l)
		}
	}
	for path, want := range map[string]string{
		"/healthz": `{"ok":true}`, "/readyz": `"ready":true,"degraded":false,"missing":[]`, "/version": `"version":"v1.2.3"`,
		"/metrics": "build_info", "/api/v1/status": `"name":"storage"`, "/api/v1/config": `"http_addr"`, "/openapi.yaml": "openapi: 3.1",
	} {
		if a := r.ask("GET", path, nil); a.status != http.StatusOK || !bytes.Contains(a.body, []byte(want)) || a.header.Get("Ron-Ready") != "" {
			t.Errorf("%s: %d without %q: %v %.300s", path, a.status, want, a.header, a.body)
		}
	}
	if v, err := r.data.Version(r.ctx()); err != nil || v.ConfigSHA == "" || v.ConfigVersion != 1 || !v.Features.Amnesia || !v.Features.Chaos || v.AuthMode != "dev" {
		t.Errorf("version %+v, %v", v, err)
	}
	s, err := r.op.Status(r.ctx())
	if err != nil || len(s.Listeners) != 2 || s.PID != os.Getpid() || !s.Amnesia || s.Store.Tier != "ram" {
		t.Errorf("status %+v, %v", s, err)
	}
	for i, name := range ownActors {
		if i >= len(s.Services) || s.Services[i].Name != name || s.Services[i].State != "running" || !s.Services[i].Required {
			t.Errorf("services %+v, want %v running, in order", s.Services, ownActors)
			break
		}
	}
	body := bytesOf(1, 100_000)
	r.put(body)
	r.holds(body)
	r.stop()
	r.stop() // a second stop is the first
	if _, err := os.Lstat(r.socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket file is left: %v", err)
	}
	addr := strings.TrimPrefix(r.base, "http://")
	if l, err := net.Listen("tcp", addr); err != nil {
		t.Errorf("%s is still taken: %v", addr, err)
	} else {
		_ = l.Close()
	}
	if ready := r.node.Readiness(); ready.Ready {
		t.Errorf("ready after the stop: %+v", ready)
	}
}

// Metrics move to their own listener when they have one.
func TestMetricsListener(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *config.Config, _ *actors.Options) { c.MetricsAddr = "127.0.0.1:0" })
	if a := r.ask("GET", "/metrics", nil); a.status != http.StatusNotFound {
		t.Errorf("/metrics at the data door: %d", a.status)
	}
	for _, l := range r.node.Listeners() {
		if l.Plane == "metrics" {
			r.base = "http://" + l.Address
		}
	}
	if got := r.metric("ready_state"); got != 2 {
		t.Errorf("ready_state %v", got)
	}
}

// A node without a door is a library.
func TestNoDoor(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r := start(t, func(_ *config.Config, o *actors.Options) { o.NoDoor = true })
	if l := r.node.Listeners(); l != nil {
		t.Errorf("listeners %v", l)
	}
	objects, body := r.node.Objects(), bytesOf(2, 200_000)
	info, created, err := objects.Put(r.ctx(), bytes.NewReader(body), store.PutOptions{Size: -1})
	if err != nil || !created || info.Address != store.Sum(body) {
		t.Fatal(info, created, err)
	}
	blob, err := objects.Open(r.ctx(), info.Address)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := blob.WriteRange(r.ctx(), &got, 0, info.Size); err != nil || !bytes.Equal(got.Bytes(), body) {
		t.Errorf("%d bytes came back: %v", got.Len(), err)
	}
	if err := blob.Close(); err != nil {
		t.Error(err)
	}
	if page, err := objects.List(r.ctx(), store.Address{}, 10); err != nil || len(page) != 1 || page[0].Address != info.Address {
		t.Errorf("list %v, %v", page, err)
	}
	if u := objects.Usage(); u.Objects != 1 || u.Bytes < info.Size {
		t.Errorf("usage %+v", u)
	}
	if err := objects.Delete(r.ctx(), info.Address); err != nil {
		t.Error(err)
	}
	if _, err := objects.Open(r.ctx(), info.Address); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after the delete: %v", err)
	}
	r.stop()
	if _, _, err := objects.Put(t.Context(), bytes.NewReader(body), store.PutOptions{Size: -1}); !errors.Is(err, store.ErrNotReady) {
		t.Errorf("put after the stop: %v", err)
	}
	if _, err := objects.Open(t.Context(), info.Address); !errors.Is(err, store.ErrNotReady) {
		t.Errorf("open after the stop: %v", err)
	}
}

// Two nodes live in one process and know nothing of each other.
func TestTwoNodes(t *testing.T) {
	a, b := start(t, staysDown), start(t)
	body := bytesOf(3, 1000)
	a.put(body)
	if _, err := b.data.Head(b.ctx(), store.Sum(body)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the other node's object: %v", err)
	}
	if _, err := a.op.Kill(a.ctx(), httpapi.Order{Service: "storage"}); err != nil {
		t.Fatal(err)
	}
	if ra, rb := a.node.Readiness(), b.node.Readiness(); !ra.Degraded || rb.Degraded {
		t.Errorf("killed in one: %+v, the other %+v", ra, rb)
	}
	a.stop()
	b.put(body)
	b.holds(body)
	if got := b.metric("service_restarts_total"); got != 0 {
		t.Errorf("%v restarts that were the other's", got)
	}
}
