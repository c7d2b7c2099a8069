package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
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
)

// rig is a door with everything behind it played by the test.
type rig struct {
	t      testing.TB
	door   *httpapi.Door
	addr   string // of the data plane
	sock   string // of the operator socket, or ""
	mem    *mem.Store
	client *http.Client // of the data plane
	op     *http.Client // of the operator socket
	heard  *heard
}

// heard keeps what the observer was told.
type heard struct {
	mu        sync.Mutex
	exchanges []httpapi.Exchange
	rejected  []string
	audits    []httpapi.AuditRecord
	panics    []any
	arrived   chan struct{} // a token for each exchange
}

func (h *heard) observer() httpapi.Observer {
	return httpapi.Observer{
		Request: func(e httpapi.Exchange) {
			h.mu.Lock()
			h.exchanges = append(h.exchanges, e)
			h.mu.Unlock()
			select {
			case h.arrived <- struct{}{}:
			default:
			}
		},
		Rejected: func(r string) { h.mu.Lock(); h.rejected = append(h.rejected, r); h.mu.Unlock() },
		Audit:    func(a httpapi.AuditRecord) { h.mu.Lock(); h.audits = append(h.audits, a); h.mu.Unlock() },
		Panic:    func(v any, _ []byte, _ string) { h.mu.Lock(); h.panics = append(h.panics, v); h.mu.Unlock() },
	}
}

// last waits for the next exchange to be told, and returns it.
func (h *heard) last(t testing.TB) httpapi.Exchange {
	t.Helper()
	<-h.arrived
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.exchanges[len(h.exchanges)-1]
}

func (h *heard) rejections() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.rejected)
}

func ready() httpapi.Readiness {
	return httpapi.Readiness{
		Ready: true, Planes: map[string]string{"objects": httpapi.PlaneOpen},
		Services: []httpapi.ServiceState{{Name: "storage", State: "running"}},
		Causes:   []httpapi.Cause{{Name: "headroom", Effect: "warn"}},
	}
}

