package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	httpapi "micronode/http"
)

// Waits between attempts to take up a tail again.
const (
	resumeMin = 100 * time.Millisecond
	resumeMax = 5 * time.Second
)

func (a *app) tail() *cobra.Command {
	var opt httpapi.TailOptions
	cmd := a.command(cobra.Command{
		Use: "tail [--topic TOPIC] [--since WHEN] [--kind KIND]", Short: "Show what happens, as it happens", Args: takes(0, 0, ""),
		Long: `Show the node's events until interrupted: crashes with their reason, restarts,
readiness, drains. When the node goes away, tail waits for it and goes on after the last
event seen; when another process has taken its place, it says so and starts at its start.

With -o json each event is one line of JSON (NDJSON).`,
		Example: "  ronctl tail\n  ronctl tail --since 10m --kind ServiceCrashed\n  ronctl tail --topic micronode.crash -o json | jq -r .data.reason",
	}, func(ctx context.Context, _ []string) error {
		if err := checkSince(opt.Since); err != nil {
			return err
		}
		client, err := a.connect(ctx, httpapi.Retry{})
		if err != nil {
			return err
		}
		defer client.Close()
		return (&follower{app: a, client: client, opt: opt}).run(ctx)
	})
	flags := cmd.Flags()
	flags.StringVar(&opt.Topic, "topic", "micronode", "this `TOPIC` and all below it")
	flags.StringVar(&opt.Since, "since", "", "begin with the past: a duration (10m), or the sequence number to go on after")
	flags.StringVar(&opt.Kind, "kind", "", "only events of this `KIND`")
	_ = cmd.RegisterFlagCompletionFunc("topic", cobra.FixedCompletions([]string{
		"micronode", "micronode.health", "micronode.crash", "micronode.config", "micronode.ready",
		"micronode.mailbox", "micronode.store", "micronode.audit", "micronode.shutdown",
	}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions([]string{
		"Health", "ConfigUpdated", "ServiceCrashed", "ServiceRestarted", "Shutdown", "ReadyChanged",
		"RestartStorm", "Quarantined", "Forgiven", "Fault", "IntegrityFailed", "DlqMoved",
		"RedeliveryStorm", "DrainStarted", "Audit", "DiskFailed", "DiskReopened", "DiskReopenFailed", "ObjectHealed", "ScrubFinished", "BackupMade",
	}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func checkSince(s string) error {
	if s == "" {
		return nil
	}
	if _, err := strconv.ParseUint(s, 10, 64); err == nil {
		return nil
	}
	if d, err := time.ParseDuration(s); err != nil || d < 0 {
		return usagef("for example --since 10m, or --since 1234").because("--since takes a duration or a sequence number")
	}
	return nil
}

// follower is one `ronctl tail` over all its connections.
type follower struct {
	*app
	client  *httpapi.Client
	opt     httpapi.TailOptions
	last    uint64    // seq of the newest event shown
	started time.Time // of the process that it came from
	lost    bool      // told already
}

// run follows until ctx ends, which is how a tail is meant to end.
func (f *follower) run(ctx context.Context) error {
	if s, err := f.client.Status(ctx); err == nil {
		f.started = s.Started
	}
	for wait := resumeMin; ; wait = min(2*wait, resumeMax) {
		before := f.last
		err := f.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := f.out.failed(); err != nil {
			return err
		}
		if err != nil && f.last == 0 && f.started.IsZero() || refused(err) {
			return err // never was there, or does not want us
		}
		if f.last != before {
			wait = resumeMin
		}
		f.tell(err)
		if !pause(ctx, wait) {
			return nil
		}
		f.resume(ctx)
	}
}

// follow shows one stream to its end.
func (f *follower) follow(ctx context.Context) error {
	for e, err := range f.client.Tail(ctx, f.opt) {
		if err != nil {
			return err
		}
		if f.lost {
			f.err.line(f.err.paint(styleDim, "tail: connected again"))
			f.lost = false
		}
		if e.Seq != 0 && e.Seq <= f.last {
			continue // seen before the connection broke
		}
		f.last = max(f.last, e.Seq)
		if err := f.show(e); err != nil {
			return err
		}
	}
	return nil
}

// refused tells an answer that asking again will not change.
func refused(err error) bool {
	var p *httpapi.Problem
	return errors.As(err, &p) && !p.Retryable
}

// tell says once that the stream is gone.
func (f *follower) tell(err error) {
	if f.lost {
		return
	}
	f.lost = true
	why := "the node ended the stream"
	if err != nil {
		why = clean(err.Error())
	}
	f.err.line(f.err.paint(styleWarn, fmt.Sprintf("tail: %s; going on after seq %d as soon as it is back", why, f.last)))
}

// resume asks to go on after the last event, or from the start of another process.
func (f *follower) resume(ctx context.Context) {
	ctx, cancel := f.within(ctx)
	defer cancel()
	f.opt.Since = strconv.FormatUint(f.last, 10)
	s, err := f.client.Status(ctx)
	if err != nil || s.Started.Equal(f.started) {
		return
	}
	if !f.started.IsZero() {
		f.err.line(f.err.paint(styleWarn, fmt.Sprintf("tail: another process answers now (pid %d); showing it from its start", s.PID)))
		f.last, f.opt.Since = 0, "0"
	}
	f.started = s.Started
}

// pause waits unless ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *follower) show(e httpapi.Event) error {
	if f.json() {
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		f.out.line(string(text))
		return f.out.failed()
	}
	if e.Lagged > 0 {
		f.out.line(f.out.paint(styleWarn, fmt.Sprintf("… %d events lost: this reader was too slow", e.Lagged)))
	}
	parts := []string{
		f.out.paint(styleDim, e.TS.Local().Format("15:04:05.000")),
		f.out.paint(styleDim, clean(e.Topic)),
		f.out.paint(styleOfKind(e.Kind), clean(e.Kind)),
	}
	for _, word := range []string{e.Service, details(e.Data)} {
		if word != "" {
			parts = append(parts, clean(word))
		}
	}
	if e.CorrID != "" {
		parts = append(parts, f.out.paint(styleDim, "corr_id="+clean(e.CorrID)))
	}
	f.out.line(strings.Join(parts, " "))
	return f.out.failed()
}

// details shows an event's data as name=value, without the stack: that is for -o json.
func details(data json.RawMessage) string {
	if len(data) == 0 || bytes.Equal(data, []byte("null")) {
		return ""
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil {
		return string(data)
	}
	var words []string
	for name, value := range members {
		if name == "stack" {
			continue
		}
		var text string
		switch {
		case json.Unmarshal(value, &text) != nil:
			text = string(value)
		case strings.ContainsAny(text, " \t\"") || text == "":
			text = strconv.Quote(text)
		}
		words = append(words, name+"="+text)
	}
	sort.Strings(words)
	return strings.Join(words, " ")
}

func styleOfKind(kind string) style {
	switch kind {
	case "ServiceCrashed", "RestartStorm", "Quarantined", "Fault", "IntegrityFailed", "RedeliveryStorm", "DiskFailed", "DiskReopenFailed":
		return styleBad
	case "Shutdown", "DrainStarted", "ReadyChanged", "DlqMoved":
		return styleWarn
	}
	return styleHead
}
