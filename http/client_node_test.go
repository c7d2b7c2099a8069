package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	httpapi "micronode/http"
	"micronode/http/openapitest"
	"micronode/store"
	"micronode/store/mem"
	"micronode/store/storetest"
)

// clientNode is a door with a RAM store and scripted ports, for the client's tests.
type clientNode struct {
	door   *httpapi.Door
	addr   string
	socket string
	mem    *mem.Store

	mu     sync.Mutex // guards ready and orders
	ready  httpapi.Readiness
	orders []string
	events chan httpapi.Event
}

func startClientNode(t *testing.T, now func() time.Time) *clientNode {
	t.Helper()
	n := &clientNode{
		mem: mem.New(mem.Options{Now: now}), events: make(chan httpapi.Event, 16),
		ready:  httpapi.Readiness{Ready: true, Planes: map[string]string{"objects": httpapi.PlaneOpen}},
		socket: filepath.Join(t.TempDir(), "s.sock"),
	}
	var err error
	n.door, err = httpapi.NewDoor(httpapi.Options{
		Auth: httpapi.Auth{Dev: true}, HTTPAddr: "127.0.0.1:0", Socket: httpapi.SocketOptions{Path: n.socket},
		Limits: httpapi.Limits{RPS: -1},
		Ports: httpapi.Ports{
			Objects: n.mem, Now: time.Now, Operator: n, Chaos: n,
			Ready: func() httpapi.Readiness { n.mu.Lock(); defer n.mu.Unlock(); return n.ready },
			Status: func() httpapi.Status {
				return httpapi.Status{Service: "micronode", Mode: "dev", Readiness: httpapi.Readiness{Missing: []string{}}, Services: []httpapi.ServiceState{}}
			},
			Version: func() httpapi.Version {
				return httpapi.Version{Service: "micronode", AuthMode: "dev", API: httpapi.API{HTTP: "v1"}, PQ: httpapi.PQ{Mode: "off"}}
			},
			Tail: func(httpapi.TailQuery) (httpapi.Tail, error) { return n, nil },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.door.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = n.door.Close(context.Background()) })
	for _, l := range n.door.Listeners() {
		switch l.Network {
		case "tcp":
			n.addr = l.Address
		case "unix":
			n.socket = l.Address
		}
	}
	return n
}

func (n *clientNode) order(name string, o httpapi.Order) (httpapi.Done, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.orders = append(n.orders, strings.TrimSpace(name+" "+o.Service+" "+o.Reason))
	if o.Service == "nobody" {
		return httpapi.Done{}, httpapi.ErrUnknownService
	}
	return httpapi.Done{OK: true, Service: o.Service, Restarts: int64(len(n.orders))}, nil
}

func (n *clientNode) Restart(_ context.Context, o httpapi.Order) (httpapi.Done, error) {
	return n.order("restart", o)
}

func (n *clientNode) Kill(_ context.Context, o httpapi.Order) (httpapi.Done, error) {
	return n.order("kill", o)
}

func (n *clientNode) Hang(_ context.Context, o httpapi.Order) (httpapi.Done, error) {
	return n.order("hang", o)
}

func (n *clientNode) Drain(_ context.Context, o httpapi.Order) (httpapi.Done, error) {
	return n.order("drain", o)
}

func (n *clientNode) Shutdown(_ context.Context, o httpapi.Order) (httpapi.Done, error) {
	return n.order("shutdown", o)
}

func (n *clientNode) Next(ctx context.Context) (httpapi.Event, error) {
	select {
	case e, ok := <-n.events:
		if !ok {
			return httpapi.Event{}, io.EOF
		}
		return e, nil
	case <-ctx.Done():
		return httpapi.Event{}, ctx.Err()
	}
}

func (n *clientNode) Close() {}

// client returns a client whose every exchange is held against the document.
func (n *clientNode) client(t *testing.T, opt httpapi.ClientOptions) *httpapi.Client {
	t.Helper()
	base := &http.Transport{ExpectContinueTimeout: time.Second}
	opt.Addr = n.addr
	opt.HTTP = &http.Client{Transport: openapitest.Transport(t, base)}
	c, err := httpapi.NewClient(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(base.CloseIdleConnections)
	return c
}

// operator returns a client on the socket, made as a program would.
func (n *clientNode) operator(t *testing.T) *httpapi.Client {
	t.Helper()
	c, err := httpapi.NewClient(httpapi.ClientOptions{Socket: n.socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// The client is one more tier: it passes the suite that all tiers pass.
func TestClientIsAStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		return startClientNode(t, time.Now).client(t, httpapi.ClientOptions{}).Store()
	})
	storetest.RunTTL(t, func(t *testing.T, now func() time.Time) store.Store {
		return startClientNode(t, now).client(t, httpapi.ClientOptions{}).Store()
	})
}

func TestClientObjects(t *testing.T) {
	n := startClientNode(t, time.Now)
	c := n.client(t, httpapi.ClientOptions{CorrID: func() string { return "corr-7" }})
	ctx := t.Context()
	big := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // 3.2 MB: a stream, though its size is known
	for _, body := range [][]byte{nil, []byte("x"), big[:1<<20], big[:1<<20+1], big} {
		stored, created, err := c.Put(ctx, bytes.NewReader(body), store.PutOptions{Size: int64(len(body))})
		if err != nil || !created || stored.Size != int64(len(body)) {
			t.Fatalf("put of %d bytes: %+v, %v, %v", len(body), stored, created, err)
		}
		var got bytes.Buffer
		if _, err := c.Get(ctx, store.Sum(body), &got, nil); err != nil || !bytes.Equal(got.Bytes(), body) {
			t.Fatalf("get of %d bytes: %d came, %v", len(body), got.Len(), err)
		}
	}
	for _, tt := range []struct {
		span httpapi.Span
		want []byte
	}{{httpapi.Span{Off: 65530, N: 20}, big[65530:65550]}, {httpapi.Span{Off: int64(len(big)) - 5, N: -1}, big[len(big)-5:]}, {httpapi.Span{Off: -7}, big[len(big)-7:]}} {
		var got bytes.Buffer
		if _, err := c.Get(ctx, store.Sum(big), &got, &tt.span); err != nil || !bytes.Equal(got.Bytes(), tt.want) {
			t.Errorf("span %+v: %q, %v", tt.span, got.Bytes(), err)
		}
	}
	if _, err := c.Get(ctx, store.Sum(big), io.Discard, &httpapi.Span{Off: 1 << 40, N: 1}); !errors.Is(err, httpapi.ErrRange) {
		t.Errorf("range outside: %v", err)
	}
	var problem *httpapi.Problem
	_, err := c.Get(ctx, store.Sum([]byte("unknown")), io.Discard, nil)
	if !errors.Is(err, store.ErrNotFound) || !errors.As(err, &problem) || problem.CorrID != "corr-7" {
		t.Errorf("unknown object: %v", err)
	}
	if _, err := c.Head(ctx, store.Sum([]byte("unknown"))); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("head of an unknown object: %v", err)
	}
	var listed int
	for _, err := range c.List(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		listed++
	}
	if listed != 5 {
		t.Errorf("listed %d objects", listed)
	}
	if err := n.mem.FlipBit(store.Sum(big), 8*70_000); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := c.Get(ctx, store.Sum(big), &got, nil); err == nil || !bytes.HasPrefix(big, got.Bytes()) || got.Len() > store.GroupSize {
		t.Errorf("damaged in its second group: %d bytes came, %v", got.Len(), err)
	}
	again := n.client(t, httpapi.ClientOptions{Retry: httpapi.Retry{Attempts: 3, Base: time.Millisecond}})
	if _, err := again.Get(ctx, store.Sum(big), io.Discard, nil); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("damaged, asked again from where it was cut: %v", err)
	}
}

