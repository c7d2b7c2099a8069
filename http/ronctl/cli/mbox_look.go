package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	httpapi "micronode/http"
)

func (a *app) mboxTopics() *cobra.Command {
	return a.command(cobra.Command{
		Use: "topics", Short: "List topics with their depths", Args: takes(0, 0, ""),
		Long:    "List every topic that holds messages: ready to receive, delayed (also in backoff), under lease, dead.",
		Example: "  ronctl mbox topics",
	}, func(ctx context.Context, _ []string) error {
		return a.withClient(ctx, func(ctx context.Context, c *httpapi.Client) error {
			all := []httpapi.TopicState{}
			for t, err := range c.Topics(ctx) {
				if err != nil {
					return err
				}
				all = append(all, t)
			}
			if a.json() {
				return a.out.encode(httpapi.TopicList{Topics: all})
			}
			if len(all) == 0 {
				a.err.line("the mailbox is empty")
				return nil
			}
			var rows [][]string
			for _, t := range all {
				oldest := "-"
				if t.Ready > 0 {
					oldest = span(time.Duration(t.OldestMS) * time.Millisecond)
				}
				rows = append(rows, []string{
					clean(t.Topic), strconv.Itoa(t.Ready), strconv.Itoa(t.Delayed), strconv.Itoa(t.Leased), strconv.Itoa(t.Dead), bytesOf(t.Bytes), oldest,
				})
			}
			for _, line := range a.out.grid([]column{
				{head: "TOPIC", least: 12}, {head: "READY", right: true}, {head: "DELAYED", right: true}, {head: "LEASED", right: true},
				{head: "DEAD", right: true}, {head: "SIZE", right: true, drop: 1}, {head: "OLDEST", right: true, drop: 2},
			}, rows) {
				a.out.line(line)
			}
			return nil
		})
	})
}

func (a *app) mboxPeek() *cobra.Command {
	var many int
	cmd := a.command(cobra.Command{
		Use: "peek TOPIC [-n N]", Short: "Look at messages without leasing them", Args: takes(1, 1, "one TOPIC"),
		Long:    "Show messages as they lie in the mailbox: ready ones in the order of delivery, then delayed and leased ones.",
		Example: "  ronctl mbox peek jobs -n 3",
	}, func(ctx context.Context, args []string) error {
		return a.withClient(ctx, func(ctx context.Context, c *httpapi.Client) error {
			all, err := c.Peek(ctx, args[0], many)
			if err != nil {
				return err
			}
			if a.json() {
				return a.out.encode(httpapi.PeekAnswer{Messages: all})
			}
			if len(all) == 0 {
				a.err.line(clean(args[0]) + " holds no messages")
			}
			for _, m := range all {
				head := fmt.Sprintf("%s  %s  attempts %d", m.MsgID, m.State, m.Attempt)
				if m.State != "ready" {
					head += "  due in " + span(time.Duration(m.DueMS)*time.Millisecond)
				}
				if m.LastError != "" {
					head += "  last error: " + clean(m.LastError)
				}
				a.out.line(a.out.paint(styleDim, head))
				a.out.line(payload(m.PayloadB64))
			}
			return nil
		})
	})
	cmd.Flags().IntVarP(&many, "number", "n", 10, "at most `N` messages")
	cmd.ValidArgsFunction = a.completeTopics
	return cmd
}

func (a *app) mboxDLQ() *cobra.Command {
	cmd := &cobra.Command{
		Use: "dlq", Short: "Look after dead letters", Args: takes(0, 0, ""),
		Long: `Look after messages that used up their attempts. They stay in the dead-letter queue,
and count against the mailbox's bounds, until they are reprocessed or purged.`,
		Example: "  ronctl mbox dlq list jobs\n  ronctl mbox dlq reprocess jobs\n  ronctl mbox dlq purge jobs --yes",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("see `%s --help`", cmd.CommandPath()).because("say list, show, reprocess or purge")
		},
	}
	cmd.AddCommand(a.dlqList(), a.dlqShow(),
		a.keeps("reprocess", "Put dead letters back into the line", "put back", false, (*httpapi.Client).Reprocess),
		a.keeps("purge", "Delete dead letters for good", "deleted", true, (*httpapi.Client).PurgeDead))
	return cmd
}

