package httpapi_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	httpapi "micronode/http"
	"micronode/store/mbox"
)

// h2 is a client that speaks HTTP/2 by prior knowledge, on one connection.
func (r *rig) h2() *http.Client {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	t := &http.Transport{Protocols: &p, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, r.addr)
	}}
	r.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

func TestHTTP2(t *testing.T) {
	r := start(t, withPost(newPost(mbox.Options{})))
	c := r.h2()
	ask := func(method, path string, body io.Reader, headers ...string) answer {
		t.Helper()
		return send(t, c, method, "http://"+r.addr+path, body, headers...)
	}
	large := text(3 << 20)
	if a := ask("PUT", "/put", streamed(large)); a.status != 201 {
		t.Fatalf("a stream: %d %s", a.status, a.body)
	}
	a := ask("PUT", "/put", strings.NewReader("small"))
	if a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := ask("GET", a.header.Get("Location"), nil); a.status != 200 || a.body != "small" {
		t.Errorf("%d %q", a.status, a.body)
	}
	var all sync.WaitGroup
	path := "/o/" + r.keep(large).String()
	for range 16 { // many streams at once
		all.Go(func() {
			if a := ask("GET", path, nil); a.status != 200 || a.body != large {
				t.Errorf("%d, %d bytes", a.status, len(a.body))
			}
		})
	}
	all.Wait()
	if a := ask("GET", path, nil, "Range", "bytes=65530-65545"); a.status != 206 || a.body != large[65530:65546] {
		t.Errorf("a range: %d %q", a.status, a.body)
	}
	wantProblem(t, ask("PUT", "/put", strings.NewReader(large)), 413, "too_large")
	wantProblem(t, ask("GET", "/o/b3:no", nil), 400, "address")
	wantProblem(t, ask("PUT", "/put", strings.NewReader("x"), "Content-Encoding", "br"), 415, "encoding")
	wantProblem(t, ask("POST", "/mbox/send", strings.NewReader("{"), "Content-Type", "application/json"), 400, "schema")
	if n := r.door.Conns(); n != 1 {
		t.Errorf("%d connections: a refused stream should not end its connection", n)
	}
	if a := ask("GET", "/healthz", nil); a.status != 200 {
		t.Errorf("%d", a.status)
	}
}

// A drain lets streams finish, and ends the connection.
func TestHTTP2Drains(t *testing.T) {
	var h *holding
	r := start(t, func(o *httpapi.Options) {
		h = newHolding(o.Ports.Objects)
		o.Ports.Objects = h
	})
	c, path := r.h2(), "/o/"+r.keep("held").String()
	done := make(chan answer, 2)
	for range 2 {
		go func() { done <- send(t, c, "GET", "http://"+r.addr+path, nil) }()
	}
	<-h.entered
	<-h.entered
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		cut, err := r.door.Drain(ctx)
		if cut > 0 {
			err = errors.Join(err, errors.New("requests were cut"))
		}
		ended <- err
	}()
	for r.door.Listeners()[0].Plane == "data" { // until the listener is gone
		runtime.Gosched()
	}
	close(h.release)
	for range 2 {
		if a := <-done; a.status != 200 || a.body != "held" {
			t.Errorf("%d %q", a.status, a.body)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A stream whose reader opens no window does not hold its handler for ever.
func TestHTTP2SlowReader(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.Limits.RequestTimeout = 300 * time.Millisecond })
	c := r.h2()
	resp, err := c.Get("http://" + r.addr + "/o/" + r.keep(text(32<<20)).String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for r.door.Inflight() > 0 { // nobody reads, and the handler ends
		runtime.Gosched()
	}
	if a := send(t, c, "GET", "http://"+r.addr+"/healthz", nil); a.status != 200 {
		t.Errorf("another stream: %d", a.status)
	}
}
