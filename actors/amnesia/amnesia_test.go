package amnesia_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	httpapi "micronode/http"
)

// program is the built node, running as a process of its own.
type program struct {
	*testing.T
	cmd    *exec.Cmd
	pid    int // of the node, not of what traces it
	socket string
	addr   string
	log    lines
	ctl    *httpapi.Client
}

// lines are a log that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "micronode")
	if out, err := exec.Command("go", "build", "-o", path, "micronode").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// run starts the node and waits until it is ready; before are words in front of it.
func run(t *testing.T, binary string, before []string, flags ...string) *program {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p := &program{T: t, socket: filepath.Join(dir, "n.sock")}
	args := append(append(before, binary, "--http-addr", "127.0.0.1:0", "--chaos", "--set", "uds.path="+p.socket), flags...)
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), "GOTRACEBACK=crash", "RON_CONFIG=")
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() })
	var err error
	if p.ctl, err = httpapi.NewClient(httpapi.ClientOptions{Socket: p.socket}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.ctl.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
		if r, err := p.ctl.Ready(ctx, false, false); err == nil && r.Ready {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("never ready: %s", p.log.String())
		}
	}
	st, err := p.ctl.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p.pid = st.PID
	for _, l := range st.Listeners {
		if l.Plane == "data" {
			p.addr = l.Address
		}
	}
	return p
}

func (p *program) enforced() bool {
	v, err := p.ctl.Version(p.Context())
	if err != nil {
		p.Fatal(err)
	}
	return v.Features.AmnesiaEnforced
}