// start opens a door on a free port and, unless change takes it away, an operator socket.
func start(t testing.TB, change ...func(*httpapi.Options)) *rig {
	t.Helper()
	m := mem.New(mem.Options{MaxBytes: 256 << 20, Now: time.Now})
	r := &rig{t: t, mem: m, heard: &heard{arrived: make(chan struct{}, 4096)}}
	o := httpapi.Options{
		Auth:     httpapi.Auth{Dev: true},
		HTTPAddr: "127.0.0.1:0",
		Socket:   httpapi.SocketOptions{Path: filepath.Join(privateDir(t), "s.sock")},
		Limits:   httpapi.Limits{RPS: -1},
		Ports: httpapi.Ports{
			Objects: m, Ready: ready, Now: time.Now,
			Status: func() httpapi.Status {
				return httpapi.Status{
					Service: "micronode", Mode: "dev", Listeners: []httpapi.Listener{}, Services: []httpapi.ServiceState{},
					Readiness: httpapi.Readiness{Ready: true, Missing: []string{}},
				}
			},
			Version: func() httpapi.Version {
				return httpapi.Version{Service: "micronode", AuthMode: "dev", API: httpapi.API{HTTP: "v1"}, PQ: httpapi.PQ{Mode: "off", Groups: []string{}}}
			},
			Config:  func() any { return map[string]int{"limits": 1} },
			Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") }),
			Observe: r.heard.observer(),
		},
	}
	for _, f := range change {
		f(&o)
	}
	door, err := httpapi.NewDoor(o)
	if err != nil {
		t.Fatal(err)
	}
	r.door = door
	t.Cleanup(func() {
		if r.client != nil {
			r.client.CloseIdleConnections()
			r.op.CloseIdleConnections()
		}
		if _, err := door.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := door.Bind(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := door.Open(); err != nil {
		t.Fatal(err)
	}
	for _, l := range door.Listeners() {
		switch l.Plane {
		case "data":
			r.addr = l.Address
		case "operator":
			r.sock = l.Address
		}
	}
	r.client = dialing(t, "tcp", r.addr)
	r.op = dialing(t, "unix", r.sock)
	return r
}

func privateDir(t testing.TB) string {
	return filepath.Join(t.TempDir(), "run") // made 0700 by the door
}

// dialing is a client of one listener whose every exchange is held against the
// OpenAPI document; a benchmark measures the door alone.
func dialing(t testing.TB, network, addr string) *http.Client {
	c := unchecked(network, addr)
	if _, timed := t.(*testing.B); !timed {
		c.Transport = openapitest.Transport(t, c.Transport)
	}
	return c
}

// unchecked is for what the document does not speak of: paths that a listener
// does not serve.
func unchecked(network, addr string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
		MaxIdleConnsPerHost: 64,
	}}
}

// answer is a response read to its end.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

func (a answer) problem(t testing.TB) httpapi.Problem {
	t.Helper()
	var p httpapi.Problem
	if ct := a.header.Get("Content-Type"); ct != httpapi.TypeProblem {
		t.Fatalf("Content-Type %q, want a problem; body %q", ct, a.body)
	}
	dec := json.NewDecoder(strings.NewReader(a.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		t.Fatal(err)
	}
	if p.Status != a.status || p.CorrID == "" || p.CorrID != a.header.Get("X-Corr-ID") || p.Title == "" || p.Detail == "" {
		t.Errorf("status %d, X-Corr-ID %q, problem %+v", a.status, a.header.Get("X-Corr-ID"), p)
	}
	return p
}

// ask sends a request; headers are name, value, name, value; body nil is none.
func (r *rig) ask(method, target string, body io.Reader, headers ...string) answer {
	r.t.Helper()
	return send(r.t, r.client, method, "http://"+r.addr+target, body, headers...)
}

// order sends a request to the operator socket.
func (r *rig) order(method, target string, body io.Reader, headers ...string) answer {
	r.t.Helper()
	return send(r.t, r.op, method, "http://micronode"+target, body, headers...)
}

func send(t testing.TB, c *http.Client, method, url string, body io.Reader, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		} else {
			req.Header.Add(headers[i], headers[i+1])
		}
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b), err}
}

// streamed hides a body's length, so that it goes out chunked.
func streamed(s string) io.Reader { return struct{ io.Reader }{strings.NewReader(s)} }

// keep puts bytes straight into the store.
func (r *rig) keep(b string) store.Address {
	r.t.Helper()
	info, _, err := r.mem.Put(context.Background(), strings.NewReader(b), store.PutOptions{Size: int64(len(b))})
	if err != nil {
		r.t.Fatal(err)
	}
	return info.Address
}

// text is n bytes that differ from group to group.
func text(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		b.WriteString("line ")
		b.WriteString(strings.Repeat(string(rune('a'+i%26)), 1+i%61))
		b.WriteByte('\n')
	}
	return b.String()[:n]
}

// rawConn is a raw connection to the data plane.
type rawConn struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (r *rig) dial() *rawConn {
	r.t.Helper()
	return dialRaw(r.t, "tcp", r.addr)
}

func dialRaw(t testing.TB, network, addr string) *rawConn {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &rawConn{c, t, bufio.NewReader(c)}
}

func (w *rawConn) say(s string) {
	w.t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		w.t.Fatalf("say: %v", err)
	}
}

// hear reads one answer to its end.
func (w *rawConn) hear(method string) answer {
	w.t.Helper()
	resp, err := http.ReadResponse(w.r, &http.Request{Method: method})
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if resp.Close {
		resp.Header.Set("Connection", "close")
	}
	return answer{resp.StatusCode, resp.Header, string(b), err}
}

// closed waits for the server to close the connection and returns what else came.
func (w *rawConn) closed() string {
	b, _ := io.ReadAll(w.r)
	return string(b)
}

// decode reads an answer as strict JSON.
func decode[T any](t testing.TB, a answer) T {
	t.Helper()
	var v T
	if a.status != 200 && a.status != 503 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	dec := json.NewDecoder(strings.NewReader(a.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	return v
}