func (a *app) dlqList() *cobra.Command {
	cmd := a.command(cobra.Command{
		Use: "list TOPIC", Short: "List dead letters", Args: takes(1, 1, "one TOPIC"),
		Long: "List dead letters, oldest death first, with why they died.", Example: "  ronctl mbox dlq list jobs",
	}, func(ctx context.Context, args []string) error {
		return a.withClient(ctx, func(ctx context.Context, c *httpapi.Client) error {
			out := newStream(a.out, "messages")
			var rows [][]string
			for d, err := range c.DeadLetters(ctx, args[0]) {
				if err != nil {
					return err
				}
				if a.json() {
					if err := out.add(d); err != nil {
						return err
					}
					continue
				}
				rows = append(rows, []string{
					d.MsgID, d.DiedAt.Local().Format(time.DateTime), strconv.Itoa(d.Attempt), bytesOf(int64(len(d.PayloadB64))), clean(d.LastError),
				})
			}
			if a.json() {
				return out.end(map[string]any{"topic": args[0]})
			}
			if len(rows) == 0 {
				a.err.line(clean(args[0]) + " has no dead letters")
				return nil
			}
			for _, line := range a.out.grid([]column{
				{head: "MESSAGE"}, {head: "DIED", drop: 2}, {head: "ATTEMPTS", right: true, drop: 1}, {head: "SIZE", right: true, drop: 3}, {head: "LAST ERROR", least: 10},
			}, rows) {
				a.out.line(line)
			}
			return nil
		})
	})
	cmd.ValidArgsFunction = a.completeTopics
	return cmd
}

func (a *app) dlqShow() *cobra.Command {
	cmd := a.command(cobra.Command{
		Use: "show TOPIC MSG_ID", Short: "Show one dead letter with its payload", Args: takes(2, 2, "a TOPIC and a MSG_ID"),
		Example: "  ronctl mbox dlq show jobs 01M85MX9X60R8R934CH2HPXGYV",
	}, func(ctx context.Context, args []string) error {
		return a.withClient(ctx, func(ctx context.Context, c *httpapi.Client) error {
			d, err := c.DeadLetter(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			if a.json() {
				return a.out.encode(d)
			}
			for _, l := range [][2]string{
				{"message", d.MsgID}, {"sent", d.TS.Local().Format(time.DateTime)}, {"died", d.DiedAt.Local().Format(time.DateTime)},
				{"attempts", strconv.Itoa(d.Attempt)}, {"reason", d.Reason}, {"last error", d.LastError}, {"corr_id", d.CorrID}, {"key", d.IdemKey},
			} {
				if l[1] != "" {
					a.out.line(fmt.Sprintf("%-11s %s", l[0], clean(l[1])))
				}
			}
			a.out.line(payload(d.PayloadB64))
			return nil
		})
	})
	cmd.ValidArgsFunction = a.completeTopics
	return cmd
}

func (a *app) mboxPurge() *cobra.Command {
	cmd := a.keeps("purge", "Delete waiting messages for good", "deleted", true, (*httpapi.Client).Purge)
	cmd.Use, cmd.Args = "purge TOPIC --yes", takes(1, 1, "one TOPIC")
	cmd.Long = "Delete the ready and delayed messages of a topic. What is under lease stays with its\nconsumer; dead letters have a purge of their own (mbox dlq purge)."
	cmd.Example = "  ronctl mbox purge jobs --yes"
	return cmd
}

type keepFunc func(*httpapi.Client, context.Context, httpapi.KeepRequest) (int, error)

// keeps is a command that changes what lies in the queue; what can not be undone
// asks for --yes.
func (a *app) keeps(verb, short, done string, sure bool, do keepFunc) *cobra.Command {
	var yes bool
	var limit int
	cmd := a.command(cobra.Command{
		Use: verb + " TOPIC [MSG_ID] [--limit N]", Short: short, Args: takes(1, 2, "a TOPIC and perhaps a MSG_ID"),
		Example: "  ronctl mbox dlq " + verb + " jobs --limit 10",
	}, func(ctx context.Context, args []string) error {
		if sure && !yes {
			return usagef("add --yes").because("this deletes messages for good")
		}
		k := httpapi.KeepRequest{Topic: args[0], Limit: limit}
		if len(args) == 2 {
			k.MsgID = args[1]
		}
		return a.withClient(ctx, func(ctx context.Context, c *httpapi.Client) error {
			n, err := do(c, ctx, k)
			if err != nil {
				return err
			}
			if a.json() {
				return a.out.encode(map[string]any{"topic": args[0], "messages": n})
			}
			a.out.line(plural(n, "message") + " " + done)
			return nil
		})
	})
	cmd.Flags().IntVar(&limit, "limit", 0, "at most `N`, oldest first; 0: all")
	if sure {
		cmd.Flags().BoolVar(&yes, "yes", false, "yes, delete them")
	}
	cmd.ValidArgsFunction = a.completeTopics
	return cmd
}
