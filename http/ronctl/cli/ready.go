package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	httpapi "micronode/http"
)

func (a *app) ready() *cobra.Command {
	var write bool
	var wait time.Duration
	cmd := a.command(cobra.Command{
		Use: "ready [--write] [--wait DURATION]", Short: "Tell by exit code whether the node is ready", Args: takes(0, 0, ""),
		Long: `Ask whether the node takes traffic: exit code 0 when it does, also when degraded,
and 3 when it does not or cannot be reached. With --write it has to take writes on
every plane. What keeps the node from it is told line by line, with what to do next.`,
		Example: "  ronctl ready --wait 10s && ./import.sh\n  ronctl ready --write || echo 'no writes now'",
	}, func(ctx context.Context, _ []string) error {
		r, err := a.awaitReady(ctx, write, wait)
		if err != nil {
			return err
		}
		if a.json() {
			err = a.out.encode(r)
		} else {
			a.tellReady(r)
		}
		if err == nil && !accepts(r, write) {
			return quiet(ExitNotReady)
		}
		return err
	})
	cmd.Flags().BoolVar(&write, "write", false, "ask for writes too")
	cmd.Flags().DurationVar(&wait, "wait", 0, "keep asking this long")
	return cmd
}

// tellReady is readiness in one line, and when something is missing what, and
// what to do about it.
func (a *app) tellReady(r httpapi.Readiness) {
	a.out.line(a.headline(r))
	for _, t := range troubles(r, a.sys.Now()) {
		a.out.line("  " + a.out.paint(styleDim, fmt.Sprintf("%-6s", t[0])) + t[1])
	}
	if next := whatNext(r); next != "" {
		a.out.line("  " + a.out.paint(styleDim, "next: ") + next)
	}
}

// accepts tells whether a node takes what is asked for.
func accepts(r httpapi.Readiness, write bool) bool { return r.Ready && (!write || r.WritesOpen()) }

// awaitReady asks until the answer is yes or the wait is over, and returns the
// last answer.
func (a *app) awaitReady(ctx context.Context, write bool, wait time.Duration) (httpapi.Readiness, error) {
	until, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		r, err := a.askReady(ctx, write)
		if err == nil && accepts(r, write) || err != nil && !errors.Is(err, httpapi.ErrUnreachable) && !errors.Is(err, httpapi.ErrConnLost) {
			return r, err
		}
		if !pause(until, pollEvery) {
			return r, err
		}
	}
}

func (a *app) askReady(ctx context.Context, write bool) (httpapi.Readiness, error) {
	ctx, cancel := a.within(ctx)
	defer cancel()
	client, err := a.connect(ctx, httpapi.Retry{})
	if err != nil {
		return httpapi.Readiness{}, err
	}
	defer client.Close()
	return client.Ready(ctx, write, true)
}

func (a *app) version() *cobra.Command {
	return a.command(cobra.Command{
		Use: "version", Short: "Show the versions of ronctl and of the node", Args: takes(0, 0, ""),
		Long:    `Show which ronctl this is, which node answers, and what that node does.`,
		Example: "  ronctl version\n  ronctl version -o json | jq .node.features",
	}, func(ctx context.Context, _ []string) error {
		ctx, cancel := a.within(ctx)
		defer cancel()
		if !a.json() {
			a.out.line("ronctl " + a.sys.Version)
		}
		client, err := a.connect(ctx, httpapi.Retry{})
		if err != nil {
			return err
		}
		defer client.Close()
		v, err := client.Version(ctx)
		if err != nil {
			return err
		}
		if a.json() {
			return a.out.encode(map[string]any{"ronctl": a.sys.Version, "node": v})
		}
		a.out.line(clean("node   " + v.Version + " (" + short(v.GitSHA) + v.Go + ", api " + v.API.HTTP + ", auth " + v.AuthMode + ", pq " + v.PQ.Mode + ")"))
		a.out.line("       " + featureWords(v.Features))
		return nil
	})
}

func short(sha string) string {
	if sha == "" {
		return ""
	}
	return sha[:min(len(sha), 12)] + ", "
}

func featureWords(f httpapi.Features) string {
	text := ""
	for _, one := range []struct {
		name string
		on   bool
	}{
		{"amnesia", f.Amnesia},
		{"enforced", f.AmnesiaEnforced},
		{"tls", f.TLS},
		{"oap", f.OAP},
		{"mailbox", f.Mailbox},
		{"persistence", f.Persistence},
		{"chaos", f.Chaos},
	} {
		mark := "-"
		if one.on {
			mark = "+"
		}
		text += mark + one.name + " "
	}
	return text[:len(text)-1]
}

// sortedKeys gives a map's keys a fixed order.
func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
