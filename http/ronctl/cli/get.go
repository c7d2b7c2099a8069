package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	httpapi "micronode/http"
	"micronode/store"
)

func (a *app) get() *cobra.Command {
	var to, byteRange string
	var retryFor time.Duration
	cmd := a.command(cobra.Command{
		Use: "get ADDR [-O FILE] [--range A-B]", Short: "Read one object, verified", Args: takes(1, 1, "one ADDR"),
		Long: `Read one object to standard output, or to a file with -O. A whole object is checked
against its address here, on top of the node's own check; a file appears under its name only
when all of it was right. What could upset a terminal is not written to one, unless by -O -.

A range (first-last, first-, or -n for the last n bytes) is verified by the node alone.`,
		Example: "  ronctl get b3:d74981ef… -O hello.txt\n  ronctl get b3:d74981ef… --range 0-99 | xxd",
	}, func(ctx context.Context, args []string) error {
		addrs, err := parseAddresses(args)
		if err != nil {
			return err
		}
		span, err := parseRange(byteRange)
		if err != nil {
			return err
		}
		client, err := a.connect(ctx, a.patience(retryFor, nil))
		if err != nil {
			return err
		}
		defer client.Close()
		if to == "" || to == "-" {
			return a.getOut(ctx, client, addrs[0], span, to == "")
		}
		return a.getFile(ctx, client, addrs[0], span, to)
	})
	cmd.Flags().StringVarP(&to, "to", "O", "", "write to `FILE`; - is standard output, come what may")
	cmd.Flags().DurationVar(&retryFor, "retry-for", defaultRetryFor, "how long to repeat what is refused for now; 0: never")
	cmd.Flags().StringVar(&byteRange, "range", "", "only these bytes: A-B, A- or -N")
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) (completions, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.completeAddress(cmd, args, typed)
	}
	return cmd
}

// parseRange reads A-B, A- or -N; "" is no range.
func parseRange(s string) (*httpapi.Span, error) {
	if s == "" {
		return nil, nil
	}
	bad := usagef("for example --range 0-99, --range 100- or --range -100").because("--range takes A-B, A- or -N")
	first, last, found := strings.Cut(s, "-")
	from, errFrom := strconv.ParseInt(first, 10, 64)
	upto, errUpto := strconv.ParseInt(last, 10, 64)
	switch {
	case !found, strings.HasPrefix(last, "-"), strings.HasPrefix(last, "+"), strings.HasPrefix(first, "+"):
		return nil, bad
	case first == "" && errUpto == nil && upto > 0:
		return &httpapi.Span{Off: -upto}, nil
	case errFrom == nil && last == "":
		return &httpapi.Span{Off: from, N: -1}, nil
	case errFrom == nil && errUpto == nil && from <= upto && upto-from+1 > 0:
		return &httpapi.Span{Off: from, N: upto - from + 1}, nil
	}
	return nil, bad
}

// getOut writes to standard output. With -o json that is the object still.
func (a *app) getOut(ctx context.Context, client *httpapi.Client, addr store.Address, span *httpapi.Span, careful bool) error {
	var w io.Writer = a.sys.Stdout
	if careful && a.out.terminal {
		w = &textOnly{w: w}
	}
	_, err := client.Get(ctx, addr, w, span)
	return err
}

// textOnly passes text on and refuses what could upset a terminal, judging each
// piece before it is written.
type textOnly struct {
	w    io.Writer
	part []byte // of a rune cut in two
}

// Write implements io.Writer.
func (t *textOnly) Write(p []byte) (int, error) {
	text := append(t.part, p...)
	whole := len(text)
	for cut := 1; cut < utf8.UTFMax && cut <= len(text); cut++ {
		if tail := text[len(text)-cut:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				whole = len(text) - cut
			}
			break
		}
	}
	for _, r := range string(text[:whole]) {
		if r == utf8.RuneError || r < ' ' && r != '\n' && r != '\t' && r != '\r' || r >= 0x7f && r < 0xa0 {
			return 0, &failure{
				exit: ExitFailed, what: "not written to the terminal", why: "the object is not plain text",
				next: "write it to a file with -O FILE, to a program with a pipe, or all the same with -O -",
			}
		}
	}
	if _, err := t.w.Write(text[:whole]); err != nil {
		return 0, err
	}
	t.part = append([]byte(nil), text[whole:]...)
	return len(p), nil
}

// getFile writes beside the target and renames when all is right.
func (a *app) getFile(ctx context.Context, client *httpapi.Client, addr store.Address, span *httpapi.Span, to string) error {
	n, err := writeFile(to, func(w io.Writer) (int64, error) { return client.Get(ctx, addr, w, span) })
	if err != nil {
		return err
	}
	if a.json() {
		return a.out.encode(map[string]any{"address": addr, "size": n, "path": to, "verified": span == nil})
	}
	a.err.line(fmt.Sprintf("%s  %s", field(to), bytesOf(n)))
	return nil
}

// writeFile fills a file so that it is there whole or not at all. What is there
// already and no regular file (a pipe, /dev/null) is written to as it is.
func writeFile(to string, fill func(io.Writer) (int64, error)) (int64, error) {
	if info, err := os.Stat(to); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(to, os.O_WRONLY, 0)
		if err != nil {
			return 0, err
		}
		n, err := fill(f)
		return n, errors.Join(err, f.Close())
	}
	temp := filepath.Join(filepath.Dir(to), fmt.Sprintf(".%s.%08x", filepath.Base(to), rand.Uint32()))
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		var named *fs.PathError
		if errors.As(err, &named) {
			named.Path = to // the temporary name says nothing to anybody
		}
		return 0, err
	}
	n, err := fill(f)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(temp, to)
	}
	if err != nil {
		return n, errors.Join(err, os.Remove(temp))
	}
	return n, nil
}
