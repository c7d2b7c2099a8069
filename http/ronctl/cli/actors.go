package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	httpapi "micronode/http"
)

// leastRun is how many actors of one kind are worth one line for all.
const leastRun = 3

// actorLine is one line of the tree: an actor, or several of one kind of which
// there is nothing else to say.
type actorLine struct {
	httpapi.ServiceState
	name string
}

// actorLines makes one line of neighbours such as mailbox-0 to mailbox-7 that
// all run and never failed, unless all are to be shown.
func actorLines(services []httpapi.ServiceState, all bool) []actorLine {
	var lines []actorLine
	for i := 0; i < len(services); {
		n := 1
		if !all {
			n = runOf(services[i:])
		}
		line := actorLine{ServiceState: services[i], name: services[i].Name}
		if n >= leastRun {
			_, last, _ := numbered(services[i+n-1].Name)
			line.name += ".." + strconv.Itoa(last)
			for _, s := range services[i+1 : i+n] {
				line.QueueDepth += s.QueueDepth
				line.QueueCap += s.QueueCap
			}
		} else {
			n = 1
		}
		lines = append(lines, line)
		i += n
	}
	return lines
}

// runOf is how many of the first services differ in their number alone.
func runOf(services []httpapi.ServiceState) int {
	plain := func(s httpapi.ServiceState) bool {
		return s.State == "running" && s.Restarts == 0 && s.LastReason == "" && s.Required == services[0].Required
	}
	base, first, ok := numbered(services[0].Name)
	if !ok || !plain(services[0]) {
		return 1
	}
	n := 1
	for ; n < len(services) && plain(services[n]); n++ {
		if b, i, ok := numbered(services[n].Name); !ok || b != base || i != first+n {
			break
		}
	}
	return n
}

// numbered splits a name such as mailbox-3.
func numbered(name string) (base string, n int, ok bool) {
	at := strings.LastIndexByte(name, '-')
	if at <= 0 {
		return "", 0, false
	}
	n, err := strconv.Atoi(name[at+1:])
	return name[:at], n, err == nil && n >= 0
}

// actors is the tree as a table: one line each, in order of start.
func (a *app) actors(services []httpapi.ServiceState, now time.Time, all bool) []string {
	shown := actorLines(services, all)
	rows := make([][]string, len(shown))
	for i, s := range shown {
		rows[i] = actorRow(s, i == len(shown)-1, now)
	}
	return a.out.grid([]column{
		{head: "ACTOR", least: 12},
		{head: "STATE", least: 8, style: func(row int) style { return styleOfState(shown[row].State) }},
		{head: "RESTARTS", drop: 2},
		{head: "QUEUE", drop: 4},
		{head: "SINCE", drop: 3},
		{head: "LAST REASON", least: 11, drop: 1},
	}, rows)
}

func actorRow(s actorLine, last bool, now time.Time) []string {
	branch := "├─ "
	if last {
		branch = "└─ "
	}
	name := branch + clean(s.name)
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
	return []string{name, state, humanize.Comma(s.Restarts), queue, since, lastReason(s.ServiceState, now)}
}

// lastReason is why an actor went down last, and when.
func lastReason(s httpapi.ServiceState, now time.Time) string {
	reason := clean(s.LastReason)
	if reason != "" && s.LastCrash != nil {
		reason += " (" + span(now.Sub(*s.LastCrash)) + " ago)"
	}
	return reason
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
