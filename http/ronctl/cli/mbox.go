package cli

import (
	"context"
	"encoding/base64"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	httpapi "micronode/http"
)

func (a *app) mbox() *cobra.Command {
	cmd := &cobra.Command{
		Use: "mbox", Short: "Send, receive and look after messages", Args: takes(0, 0, ""),
		Long: `Send messages, receive and settle them, and look after what lies in the mailbox.

A message is delivered at least once: whoever receives it holds a lease, and has to
acknowledge it by its receipt before the lease ends, or it comes again. After
mailbox.max_attempts deliveries it goes to the dead-letter queue (mbox dlq).`,
		Example: `  ronctl mbox send jobs 'resize 17'
  ronctl mbox recv jobs --ack
  ronctl mbox recv jobs --follow -- ./resize.sh
  ronctl mbox topics`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("see `%s --help`", cmd.CommandPath()).because("say what to do with messages")
		},
	}
	cmd.AddCommand(a.mboxSend(), a.mboxRecv(), a.mboxAck(), a.mboxNack(), a.mboxExtend(),
		a.mboxPeek(), a.mboxTopics(), a.mboxDLQ(), a.mboxPurge())
	return cmd
}

// withClient runs do with a client of the node, within the command's timeout.
func (a *app) withClient(ctx context.Context, do func(ctx context.Context, c *httpapi.Client) error) error {
	ctx, cancel := a.within(ctx)
	defer cancel()
	client, err := a.connect(ctx, httpapi.Retry{})
	if err != nil {
		return err
	}
	defer client.Close()
	return do(ctx, client)
}

func (a *app) completeTopics(cmd *cobra.Command, args []string, _ string) (found completions, d cobra.ShellCompDirective) {
	if len(args) == 0 {
		a.completeWith(cmd, func(ctx context.Context, c *httpapi.Client) {
			for t, err := range c.Topics(ctx) {
				if err != nil {
					return
				}
				found = append(found, t.Topic)
			}
		})
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// payload shows bytes: text as it is, without what would move a terminal's
// cursor; anything else as base64.
func payload(b []byte) string {
	if utf8.Valid(b) && !strings.ContainsFunc(string(b), func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }) {
		return clean(string(b))
	}
	return "base64:" + base64.StdEncoding.EncodeToString(b)
}

func millis(d time.Duration) *int64 {
	if d == 0 {
		return nil
	}
	ms := d.Milliseconds()
	return &ms
}
