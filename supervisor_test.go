package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	httpapi "micronode/http"
	"micronode/http/openapitest"
	"micronode/http/ronctl/cli"
	"micronode/store"
	"micronode/store/mbox"
)

var soak = flag.Bool("soak", false, "put the whole source tree of the Go toolchain in, not a part of it")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lenient lets a drill kill an actor often without a storm, and restart it at
// once.
var lenient = []string{
	"--set", "supervisor.backoff_min=1ms", "--set", "supervisor.backoff_max=20ms",
	"--set", "supervisor.max_restarts=10000", "--set", "supervisor.quarantine_after=20000",
	"--set", "supervisor.watchdog=100ms", "--set", "limits.rps=100000", "--log", "warn",
	"--set", "bus.ring=65536", // the test counts every event, and may be slower than thirteen actors that crash
}

// node is one run of the whole program inside the test.
type node struct {
	*testing.T
	signals chan os.Signal
	code    chan int
	out     lockedBuffer
	err     lockedBuffer
	socket  string
	addr    string
	ctl     *httpapi.Client
	seen    *events
	ended   bool
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs the program on a free port with its socket in a directory of the
// test, and waits until it is ready.
func start(t *testing.T, flags ...string) *node {
	t.Helper()
	n := &node{T: t, signals: make(chan os.Signal, 2), code: make(chan int, 1), socket: filepath.Join(t.TempDir(), "s", "n.sock")}
	p := n.process(append([]string{"--dev", "--chaos", "--http-addr", "127.0.0.1:0", "--set", "uds.path=" + n.socket}, flags...)...)
	go func() { n.code <- p.run(context.Background()) }()
	n.connect()
	t.Cleanup(func() {
		if !n.ended {
			n.signals <- syscall.SIGTERM
			n.exit(exitOK)
		}
		if t.Failed() {
			t.Logf("stdout:\n%s\nstderr:\n%.20000s", n.out.String(), n.err.String())
		}
	})
	return n
}

func (n *node) process(args ...string) *process {
	return &process{args: args, getenv: func(string) string { return "" }, tmp: n.TempDir(), stdout: &n.out, stderr: &n.err, signals: n.signals}
}

// connect makes a client of the operator socket and follows the bus from the
// first event on.
func (n *node) connect() {
	n.Helper()
	var d net.Dialer
	base := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", n.socket)
	}}
	c, err := httpapi.NewClient(httpapi.ClientOptions{Socket: n.socket, HTTP: &http.Client{Transport: openapitest.Transport(n, base)}})
	if err != nil {
		n.Fatal(err)
	}
	n.ctl = c
	n.Cleanup(base.CloseIdleConnections)
	for {
		r, err := c.Ready(n.Context(), false, false)
		if err == nil && r.Ready {
			break
		}
		select {
		case code := <-n.code:
			n.ended = true
			n.Fatalf("ended with %d: %s", code, n.err.String())
		default:
			runtime.Gosched()
		}
	}
	st, err := c.Status(n.Context())
	if err != nil {
		n.Fatal(err)
	}
	for _, l := range st.Listeners {
		if l.Plane == "data" {
			n.addr = l.Address
		}
	}
	n.seen = follow(n)
}

// exit waits for the end of the program.
func (n *node) exit(want int) {
	n.Helper()
	n.ended = true
	if got := <-n.code; got != want {
		n.Errorf("exit code %d, want %d: %s", got, want, n.err.String())
	}
	n.seen.wait()
}

// events collects the bus.
type events struct {
	mu   sync.Mutex
	all  []httpapi.Event
	more chan struct{}
	done sync.WaitGroup
}

func follow(n *node) *events {
	e := &events{more: make(chan struct{}, 1)}
	e.done.Go(func() {
		for ev, err := range n.ctl.Tail(context.Background(), httpapi.TailOptions{Since: "1h"}) {
			if err != nil {
				return
			}
			e.mu.Lock()
			e.all = append(e.all, ev)
			e.mu.Unlock()
			select {
			case e.more <- struct{}{}:
			default:
			}
		}
	})
	return e
}

func (e *events) wait() { e.done.Wait() }

// count returns how many events of a kind and service there were; "" is any.
func (e *events) count(kind, service string) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.all {
		if ev.Kind == kind && (service == "" || ev.Service == service) {
			n++
		}
	}
	return n
}

// until waits until there are so many.
func (n *node) until(kind, service string, many int) {
	n.Helper()
	for n.seen.count(kind, service) < many {
		select {
		case <-n.seen.more:
		case <-n.Context().Done():
			n.Fatalf("%d events %s of %q, want %d", n.seen.count(kind, service), kind, service, many)
		}
	}
}

// healthy waits until the node is ready and nothing is missing.
func (n *node) healthy() {
	n.Helper()
	for {
		r, err := n.ctl.Ready(n.Context(), false, false)
		if err != nil {
			n.Fatal(err)
		}
		if r.Ready && !r.Degraded {
			return
		}
		runtime.Gosched()
	}
}

