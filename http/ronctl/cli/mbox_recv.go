package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	httpapi "micronode/http"
)

type mboxRecvFlags struct {
	many       int64
	wait       time.Duration
	visibility time.Duration
	ack        bool
	follow     bool
	parallel   int
}

func (a *app) mboxRecv() *cobra.Command {
	var f mboxRecvFlags
	cmd := a.command(cobra.Command{
		Use: "recv TOPIC [-n N] [--wait D] [--ack]\n  ronctl mbox recv TOPIC --follow [--parallel N] -- COMMAND ARGS...", Short: "Receive messages, or run a command for each",
		Args: takes(1, -1, "a TOPIC"),
		Long: `Receive messages under a lease and show them with their receipts. Without --ack they
come again when the lease ends, unless you acknowledge them (mbox ack RECEIPT).

With --follow, run a command for each message until interrupted: the payload is its
stdin; RON_MSG_ID, RON_TOPIC, RON_ATTEMPT, RON_CORR_ID, RON_IDEM_KEY and RON_ATTR_<NAME>
are in its environment. Exit code 0 acknowledges the message, any other gives it back.
The lease is extended while the command runs. The first interrupt waits for what runs,
the second kills it.`,
		Example: "  ronctl mbox recv jobs --wait 20s --ack\n  ronctl mbox recv jobs --follow --parallel 4 -- ./resize.sh --fast",
	}, func(ctx context.Context, args []string) error {
		switch {
		case f.follow && len(args) < 2:
			return usagef("for example `ronctl mbox recv jobs --follow -- ./work.sh`").because("--follow needs a command")
		case !f.follow && len(args) > 1:
			return usagef("add --follow to run a command for each message").because(fmt.Sprintf("recv takes one TOPIC, got also %.80q", args[1]))
		case f.many < 1 || f.many > 256:
			return usagef("for example -n 10").because("-n is from 1 to 256")
		case f.parallel < 1 || f.parallel > 256:
			return usagef("for example --parallel 4").because("--parallel is from 1 to 256")
		case f.follow:
			return a.followTopic(ctx, args[0], args[1:], f)
		}
		return a.recvOnce(ctx, args[0], f)
	})
	cmd.Flags().Int64VarP(&f.many, "number", "n", 1, "at most `N` messages")
	cmd.Flags().DurationVar(&f.wait, "wait", 0, "wait this `DURATION` for the first, at most 30s")
	cmd.Flags().DurationVar(&f.visibility, "visibility", 0, "length of the lease, a `DURATION`; 0: the node's default")
	cmd.Flags().BoolVar(&f.ack, "ack", false, "acknowledge what was shown")
	cmd.Flags().BoolVar(&f.follow, "follow", false, "run a command for each message, until interrupted")
	cmd.Flags().IntVar(&f.parallel, "parallel", 1, "with --follow: `N` commands at a time")
	cmd.ValidArgsFunction = a.completeTopics
	return cmd
}

func (a *app) recvOnce(ctx context.Context, topic string, f mboxRecvFlags) error {
	client, err := a.connect(ctx, httpapi.Retry{})
	if err != nil {
		return err
	}
	defer client.Close()
	got, err := client.Recv(ctx, httpapi.RecvRequest{Topic: topic, MaxMessages: &f.many, WaitMS: millis(f.wait), VisibilityMS: millis(f.visibility)})
	if err != nil {
		return err
	}
	if err := a.showMessages(topic, got); err != nil || !f.ack || len(got) == 0 {
		return err
	}
	acks := make([]httpapi.SettleRequest, len(got))
	for i, e := range got {
		acks[i] = httpapi.SettleRequest{Receipt: e.Receipt}
	}
	out, err := client.AckBatch(ctx, acks)
	for _, o := range out {
		if o.Err != nil {
			return o.Err
		}
	}
	return err
}

func (a *app) showMessages(topic string, got []httpapi.Envelope) error {
	if a.json() {
		if got == nil {
			got = []httpapi.Envelope{}
		}
		return a.out.encode(httpapi.RecvAnswer{Messages: got})
	}
	if len(got) == 0 {
		a.err.line("nothing is ready in " + clean(topic))
	}
	for _, e := range got {
		a.out.line(a.out.paint(styleDim, fmt.Sprintf("%s  attempt %d  %s  receipt %s", e.MsgID, e.Attempt, e.TS.Local().Format(time.DateTime), e.Receipt)))
		for name, value := range e.Attrs {
			a.out.line(a.out.paint(styleDim, "  "+clean(name)+": "+clean(value)))
		}
		a.out.line(payload(e.PayloadB64))
	}
	return a.out.failed()
}
