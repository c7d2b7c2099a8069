package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	httpapi "micronode/http"
	"micronode/store/mbox"
)

type mboxSendFlags struct {
	key   string
	delay time.Duration
	attrs []string
	lines bool
}

func (a *app) mboxSend() *cobra.Command {
	var f mboxSendFlags
	cmd := a.command(cobra.Command{
		Use: "send TOPIC [PAYLOAD | @FILE | -] [--key K] [--lines]", Short: "Send a message, or one for each line of stdin",
		Args: takes(1, 2, "a TOPIC and a PAYLOAD"),
		Long: `Send one message. The payload is the argument, a file (@FILE), or stdin (-, or nothing).
When the command ends well, the node keeps the message until it is acknowledged.

With --key the send may be repeated: the same key and payload give the same message.
With --lines each line of stdin is a message of its own.`,
		Example: "  ronctl mbox send jobs 'resize 17' --key order-17\n  ronctl mbox send jobs @task.json --attr type=json\n  find . -name '*.jpg' | ronctl mbox send jobs --lines",
	}, func(ctx context.Context, args []string) error {
		attrs, err := pairs(f.attrs)
		switch {
		case err != nil:
			return err
		case f.lines && (f.key != "" || len(args) == 2):
			return usagef("for example `ls | ronctl mbox send jobs --lines`").because("--lines reads stdin and takes neither a payload nor a key")
		case f.lines:
			return a.sendLines(ctx, args[0], attrs, f.delay)
		}
		body, err := a.payloadOf(args)
		if err != nil {
			return err
		}
		return a.withClient(ctx, func(ctx context.Context, c *httpapi.Client) error {
			sent, err := c.Send(ctx, httpapi.SendRequest{Topic: args[0], PayloadB64: body, Attrs: attrs, DelayMS: f.delay.Milliseconds(), IdemKey: f.key})
			if err != nil {
				return err
			}
			if a.json() {
				return a.out.encode(sent)
			}
			text := sent.MsgID
			if sent.Duplicate {
				text += "\tduplicate: sent before under this key"
			}
			a.out.line(text)
			return nil
		})
	})
	cmd.Flags().StringVar(&f.key, "key", "", "idempotency key")
	cmd.Flags().DurationVar(&f.delay, "delay", 0, "deliver not before this `DURATION`")
	cmd.Flags().StringArrayVar(&f.attrs, "attr", nil, "an attribute, `NAME=VALUE`; may be repeated")
	cmd.Flags().BoolVar(&f.lines, "lines", false, "each line of stdin is a message")
	cmd.ValidArgsFunction = a.completeTopics
	return cmd
}

func pairs(all []string) (map[string]string, error) {
	attrs := map[string]string{}
	for _, p := range all {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, usagef("for example --attr type=json").because(fmt.Sprintf("%.80q is not NAME=VALUE", p))
		}
		attrs[name] = value
	}
	return attrs, nil
}

// payloadOf reads what is to be sent, and not much more than may be.
func (a *app) payloadOf(args []string) ([]byte, error) {
	if len(args) == 2 && args[1] != "-" && !strings.HasPrefix(args[1], "@") {
		return []byte(args[1]), nil
	}
	src := a.sys.Stdin
	if len(args) == 2 && args[1] != "-" {
		file, err := os.Open(args[1][1:])
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		src = file
	}
	body, err := io.ReadAll(io.LimitReader(src, mbox.MaxPayload+1))
	if err == nil && len(body) > mbox.MaxPayload {
		return nil, usagef("store it (`ronctl put`) and send its address").because("a payload may have 1 MiB")
	}
	return body, err
}

// sendLines sends in batches and stops at the first line that is refused.
func (a *app) sendLines(ctx context.Context, topic string, attrs map[string]string, delay time.Duration) error {
	client, err := a.connect(ctx, httpapi.Retry{})
	if err != nil {
		return err
	}
	defer client.Close()
	lines := bufio.NewScanner(a.sys.Stdin)
	lines.Buffer(nil, mbox.MaxPayload+1)
	var batch []httpapi.SendRequest
	sent, size := 0, 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		out, err := client.SendBatch(ctx, batch)
		for _, o := range out {
			if o.Err != nil {
				err = o.Err
				break
			}
			sent++
		}
		batch, size = batch[:0], 0
		return err
	}
	for lines.Scan() && err == nil {
		batch = append(batch, httpapi.SendRequest{Topic: topic, PayloadB64: []byte(lines.Text()), Attrs: attrs, DelayMS: delay.Milliseconds()})
		if size += len(lines.Bytes()); len(batch) == mbox.MaxBatch || size > mbox.MaxPayload/4 {
			err = flush()
		}
	}
	if err == nil {
		err = errors.Join(lines.Err(), flush())
	}
	if err != nil {
		return &failure{
			exit: ExitFailed, what: fmt.Sprintf("line %d was not sent", sent+1), why: errorText(err),
			next: fmt.Sprintf("%s sent before; mend it and go on from that line", plural(sent, "line")), cause: err,
		}
	}
	if a.json() {
		return a.out.encode(map[string]int{"sent": sent})
	}
	a.out.line(plural(sent, "message") + " sent to " + clean(topic))
	return nil
}