// order gives an order to an actor as soon as it can take it.
func (n *node) order(f func(context.Context, httpapi.Order) (httpapi.Done, error), actor string) {
	n.Helper()
	for {
		_, err := f(n.Context(), httpapi.Order{Service: actor, Reason: "drill"})
		switch {
		case err == nil:
			return
		case errors.Is(err, httpapi.ErrConflict): // still down
			runtime.Gosched()
		default:
			n.Fatal(err)
		}
	}
}

var actorNames = []string{
	"config", "policy", "keys", "storage", "mailbox", "mailbox-0", "mailbox-1", "mailbox-2", "mailbox-3", "mailbox-4", "mailbox-5", "mailbox-6", "mailbox-7", "ingress", "health",
}

// ronctl runs the command in this process and returns its exit code and output.
func (n *node) ronctl(args ...string) (int, string) {
	var out, errOut lockedBuffer
	code := cli.Main(context.Background(), cli.System{
		Args: append([]string{"--socket", n.socket}, args...), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errOut,
		Getenv: func(string) string { return "" }, Now: time.Now,
		Terminal: func(io.Writer) (int, bool) { return 0, false },
	})
	return code, out.String() + errOut.String()
}

// TestTheStory: up in order, every actor killed and hung while real files go
// in, everything acknowledged comes back bit for bit, the counts agree, down in
// reverse, nothing left.
func TestSoak(t *testing.T) {
	dir := filepath.Join(goroot(t), "src")
	kills, hangs := 50, 5
	if !*soak {
		dir, kills, hangs = filepath.Join(dir, "net"), 12, 2
	}
	n := start(t, lenient...)
	manifest := filepath.Join(t.TempDir(), "manifest.tsv")
	var drill sync.WaitGroup
	for _, actor := range actorNames {
		drill.Go(func() {
			for i := range kills + hangs {
				if i%(kills/hangs+1) == 0 {
					n.order(n.ctl.Hang, actor)
				} else {
					n.order(n.ctl.Kill, actor)
				}
			}
		})
	}
	code, out := n.ronctl("put", "-r", "--manifest", manifest, dir)
	if code != cli.ExitOK {
		t.Errorf("put: exit %d: %s", code, last(out))
	}
	drill.Wait()
	for _, actor := range actorNames {
		n.until("ServiceCrashed", actor, kills+hangs)
	}
	n.healthy()
	if code, out := n.ronctl("verify", manifest, dir); code != cli.ExitOK {
		t.Errorf("verify: exit %d: %s", code, last(out))
	}
	if stored, files := lines(t, manifest), regularFiles(t, dir); stored != files || files < 100 {
		t.Errorf("%d files in the manifest, %d in the tree", stored, files)
	}
	st, err := n.ctl.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range st.Services {
		if s.Restarts != int64(kills+hangs) {
			t.Errorf("%s: %d restarts, want %d", s.Name, s.Restarts, kills+hangs)
		}
	}
	n.signals <- syscall.SIGTERM
	n.exit(exitOK)
	for _, actor := range actorNames {
		if got := n.seen.count("ServiceCrashed", actor); got != kills+hangs {
			t.Errorf("%s: %d crashes on the bus, want %d", actor, got, kills+hangs)
		}
	}
	if got := n.seen.count("ReadyChanged", ""); got < 2*len(actorNames) {
		t.Errorf("readiness changed only %d times", got)
	}
	if up, down := healthOrder(n.seen.all); !slices.Equal(up, actorNames) || !slices.Equal(down, reversed(actorNames)) {
		t.Errorf("up %v, down %v", up, down)
	}
	if _, err := os.Stat(n.socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func goroot(t *testing.T) string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func last(s string) string {
	l := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(l[max(0, len(l)-5):], "\n")
}

func lines(t *testing.T, path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("\n"))
}

func regularFiles(t *testing.T, dir string) (n int) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// healthOrder is the order of the first start and of the last stop.
func healthOrder(all []httpapi.Event) (up, down []string) {
	for _, e := range all {
		var d struct {
			OK    bool
			State string
		}
		if e.Kind != "Health" || json.Unmarshal(e.Data, &d) != nil {
			continue
		}
		if d.OK && !slices.Contains(up, e.Service) {
			up = append(up, e.Service)
		}
		if d.State == "stopping" {
			down = append(down, e.Service)
		}
	}
	return up, down
}

func reversed(s []string) []string {
	r := slices.Clone(s)
	slices.Reverse(r)
	return r
}

// TestStopUnderLoad: clients keep putting while SIGTERM comes. Every request
// that was sent on a connection gets a whole answer, readyz says 503 before any
// connection is refused, and the exit is clean.
func TestStopUnderLoad(t *testing.T) {
	n := start(t, lenient...)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var load sync.WaitGroup
	var served, refused, notReadyAt, refusedAt atomic.Int64
	begun := time.Now()
	for worker := range 8 {
		rng := rand.New(rand.NewPCG(1, uint64(worker)))
		load.Go(func() {
			for refused.Load() < 8 {
				body := make([]byte, 1+rng.IntN(100_000))
				for i := range body {
					body[i] = byte(rng.Uint32())
				}
				res, err := client.Post("http://"+n.addr+"/put", "application/octet-stream", bytes.NewReader(body))
				if dial := new(net.OpError); errors.As(err, &dial) && dial.Op == "dial" { // refused, or reset where the kernel has no socket filters
					refusedAt.CompareAndSwap(0, int64(time.Since(begun)))
					refused.Add(1)
					return
				}
				if err != nil {
					t.Errorf("cut: %v", err)
					return
				}
				var s httpapi.Stored
				err = json.NewDecoder(res.Body).Decode(&s)
				_ = res.Body.Close()
				if err != nil || res.StatusCode/100 != 2 || s.Address != store.Sum(body).String() {
					t.Errorf("status %d, %+v, %v", res.StatusCode, s, err)
				}
				if served.Add(1) == 200 {
					n.signals <- syscall.SIGTERM
				}
			}
		})
	}
	load.Go(func() {
		for refused.Load() == 0 {
			if r, err := n.ctl.Ready(t.Context(), false, false); err == nil && !r.Ready {
				notReadyAt.CompareAndSwap(0, int64(time.Since(begun)))
				return
			}
		}
	})
	load.Wait()
	n.exit(exitOK)
	if lead := time.Duration(refusedAt.Load() - notReadyAt.Load()); notReadyAt.Load() == 0 || lead <= 0 {
		t.Errorf("refused %v after readyz said so (readyz at %v)", lead, time.Duration(notReadyAt.Load()))
	}
	if n.seen.count("Shutdown", "") != 1 || n.seen.count("DrainStarted", "") != 1 {
		t.Error("the bus did not tell of the drain")
	}
}

// TestBodiesBeyondTheBound: a stream without end is refused at the bound, a
// large one comes back whole and in parts.
func TestLargeStreams(t *testing.T) {
	n := start(t, lenient...)
	rng := rand.NewChaCha8([32]byte{1})
	const size = 60 << 20
	data := make([]byte, size)
	_, _ = rng.Read(data)
	stored, created, err := n.ctl.Put(t.Context(), bytes.NewReader(data), store.PutOptions{Size: -1})
	if err != nil || !created || stored.Address != store.Sum(data).String() {
		t.Fatal(stored, created, err)
	}
	a, _ := store.ParseAddress(stored.Address)
	var whole bytes.Buffer
	if _, err := n.ctl.Get(t.Context(), a, &whole, nil); err != nil || !bytes.Equal(whole.Bytes(), data) {
		t.Fatalf("%d bytes back: %v", whole.Len(), err)
	}
	pick := rand.New(rand.NewPCG(2, 2))
	for range 50 {
		off := pick.Int64N(size)
		span := httpapi.Span{Off: off, N: 1 + pick.Int64N(min(300_000, size-off))}
		var part bytes.Buffer
		if _, err := n.ctl.Get(t.Context(), a, &part, &span); err != nil || !bytes.Equal(part.Bytes(), data[span.Off:span.Off+span.N]) {
			t.Fatalf("range %+v: %d bytes, %v", span, part.Len(), err)
		}
	}
	err = httpapi.ErrConnLost
	for try := 0; try < 3 && errors.Is(err, httpapi.ErrConnLost); try++ { // a client that gets no CPU for half a second loses the refusal
		endless := io.LimitReader(&repeat{data: data[:1<<20]}, 5<<30)
		_, _, err = n.ctl.Put(t.Context(), struct{ io.Reader }{endless}, store.PutOptions{Size: -1})
	}
	if !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("5 GiB: %v", err)
	}
	if st, err := n.ctl.Status(t.Context()); err != nil || st.Store.Objects != 1 {
		t.Errorf("after the refusal: %+v, %v", st.Store, err)
	}
}

