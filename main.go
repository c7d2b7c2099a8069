// Command micronode runs one node: a content-addressed object store and an
// admin plane, run by supervised actors. It is the only place that reads the
// environment, handles signals and exits; everything else is a library.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/term"

	"micronode/actors"
	"micronode/actors/amnesia"
	"micronode/config"
	httpapi "micronode/http"
	"micronode/http/caps"
	"micronode/store/pebble"
)

// Exit codes (contract §9).
const (
	exitOK     = 0
	exitFailed = 1
	exitConfig = 2
	exitBind   = 98
)

// Stamped by the build (-ldflags -X main.version=…).
var (
	version = "dev"
	gitSHA  = ""
	buildTS = ""
)

func main() {
	p := process{
		args: os.Args[1:], env: os.Environ(), getenv: os.Getenv, uid: os.Getuid(), tmp: os.TempDir(),
		stdout: os.Stdout, stderr: os.Stderr, signals: make(chan os.Signal, 2), ownProcess: true,
	}
	p.self, _ = os.Executable() // only for the hint which ronctl to type
	p.cwd, _ = os.Getwd()
	p.tty = term.IsTerminal(int(os.Stderr.Fd()))
	signal.Ignore(syscall.SIGPIPE) // a log reader that is gone must not take the objects with it
	signal.Notify(p.signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	os.Exit(p.run(context.Background()))
}

// process is all that a run takes from the operating system.
type process struct {
	args, env      []string
	getenv         func(string) string
	uid            int
	tmp, self, cwd string
	stdout, stderr io.Writer
	tty            bool // stderr is a terminal
	signals        chan os.Signal
	ownProcess     bool // nobody else lives in it: it may be changed for good
}

// run is the whole program; it returns the exit code.
func (p *process) run(ctx context.Context) int {
	root := p.command()
	root.SetArgs(p.args)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	within(lastWords, func() { fmt.Fprintln(p.stderr, "micronode:", err) })
	var faults config.Faults
	switch {
	case errors.Is(err, httpapi.ErrBind):
		return exitBind
	case errors.As(err, &faults), errors.Is(err, errUsage):
		return exitConfig
	default:
		return exitFailed
	}
}

// lastWords is how long the end of the program waits for somebody to take its
// last lines.
const lastWords = 500 * time.Millisecond

// within runs f, which may block for ever on a pipe that nobody reads, and waits
// for it no longer than d.
func within(d time.Duration, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	patience := time.NewTimer(d)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
	}
}

var errUsage = errors.New("see micronode --help")

func (p *process) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "micronode",
		Short: "A content-addressed object store run by supervised actors",
		Long: "micronode keeps objects under their BLAKE3 address, verifies every byte it serves, and survives the\n" +
			"crash of any of its parts. RAM only unless told otherwise: everything is forgotten when it stops.\n" +
			"With --amnesia=false --store-dir DIR it keeps what it has acknowledged.\n\n" +
			"Flags win over RON_* variables, those over the file, that over the defaults.",
		Example:       "  micronode --dev --chaos\n  micronode --config micronode.toml\n  micronode config print --origin",
		Args:          usageArgs(cobra.NoArgs),
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := p.load(cmd)
			if err != nil {
				return err
			}
			return p.serve(cmd.Context(), loaded, p.source(cmd))
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w; %w", err, errUsage) })
	config.RegisterFlags(root.PersistentFlags())
	root.AddCommand(p.configCommand(), p.capCommand(), p.versionCommand())
	root.CompletionOptions.HiddenDefaultCmd = true
	return root
}

func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return fmt.Errorf("%w; %w", err, errUsage)
		}
		return nil
	}
}

// load reads the configuration and prints its warnings.
func (p *process) load(cmd *cobra.Command) (config.Loaded, error) {
	loaded, err := config.Load(p.source(cmd))
	for _, w := range loaded.Warnings {
		fmt.Fprintln(p.stderr, "micronode: warning:", w)
	}
	return loaded, err
}

