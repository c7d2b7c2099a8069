package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	httpapi "micronode/http"
	"micronode/http/ronctl/cli"
	"micronode/store"
)

func TestExitCodes(t *testing.T) {
	n := startNode(t)
	absent := store.Sum([]byte("absent")).String()
	tests := []struct {
		args string
		want int
	}{
		{"", cli.ExitOK},
		{"help", cli.ExitOK},
		{"--version", cli.ExitOK},
		{"status", cli.ExitOK},
		{"status -o JSON", cli.ExitOK},
		{"ls --limit 1", cli.ExitOK},
		{"version -o json", cli.ExitOK},
		{"ready --write", cli.ExitOK},
		{"rm " + absent, cli.ExitFailed},
		{"get " + absent, cli.ExitFailed},
		{"put /nonexistent", cli.ExitFailed},
		{"verify /nonexistent", cli.ExitFailed},
		{"restart nobody", cli.ExitFailed},
		{"statsu", cli.ExitUsage},
		{"status more", cli.ExitUsage},
		{"status --nope", cli.ExitUsage},
		{"status -o xml", cli.ExitUsage},
		{"status --timeout soon", cli.ExitUsage},
		{"--socket a --addr b status", cli.ExitUsage},
		{"--addr http://u:p@host status", cli.ExitUsage},
		{"get", cli.ExitUsage},
		{"get nonsense", cli.ExitUsage},
		{"get " + absent + " --range 9-3", cli.ExitUsage},
		{"get " + absent + " --range -0", cli.ExitUsage},
		{"get " + absent + " --range --1", cli.ExitUsage},
		{"rm " + absent + " nonsense", cli.ExitUsage},
		{"ls --limit -1", cli.ExitUsage},
		{"put", cli.ExitUsage},
		{"put -j 0 -", cli.ExitUsage},
		{"put --ttl -1s -", cli.ExitUsage},
		{"verify -j 65 x", cli.ExitUsage},
		{"chaos", cli.ExitUsage},
		{"chaos burn storage", cli.ExitUsage},
		{"restart", cli.ExitUsage},
		{"tail --since now", cli.ExitUsage},
		{"completion tcsh", cli.ExitUsage},
		{"--socket /nonexistent status", cli.ExitNotReady},
		{"--addr 127.0.0.1:1 put -", cli.ExitNotReady},
		{"--addr 127.0.0.1:1 tail", cli.ExitNotReady},
		{"--addr 127.0.0.1:1 ready", cli.ExitNotReady},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			exit, stdout, stderr := run{}.ronctl(t.Context(), n, strings.Fields(tt.args)...)
			if exit != tt.want {
				t.Errorf("exit %d, want %d\n%s%s", exit, tt.want, stdout, stderr)
			}
			if exit != 0 && !strings.Contains(stderr, "next:") {
				t.Errorf("no next step: %q", stderr)
			}
			for _, line := range strings.Split(stderr, "\n") {
				if strings.ContainsRune(line, '\uFFFD') {
					t.Errorf("broken line %q", line)
				}
			}
		})
	}
}

// With -o json every error is one line of JSON on stderr, and stdout is JSON or empty.
func TestJSONOnly(t *testing.T) {
	n := startNode(t)
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	absent := store.Sum([]byte("absent")).String()
	for _, args := range []string{
		"status", "ready", "version", "ls", "put " + file, "put " + file + " /nonexistent", "rm " + absent, "rm " + store.Sum([]byte("x")).String(),
		"restart storage", "restart nobody", "chaos kill health", "get " + absent, "status --addr 127.0.0.1:1", "stats", "verify /nonexistent", "drain", "ready", "put --retry-for 0 " + file,
	} {
		_, stdout, stderr := run{width: 80}.ronctl(t.Context(), n, append([]string{"-o", "json"}, strings.Fields(args)...)...)
		for name, text := range map[string]string{"stdout": stdout, "stderr": stderr} {
			if text != "" && !json.Valid([]byte(text)) {
				t.Errorf("%s: %s is not JSON: %q", args, name, text)
			}
		}
		if stdout == "" && stderr == "" {
			t.Errorf("%s: not a word", args)
		}
	}
}

// The capability goes to the node on TCP, and nowhere else.
func TestCapabilityStaysSecret(t *testing.T) {
	n := startNode(t)
	env := map[string]string{"RON_CAP": "s3cret\n", "RON_ADDR": n.addr}
	for _, args := range []string{"status", "ls", "put -", "get nonsense", "restart storage"} {
		for _, format := range []string{"table", "json"} {
			_, stdout, stderr := run{env: env}.ronctl(t.Context(), n, append(strings.Fields(args), "-o", format)...)
			if strings.Contains(stdout+stderr, "s3cret") {
				t.Errorf("%s -o %s shows the capability: %s%s", args, format, stdout, stderr)
			}
		}
	}
	env["RON_CAP"] = "s3cret"
	if exit, _, stderr := (run{env: env}).ronctl(t.Context(), n, "ls"); exit != 0 {
		t.Errorf("exit %d: %s", exit, stderr)
	}
}

