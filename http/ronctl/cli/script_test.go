package cli_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	httpapi "micronode/http"
	"micronode/http/ronctl/cli"
	"micronode/store"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMain lets scripts run this binary as ronctl; everything else ends with a
// look for goroutines left behind.
func TestMain(m *testing.M) {
	testscript.Main(leakFree{m}, map[string]func(){"ronctl": func() {
		os.Exit(cli.Main(context.Background(), cli.System{
			Args: os.Args[1:], Getenv: os.Getenv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
			UID: os.Getuid(), TempDir: os.TempDir(), Version: "v9.9.9", Now: time.Now,
			DefaultAddr: "127.0.0.1:1", // where no node is, whatever runs beside the test
			Terminal:    func(io.Writer) (int, bool) { return 0, false },
		}))
	}})
}

type leakFree struct{ m *testing.M }

func (l leakFree) Run() int {
	code := l.m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// TestScripts plays the scripts in testdata, each with a node of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			dir, err := os.MkdirTemp("", "ron")
			if err != nil {
				return err
			}
			n := newNode(dir)
			env.Values["node"] = n
			env.Defer(func() {
				n.stop()
				_ = os.RemoveAll(dir)
			})
			if err := n.start(); err != nil {
				return err
			}
			env.Setenv("XDG_RUNTIME_DIR", dir)
			env.Setenv("NODE_DIR", dir)
			env.Setenv("NODE_ADDR", n.addr)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"node": nodeCmd, "code": codeCmd},
	})
}

// nodeCmd changes the node: node stop | start | readonly | open | notready N |
// damage ADDR-FILE | nochaos.
func nodeCmd(ts *testscript.TestScript, _ bool, args []string) {
	n := ts.Value("node").(*node)
	if len(args) == 0 {
		ts.Fatalf("usage: node VERB")
	}
	switch args[0] {
	case "stop":
		n.stop()
	case "start":
		ts.Check(n.start())
	case "readonly":
		n.set(func() {
			n.ready = httpapi.Readiness{Ready: true, Degraded: true, Missing: []string{"storage"}, RetryAfter: 1, Planes: map[string]string{"objects": httpapi.PlaneReadOnly}}
			n.actors[1].State = "backoff"
		})
	case "open":
		n.set(func() {
			n.ready = httpapi.Readiness{Ready: true, Planes: map[string]string{"objects": httpapi.PlaneOpen}}
			n.actors[1].State = "running"
		})
	case "notready":
		n.set(func() { n.refuse = 3 })
	case "nochaos":
		n.stop()
		n.chaos = false
		ts.Check(n.start())
	case "damage":
		addr, err := store.ParseAddress(args[1])
		ts.Check(err)
		ts.Check(n.mem.FlipBit(addr, 3))
	default:
		ts.Fatalf("unknown verb %q", args[0])
	}
}

// codeCmd runs ronctl and wants an exit code: code 3 ronctl ready.
func codeCmd(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if exit, ok := err.(interface{ ExitCode() int }); ok {
		got = fmt.Sprint(exit.ExitCode())
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// TestHelp holds every help text against its golden file.
func TestHelp(t *testing.T) {
	var all strings.Builder
	for _, args := range [][]string{
		{},
		{"status"},
		{"ready"},
		{"tail"},
		{"version"},
		{"put"},
		{"get"},
		{"verify"},
		{"ls"},
		{"rm"},
		{"restart"},
		{"chaos"},
		{"chaos", "kill"},
		{"chaos", "hang"},
		{"drain"},
		{"stop"},
		{"completion"},
	} {
		exit, stdout, stderr := run{}.ronctl(t.Context(), nil, append(args, "--help")...)
		if exit != 0 || stderr != "" {
			t.Errorf("%q --help: exit %d, stderr %q", args, exit, stderr)
		}
		for _, line := range strings.Split(stdout, "\n") {
			if len([]rune(line)) > 110 {
				t.Errorf("%q --help: a line of %d characters: %s", args, len([]rune(line)), line)
			}
		}
		fmt.Fprintf(&all, "$ ronctl %s\n%s\n", strings.Join(append(args, "--help"), " "), stdout)
	}
	golden(t, "help.golden", all.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	if got != string(want) {
		t.Errorf("%s differs (see it with -update and git diff); got:\n%s", name, got)
	}
}
