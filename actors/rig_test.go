package actors_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"micronode/actors"
	"micronode/config"
	httpapi "micronode/http"
	"micronode/http/openapitest"
	"micronode/kernel"
	"micronode/store"
)

// patience ends a test that waits for what never comes.
const patience = 20 * time.Second

// far is a backoff so long that its full jitter is never over within a test:
// what was killed stays down until somebody restarts it.
const far = 10_000 * time.Hour

var ownActors = slices.Concat([]string{"config", "policy", "keys", "storage"}, mailActors, []string{"ingress", "health"})

// calmActors are those without which nothing is denied.
var calmActors = slices.Concat([]string{"config", "keys", "storage"}, mailActors, []string{"ingress", "health"})

var mailActors = []string{
	"mailbox", "mailbox-0", "mailbox-1", "mailbox-2", "mailbox-3", "mailbox-4", "mailbox-5", "mailbox-6", "mailbox-7",
}

// setup changes what a node of a test is started with.
type setup func(*config.Config, *actors.Options)

// lenient lets actors crash often and restarts them at once.
func lenient(c *config.Config, _ *actors.Options) {
	c.Supervisor.BackoffMin, c.Supervisor.BackoffMax = time.Millisecond, time.Millisecond
	c.Supervisor.MaxRestarts, c.Supervisor.QuarantineAfter = 1000, 2000
}

// staysDown keeps a killed actor down until it is restarted by order.
func staysDown(c *config.Config, _ *actors.Options) {
	c.Supervisor.BackoffMin, c.Supervisor.BackoffMax = far, far
}

// rig is a node that runs behind real listeners, and its clients. Every
// exchange is held against the node's own OpenAPI document.
type rig struct {
	testing.TB
	node         *actors.Node
	bus          *kernel.Sub // everything from the first event on
	http         *http.Client
	data, op     *httpapi.Client // on TCP, on the operator socket
	base, socket string
	close        func() // gives idle connections back
}

// options are those of a node with every listener on a free place and with
// chaos; changes come last.
func options(t testing.TB, changes ...setup) (config.Loaded, actors.Options) {
	c := config.Default()
	c.HTTPAddr, c.Chaos.Enabled, c.Limits.RPS, c.Auth.Mode = "127.0.0.1:0", true, 1_000_000, "dev"
	o := actors.Options{SocketPath: filepath.Join(t.TempDir(), "n.sock"), Build: actors.Build{Version: "v1.2.3", GitSHA: "abc"}}
	for _, change := range changes {
		change(&c, &o)
	}
	return config.Loaded{Config: c}, o
}

// start starts a node, waits until it is ready and stops it with the test.
func start(t testing.TB, changes ...setup) *rig {
	t.Helper()
	loaded, o := options(t, changes...)
	node, err := actors.Start(loaded, o)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{TB: t, node: node, bus: node.Bus().Subscribe(kernel.Query{Since: time.Unix(0, 1)}), close: func() {}}
	t.Cleanup(r.stop)
	if err := node.AwaitReady(r.ctx()); err != nil {
		t.Fatal(err)
	}
	if !o.NoDoor {
		r.connect()
	}
	return r
}

func (r *rig) connect() {
	for _, l := range r.node.Listeners() {
		switch l.Plane {
		case "data":
			r.base = "http://" + l.Address
		case "operator":
			r.socket = l.Address
		}
	}
	tcp := &http.Transport{DisableCompression: true}
	uds := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", r.socket)
	}}
	r.close = func() { tcp.CloseIdleConnections(); uds.CloseIdleConnections() }
	r.http = &http.Client{Transport: openapitest.Transport(r.TB, tcp)}
	var err, opErr error
	r.data, err = httpapi.NewClient(httpapi.ClientOptions{Addr: r.base, HTTP: r.http})
	r.op, opErr = httpapi.NewClient(httpapi.ClientOptions{Socket: r.socket, HTTP: &http.Client{Transport: openapitest.Transport(r.TB, uds)}})
	if err := errors.Join(err, opErr); err != nil {
		r.Fatal(err)
	}
}

// stop is called by the test's end at the latest; more often does no harm.
func (r *rig) stop() {
	r.close()
	r.bus.Close()
	if err := r.node.Stop(context.Background(), false); err != nil {
		r.Errorf("stop: %v", err)
	}
}

func (r *rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	r.Cleanup(cancel)
	return ctx
}

// event waits for the next event that fits.
func (r *rig) event(kind, service string) kernel.Event {
	r.Helper()
	ctx := r.ctx()
	for {
		e, _, err := r.bus.Next(ctx)
		if err != nil {
			r.Fatalf("no event %s of %q: %v", kind, service, err)
		}
		if e.Kind == kind && e.Service == service {
			return e
		}
	}
}

// until waits until readiness is as wanted.
func (r *rig) until(what string, ok func(*kernel.Readiness) bool) {
	r.Helper()
	ctx := r.ctx()
	sub := r.node.Bus().Subscribe(kernel.Query{Kind: kernel.KindReadyChanged})
	defer sub.Close()
	for !ok(r.node.Readiness()) {
		if _, _, err := sub.Next(ctx); err != nil {
			r.Fatalf("never %s: %+v: %v", what, r.node.Readiness(), err)
		}
	}
}

// healthy waits until nothing is missing.
func (r *rig) healthy() {
	r.Helper()
	r.until("healthy", func(is *kernel.Readiness) bool { return is.Ready && !is.Degraded })
}

// answer is one whole answer.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask sends one request on TCP and reads the answer; header is name, value, …
func (r *rig) ask(method, path string, body []byte, header ...string) answer {
	r.Helper()
	req, _ := http.NewRequestWithContext(r.ctx(), method, r.base+path, bytes.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := r.http.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		r.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, got}
}

// decode reads a JSON answer.
func decode[T any](t testing.TB, body []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return v
}

func (r *rig) put(body []byte) store.Address {
	r.Helper()
	if _, _, err := r.data.Put(r.ctx(), bytes.NewReader(body), store.PutOptions{Size: int64(len(body))}); err != nil {
		r.Fatal(err)
	}
	return store.Sum(body)
}

// holds reads an object and compares it bit for bit.
func (r *rig) holds(body []byte) {
	r.Helper()
	var got bytes.Buffer
	if _, err := r.data.Get(r.ctx(), store.Sum(body), &got, nil); err != nil || !bytes.Equal(got.Bytes(), body) {
		r.Errorf("%d of %d bytes came back: %v", got.Len(), len(body), err)
	}
}

// bytesOf makes n bytes that differ from one seed to the next.
func bytesOf(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// metric scrapes and sums the samples of a name that bear all the labels,
// which are written name="value".
func (r *rig) metric(name string, labels ...string) (sum float64) {
	r.Helper()
	a := r.ask("GET", "/metrics", nil)
	if a.status != http.StatusOK {
		r.Fatalf("/metrics: %d: %s", a.status, a.body)
	}
lines:
	for line := range strings.Lines(string(a.body)) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		if !strings.HasPrefix(series, name+"{") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(series, l) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			r.Fatalf("%s: %v", line, err)
		}
		sum += v
	}
	return sum
}

// devConfig is the default, and anybody may do anything.
func devConfig() config.Config {
	c := config.Default()
	c.Auth.Mode = "dev"
	return c
}