// An address that is named is used, also when a socket would be there.
func TestNamedAddressWins(t *testing.T) {
	here, there := startNode(t), startNode(t)
	there.set(func() { there.actors[0].Name = "elsewhere" })
	for _, r := range []struct {
		env  map[string]string
		args []string
	}{{nil, []string{"--addr", there.addr}}, {map[string]string{"RON_ADDR": there.addr}, nil}, {nil, []string{"--socket", filepath.Join(there.dir, "micronode.sock")}}} {
		exit, stdout, stderr := run{env: r.env}.ronctl(t.Context(), here, append(r.args, "status")...)
		if exit != 0 || !strings.Contains(stdout, "elsewhere") {
			t.Errorf("%v %v: exit %d\n%s%s", r.env, r.args, exit, stdout, stderr)
		}
	}
}

// A directory goes in while the node refuses, is stopped and comes back.
func TestPutThroughTrouble(t *testing.T) {
	n := startNode(t)
	dir := t.TempDir()
	want := map[string]string{}
	for i := range 40 {
		name, text := fmt.Sprintf("f%02d", i), strings.Repeat(fmt.Sprint(i), i*i*50+1)
		want[name] = text
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "large"), bytes.Repeat([]byte("0123456789abcdef"), 150_000), 0o600); err != nil {
		t.Fatal(err)
	}
	closed := n.ready
	closed.Planes = map[string]string{"objects": httpapi.PlaneReadOnly}
	n.set(func() { n.ready, closed = closed, n.ready })
	stderr := &onLine{marks: map[int]func(){1: func() { // it says that it waits
		n.set(func() { n.ready, closed = closed, n.ready })
	}}}
	out := &onLine{marks: map[int]func(){5: func() {
		n.stop()
		if err := n.start(); err != nil {
			t.Error(err)
		}
	}}}
	manifest := filepath.Join(t.TempDir(), "m.tsv")
	exit, _, _ := run{out: out, err: stderr}.ronctl(t.Context(), n, "put", "-r", dir, "--manifest", manifest, "--addr", n.addr)
	if exit != 0 {
		t.Fatalf("exit %d: %s", exit, stderr.String())
	}
	if !strings.Contains(stderr.String(), "the node does not take it now (read_only)") || !strings.Contains(stderr.String(), "stored 41 files") {
		t.Errorf("stderr: %s", stderr.String())
	}
	if got := strings.Count(out.String(), "\n"); got != 41 {
		t.Errorf("%d lines, want 41", got)
	}
	if exit, stdout, stderr := (run{}).ronctl(t.Context(), n, "verify", manifest, dir); exit != 0 || !strings.Contains(stdout, "verified 41 objects") {
		t.Errorf("verify: exit %d, %s%s", exit, stdout, stderr)
	}
}

// onLine does something when so many lines have been written.
type onLine struct {
	locked
	lines int
	marks map[int]func()
}

func (o *onLine) Write(p []byte) (int, error) {
	n, err := o.locked.Write(p)
	for range bytes.Count(p, []byte("\n")) {
		o.lines++
		if do := o.marks[o.lines]; do != nil {
			do()
		}
	}
	return n, err
}

// When the node goes for good, what is left is not tried, and said.
func TestPutGivesUp(t *testing.T) {
	n := startNode(t)
	dir := t.TempDir()
	for i := range 300 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%03d", i)), []byte(fmt.Sprint(i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := &onLine{marks: map[int]func(){3: n.stop}}
	exit, _, stderr := run{out: out}.ronctl(t.Context(), n, "put", "-r", dir, "--retry-for", "0")
	if exit != cli.ExitFailed || !strings.Contains(stderr, "the node is gone") || !strings.Contains(stderr, "were not tried") {
		t.Errorf("exit %d: %s", exit, stderr)
	}
}

