package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	httpapi "micronode/http"
	"micronode/http/ronctl/cli"
	"micronode/store/mem"
)

// node is a real door over a RAM store, with actors that only remember.
type node struct {
	dir   string // holds the socket; short, for sun_path is
	addr  string
	mem   *mem.Store
	chaos bool

	mu      sync.Mutex // guards the fields below
	door    *httpapi.Door
	started time.Time
	ready   httpapi.Readiness
	actors  []httpapi.ServiceState
	events  []httpapi.Event
	more    chan struct{} // closed when an event is added
	gone    chan struct{} // closed when the node was told to stop and has
	refuse  int           // /readyz says not ready this many times more
}

func newNode(dir string) *node {
	since := time.Now().Add(-time.Minute)
	n := &node{
		dir: dir, addr: "127.0.0.1:0", mem: mem.New(mem.Options{Now: time.Now}), chaos: true,
		ready: httpapi.Readiness{Ready: true, Missing: []string{}, Planes: map[string]string{"objects": httpapi.PlaneOpen}},
		more:  make(chan struct{}), gone: make(chan struct{}),
	}
	for _, name := range []string{"config", "storage", "ingress", "health"} {
		n.actors = append(n.actors, httpapi.ServiceState{Name: name, State: "running", Required: true, Since: since, QueueCap: 64})
	}
	return n
}

// start opens the door; the second time on the same port.
func (n *node) start() error {
	n.set(func() {
		if n.started.IsZero() { // else the same process, back on the net
			n.started = time.Now()
		}
	})
	opt := httpapi.Options{
		Auth: httpapi.Auth{Dev: true}, HTTPAddr: n.addr, Limits: httpapi.Limits{RPS: -1, MaxObjectBytes: 4 << 20},
		Socket: httpapi.SocketOptions{Path: filepath.Join(n.dir, "micronode.sock")},
		Ports: httpapi.Ports{
			Objects: n.mem, Now: time.Now, Ready: n.readiness, Status: n.status, Operator: n,
			Version: func() httpapi.Version {
				return httpapi.Version{
					Service: "micronode", Version: "v0.0.7", Go: "go1.26", GitSHA: "0123456789abcdef", AuthMode: "dev",
					API: httpapi.API{HTTP: "v1"}, PQ: httpapi.PQ{Mode: "off"}, Features: httpapi.Features{Amnesia: true, Chaos: true},
				}
			},
			Tail: func(q httpapi.TailQuery) (httpapi.Tail, error) { return &follow{n: n, q: q, next: n.first(q)}, nil },
		},
	}
	if n.chaos {
		opt.Ports.Chaos = n
	}
	door, err := httpapi.NewDoor(opt)
	if err != nil {
		return err
	}
	if err := door.Open(); err != nil {
		return err
	}
	n.mu.Lock()
	n.door = door
	n.mu.Unlock()
	for _, l := range door.Listeners() {
		if l.Network == "tcp" {
			n.set(func() { n.addr = l.Address })
		}
	}
	return nil
}

func (n *node) stop() {
	n.mu.Lock()
	door := n.door
	n.door = nil
	n.mu.Unlock()
	if door != nil {
		_, _ = door.Close(context.Background())
	}
}

