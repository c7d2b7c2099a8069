package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	httpapi "micronode/http"
	"micronode/store"
)

func (a *app) ls() *cobra.Command {
	var limit int
	var long bool
	cmd := a.command(cobra.Command{
		Use: "ls [-l] [--limit N]", Short: "List objects in order of address", Args: takes(0, 0, ""),
		Long:    `List the addresses of what the node holds, in ascending order; with -l also size and expiry.`,
		Example: "  ronctl ls -l\n  ronctl ls | xargs -n 100 ronctl rm",
	}, func(ctx context.Context, _ []string) error {
		if limit < 0 {
			return usagef("for example --limit 20").because("--limit cannot be negative")
		}
		client, err := a.connect(ctx, httpapi.Retry{})
		if err != nil {
			return err
		}
		defer client.Close()
		return a.list(ctx, client, limit, long)
	})
	cmd.Flags().IntVar(&limit, "limit", 0, "stop after `N` objects; 0: all")
	cmd.Flags().BoolVarP(&long, "long", "l", false, "with size and expiry")
	return cmd
}

func (a *app) list(ctx context.Context, client *httpapi.Client, limit int, long bool) error {
	out := newStream(a.out, "objects")
	n, bytes, more := 0, int64(0), false
	for o, err := range client.List(ctx) {
		if err != nil {
			return err
		}
		if limit > 0 && n == limit {
			more = true
			break
		}
		n++
		bytes += o.Size
		if a.json() {
			if err := out.add(o); err != nil {
				return err
			}
			continue
		}
		a.out.line(listLine(o, long))
		if err := a.out.failed(); err != nil {
			return err
		}
	}
	if a.json() {
		return out.end(map[string]any{"totals": map[string]any{"objects": n, "bytes": bytes, "more": more}})
	}
	return nil
}

func listLine(o httpapi.Listed, long bool) string {
	if !long {
		return clean(o.Address)
	}
	expires := "-"
	if o.Expires != nil {
		expires = o.Expires.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("%s\t%d\t%s", clean(o.Address), o.Size, expires)
}

func (a *app) rm() *cobra.Command {
	cmd := a.command(cobra.Command{
		Use: "rm ADDR...", Short: "Delete objects", Args: takes(1, -1, "ADDR..."),
		Long:    `Delete objects. Their memory is zeroed. An address that the node does not have is a failure.`,
		Example: "  ronctl rm b3:d74981ef…\n  ronctl ls | xargs -n 100 ronctl rm",
	}, func(ctx context.Context, args []string) error {
		addrs, err := parseAddresses(args)
		if err != nil {
			return err
		}
		client, err := a.connect(ctx, httpapi.Retry{})
		if err != nil {
			return err
		}
		defer client.Close()
		return a.remove(ctx, client, addrs)
	})
	cmd.ValidArgsFunction = a.completeAddress
	return cmd
}

func parseAddresses(args []string) ([]store.Address, error) {
	addrs := make([]store.Address, 0, len(args))
	for _, arg := range args {
		addr, err := store.ParseAddress(arg)
		if err != nil {
			return nil, usagef("take an address from `ronctl put` or `ronctl ls`").because(fmt.Sprintf("%.80q: %v", arg, err))
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// remove deletes one after the other and goes on over what is not there.
func (a *app) remove(ctx context.Context, client *httpapi.Client, addrs []store.Address) error {
	type result struct {
		Address store.Address `json:"address"`
		Deleted bool          `json:"deleted"`
		Why     string        `json:"why,omitempty"`
	}
	out := newStream(a.out, "objects")
	deleted := 0
	var failed []error
	for _, addr := range addrs {
		err := client.Delete(ctx, addr)
		if isGone(err) || ctx.Err() != nil {
			return err
		}
		r := result{Address: addr, Deleted: err == nil}
		if err != nil {
			r.Why = errorText(err)
			failed = append(failed, err)
		} else {
			deleted++
		}
		switch {
		case a.json():
			if err := out.add(r); err != nil {
				return err
			}
		case err != nil:
			a.err.line(a.err.paint(styleBad, "ronctl rm: ") + addr.String() + ": " + clean(r.Why))
		default:
			a.out.line(addr.String() + "\tdeleted")
		}
	}
	if a.json() {
		if err := out.end(map[string]any{"totals": map[string]any{"deleted": deleted, "failed": len(failed)}}); err != nil {
			return err
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return &failure{
		exit: ExitFailed, what: plural(len(failed), "object") + " not deleted", why: errorText(failed[0]),
		next: nextStep(failed[0]), cause: errors.Join(failed...),
	}
}