// source is where this process takes its configuration from.
func (p *process) source(cmd *cobra.Command) config.Source {
	src := config.FromFlags(cmd.Flags())
	src.Env = p.env
	return src
}

func (p *process) configCommand() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Check and show the configuration", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	validate := &cobra.Command{Use: "validate PATH", Short: "Check a file and list every fault", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if faults := config.Validate(args[0], nil); len(faults) > 0 {
				return faults
			}
			fmt.Fprintln(p.stdout, args[0]+": valid")
			return nil
		}}
	var o config.PrintOptions
	show := &cobra.Command{Use: "print", Short: "Print the effective configuration, secrets redacted", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := p.load(cmd)
			if err != nil {
				return err
			}
			return config.Print(p.stdout, loaded, o)
		}}
	show.Flags().BoolVar(&o.Origin, "origin", false, "say where each value came from")
	show.Flags().BoolVar(&o.JSON, "json", false, "print JSON")
	schema := &cobra.Command{Use: "schema", Short: "Print the JSON Schema of the file", Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return config.Schema(p.stdout) }}
	c.AddCommand(validate, show, schema)
	return c
}

// capCommand mints capabilities from a key file, without a node.
func (p *process) capCommand() *cobra.Command {
	c := &cobra.Command{Use: "cap", Short: "Make capabilities offline", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	var o httpapi.MintOrder
	var path string
	mint := &cobra.Command{
		Use: "mint --key FILE --op OPS", Short: "Make a capability with the key of a file (keys.root_file)", Args: usageArgs(cobra.NoArgs),
		Long: "Make a capability without a node: every node that has the file as keys.root_file takes it.\n" +
			"Make a key with: (umask 077; openssl rand -hex 32 > root.key)",
		Example: "  micronode cap mint --key root.key --op put,get --path /o/ --ttl 15m",
		RunE: func(*cobra.Command, []string) error {
			if p.ownProcess {
				_ = amnesia.NoDumps() // for as long as the key is here
			}
			spec, err := o.Spec()
			if err != nil {
				return fmt.Errorf("%w; %w", err, errUsage)
			}
			ring, err := caps.Open(path, time.Now)
			if err != nil {
				return err
			}
			defer ring.Close()
			m, err := ring.Mint(spec)
			if err != nil {
				return fmt.Errorf("%w; %w", err, errUsage)
			}
			fmt.Fprintln(p.stdout, m.Token)
			fmt.Fprintf(p.stderr, "cap id %s, key %s, until %s\n", m.CapID, m.KID, m.Expires.Format(time.RFC3339))
			return nil
		},
	}
	httpapi.MintFlags(mint.Flags(), &o)
	mint.Flags().StringVar(&path, "key", "", "file of root keys, mode 0600")
	_ = mint.MarkFlagRequired("op")
	_ = mint.MarkFlagRequired("key")
	c.AddCommand(mint)
	return c
}

func (p *process) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			b := build()
			fmt.Fprintln(p.stdout, "micronode", b.Version, b.GitSHA, b.Time)
			return nil
		}}
}

// build tells which build this is: the stamp, else what the toolchain noted.
func build() actors.Build {
	b := actors.Build{Version: version, GitSHA: gitSHA, Time: buildTS}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && b.GitSHA == "":
			b.GitSHA = s.Value
		case s.Key == "vcs.time" && b.Time == "":
			b.Time = s.Value
		}
	}
	return b
}

