package actors_test

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"micronode/actors"
	"micronode/config"
	httpapi "micronode/http"
	"micronode/kernel"
	"micronode/store"
)

func itoa(n int) string { return strconv.Itoa(n) }

// listening finds the descriptor of this process that listens on an address.
func listening(t *testing.T, addr string) int {
	t.Helper()
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(addr)
	for _, f := range dir {
		fd, _ := strconv.Atoi(f.Name())
		name, err := syscall.Getsockname(fd)
		if err != nil {
			continue
		}
		accepts, _ := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
		if in, ok := name.(*syscall.SockaddrInet4); ok && accepts == 1 && itoa(in.Port) == port {
			return fd
		}
	}
	t.Fatalf("nobody listens on %s", addr)
	return 0
}

// A listener that dies is one crash of the ingress actor, which binds the same
// address anew.
func TestListenerDies(t *testing.T) {
	r := start(t, lenient) // not parallel: descriptors are the process's
	addr := strings.TrimPrefix(r.base, "http://")
	for i := range 2 {
		r.close()
		if err := syscall.Shutdown(listening(t, addr), syscall.SHUT_RDWR); err != nil {
			t.Fatal(err)
		}
		crash := r.event(kernel.KindServiceCrashed, "ingress").Data.(kernel.CrashData)
		if !strings.Contains(crash.Reason, addr) || crash.Restarts != int64(i+1) {
			t.Errorf("%+v", crash)
		}
		r.healthy()
		if a := r.ask("GET", "/healthz", nil); a.status != 200 {
			t.Errorf("%d", a.status)
		}
	}
}

// watched is a store that tells each time that somebody asks how full it is:
// the health actor does so first of all when it looks.
type watched struct {
	*busyStore
	looks func()
}

func (w *watched) Usage() store.Usage {
	w.looks()
	return w.Store.Usage()
}

// A crowd that is gone by the next look is no cause; one that is still there is.
func TestInflightNeedsTwoLooks(t *testing.T) {
	t.Parallel()
	var r *rig
	var armed atomic.Bool
	missing := make(chan []string, 16)
	objects := &watched{newBusyStore(), func() {
		if armed.Load() {
			missing <- r.node.Readiness().Missing
		}
	}}
	r = start(t, func(c *config.Config, o *actors.Options) { c.Limits.Inflight, o.Objects = 1, objects })
	held := r.hold(objects.busyStore, 1)
	armed.Store(true)
	for look, want := range [][]string{{}, {}, {"inflight"}} { // as it was before the look
		if got := <-missing; !slices.Equal(got, want) {
			t.Errorf("before look %d: %v", look+1, got)
		}
	}
	armed.Store(false)
	held()
}

// A client is never told to come back in the past.
func TestRetryAfterFloor(t *testing.T) {
	t.Parallel()
	var late atomic.Int64
	r := start(t, func(_ *config.Config, o *actors.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	})
	r.node.Tree().Ledger().Raise(kernel.Cause{Name: "drill", Effect: kernel.NotReady})
	late.Store(int64(time.Minute))
	a := r.ask("GET", "/readyz", nil)
	if ready := decode[httpapi.Readiness](t, a.body); a.status != 503 || ready.RetryAfter != 1 || a.header.Get("Retry-After") != "1" {
		t.Errorf("%d, Retry-After %q, %+v", a.status, a.header.Get("Retry-After"), ready)
	}
	r.node.Tree().Ledger().Clear("drill")
}

// A log that is too slow for the bus says what it lost.
func TestLogLags(t *testing.T) {
	t.Parallel()
	s := newStuck()
	release := sync.OnceFunc(func() { close(s.release) })
	defer release()
	log, err := actors.NewLogger(s, "warn", false)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, func(c *config.Config, o *actors.Options) { c.Bus.Ring, o.Logger = 8, log })
	crash := func(n int) {
		r.node.Bus().Publish(kernel.Event{Topic: "micronode.crash", Kind: kernel.KindServiceCrashed, Service: "drill", Data: kernel.CrashData{Reason: itoa(n)}})
	}
	crash(-1)
	<-s.begun
	for i := range 20 {
		crash(i)
	}
	release()
	r.stop()
	lagged := pick(s.lines(t), "event", "bus_lagged")
	if len(lagged) == 0 || lagged[0]["level"] != "warn" || lagged[0]["lost"].(float64) < 12 {
		t.Errorf("%v", s.lines(t))
	}
}

// What a crash says can neither forge a line of the log nor steer a terminal.
func TestLogIsPrintable(t *testing.T) {
	t.Parallel()
	const reason = "fell\x1b[2J\n12:00:00.000 INFO ready\r\u009b31m\u202etxt\u2028\x7f\xff 𝄞é\U000e0041"
	for _, text := range []bool{false, true} {
		d := &diary{}
		log, err := actors.NewLogger(d, "info", text)
		if err != nil {
			t.Fatal(err)
		}
		r := start(t, lenient, func(_ *config.Config, o *actors.Options) { o.Logger = log })
		r.node.Bus().Publish(kernel.Event{Topic: "micronode.crash", Kind: kernel.KindServiceCrashed, Service: "drill", Data: kernel.CrashData{Reason: reason, Stack: reason}})
		log.Warn(reason)
		r.stop()
		said := d.b.String()
		if strings.ContainsAny(said, "\x1b\r\u009b\u202e\u2028\x7f\U000e0041") || strings.Contains(said, "\xff") || strings.Contains(said, "\n12:00:00.000") {
			t.Errorf("text %v: %q", text, said)
		}
		for _, want := range []string{`\u001b[2J`, `𝄞é`} {
			if !strings.Contains(said, want) {
				t.Errorf("text %v lacks %q: %q", text, want, said)
			}
		}
		if text {
			continue
		}
		crashes := pick(d.lines(t), "event", kernel.KindServiceCrashed)
		if want := strings.Replace(reason, "\xff", "\ufffd", 1); len(crashes) != 1 || crashes[0]["reason"] != want {
			t.Errorf("%q, want %q", crashes, want)
		}
	}
}