func TestClientOperator(t *testing.T) {
	n := startClientNode(t, time.Now)
	ctx := t.Context()
	c := n.operator(t)
	for _, give := range []func(context.Context, httpapi.Order) (httpapi.Done, error){c.Restart, c.Kill, c.Hang} {
		if d, err := give(ctx, httpapi.Order{Service: "storage", Reason: "drill"}); err != nil || !d.OK || d.Service != "storage" {
			t.Errorf("order: %+v, %v", d, err)
		}
	}
	for _, give := range []func(context.Context, httpapi.Order) (httpapi.Done, error){c.Drain, c.Shutdown} {
		if d, err := give(ctx, httpapi.Order{Reason: "drill"}); err != nil || !d.OK {
			t.Errorf("order: %+v, %v", d, err)
		}
	}
	if _, err := c.Restart(ctx, httpapi.Order{Service: "nobody"}); !errors.Is(err, httpapi.ErrUnknownService) {
		t.Errorf("unknown actor: %v", err)
	}
	want := []string{"restart storage drill", "kill storage drill", "hang storage drill", "drain  drill", "shutdown  drill", "restart nobody"}
	if !slices.Equal(n.orders, want) {
		t.Errorf("orders %q, want %q", n.orders, want)
	}
	onTCP := n.client(t, httpapi.ClientOptions{})
	if _, err := onTCP.Restart(ctx, httpapi.Order{Service: "storage"}); !errors.Is(err, httpapi.ErrForbidden) {
		t.Errorf("order on TCP: %v", err)
	}
	if _, err := onTCP.Kill(ctx, httpapi.Order{Service: "storage"}); !errors.Is(err, httpapi.ErrNoRoute) {
		t.Errorf("chaos on TCP: %v", err)
	}
	if s, err := onTCP.Status(ctx); err != nil || s.Service != "micronode" {
		t.Errorf("status: %+v, %v", s, err)
	}
	if v, err := onTCP.Version(ctx); err != nil || v.API.HTTP != "v1" {
		t.Errorf("version: %+v, %v", v, err)
	}
	if r, err := onTCP.Ready(ctx, true, true); err != nil || !r.Ready {
		t.Errorf("ready: %+v, %v", r, err)
	}
	n.mu.Lock()
	n.ready = httpapi.Readiness{Ready: true, Degraded: true, Missing: []string{"storage"}, RetryAfter: 1, Planes: map[string]string{"objects": httpapi.PlaneReadOnly}}
	n.mu.Unlock()
	if r, err := onTCP.Ready(ctx, true, false); err != nil || r.WritesOpen() || !slices.Equal(r.Missing, []string{"storage"}) {
		t.Errorf("ready for writes: %+v, %v", r, err)
	}
	if _, _, err := onTCP.Put(ctx, strings.NewReader("x"), store.PutOptions{Size: 1}); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("put while read-only: %v", err)
	}
}

