package cli

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// System is the world of one run.
type System struct {
	Args           []string            // without the program's name
	Getenv         func(string) string // RON_ADDR, RON_CAP, NO_COLOR, TERM, and what leads to the socket
	Environ        []string            // what commands of mbox recv --follow get beside their own variables
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	UID            int    // whose socket to look for
	TempDir        string // where the socket's directory may be, without a runtime directory
	Version        string // of ronctl
	DefaultAddr    string // tried last; "" is 127.0.0.1:8080
	Now            func() time.Time
	// Terminal tells whether a writer is a terminal, and its width in columns.
	Terminal func(io.Writer) (width int, ok bool)
}

// Exit codes (contract §15).
const (
	ExitOK       = 0
	ExitFailed   = 1
	ExitUsage    = 2
	ExitNotReady = 3 // not ready, or not reachable
)

// Main runs one command line and returns its exit code. A cancelled ctx ends
// it in good order: nothing half written stays behind.
func Main(ctx context.Context, sys System) int {
	a := newApp(sys)
	root := a.root()
	root.SetArgs(sys.Args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	return a.report(cmd, err)
}

// app is one run: the world, the global flags and the two screens.
type app struct {
	sys      System
	out, err *screen
	socket   string
	ca       string
	addr     string
	oap      string // address of OAP/1, if it is to be used
	guessed  bool   // addr is the default, and nobody named it
	timeout  time.Duration
	output   format
}

const defaultTimeout = 10 * time.Second

func newApp(sys System) *app {
	return &app{
		sys: sys, timeout: defaultTimeout, output: formatTable,
		out: newScreen(sys, sys.Stdout), err: newScreen(sys, sys.Stderr),
	}
}

const longRoot = `ronctl looks after a micronode: it shows what the node does, puts bytes in and gets
them back verified, and gives orders.

It talks to the operator socket of a node of the same user when there is one. To talk
to another node give --addr (or RON_ADDR), with a capability in RON_CAP if the node
asks for one; RON_CAP is sent to an address that was named, and nowhere else.

Exit codes: 0 done, 1 failed, 2 usage, 3 not ready or not reachable.`

const exampleRoot = `  ronctl status                     the actors, the store, ready or not
  ronctl put -r ./photos            store a directory
  ronctl get b3:… -O photo.jpg      get one object back, verified
  ronctl mbox recv jobs --ack       receive a message
  ronctl tail --since 10m           what happened, and what happens
  ronctl status -o json | jq .store`

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "ronctl", Short: "Look after a micronode", Long: longRoot, Example: exampleRoot,
		Version: a.sys.Version, SilenceErrors: true, SilenceUsage: true,
	}
	root.SetIn(a.sys.Stdin)
	root.SetOut(a.sys.Stdout)
	root.SetErr(a.sys.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("see `%s --help`", cmd.CommandPath()).because(err.Error())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.socket, "socket", "", "talk to the operator socket at `PATH`")
	flags.StringVar(&a.addr, "addr", "", "talk to the node at `HOST:PORT` (RON_ADDR; default 127.0.0.1:8080)")
	flags.StringVar(&a.oap, "oap", "", "speak OAP/1 to `HOST:PORT`: put, get, and mbox send, recv, ack, nack")
	flags.StringVar(&a.ca, "ca", "", "trust the authorities in this PEM `FILE`, and no others; speaks TLS")
	flags.DurationVar(&a.timeout, "timeout", defaultTimeout, "how long to wait for an answer")
	flags.VarP(&a.output, "output", "o", "table or json")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = root.MarkPersistentFlagFilename("socket", "sock")
	root.AddGroup(&cobra.Group{ID: "look", Title: "Look:"}, &cobra.Group{ID: "bytes", Title: "Objects:"}, &cobra.Group{ID: "mail", Title: "Messages:"}, &cobra.Group{ID: "who", Title: "Who may:"}, &cobra.Group{ID: "disk", Title: "What is kept:"}, &cobra.Group{ID: "order", Title: "Orders:"})
	group(root, "look", a.status(), a.ready(), a.tail(), a.version())
	group(root, "bytes", a.put(), a.get(), a.verify(), a.ls(), a.rm())
	group(root, "mail", a.mbox())
	group(root, "who", a.caps(), a.keys(), a.policy())
	group(root, "disk", a.scrub(), a.repair(), a.backup(), a.restore())
	group(root, "order", a.reload(), a.restart(), a.chaos(), a.drain(), a.stop())
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil && completion != root {
		completion.RunE = func(cmd *cobra.Command, _ []string) error {
			return usagef("for example: source <(ronctl completion bash)").because("say bash, zsh, fish or powershell")
		}
	}
	return root
}

func group(root *cobra.Command, id string, cmds ...*cobra.Command) {
	for _, cmd := range cmds {
		cmd.GroupID = id
		root.AddCommand(cmd)
	}
}

// format is the value of --output.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
)

// String implements pflag.Value.
func (f *format) String() string { return string(*f) }

// Set implements pflag.Value.
func (f *format) Set(s string) error {
	switch v := format(strings.ToLower(s)); v {
	case formatTable, formatJSON:
		*f = v
		return nil
	}
	return errBadFormat
}

// Type implements pflag.Value.
func (f *format) Type() string { return "FORMAT" }

func (a *app) json() bool { return a.output == formatJSON }
