package httpapi_test

import (
	"context"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	httpapi "micronode/http"
)

// A request beyond the slots is refused at once; health, the operator socket
// and what has left the slots are not.
func TestInflight(t *testing.T) {
	var h *holding
	r := start(t, func(o *httpapi.Options) {
		o.Limits.Inflight = 3
		h = newHolding(o.Ports.Objects)
		o.Ports.Objects = h
	})
	path := "/o/" + r.keep("held").String()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if a := r.ask("GET", path, nil); a.status != 200 {
				t.Errorf("held: %d", a.status)
			}
		})
	}
	for range 3 {
		<-h.entered
	}
	if n := r.door.Inflight(); n != 3 {
		t.Errorf("%d in flight", n)
	}
	byRoute := map[string]int64{}
	r.door.InflightByRoute(func(route string, n int64) { byRoute[route] = n })
	if byRoute["/o/{addr}"] != 3 || byRoute["/put"] != 0 {
		t.Errorf("%v", byRoute)
	}
	for range 4 {
		a := r.ask("PUT", "/put", strings.NewReader("x"))
		if p := a.problem(t); a.status != 503 || p.Code != "not_ready" || p.Reason != "overload" || p.RetryAfterMS <= 0 || a.header.Get("Retry-After") == "" {
			t.Errorf("%d %+v", a.status, p)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/version", "/metrics", "/api/v1/status"} {
		if a := r.ask("GET", path, nil); a.status != 200 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := r.order("PUT", "/put", strings.NewReader("x")); a.status != 201 {
		t.Errorf("on the socket: %d", a.status)
	}
	close(h.release)
	wg.Wait()
	if a := r.ask("PUT", "/put", strings.NewReader("x")); a.status != 200 {
		t.Errorf("with room again: %d", a.status)
	}
	if got := r.heard.rejections(); len(got) != 4 || got[0] != "503" {
		t.Errorf("counted %v", got)
	}
}

// The operator socket has slots of its own.
func TestOperatorInflight(t *testing.T) {
	var h *holding
	r := start(t, func(o *httpapi.Options) {
		h = newHolding(o.Ports.Objects)
		o.Ports.Objects = h
	})
	path := "/o/" + r.keep("held").String()
	const slots = 64
	var wg sync.WaitGroup
	for range slots {
		wg.Go(func() { r.order("GET", path, nil) })
	}
	for range slots {
		<-h.entered
	}
	if a := r.order("PUT", "/put", strings.NewReader("x")); a.status != 503 {
		t.Errorf("%d", a.status)
	}
	if a := r.ask("PUT", "/put", strings.NewReader("x")); a.status != 201 {
		t.Errorf("on TCP: %d", a.status)
	}
	close(h.release)
	wg.Wait()
}

// The rate is one for all data requests on TCP; what is beyond it is told how long
// to wait, and that is true. Health and operators are not counted.
func TestRate(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.Limits.RPS = 1 })
	if a := r.ask("GET", "/o", nil); a.status != 200 {
		t.Fatalf("the first: %d", a.status)
	}
	a := r.ask("GET", "/o", nil)
	p := a.problem(t)
	after, _ := strconv.Atoi(a.header.Get("Retry-After"))
	if a.status != 429 || p.Code != "quota_exhausted" || p.Reason != "rps" || !p.Retryable || after < 1 || after > 2 || p.RetryAfterMS > int64(after)*1000 || p.RetryAfterMS <= int64(after-1)*1000 {
		t.Fatalf("%d %+v Retry-After %d", a.status, p, after)
	}
	if got := r.heard.rejections(); len(got) != 1 || got[0] != "429" {
		t.Errorf("counted %v", got)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/api/v1/status"} {
		if a := r.ask("GET", path, nil); a.status != 200 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := r.order("GET", "/o", nil); a.status != 200 {
		t.Errorf("on the socket: %d", a.status)
	}
	<-time.After(time.Duration(p.RetryAfterMS) * time.Millisecond)
	if a := r.ask("GET", "/o", nil); a.status != 200 {
		t.Errorf("after the wait that was told: %d", a.status)
	}
}

