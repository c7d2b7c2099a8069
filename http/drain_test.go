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
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	httpapi "micronode/http"
	"micronode/store"
)

const askHealth = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

// In flight ends whole, idle connections are served once more and then closed,
// nobody new is let in, and the operator socket stays.
func TestDrain(t *testing.T) {
	var h *holding
	r := start(t, func(o *httpapi.Options) {
		h = newHolding(o.Ports.Objects)
		o.Ports.Objects = h
	})
	busy, idle, silent := r.dial(), r.dial(), r.dial()
	busy.say("GET /o/" + r.keep("held").String() + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-h.entered
	for _, w := range []*rawConn{idle, silent} {
		w.say(askHealth)
		if a := w.hear("GET"); a.status != 200 || a.header.Get("Connection") == "close" {
			t.Fatal(a.err, a.header)
		}
	}
	drained := make(chan error, 1)
	go func() {
		cut, err := r.door.Drain(context.Background())
		if cut != 0 {
			t.Errorf("%d cut", cut)
		}
		drained <- err
	}()
	for { // until the socket is closed; before that, handshakes are ignored
		c, err := net.DialTimeout("tcp", r.addr, 20*time.Millisecond)
		if errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		var slow net.Error
		if err == nil {
			_ = c.Close()
		} else if !errors.As(err, &slow) || !slow.Timeout() {
			t.Fatal(err)
		}
	}
	idle.say(askHealth)
	if a := idle.hear("GET"); a.status != 200 || a.header.Get("Connection") != "close" {
		t.Errorf("idle: %d %v %v", a.status, a.header, a.err)
	}
	for _, w := range []*rawConn{idle, silent} {
		if rest := w.closed(); rest != "" {
			t.Errorf("heard %q", rest)
		}
	}
	select {
	case err := <-drained:
		t.Fatalf("drained with a request in flight: %v", err)
	default:
	}
	if a := r.order("GET", "/healthz", nil); a.status != 200 || a.header.Get("Connection") == "close" {
		t.Errorf("operator: %d", a.status)
	}
	close(h.release)
	if a := busy.hear("GET"); a.body != "held" || a.header.Get("Connection") != "close" {
		t.Errorf("in flight: %d %v", a.status, a.err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if err := r.door.Open(); err != nil {
		t.Error(err)
	}
	for _, l := range r.door.Listeners() {
		if l.Plane == "data" {
			t.Error("a drained door listens again")
		}
	}
	if aborted, err := r.door.Close(context.Background()); aborted != 0 || err != nil {
		t.Errorf("%d aborted, %v", aborted, err)
	}
}

// Clients that come and go as fast as they can: whoever was let in is answered,
// and after the first refusal nobody is let in.
func TestDrainBacklog(t *testing.T) {
	r := start(t)
	r.client.CloseIdleConnections()
	var answered atomic.Int64
	warm := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				c, err := net.DialTimeout("tcp", r.addr, 300*time.Millisecond)
				if err != nil {
					return // refused, or its handshake was ignored
				}
				_, err = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
				out, readErr := io.ReadAll(c)
				_ = c.Close()
				if err != nil || readErr != nil || !strings.HasPrefix(string(out), "HTTP/1.1 200") {
					t.Errorf("let in and not served: %v %v %q", err, readErr, out)
					return
				}
				if answered.Add(1) == 100 {
					once.Do(func() { close(warm) })
				}
			}
		})
	}
	<-warm
	if _, err := r.door.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if _, err := net.Dial("tcp", r.addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v", err)
	}
}

// While a drain takes its last connections, the kernel lets nobody new in, and
// who is in is not disturbed.
func TestDrainIgnoresHandshakes(t *testing.T) {
	r := start(t)
	w := r.dial()
	r.door.IgnoreHandshakes()
	c, err := net.DialTimeout("tcp", r.addr, 30*time.Millisecond)
	var slow net.Error
	if err == nil {
		_ = c.Close()
		t.Error("let in")
	} else if !errors.As(err, &slow) || !slow.Timeout() {
		t.Error(err)
	}
	w.say(askHealth)
	if a := w.hear("GET"); a.status != 200 {
		t.Errorf("%d %v", a.status, a.err)
	}
}