// serve runs the node until a signal or an operator ends it.
func (p *process) serve(ctx context.Context, loaded config.Loaded, src config.Source) error {
	begun := time.Now()
	log, endLog, err := actors.OpenLog(p.stderr, loaded.Config.Log.Level, p.textLog(loaded.Config.Log.Format))
	if err != nil {
		return fmt.Errorf("%w; %w", err, errUsage)
	}
	defer within(lastWords, endLog)
	if p.ownProcess { // a dump would hold keys and payloads, whatever the mode
		if err := forgetful(loaded.Config, amnesia.NoDumps()); err != nil {
			return err
		}
	}
	socket := loaded.Config.UDS.Path
	if socket == "" {
		socket = httpapi.SocketPath(p.getenv, p.uid, p.tmp)
	}
	hold := ""
	if p.ownProcess && loaded.Config.Amnesia {
		hold = "amnesia" // not ready before the kernel enforces it, or has said that it cannot
	}
	p.credential(&loaded.Config)
	var disk actors.Disk
	if !loaded.Config.Amnesia {
		if disk, err = pebble.Open(pebble.Options{
			Dir: loaded.Config.Store.Dir, MaxBytes: int64(loaded.Config.Store.MaxBytes),
		}); err != nil {
			return err
		}
	}
	node, err := actors.Start(loaded, actors.Options{
		Hold: hold, Disk: disk,
		Logger: log, SocketPath: socket, Build: build(),
		Reload: func() (config.Loaded, error) { return config.Load(src) },
	})
	if err != nil {
		return err
	}
	if err := p.forget(node, loaded, socket, log); err != nil {
		return errors.Join(err, node.Stop(ctx, false))
	}
	node.Release()
	up, cancel := context.WithCancel(ctx)
	greeted := make(chan struct{})
	go func() { // ends with the node's bus at the latest
		defer close(greeted)
		if node.AwaitReady(up) == nil {
			_, _ = p.stdout.Write(p.greeting(node, loaded, time.Since(begun))) // in one piece: the log shares the terminal
		}
	}()
	err = p.until(ctx, node, log)
	cancel()
	within(lastWords, func() { <-greeted })
	return err
}

// Names of the credentials that systemd may hand over (LoadCredential=).
const (
	credentialIdentity   = "micronode.identity"
	credentialPassphrase = "micronode.passphrase"
)

// credential takes what seals the keys from systemd, where the configuration names nothing.
func (p *process) credential(c *config.Config) {
	dir := p.getenv("CREDENTIALS_DIRECTORY")
	if c.Amnesia || dir == "" || c.Keys.IdentityFile != "" || c.Keys.PassphraseFile != "" {
		return
	}
	for name, into := range map[string]*string{credentialIdentity: &c.Keys.IdentityFile, credentialPassphrase: &c.Keys.PassphraseFile} {
		if path := filepath.Join(dir, name); *into == "" {
			if _, err := os.Stat(path); err == nil {
				*into = path
				return
			}
		}
	}
}

// forget has the kernel enforce amnesia, once everything is open that has to be.
func (p *process) forget(node *actors.Node, loaded config.Loaded, socket string, log *zap.Logger) error {
	c := loaded.Config
	if !c.Amnesia || !p.ownProcess {
		return nil
	}
	err := amnesia.Enforce(amnesia.Needs{
		Read: []string{loaded.File, c.Policy.File, c.TLS.Cert, c.TLS.Key, c.TLS.ClientCA}, Socket: socket,
	})
	if err == nil {
		node.MarkEnforced()
		return nil
	}
	if strict := forgetful(c, err); strict != nil {
		return strict
	}
	log.Warn("nothing is written, but the kernel does not enforce it", zap.String("event", "amnesia"), zap.Error(err))
	return nil
}

// forgetful is the error that ends a start: only where the configuration is strict.
func forgetful(c config.Config, err error) error {
	if err == nil || !c.Amnesia || !c.AmnesiaStrict {
		return nil
	}
	return fmt.Errorf("%w; run on Linux 5.13 or later with Landlock, or set amnesia_strict to false", err)
}

func (p *process) textLog(format string) bool {
	return format == "text" || format == "auto" && p.tty
}

// until waits for the end and drains. A second signal does not wait.
func (p *process) until(ctx context.Context, node *actors.Node, log *zap.Logger) error {
	grace, waiting := true, true
	for waiting {
		waiting = false
		select {
		case s := <-p.signals:
			if waiting = p.isReload(s); waiting {
				reload(ctx, node, log)
				continue
			}
			log.Info("stopping on "+s.String()+"; once more to stop at once", zap.String("event", "signal"))
		case r := <-node.StopRequested():
			grace = r.Grace
		case <-ctx.Done():
		}
	}
	stopped := make(chan error, 1)
	go func() { stopped <- node.Stop(context.WithoutCancel(ctx), grace) }()
	for {
		select {
		case err := <-stopped:
			return err
		case s := <-p.signals:
			if !p.isReload(s) {
				return errors.New("stopped at once by a second signal; requests in flight were cut")
			}
		}
	}
}