func TestClientTail(t *testing.T) {
	n := startClientNode(t, time.Now)
	sent := []httpapi.Event{
		{Seq: 7, TS: time.Unix(1, 0).UTC(), Topic: "micronode.crash", Kind: "ServiceCrashed", Service: "storage", Data: []byte(`{"reason":"killed"}`)},
		{Seq: 9, TS: time.Unix(2, 0).UTC(), Topic: "micronode.ready", Kind: "ReadyChanged", Lagged: 1},
	}
	for _, e := range sent {
		n.events <- e
	}
	c := n.client(t, httpapi.ClientOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []httpapi.Event
	for e, err := range c.Tail(ctx, httpapi.TailOptions{Topic: "micronode", Since: "6"}) {
		if errors.Is(err, context.Canceled) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, e); len(got) == len(sent) {
			cancel()
		}
	}
	if len(got) != 2 || got[0].Service != "storage" || string(got[0].Data) != `{"reason":"killed"}` || got[1].Lagged != 1 {
		t.Errorf("got %+v", got)
	}
	close(n.events)
	for e, err := range n.client(t, httpapi.ClientOptions{}).Tail(t.Context(), httpapi.TailOptions{}) {
		t.Errorf("after the end: %+v, %v", e, err)
	}
}

func TestClientToken(t *testing.T) {
	var auth []string
	rt := roundTrip(func(req *http.Request) (*http.Response, error) {
		auth = append(auth, req.Header.Get("Authorization"))
		return answers(200, `{}`)(req)
	})
	secret := func() (string, error) { return "s3cret", nil }
	for _, opt := range []httpapi.ClientOptions{{Addr: "node:1", Token: secret}, {Socket: "/s", Token: secret}} {
		opt.HTTP = &http.Client{Transport: rt}
		c, err := httpapi.NewClient(opt)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Version(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"Bearer s3cret", ""}; !slices.Equal(auth, want) {
		t.Errorf("Authorization %q, want %q: none on the socket", auth, want)
	}
	for _, addr := range []string{"", "http://user:s3cret@node:1", "ftp://node", "http://", "node:1?x=s3cret"} {
		if _, err := httpapi.NewClient(httpapi.ClientOptions{Addr: addr}); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("address %q: %v", addr, err)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