// What queued before anybody accepted is served by a drain too.
func TestDrainBeforeOpen(t *testing.T) {
	r := start(t)
	door, err := httpapi.NewDoor(httpapi.Options{Auth: httpapi.Auth{Dev: true}, HTTPAddr: "127.0.0.1:0", Ports: httpapi.Ports{
		Objects: r.mem, Ready: ready, Now: time.Now,
		Status: func() httpapi.Status { return httpapi.Status{} }, Version: func() httpapi.Version { return httpapi.Version{} },
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := door.Bind(t.Context()); err != nil {
		t.Fatal(err)
	}
	queued := (&rig{t: t, addr: door.Listeners()[0].Address}).dial()
	queued.say(askHealth)
	if _, err := door.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if a := queued.hear("GET"); a.status != 200 {
		t.Errorf("%d %v", a.status, a.err)
	}
	if _, err := door.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// A drain whose time is up cuts what is left and says how many; what goes on
// elsewhere is not its business, and Close does not count twice.
func TestDrainCuts(t *testing.T) {
	var h *holding
	r := start(t, func(o *httpapi.Options) {
		h = newHolding(o.Ports.Objects)
		o.Ports.Objects = h
	})
	w := r.dial()
	w.say("GET /o/" + r.keep("held").String() + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-h.entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if cut, err := r.door.Drain(ctx); cut != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d cut, %v", cut, err)
	}
	if x := r.heard.last(t); !x.Aborted {
		t.Errorf("%+v", x)
	}
	if a := r.order("GET", "/healthz", nil); a.status != 200 {
		t.Errorf("operator: %d", a.status)
	}
	if aborted, err := r.door.Close(context.Background()); aborted != 0 || err != nil {
		t.Errorf("%d aborted, %v", aborted, err)
	}
	if out := w.closed(); out != "" {
		t.Errorf("heard %q", out)
	}
	if n, err := r.door.Close(context.Background()); n != 0 || err != nil {
		t.Errorf("closed again: %d %v", n, err)
	}
	if r.door.Open() == nil {
		t.Error("a closed door opens")
	}
}

// Close without a drain counts what it cuts, on every plane.
func TestCloseCuts(t *testing.T) {
	var h *holding
	r := start(t, func(o *httpapi.Options) {
		h = newHolding(o.Ports.Objects)
		o.Ports.Objects = h
	})
	path := "/o/" + r.keep("held").String()
	var wg sync.WaitGroup
	for c, base := range map[*http.Client]string{r.client: "http://" + r.addr, r.op: "http://micronode"} {
		wg.Go(func() {
			if resp, err := c.Get(base + path); err == nil {
				_ = resp.Body.Close()
				t.Error("answered")
			}
		})
		<-h.entered
	}
	if aborted, err := r.door.Close(context.Background()); aborted != 2 || err != nil {
		t.Errorf("%d aborted, %v", aborted, err)
	}
	wg.Wait()
}

// A handler that is deaf to its end does not keep Close beyond its deadline,
// whichever and however many the planes are.
func TestCloseDoesNotWaitForTheDeaf(t *testing.T) {
	d := &deaf{entered: make(chan struct{}, 2), release: make(chan struct{})}
	r := start(t, func(o *httpapi.Options) { o.Ports.Objects = d })
	var wg sync.WaitGroup
	for c, base := range map[*http.Client]string{r.client: "http://" + r.addr, r.op: "http://micronode"} {
		wg.Go(func() {
			if resp, err := c.Get(base + "/o/" + helloText); err == nil {
				_ = resp.Body.Close()
			}
		})
		<-d.entered
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if cut, err := r.door.Drain(ctx); cut != 1 || err == nil {
		t.Errorf("drain: %d cut, %v", cut, err)
	}
	aborted, err := r.door.Close(ctx) // comes back before release, and counts the other one
	if aborted != 1 || err == nil || strings.Count(err.Error(), "do not end") != 2 {
		t.Errorf("%d aborted, %v", aborted, err)
	}
	close(d.release)
	wg.Wait()
}

// deaf is a store whose reads do not listen to their context.
type deaf struct {
	store.Store
	entered, release chan struct{}
}

func (d *deaf) Open(context.Context, store.Address) (store.Blob, error) {
	d.entered <- struct{}{}
	<-d.release
	return nil, store.ErrNotFound
}

// A handler that waits for anything but its client's bytes is told of the end.
func TestCloseIsHeard(t *testing.T) {
	h := hearing{make(chan struct{}, 1)}
	r := start(t, func(o *httpapi.Options) { o.Ports.Objects = h })
	w := r.dial()
	w.say("PUT /put HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
	<-h.entered
	if aborted, err := r.door.Close(context.Background()); aborted != 1 || err != nil {
		t.Errorf("%d aborted, %v", aborted, err)
	}
}

// hearing is a store whose puts wait for the end of their context.
type hearing struct{ entered chan struct{} }

func (h hearing) Put(ctx context.Context, _ io.Reader, _ store.PutOptions) (store.Info, bool, error) {
	h.entered <- struct{}{}
	<-ctx.Done()
	return store.Info{}, false, ctx.Err()
}
func (hearing) Open(context.Context, store.Address) (store.Blob, error) {
	return nil, store.ErrNotFound
}
func (hearing) Delete(context.Context, store.Address) error { return store.ErrNotFound }

// A short drain closes quiet connections in half of its time.
func TestShortDrain(t *testing.T) {
	r := start(t)
	quiet := r.dial()
	quiet.say(askHealth)
	if a := quiet.hear("GET"); a.status != 200 {
		t.Fatal(a.err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	if cut, err := r.door.Drain(ctx); cut != 0 || err != nil {
		t.Errorf("%d cut, %v", cut, err)
	}
}

// The order that ends the node is answered.
func TestCloseAnswersItsOrder(t *testing.T) {
	c := &closer{}
	r := start(t, func(o *httpapi.Options) { o.Ports.Operator = c })
	c.door = r.door
	a := r.order("POST", "/api/v1/shutdown", nil)
	if done := decode[httpapi.Done](t, a); !done.OK || a.err != nil {
		t.Errorf("%+v %v", done, a.err)
	}
	c.wait.Wait()
}

// closer is a node that ends as soon as it is told.
type closer struct {
	commander
	door *httpapi.Door
	wait sync.WaitGroup
}

func (c *closer) Shutdown(context.Context, httpapi.Order) (httpapi.Done, error) {
	c.wait.Go(func() { _, _ = c.door.Close(context.Background()) })
	for c.door.Open() == nil { // until the door knows that it closes
		runtime.Gosched()
	}
	return httpapi.Done{OK: true}, nil
}

// An accept loop that dies is told, and Open binds the same address again.
func TestReopen(t *testing.T) {
	r := start(t)
	w := r.dial()
	w.say(askHealth)
	w.hear("GET")
	r.door.CloseListener()
	if err := <-r.door.Failed(); err == nil || !strings.Contains(err.Error(), r.addr) {
		t.Errorf("%v", err)
	}
	w.say(askHealth) // who is connected does not notice
	if a := w.hear("GET"); a.status != 200 {
		t.Errorf("%d %v", a.status, a.err)
	}
	for range 2 {
		if err := r.door.Open(); err != nil {
			t.Fatal(err)
		}
	}
	if a := r.ask("GET", "/healthz", nil); a.status != 200 || len(r.door.Listeners()) != 2 {
		t.Errorf("%d, %v", a.status, r.door.Listeners())
	}
	select {
	case err := <-r.door.Failed():
		t.Errorf("failed again: %v", err)
	default:
	}
}

// Listeners that die together are one failure, once they are bound anew.
func TestReopenBoth(t *testing.T) {
	r := start(t)
	r.door.CloseListeners()
	for len(r.door.Listeners()) > 0 {
		runtime.Gosched()
	}
	if err := <-r.door.Failed(); err == nil {
		t.Error("no error")
	}
	if err := r.door.Open(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-r.door.Failed():
		t.Errorf("told again after it was mended: %v", err)
	default:
	}
	if a, op := r.ask("GET", "/healthz", nil), r.order("GET", "/healthz", nil); a.status != 200 || op.status != 200 {
		t.Errorf("%d, %d", a.status, op.status)
	}
	r.door.CloseListener() // and the next failure is told
	if err := <-r.door.Failed(); err == nil {
		t.Error("no error")
	}
}

func TestBindErrors(t *testing.T) {
	r := start(t)
	_, port, _ := net.SplitHostPort(r.addr)
	for addr, want := range map[string][]string{
		r.addr:           {r.addr, "ss -ltnp", port},
		"203.0.113.1:80": {"203.0.113.1:80", "ip addr"},
		"nonsense":       {"nonsense", "host:port"},
	} {
		for _, metrics := range []bool{false, true} {
			o := httpapi.Options{Auth: httpapi.Auth{Dev: true}, HTTPAddr: addr, Ports: httpapi.Ports{Objects: r.mem, Ready: ready, Now: time.Now,
				Status: func() httpapi.Status { return httpapi.Status{} }, Version: func() httpapi.Version { return httpapi.Version{} }}}
			if metrics {
				o.HTTPAddr, o.MetricsAddr = "127.0.0.1:0", addr
			}
			door, err := httpapi.NewDoor(o)
			if err != nil {
				t.Fatal(err)
			}
			err = door.Bind(t.Context())
			if !errors.Is(err, httpapi.ErrBind) {
				t.Errorf("%s: %v", addr, err)
			}
			for _, s := range want {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
			if l := door.Listeners(); len(l) != 0 {
				t.Errorf("bound in part: %v", l)
			}
			if _, err := door.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := httpapi.NewDoor(httpapi.Options{}); err == nil {
		t.Error("no address, no ports, no error")
	}
}
