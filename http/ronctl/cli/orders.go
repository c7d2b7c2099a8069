package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	httpapi "micronode/http"
)

// pollEvery is the step of waiting for a node to be ready or gone.
const pollEvery = 100 * time.Millisecond

func (a *app) restart() *cobra.Command {
	var why string
	cmd := a.command(cobra.Command{
		Use: "restart ACTOR [--reason TEXT]", Short: "Take an actor down and up again", Args: takes(1, 1, "one ACTOR"),
		Long: `Take one actor down and up again at once, without its backoff. This also ends a
quarantine. Nothing that was acknowledged is lost.`,
		Example: "  ronctl restart storage --reason 'cleared the quarantine'",
	}, func(ctx context.Context, args []string) error {
		return a.give(ctx, "restarted", httpapi.Order{Service: args[0], Reason: why}, (*httpapi.Client).Restart)
	})
	cmd.Flags().StringVar(&why, "reason", "", "goes into the event and the log")
	cmd.ValidArgsFunction = a.completeActors
	return cmd
}

func (a *app) chaos() *cobra.Command {
	cmd := &cobra.Command{
		Use: "chaos", Short: "Break an actor on purpose", Args: takes(0, 0, ""),
		Long: `Break an actor on purpose, to see that the node mends itself. Only on the operator
socket of a node that runs with --chaos.`,
		Example: "  ronctl chaos kill storage\n  ronctl chaos hang ingress --reason 'drill 7'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("see `%s --help`", cmd.CommandPath()).because("say kill or hang, and which actor")
		},
	}
	cmd.AddCommand(
		a.breaks("kill", "Make an actor crash", "killed", (*httpapi.Client).Kill),
		a.breaks("hang", "Make an actor hang until its watchdog takes it down", "hung", (*httpapi.Client).Hang))
	return cmd
}

func (a *app) breaks(verb, short, done string, order orderFunc) *cobra.Command {
	var why string
	cmd := a.command(cobra.Command{
		Use: verb + " ACTOR [--reason TEXT]", Short: short, Args: takes(1, 1, "one ACTOR"),
		Example: "  ronctl chaos " + verb + " storage --reason 'drill 7'",
	}, func(ctx context.Context, args []string) error {
		return a.give(ctx, done, httpapi.Order{Service: args[0], Reason: why}, order)
	})
	cmd.Flags().StringVar(&why, "reason", "", "goes into the event and the log")
	cmd.ValidArgsFunction = a.completeActors
	return cmd
}

func (a *app) drain() *cobra.Command {
	var why string
	cmd := a.command(cobra.Command{
		Use: "drain [--reason TEXT]", Short: "Make the node drain and end, slowly", Args: takes(0, 0, ""),
		Long: `Make the node not ready at once, keep its listeners open for drain_grace so that load
balancers look away, let what has begun end, and end. "ronctl stop" does not wait for
drain_grace.`,
		Example: "  ronctl drain --reason upgrade",
	}, func(ctx context.Context, _ []string) error {
		return a.give(ctx, "draining", httpapi.Order{Reason: why}, (*httpapi.Client).Drain)
	})
	cmd.Flags().StringVar(&why, "reason", "", "goes into the event and the log")
	return cmd
}

func (a *app) stop() *cobra.Command {
	var why string
	var wait bool
	cmd := a.command(cobra.Command{
		Use: "stop [--wait] [--reason TEXT]", Short: "Make the node drain and end", Args: takes(0, 0, ""),
		Long: `Make the node not ready, let what has begun end, and end. With --wait, return when it no
longer answers.`,
		Example: "  ronctl stop --wait",
	}, func(ctx context.Context, _ []string) error {
		if err := a.give(ctx, "stopping", httpapi.Order{Reason: why}, (*httpapi.Client).Shutdown); err != nil || !wait {
			return err
		}
		return a.waitGone(ctx)
	})
	cmd.Flags().BoolVar(&wait, "wait", false, "return when the node is gone (at most --timeout)")
	cmd.Flags().StringVar(&why, "reason", "", "goes into the event and the log")
	return cmd
}

func (a *app) reload() *cobra.Command {
	return a.command(cobra.Command{
		Use: "reload", Short: "Read the configuration again", Args: takes(0, 0, ""),
		Long: `Have the node read its file and environment again. What can change while it runs is in
force at once, all of it or nothing: a fault, or a key that needs a restart, changes
nothing and is named. SIGHUP does the same.`,
		Example: "  ronctl reload",
	}, func(ctx context.Context, _ []string) error {
		return a.give(ctx, "reloaded", httpapi.Order{}, (*httpapi.Client).Reload)
	})
}

type orderFunc func(*httpapi.Client, context.Context, httpapi.Order) (httpapi.Done, error)

// give carries one order out and tells what was done.
func (a *app) give(ctx context.Context, done string, o httpapi.Order, order orderFunc) error {
	ctx, cancel := a.within(ctx)
	defer cancel()
	client, err := a.connect(ctx, httpapi.Retry{})
	if err != nil {
		return err
	}
	defer client.Close()
	d, err := order(client, ctx, o)
	if err != nil {
		return err
	}
	if a.json() {
		return a.out.encode(d)
	}
	who := o.Service
	if who == "" {
		who = "node"
	}
	text := clean(who) + ": " + done
	if d.Restarts > 0 {
		text += fmt.Sprintf(" (%s since the node started)", plural(int(d.Restarts), "restart"))
	}
	if d.Detail != "" {
		text += ", " + clean(d.Detail)
	}
	a.out.line(text)
	return nil
}

// waitGone polls until nobody answers.
func (a *app) waitGone(ctx context.Context) error {
	ctx, cancel := a.within(ctx)
	defer cancel()
	for {
		client, err := a.connect(ctx, httpapi.Retry{})
		if err == nil {
			_, err = client.Ready(ctx, false, false)
			client.Close()
		}
		if errors.Is(err, httpapi.ErrUnreachable) || errors.Is(err, httpapi.ErrConnLost) {
			if !a.json() {
				a.out.line("node: gone")
			}
			return nil
		}
		if !pause(ctx, pollEvery) {
			return &failure{
				exit: ExitFailed, what: "the node still answers",
				why: fmt.Sprintf("it did not end within %v", a.timeout), next: "see `ronctl tail`, or wait longer with --timeout", cause: ctx.Err(),
			}
		}
	}
}
