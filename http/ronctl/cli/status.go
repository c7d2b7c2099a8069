package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	httpapi "micronode/http"
)

func (a *app) status() *cobra.Command {
	var all bool
	cmd := a.command(cobra.Command{
		Use: "status [--all]", Short: "Show the actors, the store and the readiness", Args: takes(0, 0, ""),
		Long: `Show the tree of supervised actors with their state, restarts and queues, how
full the store is, and whether the node is ready; when it is not, why, and what
to do next. Actors of one kind that all run and never failed share a line.

The exit code is 0 also when the node is not ready: "ronctl ready" tells that.`,
		Example: `  ronctl status
  ronctl status -o json | jq '.services[] | select(.state != "running")'`,
	}, func(ctx context.Context, _ []string) error {
		ctx, cancel := a.within(ctx)
		defer cancel()
		client, err := a.connect(ctx, httpapi.Retry{})
		if err != nil {
			return err
		}
		defer client.Close()
		s, err := client.Status(ctx)
		if err != nil {
			return err
		}
		if a.json() {
			return a.out.encode(s)
		}
		for _, l := range a.statusLines(s, all) {
			a.out.line(l)
		}
		return nil
	})
	cmd.Flags().BoolVarP(&all, "all", "a", false, "a line for every actor")
	return cmd
}

// statusLines is the whole of `ronctl status` for people.
func (a *app) statusLines(s httpapi.Status, all bool) []string {
	now := s.Started.Add(time.Duration(s.UptimeMS) * time.Millisecond) // the node's clock, not ours
	label := func(name string) string { return a.out.paint(styleDim, fmt.Sprintf("%-6s ", name)) }
	lines := []string{
		a.out.paint(styleHead, clean(s.Service+" "+s.Version)) + "  " + a.headline(s.Readiness),
		label("node") + fmt.Sprintf("pid %d, up %s, auth %s%s", s.PID, span(now.Sub(s.Started)), clean(s.Mode), amnesia(s.Amnesia)),
	}
	for _, l := range s.Listeners {
		lines = append(lines, label("listen")+clean(l.Plane+" "+l.Network+" "+l.Address))
	}
	lines = append(lines,
		label("store")+a.fill(s.Store),
		label("bus")+fmt.Sprintf("seq %d, %s, %d lagged", s.Bus.Seq, plural(s.Bus.Subscribers, "subscriber"), s.Bus.Lagged),
		label("load")+fmt.Sprintf("%d in flight, %s", s.Inflight, plural(int(s.Conns), "connection")),
	)
	r := s.Readiness
	r.Services = s.Services
	for _, t := range troubles(r, now) {
		lines = append(lines, label(t[0])+a.out.paint(styleWarn, t[1]))
	}
	lines = append(append(lines, ""), a.actors(s.Services, now, all)...)
	if next := whatNext(r); next != "" {
		lines = append(lines, "", a.out.paint(styleHead, "next:")+" "+next)
	}
	return lines
}

func amnesia(on bool) string {
	if on {
		return ", amnesia (all is gone on exit)"
	}
	return ""
}

// headline is readiness in one phrase.
func (a *app) headline(r httpapi.Readiness) string {
	missing := ""
	if len(r.Missing) > 0 {
		missing = ": " + clean(strings.Join(r.Missing, ", "))
	}
	var shut []string
	for _, plane := range sortedKeys(r.Planes) {
		if state := r.Planes[plane]; state != httpapi.PlaneOpen {
			shut = append(shut, clean(plane+" "+strings.ReplaceAll(state, "_", "-")))
		}
	}
	planes := ""
	if len(shut) > 0 {
		planes = " (" + strings.Join(shut, ", ") + ")"
	}
	switch {
	case !r.Ready:
		return a.out.paint(styleBad, "not ready"+missing+planes)
	case r.Degraded:
		return a.out.paint(styleWarn, "degraded"+missing+planes)
	}
	return a.out.paint(styleGood, "ready")
}

func (a *app) fill(s httpapi.StoreStatus) string {
	text := fmt.Sprintf("%s, %s, %s", clean(s.Tier), plural(int(s.Objects), "object"), bytesOf(s.Bytes))
	if s.MaxBytes <= 0 {
		return text
	}
	percent := float64(s.Bytes) * 100 / float64(s.MaxBytes)
	as := stylePlain
	if percent > 90 { // contract §2: degraded above
		as = styleWarn
	}
	return text + " of " + bytesOf(s.MaxBytes) + " " + a.out.paint(as, fmt.Sprintf("(%.0f %%)", percent))
}