// A cancelled command ends in good order.
func TestInterrupted(t *testing.T) {
	n := startNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	pr, pw := io.Pipe()
	defer pw.Close()
	go func() {
		_, _ = pw.Write(bytes.Repeat([]byte("x"), 2<<20)) // more than is held back
		cancel()
		_ = pw.CloseWithError(io.ErrClosedPipe)
	}()
	exit, stdout, stderr := run{stdin: pr}.ronctl(ctx, n, "put", "-")
	if exit != cli.ExitFailed || stdout != "" || !strings.Contains(stderr, "interrupted") {
		t.Errorf("exit %d: %q %q", exit, stdout, stderr)
	}
	if u := n.mem.Usage(); u.Objects != 0 {
		t.Errorf("%d objects after an interrupted put", u.Objects)
	}
	ctx, cancel = context.WithCancel(t.Context())
	out := &onLine{marks: map[int]func(){1: cancel}}
	n.set(func() { n.emit("crash", "ServiceCrashed", "storage", nil) })
	if exit, _, stderr := (run{out: out}).ronctl(ctx, n, "tail", "--since", "0"); exit != 0 || stderr != "" {
		t.Errorf("tail: exit %d: %q", exit, stderr)
	}
}

// A tail goes on over a lost connection, without a gap and without a repeat,
// and starts again with another process.
func TestTailResumes(t *testing.T) {
	n := startNode(t)
	crash := func() {
		n.set(func() {
			n.emit("crash", "ServiceCrashed", "storage", map[string]any{"reason": "killed \x1b[31m", "stack": "secret stack"})
		})
	}
	crash()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var back sync.WaitGroup
	again := func(change func()) func() {
		return func() {
			back.Go(func() {
				n.stop()
				n.set(change)
				if err := n.start(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	shown := make(chan struct{})
	out, stderr := &onLine{}, &onLine{}
	out.marks = map[int]func(){
		2: again(func() { n.emit("crash", "ServiceCrashed", "storage", map[string]any{"reason": "killed \x1b[31m"}) }), // cut, and one more meanwhile
		3: again(func() { n.started = time.Time{} }),                                                                   // another process, with a history of three
		6: func() { close(shown) },
	}
	crash()
	done := make(chan int)
	go func() {
		exit, _, _ := run{out: out, err: stderr}.ronctl(ctx, n, "tail", "--since", "10m", "--topic", "micronode.crash")
		done <- exit
	}()
	<-shown
	back.Wait()
	cancel()
	if exit := <-done; exit != 0 {
		t.Errorf("exit %d", exit)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 6 {
		t.Errorf("%d lines", len(lines))
	}
	want := regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d{3} micronode\.crash ServiceCrashed storage reason="killed \\u001b\[31m"$|^\d\d:\d\d:\d\d\.\d{3} micronode\.crash ServiceCrashed storage reason="killed \\x1b\[31m"$`)
	for _, line := range lines {
		if !want.MatchString(line) {
			t.Errorf("line %q", line)
		}
	}
	for _, said := range []string{"going on after seq 2", "connected again", "another process answers now (pid 4711)"} {
		if !strings.Contains(stderr.String(), said) {
			t.Errorf("stderr lacks %q: %s", said, stderr.String())
		}
	}
}

// A reader that leaves is no failure for what only reads.
func TestReaderLeaves(t *testing.T) {
	n := startNode(t)
	for _, args := range []string{"status", "ls -o json", "version"} {
		if exit, _, stderr := (run{out: brokenPipe{}}).ronctl(t.Context(), n, strings.Fields(args)...); exit != 0 || stderr != "" {
			t.Errorf("%s: exit %d, %q", args, exit, stderr)
		}
	}
	exit, _, _ := run{out: brokenPipe{}, stdin: strings.NewReader("x")}.ronctl(t.Context(), n, "put", "-")
	if exit != cli.ExitFailed {
		t.Errorf("put: exit %d: it could not tell what it stored", exit)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}
}

// What could upset a terminal stays off it.
func TestGetOnTerminal(t *testing.T) {
	n := startNode(t)
	for text, plain := range map[string]bool{
		"hello\tworld\r\n": true, "žluťoučký kůň": true, "esc \x1b[2J": false, "nul \x00": false, "broken \xff utf8": false, strings.Repeat("ů", 40_000): true, "c1 \u009b31m": false,
	} {
		info, _, err := n.mem.Put(t.Context(), strings.NewReader(text), store.PutOptions{Size: int64(len(text))})
		if err != nil {
			t.Fatal(err)
		}
		exit, stdout, stderr := run{width: 80}.ronctl(t.Context(), n, "get", info.Address.String())
		if plain && (exit != 0 || stdout != text) || !plain && (exit != cli.ExitFailed || stdout != "" || !strings.Contains(stderr, "-O FILE")) {
			t.Errorf("%.20q: exit %d, %d bytes, %q", text, exit, len(stdout), stderr)
		}
		exit, stdout, _ = run{width: 80}.ronctl(t.Context(), n, "get", info.Address.String(), "-O", "-")
		if exit != 0 || stdout != text {
			t.Errorf("%.20q with -O -: exit %d, %q", text, exit, stdout)
		}
	}
}
