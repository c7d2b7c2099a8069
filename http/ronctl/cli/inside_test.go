package cli

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"charm.land/lipgloss/v2"

	httpapi "micronode/http"
	"micronode/store"
)

// The bar fits every width, and shows why nothing moves.
func TestBarFits(t *testing.T) {
	begun := time.Date(2026, 11, 23, 21, 0, 0, 0, time.UTC)
	for _, colour := range []bool{false, true} {
		for width := 2; width < 160; width++ {
			b := &bar{screen: &screen{width: width, colour: colour}, begun: begun, now: func() time.Time { return begun.Add(4 * time.Second) }, allItems: 10_000, allBytes: 5 << 30}
			b.items.Store(1234)
			b.bytes.Store(1 << 30)
			why := "read_only"
			b.waiting.Store(&why)
			line := b.render()
			if got := lipgloss.Width(line); got >= width {
				t.Fatalf("width %d: %d columns: %q", width, got, line)
			}
			if width > 90 && !strings.Contains(line, "1234/10000  1.0 GiB/5.0 GiB  256 MiB/s  waiting: read_only") {
				t.Fatalf("width %d: %q", width, line)
			}
			if !colour && strings.Contains(line, "\x1b") {
				t.Fatalf("colour where none is: %q", line)
			}
		}
	}
}

func TestBarGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		a := &app{sys: System{Now: time.Now}, err: &screen{w: &out, terminal: true, width: 80}, output: formatTable}
		b := a.startBar(3, 300)
		<-time.After(3*barEvery + barEvery/2) // virtual
		b.end()
		b.end()
		a.err.line("after")
		if s := out.String(); !strings.HasPrefix(s, eraseLine) || !strings.HasSuffix(s, eraseLine+"after\n") || strings.Count(s, "0/3") != 3 {
			t.Errorf("painted %q", s)
		}
	})
}

// Results come in order of the items, whatever the workers do, and a stop
// leaves nobody behind.
func TestInOrder(t *testing.T) {
	items := make([]int, 500)
	for i := range items {
		items[i] = i
	}
	for _, stopAt := range []int{-1, 0, 1, 250, 499} {
		for _, cancelled := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var got []int
				n := inOrder(ctx, 7, items, func(_ context.Context, i int) int {
					<-time.After(time.Duration(rand.IntN(50)) * time.Millisecond) // virtual
					return i
				}, func(i int) bool {
					if i == stopAt && cancelled {
						cancel()
					}
					if i == stopAt && !cancelled {
						return false
					}
					got = append(got, i)
					return true
				})
				if n != len(got) || !slices.Equal(got, items[:len(got)]) {
					t.Fatalf("%d handed out: %v", n, got)
				}
				if want := stopAt; !cancelled && stopAt >= 0 && n != want || stopAt < 0 && n != len(items) {
					t.Fatalf("stop at %d: %d handed out", stopAt, n)
				}
			})
		}
	}
}