// A connection that waits makes room for a new one; one that works does not,
// and whoever finds no room is told.
func TestConnectionCap(t *testing.T) {
	var h *holding
	r := start(t, func(o *httpapi.Options) {
		o.Limits.MaxConns = 3
		h = newHolding(o.Ports.Objects)
		o.Ports.Objects = h
	})
	get := "GET /o/" + r.keep("held").String() + " HTTP/1.1\r\nHost: localhost\r\n\r\n"
	const health = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

	busy := r.dial()
	busy.say(get)
	<-h.entered
	oldest, younger, newest := r.dial(), r.dial(), r.dial() // accepted in this order
	if rest := oldest.closed(); rest != "" {
		t.Errorf("the oldest heard %q", rest)
	}
	for _, w := range []*rawConn{younger, newest} {
		w.say(health)
		if a := w.hear("GET"); a.status != 200 {
			t.Errorf("%d %v", a.status, a.err)
		}
	}
	for _, w := range []*rawConn{younger, newest} {
		w.say(get)
		<-h.entered
	}
	outside := r.dial()
	outside.say(health)
	a := outside.hear("GET")
	if p := a.problem(t); a.status != 503 || p.Reason != "overload" || a.header.Get("Retry-After") != "1" || a.header.Get("Connection") != "close" {
		t.Errorf("%d %+v", a.status, p)
	}
	if n := r.door.Conns(); n != 3 {
		t.Errorf("%d connections", n)
	}
	if got := r.heard.rejections(); len(got) != 1 || got[0] != "503" {
		t.Errorf("counted %v", got)
	}
	close(h.release)
	for _, w := range []*rawConn{busy, younger, newest} {
		if a := w.hear("GET"); a.body != "held" {
			t.Errorf("%d %v", a.status, a.err)
		}
	}
}

// Half a header, and a body that does not come, whether anybody wants it or not,
// make room as silence does.
func TestConnectionCapSlow(t *testing.T) {
	const noBody = " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nha"
	for _, half := range []string{
		"", "GET /healthz HTTP/1.1\r\nHost: loc", "PUT /put" + noBody,
		"GET /healthz" + noBody, "GET /metrics" + noBody, "GET /openapi.yaml" + noBody, "GET /o/" + helloText + noBody, "POST /nowhere" + noBody, "POST /healthz" + noBody,
		"POST /api/v1/nowhere HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nha",
	} {
		r := start(t, func(o *httpapi.Options) { o.Limits.MaxConns = 1 })
		slow := r.dial()
		slow.say(half)
		w := r.dial()
		w.say("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		for w.hear("GET").status != 200 { // it came before the body's wait began: try again
			w = r.dial()
			w.say("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		}
		if out := slow.closed(); out != "" && !strings.Contains(half, "chunked") { // that one is answered before the wait
			t.Errorf("%q heard %q", half, out)
		}
	}
}

// A body that nobody wants and that does not come takes no slot.
func TestUnwantedBodyTakesNoSlot(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.Limits.Inflight, o.Limits.RequestTimeout = 1, time.Hour })
	path := "/o/" + r.keep(text(100_000)).String()
	w := r.dial()
	w.say("GET " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nappl")
	for r.door.Inflight() == 0 {
		runtime.Gosched()
	}
	for range 10 {
		if a := r.ask("GET", path, nil); a.status != 200 {
			t.Errorf("%d", a.status)
		}
	}
	w.say("e")
	if a := w.hear("GET"); a.status != 200 || len(a.body) != 100_000 {
		t.Errorf("%d, %d bytes, %v", a.status, len(a.body), a.err)
	}
}

// A client that stops reading is dropped, and its slot comes back.
func TestSlowReader(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.Limits.RequestTimeout = 50 * time.Millisecond })
	path := "/o/" + r.keep(text(32<<20)).String()
	w := r.dial()
	w.say("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if x := r.heard.last(t); !x.Aborted || x.Status != 200 || x.BytesOut >= 32<<20 {
		t.Errorf("%+v", x)
	}
	if n := r.door.Inflight(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

// A client that leaves while it waits is no refusal.
func TestClientLeaves(t *testing.T) {
	var h *holding
	r := start(t, func(o *httpapi.Options) {
		h = newHolding(o.Ports.Objects)
		o.Ports.Objects = h
	})
	path := "/o/" + r.keep("held").String()
	ctx, leave := context.WithCancel(t.Context())
	go func() { <-h.entered; leave() }()
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+r.addr+path, nil)
	if resp, err := r.client.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Fatal("answered")
	}
	if x := r.heard.last(t); x.Status != 499 || !x.Aborted || len(r.heard.rejections()) != 0 {
		t.Errorf("%+v, counted %v", x, r.heard.rejections())
	}
}
