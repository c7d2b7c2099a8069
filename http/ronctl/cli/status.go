package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	httpapi "micronode/http"
)

func (a *app) status() *cobra.Command {
	return a.command(cobra.Command{
		Use: "status", Short: "Show the actors, the store and the readiness", Args: takes(0, 0, ""),
		Long: `Show the tree of supervised actors with their state, restarts and queues, how full the
store is, and whether the node is ready. The exit code is 0 also when the node is not
ready: ask "ronctl ready" for that.`,
		Example: "  ronctl status\n  ronctl status -o json | jq '.services[] | select(.state != \"running\")'",
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
		for _, l := range a.statusLines(s) {
			a.out.line(l)
		}
		return nil
	})
}

// statusLines is the whole of `ronctl status` for people.
func (a *app) statusLines(s httpapi.Status) []string {
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
	for _, c := range s.Readiness.Causes {
		lines = append(lines, label("cause")+a.out.paint(styleWarn, clean(strings.TrimSpace(c.Name+" "+c.Detail))))
	}
	return append(append(lines, ""), a.actors(s.Services, now)...)
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

// actors is the tree as a table: one line each, in order of start.
func (a *app) actors(services []httpapi.ServiceState, now time.Time) []string {
	t := table.New().Border(lipgloss.HiddenBorder()).
		BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).BorderHeader(false).BorderColumn(false).
		Wrap(false).
		StyleFunc(func(row, col int) lipgloss.Style {
			style := lipgloss.NewStyle().PaddingRight(columnGap)
			if !a.out.colour {
				return style
			}
			switch {
			case row == table.HeaderRow:
				return style.Faint(true)
			case col == 1:
				return styleOfState(services[row].State).lipgloss().PaddingRight(columnGap)
			}
			return style
		}).
		Headers(a.fitting(actorColumns())...)
	if a.out.terminal && a.out.width > 0 {
		t = t.Width(min(a.out.width, a.tableWidth(services, now)))
	}
	for i, s := range services {
		t = t.Row(a.fitting(a.actorRow(s, i == len(services)-1, now))...)
	}
	lines := strings.Split(t.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

func actorColumns() []string {
	return []string{"ACTOR", "STATE", "RESTARTS", "QUEUE", "SINCE", "LAST REASON"}
}

// narrow is the width below which a table keeps only what an operator needs first.
const narrow = 72

// columnGap is the room between columns.
const columnGap = 2

// fitting leaves queue and since out of a row on a narrow terminal.
func (a *app) fitting(row []string) []string {
	if !a.out.terminal || a.out.width <= 0 || a.out.width >= narrow {
		return row
	}
	return append(append([]string(nil), row[:3]...), row[5])
}

func (a *app) actorRow(s httpapi.ServiceState, last bool, now time.Time) []string {
	branch := "├─ "
	if last {
		branch = "└─ "
	}
	name := branch + clean(s.Name)
	if !s.Required {
		name += " (optional)"
	}
	state := clean(s.State)
	if s.NextRestart != nil && s.NextRestart.After(now) {
		state += ", again in " + span(s.NextRestart.Sub(now))
	}
	queue := "-"
	if s.QueueCap > 0 {
		queue = fmt.Sprintf("%d/%d", s.QueueDepth, s.QueueCap)
	}
	since := "-"
	if !s.Since.IsZero() {
		since = span(now.Sub(s.Since))
	}
	reason := clean(s.LastReason)
	if reason != "" && s.LastCrash != nil {
		reason += " (" + span(now.Sub(*s.LastCrash)) + " ago)"
	}
	return []string{name, state, humanize.Comma(s.Restarts), queue, since, reason}
}

// tableWidth is what the table would take if nothing held it.
func (a *app) tableWidth(services []httpapi.ServiceState, now time.Time) int {
	rows := [][]string{a.fitting(actorColumns())}
	for _, s := range services {
		rows = append(rows, a.fitting(a.actorRow(s, false, now)))
	}
	sum := 0
	for column := range rows[0] {
		widest := 0
		for _, row := range rows {
			widest = max(widest, lipgloss.Width(row[column]))
		}
		sum += widest + columnGap
	}
	return sum
}

func styleOfState(state string) style {
	switch state {
	case "running":
		return styleGood
	case "storm", "quarantined", "stopped":
		return styleBad
	}
	return styleWarn
}