// load does a bit of everything: objects, messages, crashes, a reload.
func (p *program) load() {
	p.Helper()
	ctx := p.Context()
	for i := range 20 {
		body := bytes.Repeat([]byte{byte(i)}, 300_000)
		resp, err := http.Post("http://"+p.addr+"/put", "application/octet-stream", io.MultiReader(bytes.NewReader(body)))
		if err != nil {
			p.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode/100 != 2 {
			p.Fatalf("put: %d", resp.StatusCode)
		}
	}
	if resp, err := http.Post("http://"+p.addr+"/mbox/send", "application/json", strings.NewReader(`{"topic":"t","payload_b64":"aGk="}`)); err == nil {
		_ = resp.Body.Close()
	}
	for _, actor := range []string{"storage", "mailbox-0", "keys", "health"} {
		if _, err := p.ctl.Kill(ctx, httpapi.Order{Service: actor}); err != nil {
			p.Fatal(err)
		}
	}
	if _, err := p.ctl.Reload(ctx, httpapi.Order{}); err != nil {
		p.Fatal(err)
	}
	if resp, err := http.Get("http://" + p.addr + "/metrics"); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
}

func (p *program) stop() {
	p.Helper()
	if err := syscall.Kill(p.pid, syscall.SIGTERM); err != nil {
		p.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.Errorf("end: %v: %.2000s", err, p.log.String())
	}
}

var (
	opens  = regexp.MustCompile(`(?:open|openat|openat2|creat)\(.*`)
	writes = regexp.MustCompile(`O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND|O_TMPFILE|creat\(`)
	change = regexp.MustCompile(`\b(?:mkdir|mkdirat|rename|renameat|renameat2|link|linkat|symlink|symlinkat|mknod|mknodat|truncate|memfd_create)\(`)
)

// TestNothingIsWritten watches every system call over start, load, crashes, reload
// and stop.
func TestNothingIsWritten(t *testing.T) {
	if out, err := exec.Command("strace", "-qq", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("NOT CHECKED: strace is not installed (apt-get install strace) or may not trace here: %v %s", err, out)
	}
	trace := filepath.Join(t.TempDir(), "trace")
	p := run(t, build(t), []string{"strace", "-f", "-qq", "-e", "trace=%file,memfd_create", "-o", trace}, "--dev")
	p.load()
	p.stop()
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	opened := 0
	for _, line := range whole(string(text)) {
		if call := opens.FindString(line); call != "" {
			opened++
			if writes.MatchString(call) && !strings.Contains(call, "/dev/null") && !strings.Contains(call, "EACCES") {
				t.Errorf("opened for writing: %s", line)
			}
		}
		if change.MatchString(line) && !strings.Contains(line, filepath.Base(p.socket)) && !strings.Contains(line, " = -1 ") {
			t.Errorf("changed the file system: %s", line)
		}
	}
	if opened == 0 {
		t.Fatal("the trace shows no opened file: it was looked at wrongly")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(p.socket), "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	t.Logf("%d files opened, none for writing", opened)
}

// whole joins the calls that strace shows in two parts because another thread came between.
func whole(trace string) (calls []string) {
	begun := map[string]string{} // by thread
	for line := range strings.Lines(trace) {
		pid, rest, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		if head, cut := strings.CutSuffix(rest, " <unfinished ...>"); cut {
			begun[pid] = head
			continue
		}
		if _, tail, resumed := strings.Cut(rest, " resumed>"); resumed {
			rest = begun[pid] + tail
			delete(begun, pid)
		}
		calls = append(calls, rest)
	}
	for _, head := range begun {
		calls = append(calls, head) // never came back
	}
	return calls
}

// TestNoCore: a node that is told to abort leaves no core, and its memory cannot
// be had by a limit that is raised again.
func TestNoCore(t *testing.T) {
	p := run(t, build(t), []string{"sh", "-c", `ulimit -c unlimited; exec "$0" "$@"`}, "--dev")
	p.load()
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.pid))
	if err != nil || !regexp.MustCompile(`Max core file size\s+0\s+0`).Match(limits) {
		t.Errorf("core limit: %v %s", err, limits)
	}
	if err := syscall.Kill(p.pid, syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	err = p.cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("it did not abort: %v", err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.CoreDump() {
		t.Error("a core was dumped")
	}
	if left, _ := filepath.Glob(filepath.Join(p.cmd.Dir, "core*")); len(left) > 0 {
		t.Errorf("a core was left: %v", left)
	}
}

// TestRootKeyGone looks for the root key in the memory of the process, after its
// use, after a rotation and in the drain.
func TestRootKeyGone(t *testing.T) {
	root := bytes.Repeat([]byte{0xd1, 0x4c, 0x77, 0x03, 0xee, 0x90, 0x5a, 0x21}, 4)
	root[5] ^= 0x55
	file := filepath.Join(t.TempDir(), "root.key")
	if err := os.WriteFile(file, []byte(hex.EncodeToString(root)), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := build(t)
	p := run(t, binary, nil, "--set", "keys.root_file="+file, "--set", "drain_grace=2s")
	out, err := exec.Command(binary, "cap", "mint", "--key", file, "--op", "all").Output()
	if err != nil {
		t.Fatal(err)
	}
	ask := func() int {
		req, _ := http.NewRequestWithContext(t.Context(), "PUT", "http://"+p.addr+"/put", strings.NewReader("x"))
		req.Header.Set("Authorization", "Macro "+strings.TrimSpace(string(out)))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if got := ask(); got != 201 {
		t.Fatalf("a token of the file's key: %d", got)
	}
	if f, err := os.Open(filepath.Join("/proc", strconv.Itoa(p.pid), "mem")); err != nil {
		t.Skipf("NOT CHECKED: only root, with CAP_SYS_PTRACE, may look into the memory of a process that is not dumpable: %v", err)
	} else {
		_ = f.Close()
	}
	look := func(when string) {
		t.Helper()
		for what, secret := range map[string][]byte{"the key": root, "its hex digits": []byte(hex.EncodeToString(root))} {
			if n := inMemory(t, p.pid, secret); n > 0 {
				t.Errorf("%s: %s is in memory %d times", when, what, n)
			}
		}
	}
	look("after its use")
	if inMemory(t, p.pid, []byte("micronode")) == 0 {
		t.Fatal("the search finds nothing at all")
	}
	if _, err := p.ctl.RotateKeys(t.Context(), httpapi.Order{}); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got != 200 {
		t.Errorf("after a rotation: %d", got)
	}
	look("after a rotation")
	if _, err := p.ctl.Drain(t.Context(), httpapi.Order{}); err != nil {
		t.Fatal(err)
	}
	look("in the drain")
	http.DefaultClient.CloseIdleConnections()
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("end: %v", err)
	}
}

// inMemory counts how often a secret is in the writable memory of a process.
func inMemory(t *testing.T, pid int, secret []byte) (n int) {
	t.Helper()
	maps, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "maps"))
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "mem"))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	buf := make([]byte, 1<<20)
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var perms string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &perms); err != nil || !strings.HasPrefix(perms, "r") {
			continue
		}
		for at := from; at < to; at += int64(len(buf) - len(secret)) {
			got, _ := mem.ReadAt(buf[:min(int64(len(buf)), to-at)], at) // what cannot be read holds nothing
			n += bytes.Count(buf[:got], secret)
		}
	}
	return n
}

// TestEnforced: where the kernel can, /version says that it does, and strict starts.
func TestEnforced(t *testing.T) {
	p := run(t, build(t), nil, "--dev")
	if !p.enforced() {
		t.Skip("NOT CHECKED: this kernel has no Landlock: " + p.log.String())
	}
	strict := run(t, build(t), nil, "--dev", "--set", "amnesia_strict=true")
	if !strict.enforced() {
		t.Error("strict, and not enforced")
	}
	strict.stop()
	p.stop()
}