type repeat struct {
	data []byte
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.data[r.at:])
	r.at = (r.at + n) % len(r.data)
	return n, nil
}

// TestExitCodes: 0 clean, 2 configuration and usage, 98 bind (contract §9).
func TestExitCodes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	bad := filepath.Join(t.TempDir(), "bad.toml")
	if err := os.WriteFile(bad, []byte("[limits]\nrsp = 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(t.TempDir(), "good.toml")
	if err := os.WriteFile(good, []byte("[limits]\nrps = 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"unknown flag":           {[]string{"--nope"}, exitConfig, "--help"},
		"an argument":            {[]string{"serve"}, exitConfig, "--help"},
		"unknown key":            {[]string{"--set", "limits.rsp=5"}, exitConfig, "did you mean limits.rps"},
		"not loopback":           {[]string{"--dev", "--http-addr", "0.0.0.0:8080"}, exitConfig, "loopback"},
		"no policy":              {[]string{"--dev", "--set", "policy.file=/nonexistent.cedar"}, exitFailed, "/nonexistent.cedar"},
		"missing file":           {[]string{"--config", "/nonexistent.toml"}, exitConfig, "/nonexistent.toml"},
		"a fault with its place": {[]string{"config", "validate", bad}, exitConfig, bad + ":2:1"},
		"no such file":           {[]string{"config", "validate", "nope.toml"}, exitConfig, "nope.toml: cannot read the file: no such file or directory; check the path"},
		"a valid file":           {[]string{"config", "validate", good}, exitOK, "valid"},
		"print":                  {[]string{"config", "print", "--origin", "--config", good}, exitOK, "# file " + good + ":2"},
		"schema":                 {[]string{"config", "schema"}, exitOK, "2020-12"},
		"version":                {[]string{"version"}, exitOK, "micronode"},
		"help":                   {[]string{"--help"}, exitOK, "--dev"},
		"a taken port":           {[]string{"--dev", "--http-addr", taken.Addr().String()}, exitBind, taken.Addr().String()},
	} {
		t.Run(name, func(t *testing.T) {
			n := &node{T: t, signals: make(chan os.Signal)}
			code := n.process(c.args...).run(t.Context())
			if said := n.out.String() + n.err.String(); code != c.code || !strings.Contains(said, c.says) {
				t.Errorf("exit %d, want %d; it says %q, want %q in it", code, c.code, said, c.says)
			}
		})
	}
}

// TestStopByOperatorAndSecondSignal: ronctl stop ends the program cleanly; a
// second signal does not wait for a request that never ends.
func TestWaysToStop(t *testing.T) {
	n := start(t)
	if code, out := n.ronctl("stop"); code != cli.ExitOK {
		t.Errorf("stop: %d %s", code, out)
	}
	n.exit(exitOK)

	n = start(t)
	n.signals <- syscall.SIGHUP // not a reason to end
	conn, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	fmt.Fprintf(conn, "POST /put HTTP/1.1\r\nHost: %s\r\nContent-Length: 10\r\n\r\nhalf", n.addr)
	n.signals <- syscall.SIGTERM
	n.until("Shutdown", "", 1)
	n.signals <- syscall.SIGTERM
	n.ended = true
	if code := <-n.code; code != exitFailed {
		t.Errorf("exit code %d after the second signal", code)
	}
	_ = conn.Close() // the first stop, still under way here, ends now
	n.seen.wait()
}

// TestStopWithASlowClient: whoever does not finish in the time of the drain is
// cut and counted, and the exit is clean all the same.
func TestStopWithASlowClient(t *testing.T) {
	n := start(t, "--set", "drain_deadline=500ms")
	conn, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	fmt.Fprintf(conn, "POST /put HTTP/1.1\r\nHost: %s\r\nContent-Length: 10\r\n\r\nhalf", n.addr)
	for { // until it is being served
		st, err := n.ctl.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if st.Inflight > 2 { // it, the tail and the question
			break
		}
	}
	n.signals <- syscall.SIGTERM
	n.exit(exitOK)
	if got := n.seen.count("DrainCut", ""); got != 1 || !strings.Contains(n.err.String(), `"requests":1`) {
		t.Errorf("%d events DrainCut; the log says %s", got, last(n.err.String()))
	}
}

// stuck is a pipe that nobody reads.
type stuck struct{ release chan struct{} }

func (s stuck) Write(p []byte) (int, error) {
	<-s.release
	return len(p), nil
}

// TestNobodyReads: standard output and error take nothing. The node serves,
// stops, and says how it ended.
func TestNobodyReads(t *testing.T) {
	pipe := stuck{make(chan struct{})}
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	defer close(pipe.release)
	n := &node{T: t, signals: make(chan os.Signal, 2), code: make(chan int, 1), socket: filepath.Join(t.TempDir(), "s", "n.sock")}
	p := n.process("--dev", "--http-addr", "127.0.0.1:0", "--set", "uds.path="+n.socket)
	p.stdout, p.stderr = pipe, pipe
	go func() { n.code <- p.run(context.Background()) }()
	n.connect()
	for range 300 {
		if _, err := n.ctl.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	n.signals <- syscall.SIGTERM
	n.exit(exitOK)

	bad := n.process("--nope")
	bad.stdout, bad.stderr = pipe, pipe
	if code := bad.run(t.Context()); code != exitConfig {
		t.Errorf("exit code %d of a wrong flag", code)
	}
}

// TestReaderIsGone: whoever read the output of the program ends, as in
// `micronode | head`. The node lives, serves, and ends cleanly.
func TestReaderIsGone(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "micronode")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	n := &node{T: t, code: make(chan int, 1), socket: filepath.Join(t.TempDir(), "s", "n.sock")}
	cmd := exec.Command(bin, "--dev", "--http-addr", "127.0.0.1:0", "--set", "uds.path="+n.socket)
	cmd.Env = append(os.Environ(), "RON_CONFIG=")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = writer, writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	untilLine(t, reader, "\n")
	_ = reader.Close()
	go func() {
		_ = cmd.Wait() // its state is looked at
		n.code <- cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	n.connect()
	for range 100 { // each is a line of the log
		if _, err := n.ctl.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, created, err := n.ctl.Put(t.Context(), strings.NewReader("alive"), store.PutOptions{Size: 5}); err != nil || !created {
		t.Error(created, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	n.exit(exitOK)
}

// TestBinary: the built program, as a person starts it: a first line that
// helps, three commands that work when pasted, and a clean end on SIGTERM.
func TestBinary(t *testing.T) {
	dir := t.TempDir()
	for name, pkg := range map[string]string{"micronode": ".", "ronctl": "./http/ronctl"} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	cmd := exec.Command("./micronode", "--dev", "--http-addr", "127.0.0.1:0")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir(), "RUNTIME_DIRECTORY=", "RON_CONFIG=")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var logs lockedBuffer
	cmd.Stderr = &logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	greeting := untilLine(t, out, "tail --since")
	for _, want := range []string{"is ready after", "http://127.0.0.1:", "auth dev", "every object is lost"} {
		if !strings.Contains(greeting, want) {
			t.Errorf("the greeting lacks %q:\n%s", want, greeting)
		}
	}
	for line := range strings.Lines(greeting) {
		if line = strings.TrimSpace(line); !strings.Contains(line, "./ronctl") {
			continue
		}
		sh := exec.Command("sh", "-c", "exec "+line)
		sh.Dir, sh.Env = dir, cmd.Env
		pasted(t, sh, strings.Contains(line, " tail "))
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit: %v\n%s", err, logs.String())
	}
}

// pasted runs a command of the greeting: it says something and ends well; one
// that follows is interrupted after its first line.
func pasted(t *testing.T, sh *exec.Cmd, follows bool) {
	t.Helper()
	out, err := sh.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	first := untilLine(t, out, "\n")
	if follows {
		if err := sh.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
	}
	rest, _ := io.ReadAll(out)
	if err := sh.Wait(); err != nil {
		t.Errorf("%v: %v: %s%s", sh.Args, err, first, rest)
	}
}

func untilLine(t *testing.T, r io.Reader, want string) string {
	t.Helper()
	var all bytes.Buffer
	buf := make([]byte, 4096)
	for !strings.Contains(all.String(), want) {
		n, err := r.Read(buf)
		all.Write(buf[:n])
		if err != nil {
			t.Fatalf("%v after %q", err, all.String())
		}
	}
	return all.String()
}

// TestMailboxLedger: producers and consumers on real connections while every
// shard is killed again and again. The clients' ledgers are the judge: nothing
// accepted is lost, nothing comes again after its ack, nothing comes again at all
// without a nack, and order holds where nothing was redelivered.
func TestMailboxLedger(t *testing.T) {
	total, kills := 20_000, 80
	if *soak {
		total, kills = 200_000, 800
	}
	n := start(t, append(lenient, "--set", "supervisor.watchdog=2s", "--set", "mailbox.shard_capacity=200000", "--set", "mailbox.visibility=10m")...)
	const lanes = 4
	progress := make(chan struct{}, kills)
	var done sync.WaitGroup
	books := make([]*book, lanes)
	for i := range lanes {
		b := &book{T: t, topic: fmt.Sprintf("lane/%d", i), want: total / lanes, every: total / kills, fails: i%2 == 1, progress: progress, seen: map[string]int{}}
		books[i] = b
		done.Go(func() { b.produce(n) })
		done.Go(func() { b.consume(n) })
	}
	ended := make(chan struct{})
	go func() { done.Wait(); close(ended) }()
	killed := 0
	for running := true; running; {
		select {
		case <-progress:
			n.order(n.ctl.Kill, fmt.Sprintf("mailbox-%d", killed%8))
			killed++
		case <-ended:
			running = false
		}
	}
	if killed < kills/2 {
		t.Errorf("void: only %d kills", killed)
	}
	again := 0
	for _, b := range books {
		if len(b.acked) != b.want {
			t.Errorf("%s: %d of %d messages were acknowledged", b.topic, len(b.acked), b.want)
		}
		again += b.again
	}
	if again == 0 {
		t.Error("void: nothing was ever redelivered")
	}
	st, err := n.ctl.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range st.Services {
		if s.Name == "mailbox-0" && s.Restarts == 0 {
			t.Error("void: mailbox-0 was never killed")
		}
	}
	for topic, err := range n.ctl.Topics(t.Context()) {
		t.Errorf("left behind: %+v, %v", topic, err)
	}
}

// book is what one producer and one consumer know of their topic.
type book struct {
	*testing.T
	topic    string
	want     int
	every    int  // messages between two kills
	fails    bool // nacks some first deliveries
	progress chan struct{}
	seen     map[string]int // deliveries by payload
	acked    map[string]bool
	again    int
}

func (b *book) client(n *node) *httpapi.Client {
	c, err := httpapi.NewClient(httpapi.ClientOptions{Addr: n.addr, Retry: httpapi.Retry{
		Attempts: 1000, Base: time.Millisecond, Cap: 20 * time.Millisecond,
	}})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// produce sends in order; what is refused for now is sent again under its key.
func (b *book) produce(n *node) {
	c := b.client(n)
	defer c.Close()
	for i := 0; i < b.want; {
		batch := make([]httpapi.SendRequest, 0, 50)
		for k := i; k < min(i+50, b.want); k++ {
			batch = append(batch, httpapi.SendRequest{Topic: b.topic, PayloadB64: fmt.Appendf(nil, "%s#%d", b.topic, k), IdemKey: fmt.Sprint(k)})
		}
		for len(batch) > 0 {
			out, err := c.SendBatch(b.Context(), batch)
			if err != nil {
				b.Errorf("send: %v", err)
				return
			}
			if out[0].Err != nil && !out[0].Err.Retryable {
				b.Errorf("send: %v", out[0].Err)
				return
			}
			if out[0].Err == nil { // one shard: all or none
				i += len(batch)
				batch = nil
			}
		}
	}
}

func (b *book) consume(n *node) {
	c := b.client(n)
	defer c.Close()
	b.acked = map[string]bool{}
	wait, many := int64(1000), int64(40)
	next := 0
	for len(b.acked) < b.want && !b.Failed() {
		got, err := c.Recv(b.Context(), httpapi.RecvRequest{Topic: b.topic, WaitMS: &wait, MaxMessages: &many})
		if err != nil {
			b.Errorf("recv: %v", err)
			return
		}
		var acks []httpapi.SettleRequest
		var names []string
		for _, e := range got {
			name := string(e.PayloadB64)
			b.seen[name]++
			switch {
			case b.acked[name]:
				b.Errorf("%s came again after its ack", name)
			case e.Attempt != b.seen[name]:
				b.Errorf("%s came for the %d. time as attempt %d", name, b.seen[name], e.Attempt)
			case !b.fails && name != fmt.Sprintf("%s#%d", b.topic, next):
				b.Errorf("%s came where %d is due", name, next)
			}
			next++
			if b.fails && e.Attempt == 1 && next%10 == 0 {
				b.again++
				if err := c.Nack(b.Context(), httpapi.SettleRequest{Receipt: e.Receipt, Reason: "drill"}); err != nil {
					b.Errorf("nack: %v", err)
				}
				continue
			}
			acks, names = append(acks, httpapi.SettleRequest{Receipt: e.Receipt}), append(names, name)
		}
		b.settle(c, acks, names)
	}
}

// settle acknowledges until every verdict has come through.
func (b *book) settle(c *httpapi.Client, acks []httpapi.SettleRequest, names []string) {
	for len(acks) > 0 && !b.Failed() {
		out, err := c.AckBatch(b.Context(), acks)
		if err != nil {
			b.Errorf("ack: %v", err)
			return
		}
		var left []httpapi.SettleRequest
		var of []string
		for i, o := range out {
			switch {
			case o.Err == nil || errors.Is(o.Err, mbox.ErrSettled):
				b.acked[names[i]] = true
				if len(b.acked)%b.every == 0 {
					b.progress <- struct{}{}
				}
			case o.Err.Retryable:
				left, of = append(left, acks[i]), append(of, names[i])
			default:
				b.Errorf("ack of %s: %v", names[i], o.Err)
			}
		}
		acks, names = left, of
	}
}

// TestMailboxByHand: what a person does with messages, from send to the
// dead-letter queue and back.
func TestMailboxByHand(t *testing.T) {
	n := start(t, "--set", "mailbox.max_attempts=2", "--set", "limits.rps=100000")
	says := func(code int, want string, args ...string) string {
		t.Helper()
		got, out := n.ronctl(append([]string{"mbox"}, args...)...)
		if got != code || !strings.Contains(out, want) {
			t.Fatalf("mbox %v: exit %d, want %d, with %q in\n%s", args, got, code, want, out)
		}
		return out
	}
	id := strings.TrimSpace(says(0, "", "send", "jobs", "resize 17", "--key", "k", "--attr", "type=img"))
	says(0, id+"\tduplicate", "send", "jobs", "resize 17", "--key", "k")
	says(1, "next: use another --key", "send", "jobs", "other", "--key", "k")
	says(0, "jobs       1        0       0     0", "topics")
	says(0, id+"  ready  attempts 0\nresize 17", "peek", "jobs")
	var got struct{ Messages []httpapi.Envelope }
	if err := json.Unmarshal([]byte(says(0, id, "recv", "jobs", "-o", "json")), &got); err != nil || len(got.Messages) != 1 {
		t.Fatalf("%v: %+v", err, got)
	}
	receipt := got.Messages[0].Receipt
	says(0, "extended until", "extend", receipt, "--visibility", "1m")
	says(0, "nothing is ready in jobs", "recv", "jobs")
	says(0, "given back", "nack", receipt, "--reason", "disk full")
	says(1, "next: receive again", "ack", receipt)
	says(1, "next: copy the receipt", "ack", "nonsense")
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan string, 1)
	go func() {
		var out lockedBuffer
		cli.Main(ctx, cli.System{
			Args:  []string{"--socket", n.socket, "mbox", "recv", "jobs", "--follow", "--", "sh", "-c", "cat > " + dir + "/$RON_MSG_ID; echo worse >&2; exit $((RON_ATTEMPT + 1))"},
			Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }, Now: time.Now,
			Environ: os.Environ(), Terminal: func(io.Writer) (int, bool) { return 0, false },
		})
		done <- out.String()
	}()
	n.until("DlqMoved", "", 1)
	cancel()
	if out := <-done; !strings.Contains(out, "attempt 2: exit status 3: worse") || !strings.Contains(out, "0 messages done, 1 failed") {
		t.Errorf("the consumer said\n%s", out)
	}
	if b, err := os.ReadFile(filepath.Join(dir, id)); string(b) != "resize 17" {
		t.Errorf("the command got %q, %v", b, err)
	}
	says(0, "exit status 3: worse", "dlq", "list", "jobs")
	says(0, "last error  exit status 3: worse", "dlq", "show", "jobs", id)
	says(2, "next: add --yes", "dlq", "purge", "jobs")
	says(0, "1 message put back", "dlq", "reprocess", "jobs", id)
	says(0, "attempt 1", "recv", "jobs", "--ack")
	says(0, "the mailbox is empty", "topics")
	says(0, "0 messages deleted", "purge", "jobs", "--yes")
	says(1, "Bad message", "send", "no spaces", "x")
}

// killLedger is what the clients of a node know that is killed: the judge.
type killLedger struct {
	*testing.T
	mu       sync.Mutex
	objects  map[store.Address]int // acknowledged, and their size
	accepted map[string]string     // payload to message id, acknowledged sends
	keys     map[string]string     // idempotency keys of the latest round
	settled  map[string]bool       // payload: true acknowledged, false unknown
	seen     map[string]bool       // payloads that were delivered
	acks     int                   // of everything, this round
	enough   chan struct{}         // closed when a round has had enough
	want     int
}

func (l *killLedger) note(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	if l.acks++; l.acks == l.want {
		close(l.enough)
	}
}

func seeded(name string, n int) []byte {
	b := bytes.Repeat([]byte(name+"."), n/(len(name)+1)+1)
	return b[:n]
}

// putter, sender and consumer work until the node is gone.
func (l *killLedger) putter(c *httpapi.Client, lane string) {
	for i := 0; ; i++ {
		b := seeded(fmt.Sprint(lane, "-", i), 100+(i*7919)%90_000)
		size := int64(len(b))
		if i%3 == 0 {
			size = -1
		}
		if _, _, err := c.Put(l.Context(), bytes.NewReader(b), store.PutOptions{Size: size}); err != nil {
			return
		}
		l.note(func() { l.objects[store.Sum(b)] = len(b) })
	}
}

func (l *killLedger) sender(c *httpapi.Client, lane string) {
	for i := 0; ; i++ {
		name := fmt.Sprint(lane, "#", i)
		sent, err := c.Send(l.Context(), httpapi.SendRequest{Topic: "kill", PayloadB64: []byte(name), IdemKey: name})
		if err != nil {
			return
		}
		l.note(func() { l.accepted[name], l.keys[name] = sent.MsgID, sent.MsgID })
	}
}

func (l *killLedger) consumer(c *httpapi.Client) {
	wait, many, visible := int64(200), int64(4), int64(400)
	for {
		got, err := c.Recv(l.Context(), httpapi.RecvRequest{Topic: "kill", WaitMS: &wait, MaxMessages: &many, VisibilityMS: &visible})
		if err != nil {
			return
		}
		for _, e := range got {
			name := string(e.PayloadB64)
			l.mu.Lock()
			l.seen[name] = true
			if l.settled[name] {
				l.Errorf("%s (attempt %d) came again after its ack", name, e.Attempt)
			}
			l.mu.Unlock()
			err := c.Ack(l.Context(), httpapi.SettleRequest{Receipt: e.Receipt})
			if err == nil {
				l.note(func() { l.settled[name] = true })
				continue
			}
			l.mu.Lock()
			if _, known := l.settled[name]; !known {
				l.settled[name] = false // perhaps
			}
			l.mu.Unlock()
			if errors.Is(err, httpapi.ErrConnLost) || errors.Is(err, httpapi.ErrUnreachable) {
				return
			}
		}
	}
}

// check holds what a node has against the ledger.
func (l *killLedger) check(c *httpapi.Client, all bool) {
	l.Helper()
	n := 0
	for a, size := range l.objects {
		if n++; !all && n > 200 {
			break
		}
		if got, err := c.Get(l.Context(), a, io.Discard, nil); err != nil || got != int64(size) {
			l.Errorf("acknowledged object %v: %d of %d bytes, %v", a, got, size, err)
		}
	}
	for name, id := range l.keys {
		sent, err := c.Send(l.Context(), httpapi.SendRequest{Topic: "kill", PayloadB64: []byte(name), IdemKey: name})
		if err != nil || sent.MsgID != id || !sent.Duplicate {
			l.Errorf("key %s: %+v, %v; want the id %s", name, sent, err, id)
		}
	}
	clear(l.keys)
}

// TestSIGKILL: the built program on a disk, killed at random moments of puts, sends, receives and acks, each time started
// again on what is left.
func TestSIGKILL(t *testing.T) {
	kills, many := 6, 300
	if *soak {
		kills, many = 200, 10_000
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "micronode"), ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l := &killLedger{
		T: t, objects: map[store.Address]int{}, accepted: map[string]string{}, keys: map[string]string{}, settled: map[string]bool{}, seen: map[string]bool{},
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s.sock")
	var took []time.Duration
	life := func(round int, do func(c *httpapi.Client)) {
		t.Helper()
		cmd := exec.Command(filepath.Join(dir, "micronode"), "--http-addr", "127.0.0.1:0", "--amnesia=false", "--store-dir", filepath.Join(dir, "data"),
			"--set", "uds.path="+socket, "--set", "limits.rps=1000000", "--set", "fairness.queue_wait=1s", "--set", "mailbox.max_attempts=1000",
			"--set", "mailbox.shard_capacity=1000000", "--set", "store.max_bytes=20GiB", "--log", "warn")
		var logs lockedBuffer
		cmd.Stderr = &logs
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ready := make(chan string, 1)
		go func() {
			line := make([]byte, 4096)
			n, _ := out.Read(line)
			ready <- string(line[:n])
			_, _ = io.Copy(io.Discard, out)
		}()
		if line := <-ready; !strings.Contains(line, "is ready") {
			_ = cmd.Wait()
			t.Fatalf("round %d: not ready: %q\n%s", round, line, logs.String())
		}
		took = append(took, time.Since(begun))
		c, err := httpapi.NewClient(httpapi.ClientOptions{Socket: socket})
		if err != nil {
			t.Fatal(err)
		}
		do(c)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		c.Close()
	}
	life(0, func(c *httpapi.Client) {
		for i := range many {
			b := seeded(fmt.Sprint("stock", i), 500+i%3000)
			if _, _, err := c.Put(t.Context(), bytes.NewReader(b), store.PutOptions{Size: int64(len(b))}); err != nil {
				t.Fatal(err)
			}
			l.objects[store.Sum(b)] = len(b)
		}
	})
	promises := 0
	for round := 1; round <= kills && !t.Failed(); round++ {
		l.acks, l.want, l.enough = 0, 20+rand.IntN(400), make(chan struct{})
		var work sync.WaitGroup
		life(round, func(c *httpapi.Client) {
			l.check(c, false)
			for i := range 3 {
				work.Go(func() { l.putter(c, fmt.Sprint("r", round, "p", i)) })
			}
			for i := range 2 {
				work.Go(func() { l.sender(c, fmt.Sprint("r", round, "s", i)) })
				work.Go(func() { l.consumer(c) })
			}
			<-l.enough
		})
		work.Wait()
		promises += l.acks
	}
	life(kills+1, func(c *httpapi.Client) {
		l.check(c, true)
		l.drainQueue(c)
	})
	for name := range l.accepted {
		if _, settled := l.settled[name]; !settled && !l.seen[name] {
			t.Errorf("accepted message %s is lost", name)
		}
	}
	slices.Sort(took)
	t.Logf("%d kills, %d promises, %d objects; exec to ready p50 %v, p99 %v", kills, promises, len(l.objects), took[len(took)/2], took[len(took)*99/100])
}

// drainQueue receives what is left until nothing comes for as long as a backoff may take.
func (l *killLedger) drainQueue(c *httpapi.Client) {
	wait, many := int64(3000), int64(256)
	for {
		got, err := c.Recv(l.Context(), httpapi.RecvRequest{Topic: "kill", WaitMS: &wait, MaxMessages: &many})
		if err != nil {
			l.Fatal(err)
		}
		if len(got) == 0 {
			if topics, err := c.TopicsPage(l.Context(), "", 10); err == nil && len(topics.Topics) == 0 {
				return
			}
			continue
		}
		for _, e := range got {
			name := string(e.PayloadB64)
			l.seen[name] = true
			if l.settled[name] {
				l.Errorf("%s came again after its ack", name)
			}
			if err := c.Ack(l.Context(), httpapi.SettleRequest{Receipt: e.Receipt}); err != nil {
				l.Error(err)
			}
		}
	}
}
