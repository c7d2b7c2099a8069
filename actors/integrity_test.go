package actors_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"micronode/actors"
	"micronode/config"
	httpapi "micronode/http"
	"micronode/kernel"
	"micronode/store"
	"micronode/store/mem"
)

// degradedBy waits for a cause and returns it as /readyz?verbose tells it.
func (r *rig) degradedBy(cause string) httpapi.Cause {
	r.Helper()
	r.until("degraded by "+cause, func(is *kernel.Readiness) bool { return slices.Contains(is.Missing, cause) })
	a := r.ask("GET", "/readyz?verbose", nil)
	ready := decode[httpapi.Readiness](r, a.body)
	if a.status != http.StatusOK || a.header.Get("Ron-Ready") != "degraded" || ready.Planes["objects"] != httpapi.PlaneOpen {
		r.Errorf("%s: %d %v %+v", cause, a.status, a.header, ready)
	}
	for _, c := range ready.Causes {
		if c.Name == cause {
			return c
		}
	}
	r.Fatalf("%s is no cause of %+v", cause, ready)
	return httpapi.Cause{}
}

// A bit that flips in memory is a 502 or a cut connection, never a wrong byte;
// the bus, the metrics and readiness tell of it, and a new put heals it.
func TestFlippedBit(t *testing.T) {
	t.Parallel()
	objects := mem.New(mem.Options{})
	r := start(t, func(_ *config.Config, o *actors.Options) { o.Objects = objects })
	body := bytesOf(1, 1000)
	a := r.put(body)
	if err := objects.FlipBit(a, 4242); err != nil {
		t.Fatal(err)
	}
	got := r.ask("GET", "/o/"+a.String(), nil, "X-Corr-ID", "flipped-1")
	problem := decode[httpapi.Problem](t, got.body)
	if got.status != http.StatusBadGateway || problem.Code != "integrity_fail" || problem.Reason != "corrupt" || problem.CorrID != "flipped-1" {
		t.Errorf("get: %d %+v", got.status, problem)
	}
	e := r.event("IntegrityFailed", "storage")
	if text, err := json.Marshal(e.Data); err != nil || !strings.HasPrefix(string(text), `{"address":"`+a.String()+`","where":"read","detail":"`) || e.CorrID != "flipped-1" || e.Topic != "micronode.store" {
		t.Errorf("event %+v %s, %v", e, text, err)
	}
	if got, rejected := r.metric("integrity_fail_total", `reason="read"`), r.metric("rejected_total", `reason="integrity"`); got != 1 || rejected != 1 {
		t.Errorf("integrity_fail_total %v, rejected_total %v", got, rejected)
	}
	if c := r.degradedBy("integrity"); c.Detail == "" || c.Effect != "warn" {
		t.Errorf("cause %+v", c)
	}
	r.put(body)
	r.holds(body)

	large := bytesOf(2, 1<<20)
	a = r.put(large)
	if err := objects.FlipBit(a, 8*900_000); err != nil {
		t.Fatal(err)
	}
	res, err := r.http.Get(r.base + "/o/" + a.String())
	if err != nil {
		t.Fatal(err)
	}
	part, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err == nil || !bytes.HasPrefix(large, part) || len(part) > 900_000/store.GroupSize*store.GroupSize {
		t.Errorf("damage in the middle: %d bytes, %v", len(part), err)
	}
	r.event("IntegrityFailed", "storage")
	if got := r.metric("integrity_fail_total", `reason="read"`); got != 2 {
		t.Errorf("integrity_fail_total %v", got)
	}
	span := httpapi.Span{Off: 100, N: 100} // of a group that is sound
	if _, err := r.data.Get(r.ctx(), a, io.Discard, &span); err != nil {
		t.Errorf("a range beside the damage: %v", err)
	}
	r.put(large)
	r.holds(large)
}

// A store near its bound warns, a full one refuses, a delete makes room.
func TestHeadroom(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *config.Config, _ *actors.Options) { c.Store.MaxBytes = 1 << 20 })
	r.put(bytesOf(1, 500_000))
	if is := r.node.Readiness(); is.Degraded {
		t.Errorf("half full: %+v", is)
	}
	second := r.put(bytesOf(2, 460_000))
	if c := r.degradedBy("store_headroom"); c.Effect != "warn" || c.Detail == "" {
		t.Errorf("cause %+v", c)
	}
	small := bytesOf(3, 10_000)
	r.put(small) // writes stay open
	full := r.ask("POST", "/put", bytesOf(4, 200_000))
	problem := decode[httpapi.Problem](t, full.body)
	if full.status != http.StatusTooManyRequests || problem.Code != "quota_exhausted" || problem.Reason != "store_bytes" ||
		full.header.Get("Retry-After") == "" || full.header.Get("Retry-After") == "0" {
		t.Errorf("full: %d %v %+v", full.status, full.header, problem)
	}
	if quota, rejected := r.metric("quota_exhaustions_total", `kind="store_bytes"`), r.metric("rejected_total", `reason="429"`); quota != 1 || rejected != 1 {
		t.Errorf("quota_exhaustions_total %v, rejected_total %v", quota, rejected)
	}
	r.holds(small) // nothing was evicted
	if held := r.metric("store_objects"); held != 3 {
		t.Errorf("store_objects %v", held)
	}
	if a := r.ask("DELETE", "/o/"+second.String(), nil); a.status != http.StatusNoContent {
		t.Fatalf("delete: %d %s", a.status, a.body)
	}
	if _, err := r.data.Head(r.ctx(), second); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after the delete: %v", err)
	}
	r.put(bytesOf(4, 200_000))
	if held, bytes := r.metric("store_objects"), r.metric("store_bytes"); held != 3 || bytes < 710_000 || bytes > 720_000 {
		t.Errorf("store_objects %v, store_bytes %v", held, bytes)
	}
}

// More than four fifths of the slots taken for a second is a warning.
func TestInflight(t *testing.T) {
	t.Parallel()
	objects := newBusyStore()
	r := start(t, func(c *config.Config, o *actors.Options) { c.Limits.Inflight, o.Objects = 3, objects })
	end := r.hold(objects, 3)
	if a := r.ask("POST", "/put", []byte("x")); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("no slot is left: %d", a.status)
	}
	if got, slots := r.metric("inflight_requests", `route="/o/{addr}"`), r.metric("admission_slots"); got != 3 || slots != 3 {
		t.Errorf("inflight_requests %v, admission_slots %v", got, slots)
	}
	r.degradedBy("inflight")
	end()
	r.put([]byte("x"))
}

// Refusing for want of tokens, for a second or more, is a warning.
func TestShedding(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *config.Config, _ *actors.Options) { c.Limits.RPS = 1 })
	over := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				r.ask("GET", "/o", nil)
			}
		}
	})
	r.degradedBy("shedding")
	close(over)
	all.Wait()
}