func TestManifestRoundTrip(t *testing.T) {
	addr := store.Sum([]byte("x"))
	var text strings.Builder
	paths := []string{"a", "a b", "a\tb", "a\nb", `"quoted"`, "broken\xff", "ž/ů", "trailing ", "\\"}
	for _, p := range paths {
		line := manifestLine(addr, p)
		if strings.Contains(line, "\n") {
			t.Errorf("%q breaks the line", p)
		}
		text.WriteString(line + "\n")
	}
	entries, err := readManifest(strings.NewReader(text.String()))
	if err != nil || len(entries) != len(paths) {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for i, e := range entries {
		if e.addr != addr || e.path != paths[i] {
			t.Errorf("%q came back as %q", paths[i], e.path)
		}
	}
	for _, bad := range []string{"x", addr.String(), addr.String() + "\t", addr.String() + "\t\"a", "B3" + addr.String()[2:] + "\ta"} {
		if _, err := readManifest(strings.NewReader(bad + "\n")); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestParseRange(t *testing.T) {
	for text, want := range map[string]httpapi.Span{
		"0-0": {Off: 0, N: 1}, "5-9": {Off: 5, N: 5}, "7-": {Off: 7, N: -1}, "-3": {Off: -3},
	} {
		if got, err := parseRange(text); err != nil || *got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"-", "5", "9-5", "a-b", "--1", "1--2", "+1-2", "1-+2", "0-9223372036854775807", "-0", "1-2-3", " 1-2"} {
		if got, err := parseRange(text); err == nil {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"plain ž": "plain ž", "esc\x1b[31m": "esc\uFFFD[31m", "a\nb": "a\uFFFDb", "rtl\u202eback": "rtl\uFFFDback", "c1\u009b": "c1\uFFFD", "\xff": "\uFFFD",
	} {
		if got := clean(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0ms", 999 * time.Millisecond: "999ms", 59 * time.Second: "59s", 61 * time.Second: "1m01s",
		25*time.Hour + time.Minute: "25h01m", 50 * time.Hour: "2d02h",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// The status holds at every width, and without a terminal nothing is cut.
func TestStatusFits(t *testing.T) {
	now := time.Date(2026, 11, 23, 21, 0, 0, 0, time.UTC)
	next := now.Add(3 * time.Second)
	s := httpapi.Status{
		Service: "micronode", Version: "v1", Started: now, Readiness: httpapi.Readiness{Ready: true, Degraded: true, Missing: []string{"storage"}},
		Services: []httpapi.ServiceState{
			{Name: "config", State: "running", Required: true, Since: now},
			{Name: "storage", State: "backoff", Restarts: 3, LastReason: "panic: \x1b]0;pwned\x07 " + strings.Repeat("long ", 40), LastCrash: &now, NextRestart: &next, QueueDepth: 7, QueueCap: 64, Since: now},
		},
		Store: httpapi.StoreStatus{Tier: "ram", Bytes: 99, MaxBytes: 100},
	}
	for width := 0; width < 200; width++ {
		a := &app{sys: System{Now: time.Now}, out: &screen{width: width, terminal: width > 0, colour: width > 0}}
		table := a.actors(s.Services, now, true)
		if len(table) != 3 {
			t.Fatalf("width %d: %d lines", width, len(table))
		}
		for _, line := range table {
			if strings.Contains(line, "\x07") || strings.Contains(line, "\x1b]") {
				t.Fatalf("width %d: a reason gets through to the terminal: %q", width, line)
			}
			if width >= 40 && lipgloss.Width(line) > width {
				t.Errorf("width %d: %d columns: %q", width, lipgloss.Width(line), line)
			}
		}
		if width == 0 && (!strings.Contains(table[2], "└─ storage (optional)  backoff, again in 3s  3         7/64") || !strings.HasSuffix(table[2], "long  (0ms ago)")) {
			t.Errorf("%q", table[2])
		}
	}
	a := &app{out: &screen{}}
	if got := strings.Join(a.statusLines(s, true), "\n"); !strings.Contains(got, "v1  degraded: storage\n") || !strings.Contains(got, "99 B of 100 B (99 %)") {
		t.Errorf("%s", got)
	}
}

// A file is there whole or not at all, and what cannot be renamed over is written to.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	to := filepath.Join(dir, "f")
	fill := func(text string, err error) func(io.Writer) (int64, error) {
		return func(w io.Writer) (int64, error) {
			n, writeErr := io.WriteString(w, text)
			if writeErr != nil {
				err = writeErr
			}
			return int64(n), err
		}
	}
	if _, err := writeFile(to, fill("old", nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := writeFile(to, fill("half", io.ErrUnexpectedEOF)); err == nil {
		t.Error("no error")
	}
	if text, err := os.ReadFile(to); err != nil || string(text) != "old" {
		t.Errorf("%q, %v", text, err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
	if _, err := writeFile(os.DevNull, fill("x", nil)); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Errorf("%s was replaced", os.DevNull)
	}
	if _, err := writeFile(filepath.Join(dir, "none", "f"), fill("x", nil)); err == nil || !strings.Contains(err.Error(), "none/f:") {
		t.Errorf("%v", err)
	}
}
