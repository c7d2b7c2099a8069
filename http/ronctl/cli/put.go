package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	httpapi "micronode/http"
	"micronode/store"
)

const (
	defaultJobs     = 4
	maxJobs         = 64
	defaultRetryFor = 2 * time.Minute
	retryAttempts   = 10000 // --retry-for is the bound that counts
)

// putFlags are the flags of `ronctl put`.
type putFlags struct {
	recursive bool
	jobs      int
	ttl       time.Duration
	retryFor  time.Duration
	manifest  string
}

func (a *app) put() *cobra.Command {
	var flags putFlags
	cmd := a.command(cobra.Command{
		Use: "put [-r] FILE...|DIR...|-", Short: "Store files and print their addresses",
		Args: takes(1, -1, "FILE..., DIR... or -"),
		Long: `Store files, whole directories with -r, or standard input with "-". For each one line
is printed: address, tab, size, tab, path; in the order in which they were named, below a
directory in order of name. The bytes are hashed here too: an address that is printed is
one that the node has acknowledged for exactly these bytes.

Below a directory, symbolic links and what is no regular file are skipped and counted. When
the node refuses for now or goes away for a moment (an actor restarts, too much load), put
waits and repeats for up to --retry-for; storing the same bytes twice is harmless.`,
		Example: "  ronctl put report.pdf\n  tar c src | ronctl put --ttl 24h -\n  ronctl put -r ./photos --manifest photos.tsv && ronctl verify photos.tsv ./photos",
	}, func(ctx context.Context, args []string) error {
		return a.runPut(ctx, args, flags)
	})
	f := cmd.Flags()
	f.BoolVarP(&flags.recursive, "recursive", "r", false, "store what is below directories")
	f.IntVarP(&flags.jobs, "jobs", "j", defaultJobs, "how many files at a time")
	f.DurationVar(&flags.ttl, "ttl", 0, "delete them by themselves after this long")
	f.DurationVar(&flags.retryFor, "retry-for", defaultRetryFor, "how long to repeat what is refused for now, per file; 0: never")
	f.StringVar(&flags.manifest, "manifest", "", "also write address, tab, path lines to `FILE`")
	_ = cmd.MarkFlagFilename("manifest")
	return cmd
}

func (p putFlags) check() error {
	switch {
	case p.jobs < 1 || p.jobs > maxJobs:
		return usagef("for example -j 8").because(fmt.Sprintf("--jobs takes 1 to %d", maxJobs))
	case p.ttl < 0, p.retryFor < 0:
		return usagef("for example --ttl 24h").because("a duration cannot be negative")
	}
	return nil
}

func (a *app) runPut(ctx context.Context, args []string, flags putFlags) (err error) {
	if err := flags.check(); err != nil {
		return err
	}
	inputs := gather(args, flags.recursive)
	bar := a.startBar(len(inputs), sizeOf(inputs))
	defer bar.end()
	client, err := a.connect(ctx, a.patience(flags.retryFor, bar))
	if err != nil {
		return err
	}
	defer client.Close()
	r := &putReport{app: a, begun: a.sys.Now(), bar: bar}
	if flags.manifest != "" {
		f, err := os.Create(flags.manifest)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		r.manifest = f
	}
	if a.json() {
		r.stream = newStream(a.out, "objects")
	}
	work, stop := context.WithCancel(ctx)
	defer stop()
	told := inOrder(work, flags.jobs, inputs, func(ctx context.Context, in input) putResult {
		return a.putOne(ctx, client, in, flags.ttl, bar)
	}, r.take)
	bar.end()
	return r.finish(ctx, len(inputs)-told)
}

func sizeOf(inputs []input) (sum int64) {
	for _, in := range inputs {
		if in.skip == "" && in.err == nil {
			sum += max(in.size, 0)
		}
	}
	return sum
}

// putResult is what became of one input.
type putResult struct {
	input
	addr    store.Address
	size    int64
	created bool
	err     error
}

func (a *app) putOne(ctx context.Context, client *httpapi.Client, in input, ttl time.Duration, b *bar) putResult {
	r := putResult{input: in, err: in.err}
	defer b.items.Add(1)
	if in.skip != "" || r.err != nil {
		return r
	}
	src, size, err := a.open(in)
	if err != nil {
		r.err = err
		return r
	}
	defer func() { _ = src.Close() }() // only read from
	stored, created, err := client.Put(ctx, count(src, b), store.PutOptions{Size: size, TTL: ttl})
	if err == nil {
		r.addr, err = store.ParseAddress(stored.Address)
	}
	if errors.Is(err, store.ErrTooLarge) && !isProblem(err) || errors.Is(err, os.ErrClosed) {
		err = fmt.Errorf("it changed while it was read: %w", err)
	}
	r.size, r.created, r.err = stored.Size, created, err
	b.waiting.Store(nil)
	return r
}

func isProblem(err error) bool {
	var p *httpapi.Problem
	return errors.As(err, &p)
}

// patience is the retry policy of a bulk command. It says once per trouble
// that it waits, on the bar or (b nil, or no terminal) in a line.
func (a *app) patience(most time.Duration, b *bar) httpapi.Retry {
	if most <= 0 {
		return httpapi.Retry{}
	}
	var said atomic.Bool
	return httpapi.Retry{
		Attempts: retryAttempts, MaxWait: most,
		Notify: func(n httpapi.RetryNotice) {
			why := waitWord(n.Err)
			if b != nil {
				b.waiting.Store(&why)
			}
			if (b == nil || !a.err.terminal) && !a.json() && !said.Swap(true) {
				a.err.line(fmt.Sprintf("ronctl: the node does not take it now (%s); trying again for up to %v", why, most))
			}
		},
	}
}

// waitWord is a few words on why a retry waits.
func waitWord(err error) string {
	var p *httpapi.Problem
	switch {
	case errors.As(err, &p) && p.Reason != "":
		return clean(p.Reason)
	case errors.Is(err, httpapi.ErrUnreachable):
		return "node not reachable"
	}
	return "connection lost"
}
