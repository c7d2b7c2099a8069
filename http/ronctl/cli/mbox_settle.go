package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	httpapi "micronode/http"
)

func (a *app) mboxAck() *cobra.Command {
	return a.command(cobra.Command{
		Use: "ack RECEIPT...", Short: "Acknowledge messages", Args: takes(1, -1, "RECEIPT..."),
		Long: "Acknowledge messages by the receipts that came with them: they are done and forgotten.", Example: "  ronctl mbox ack AAGiC06npgYR…",
	}, func(ctx context.Context, args []string) error {
		return a.withClient(ctx, func(ctx context.Context, c *httpapi.Client) error {
			return a.each(args, "acknowledged", func(receipt string) error { return c.Ack(ctx, httpapi.SettleRequest{Receipt: receipt}) })
		})
	})
}

func (a *app) mboxNack() *cobra.Command {
	var reason string
	cmd := a.command(cobra.Command{
		Use: "nack RECEIPT... [--reason TEXT]", Short: "Give messages back", Args: takes(1, -1, "RECEIPT..."),
		Long:    "Give messages back: they come again after a backoff, or are dead after their last attempt.",
		Example: "  ronctl mbox nack AAGiC06npgYR… --reason 'disk full'",
	}, func(ctx context.Context, args []string) error {
		return a.withClient(ctx, func(ctx context.Context, c *httpapi.Client) error {
			return a.each(args, "given back", func(receipt string) error {
				return c.Nack(ctx, httpapi.SettleRequest{Receipt: receipt, Reason: reason})
			})
		})
	})
	cmd.Flags().StringVar(&reason, "reason", "", "becomes the message's last error")
	return cmd
}

func (a *app) mboxExtend() *cobra.Command {
	var visibility time.Duration
	cmd := a.command(cobra.Command{
		Use: "extend RECEIPT [--visibility D]", Short: "Keep a lease for longer", Args: takes(1, 1, "one RECEIPT"),
		Long: "Count a lease anew from now. The receipt stays the same.", Example: "  ronctl mbox extend AAGiC06npgYR… --visibility 5m",
	}, func(ctx context.Context, args []string) error {
		return a.withClient(ctx, func(ctx context.Context, c *httpapi.Client) error {
			until, err := c.Extend(ctx, httpapi.SettleRequest{Receipt: args[0], VisibilityMS: millis(visibility)})
			if err != nil {
				return err
			}
			if a.json() {
				return a.out.encode(httpapi.SettleAnswer{OK: true, Deadline: &until})
			}
			a.out.line("extended until " + until.Local().Format(time.DateTime))
			return nil
		})
	})
	cmd.Flags().DurationVar(&visibility, "visibility", 0, "from now on, a `DURATION`; 0: the node's default")
	return cmd
}

// each settles one receipt after the other and goes on over what fails.
func (a *app) each(receipts []string, done string, settle func(receipt string) error) error {
	type result struct {
		Receipt string `json:"receipt"`
		OK      bool   `json:"ok"`
		Why     string `json:"why,omitempty"`
	}
	out := newStream(a.out, "receipts")
	var first error
	failed := 0
	for _, receipt := range receipts {
		err := settle(receipt)
		if isGone(err) {
			return err
		}
		r := result{Receipt: receipt, OK: err == nil}
		if err != nil {
			r.Why = errorText(err)
			failed++
			if first == nil {
				first = err
			}
		}
		switch {
		case a.json():
			if err := out.add(r); err != nil {
				return err
			}
		case err == nil:
			a.out.line(clean(receipt) + "\t" + done)
		case len(receipts) > 1:
			a.err.line(a.err.paint(styleBad, "ronctl mbox: ") + clean(receipt) + ": " + clean(r.Why))
		}
	}
	if a.json() {
		if err := out.end(map[string]any{"totals": map[string]any{"ok": len(receipts) - failed, "failed": failed}}); err != nil {
			return err
		}
	}
	if failed == 0 || len(receipts) == 1 {
		return first
	}
	return &failure{exit: ExitFailed, what: plural(failed, "receipt") + " not settled", why: errorText(first), next: nextStep(first), cause: first}
}
