package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	httpapi "micronode/http"
)

// downRank orders the states of actors that do not run by how much they need a
// person.
var downRank = [...]string{"quarantined", "storm", "stopped", "probing", "backoff", "starting", "stopping"}

// troubles says line by line what keeps a node from being ready and open: the
// causes, and the actors that do not run with their whole reason. Of services
// and causes a node has given only with /readyz?verbose and in its status.
func troubles(r httpapi.Readiness, now time.Time) (lines [][2]string) {
	for _, c := range r.Causes {
		lines = append(lines, [2]string{"cause", clean(strings.TrimSpace(c.Name+"  "+c.Detail)) + effect(c)})
	}
	for _, s := range r.Services {
		if s.State == "running" {
			continue
		}
		text := clean(s.Name + " " + s.State)
		if s.NextRestart != nil && s.NextRestart.After(now) {
			text += ", again in " + span(s.NextRestart.Sub(now))
		}
		if why := lastReason(s, now); why != "" {
			text += ": " + why
		}
		lines = append(lines, [2]string{"down", text})
	}
	return lines
}

// effect says what a cause does beyond a warning.
func effect(c httpapi.Cause) string {
	switch {
	case c.Effect == "" || c.Effect == "warn":
		return ""
	case c.Plane != "":
		return " (" + clean(c.Plane+" "+strings.ReplaceAll(c.Effect, "_", "-")) + ")"
	}
	return " (" + clean(strings.ReplaceAll(c.Effect, "_", " ")) + ")"
}

// whatNext is the one thing to do about a node that is not as it should be, ""
// when all is well: first the actor that needs a person most, then the causes.
func whatNext(r httpapi.Readiness) string {
	if s := worst(r.Services); s != nil && (s.State == "quarantined" || s.State == "storm" || s.State == "stopped") && !draining(r) {
		return downNext(s)
	}
	for _, c := range r.Causes {
		if next := causeNext(c.Name); next != "" {
			return next
		}
	}
	switch s := worst(r.Services); {
	case draining(r):
		return "the node is about to end: wait for its successor with `ronctl ready --wait 1m`"
	case s != nil:
		return downNext(s)
	case !r.Ready || r.Degraded:
		return "see what happens with `ronctl tail --since 10m`"
	}
	return ""
}

func draining(r httpapi.Readiness) bool {
	return slices.ContainsFunc(r.Missing, func(name string) bool { return strings.HasPrefix(name, "drain") })
}

// worst is the actor that needs a person most; nil when all run.
func worst(services []httpapi.ServiceState) *httpapi.ServiceState {
	for _, state := range downRank {
		for i := range services {
			if services[i].State == state {
				return &services[i]
			}
		}
	}
	return nil
}

func downNext(s *httpapi.ServiceState) string {
	name := clean(s.Name)
	switch s.State {
	case "quarantined":
		return fmt.Sprintf("mend what `ronctl tail --since 1h --kind ServiceCrashed` shows, then `ronctl restart %s`", name)
	case "storm", "probing":
		return fmt.Sprintf("%s keeps crashing; see why with `ronctl tail --since 1h --kind ServiceCrashed`", name)
	case "stopped":
		return fmt.Sprintf("`ronctl restart %s`", name)
	}
	return fmt.Sprintf("wait: %s comes up by itself; `ronctl ready --write --wait 30s` tells when", name)
}

// causeNext is what to do about a cause of degradation.
func causeNext(name string) string {
	switch {
	case name == "store_headroom":
		return "make room with `ronctl rm`, or raise store.max_bytes"
	case name == "inflight":
		return "send less, or raise limits.inflight"
	case name == "bus_lag":
		return "look for a slow `ronctl tail` or another reader of the bus"
	case name == "integrity":
		return "see which objects with `ronctl tail --since 1h --kind IntegrityFailed`, and put them again"
	case strings.HasPrefix(name, "disk_full"):
		return "free some space on the disk of store.dir, or `ronctl rm` objects; writes come back by themselves"
	case name == "disk_slow":
		return "see what else uses the disk of store.dir (iostat), or send less"
	case name == "disk_damage", name == "mailbox_damage":
		return "`ronctl scrub --wait` shows what is damaged; put it again, `ronctl repair`, or `ronctl restore` a backup"
	case strings.HasPrefix(name, "disk"):
		return "look at the disk (dmesg); the node opens it anew every second, and says why it can not: `ronctl scrub --status`"
	case strings.Contains(name, "redeliver"):
		return "see which topics with `ronctl tail --since 1h --kind RedeliveryStorm`, and mend their consumers"
	case strings.HasPrefix(name, "mailbox"):
		return "see `ronctl mbox topics`; add consumers, or `ronctl mbox dlq reprocess|purge TOPIC`"
	}
	return ""
}