// reload reads the configuration again; what is wrong with it is told, and the old
// one stays in force.
func reload(ctx context.Context, node *actors.Node, log *zap.Logger) {
	switch r, err := node.Reload(ctx); {
	case err != nil:
		log.Error("SIGHUP: the configuration stays as it was", zap.String("event", "reload"), zap.Error(err))
	case len(r.Changes) == 0:
		log.Info("SIGHUP: nothing differs from the configuration in force", zap.String("event", "reload"))
	}
}

// isReload: SIGHUP asks a daemon to reload; where the log is a terminal, it
// means that the terminal is gone.
func (p *process) isReload(s os.Signal) bool { return s == syscall.SIGHUP && !p.tty }

// greeting says what runs, what is lost on exit, and what to type next.
func (p *process) greeting(node *actors.Node, loaded config.Loaded, took time.Duration) []byte {
	c := loaded.Config
	b := fmt.Appendf(nil, "\nmicronode %s is ready after %d ms\n", version, took.Milliseconds())
	ctl, scheme := p.ronctl(), "http"
	if c.TLS.Cert != "" {
		scheme = "https"
	}
	for _, l := range node.Listeners() {
		switch l.Plane {
		case "data":
			b = fmt.Appendf(b, "  objects   %s://%s/put  and  /o/b3:…\n  API       %s://%s/openapi.yaml\n", scheme, l.Address, scheme, l.Address)
		case "oap":
			b = fmt.Appendf(b, "  OAP/1     %s\n", l.Address)
		case "metrics":
			b = fmt.Appendf(b, "  metrics   %s://%s/metrics\n", scheme, l.Address)
		case "operator":
			b = fmt.Appendf(b, "  operator  %s\n", l.Address)
			if l.Address != httpapi.SocketPath(p.getenv, p.uid, p.tmp) {
				ctl += " --socket " + l.Address
			}
		}
	}
	who := "dev: anyone on this machine may do everything"
	if c.Auth.Mode != "dev" {
		who = "cap: every request needs a capability"
	}
	b = fmt.Appendf(b, "  mode      auth %s; chaos %s\n", who, onOff(c.Chaos.Enabled))
	if c.Amnesia {
		b = fmt.Appendf(b, "  amnesia   on, %s: RAM only, at most %s; every object is lost when this process ends\n", enforcedWord(node), c.Store.MaxBytes)
	} else {
		b = fmt.Appendf(b, "  amnesia   off: kept in %s, at most %s; what is acknowledged is on the disk\n", c.Store.Dir, c.Store.MaxBytes)
	}
	if c.Auth.Mode != "dev" {
		return fmt.Appendf(b, "Next, in another terminal:\n  export RON_CAP=$(%s cap mint --op all)\n  %s status\n  %s tail --since 10m\n\n", ctl, ctl, ctl)
	}
	return fmt.Appendf(b, "Next, in another terminal:\n  echo hello | %s put -\n  %s status\n  %s tail --since 10m\n\n", ctl, ctl, ctl)
}

// ronctl is how a person in this directory calls the ronctl beside micronode.
func (p *process) ronctl() string {
	path := filepath.Join(filepath.Dir(p.self), "ronctl")
	if _, err := os.Stat(path); err != nil {
		return "ronctl"
	}
	if rel, err := filepath.Rel(p.cwd, path); err == nil && len(rel) < len(path) {
		return "./" + rel
	}
	return path
}

func enforcedWord(n *actors.Node) string {
	if n.Enforced() {
		return "enforced by the kernel"
	}
	return "NOT enforced by the kernel"
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}