// startNode starts a node that ends with the test.
func startNode(t *testing.T) *node {
	t.Helper()
	dir, err := os.MkdirTemp("", "ron")
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(dir)
	t.Cleanup(func() {
		n.stop()
		_ = os.RemoveAll(dir)
	})
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

func (n *node) readiness() httpapi.Readiness {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse > 0 {
		n.refuse--
		return httpapi.Readiness{Degraded: true, Missing: []string{"storage"}, Planes: map[string]string{"objects": httpapi.PlaneClosed}, RetryAfter: 1}
	}
	return n.ready
}

func (n *node) status() httpapi.Status {
	ready := n.readiness()
	n.mu.Lock()
	defer n.mu.Unlock()
	u := n.mem.Usage()
	return httpapi.Status{
		Service: "micronode", Version: "v0.0.7", PID: 4711, Started: n.started, UptimeMS: time.Since(n.started).Milliseconds(),
		Mode: "dev", Amnesia: true, Readiness: ready, Services: append([]httpapi.ServiceState(nil), n.actors...),
		Listeners: []httpapi.Listener{{Plane: "data", Network: "tcp", Address: n.addr}},
		Store:     httpapi.StoreStatus{Tier: "ram", Objects: u.Objects, Bytes: u.Bytes, MaxBytes: u.MaxBytes},
		Bus:       httpapi.BusStatus{Seq: uint64(len(n.events)), Subscribers: 1},
	}
}

// emit adds an event; n.mu is held.
func (n *node) emit(topic, kind, service string, data map[string]any) {
	text, _ := json.Marshal(data)
	n.events = append(n.events, httpapi.Event{Seq: uint64(len(n.events) + 1), TS: time.Now(), Topic: "micronode." + topic, Kind: kind, Service: service, Data: text})
	close(n.more)
	n.more = make(chan struct{})
}

func (n *node) order(o httpapi.Order, reason string) (httpapi.Done, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.actors {
		if a := &n.actors[i]; a.Name == o.Service {
			a.Restarts++
			a.LastReason = strings.TrimSpace(reason + " " + o.Reason)
			at := time.Now()
			a.LastCrash = &at
			n.emit("crash", "ServiceCrashed", a.Name, map[string]any{"reason": a.LastReason, "restarts": a.Restarts, "stack": "goroutine 1\n"})
			return httpapi.Done{OK: true, Service: a.Name, Restarts: a.Restarts}, nil
		}
	}
	return httpapi.Done{}, httpapi.ErrUnknownService
}

func (n *node) Restart(_ context.Context, o httpapi.Order) (httpapi.Done, error) {
	return n.order(o, "restarted")
}

func (n *node) Kill(_ context.Context, o httpapi.Order) (httpapi.Done, error) {
	return n.order(o, "killed")
}

func (n *node) Hang(_ context.Context, o httpapi.Order) (httpapi.Done, error) {
	return n.order(o, "hung")
}

func (n *node) Drain(context.Context, httpapi.Order) (httpapi.Done, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ready = httpapi.Readiness{Degraded: true, Missing: []string{"drain"}, RetryAfter: 1}
	n.emit("shutdown", "DrainStarted", "", nil)
	return httpapi.Done{OK: true, Detail: "nothing new is taken"}, nil
}

func (n *node) Shutdown(context.Context, httpapi.Order) (httpapi.Done, error) {
	time.AfterFunc(100*time.Millisecond, func() { // as the node, which stays for a moment when it is told to go
		n.stop()
		close(n.gone)
	})
	return httpapi.Done{OK: true}, nil
}

// first is the index of the first event that a query wants.
func (n *node) first(q httpapi.TailQuery) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case !q.History:
		return len(n.events)
	case q.Since > 0:
		return 0
	}
	return int(max(q.SinceSeq, 1) - 1) // one too early: a tail must not show it twice
}

// follow is one tail.
type follow struct {
	n    *node
	q    httpapi.TailQuery
	next int
}

func (f *follow) Next(ctx context.Context) (httpapi.Event, error) {
	for {
		f.n.mu.Lock()
		more := f.n.more
		for f.next < len(f.n.events) {
			e := f.n.events[f.next]
			f.next++
			if (f.q.Kind == "" || f.q.Kind == e.Kind) && (f.q.Topic == "" || strings.HasPrefix(e.Topic, f.q.Topic)) {
				f.n.mu.Unlock()
				return e, nil
			}
		}
		f.n.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return httpapi.Event{}, ctx.Err()
		}
	}
}

func (f *follow) Close() {}

// run is one ronctl in this process.
type run struct {
	env      map[string]string
	stdin    io.Reader
	out, err io.Writer // nil: kept and returned
	width    int       // > 0: both outputs are terminals this wide
}

// ronctl runs a command line against a node and returns exit code and outputs.
func (r run) ronctl(ctx context.Context, n *node, args ...string) (exit int, stdout, stderr string) {
	var keptOut, keptErr locked
	if r.out == nil {
		r.out = &keptOut
	}
	if r.err == nil {
		r.err = &keptErr
	}
	env := map[string]string{}
	if n != nil {
		env["XDG_RUNTIME_DIR"] = n.dir
	}
	for k, v := range r.env {
		env[k] = v
	}
	if r.stdin == nil {
		r.stdin = strings.NewReader("")
	}
	exit = cli.Main(ctx, cli.System{
		Args: args, Getenv: func(k string) string { return env[k] }, Stdin: r.stdin, Stdout: r.out, Stderr: r.err,
		UID: os.Getuid(), TempDir: "/nonexistent", Version: "v9.9.9", Now: time.Now,
		Terminal: func(io.Writer) (int, bool) { return r.width, r.width > 0 },
	})
	return exit, keptOut.String(), keptErr.String()
}

// locked is a buffer for many goroutines.
type locked struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
