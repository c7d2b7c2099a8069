package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"micronode/http/caps"
	"micronode/store/mbox"
)

// class says what a route is to admission and to the planes.
type class int

const (
	classHealth  class = iota // never waits behind data; on every plane
	classRead                 // closed only when its plane is
	classWrite                // refused unless its plane is open
	classConsume              // recv and what follows it: as read, but with a body
	classAdmin                // looks into the node: operator socket, and TCP bound to loopback
	classMetrics              // as health, but on TCP only from loopback
	classTail                 // as admin, but lasts
	classOrder                // changes the node: operator socket, refused elsewhere
	classChaos                // as order, but elsewhere it does not exist
	classKeys                 // as order, but no capability is enough: it must not make others
)

// How long a handler may take.
const (
	timed     = true  // the request timeout, as a deadline of ctx
	streaming = false // as long as bytes move
)

// unmatched is the route of requests that fit no pattern.
const unmatched = "unmatched"

const objectPattern = objectPrefix + "{addr}"

type handler func(ctx context.Context, w *reply, r *http.Request) error

type verb struct {
	method string
	class  class
	op     caps.Op // that a capability must be for; none: admin
	timed  bool
	do     handler
	body   bool // the handler reads the body: what comes slowly asks for no slot before it is there
	frees  bool // it makes room, so it goes on while only the disk is full
	cost   int  // of admission, in quanta of 64 KiB and one; 0: one
}

// route is one pattern with its methods. HEAD goes with GET.
type route struct {
	pattern  string
	plane    string // that readiness judges it by; empty: objects
	verbs    []verb
	allow    string
	inflight atomic.Int64
}

// routes is the whole table. A route whose port is nil does not exist.
func (s *server) routes() []*route {
	one := func(pattern, method string, c class, timed bool, do handler) *route {
		return &route{pattern: pattern, verbs: []verb{{method: method, class: c, timed: timed, do: do}}}
	}
	all := []*route{
		{pattern: "/put", verbs: []verb{
			{method: http.MethodPost, class: classWrite, op: caps.Put, do: s.put, body: true}, {method: http.MethodPut, class: classWrite, op: caps.Put, do: s.put, body: true},
		}},
		{pattern: objectPattern, verbs: []verb{
			{method: http.MethodGet, class: classRead, op: caps.Get, do: s.get, cost: 2}, {method: http.MethodDelete, class: classWrite, op: caps.Delete, timed: true, do: s.remove, frees: true},
		}},
		{pattern: "/o", verbs: []verb{{method: http.MethodGet, class: classRead, op: caps.List, timed: timed, do: s.list}}},
		one("/healthz", http.MethodGet, classHealth, streaming, s.healthz),
		one("/readyz", http.MethodGet, classHealth, streaming, s.readyz),
		one("/version", http.MethodGet, classHealth, streaming, s.version),
		one("/openapi.yaml", http.MethodGet, classHealth, streaming, s.openAPI),
		one("/api/v1/status", http.MethodGet, classAdmin, timed, s.status),
	}
	if s.ports.Metrics != nil {
		all = append(all, one("/metrics", http.MethodGet, classMetrics, streaming, s.metrics))
	}
	if s.ports.Config != nil {
		all = append(all, one("/api/v1/config", http.MethodGet, classAdmin, timed, s.config))
	}
	if s.ports.Tail != nil {
		all = append(all, one("/api/v1/bus/tail", http.MethodGet, classTail, streaming, s.busTail))
	}
	return slices.Concat(all, s.mailboxRoutes(), s.orders(), s.authRoutes(), s.storageRoutes())
}

// mailboxRoutes are those of contract §3; none while the mailbox is off.
func (s *server) mailboxRoutes() []*route {
	m := s.ports.Mailbox
	if m.Queue == nil {
		return nil
	}
	one := func(pattern, method string, c class, op caps.Op, do handler) *route {
		return &route{pattern: pattern, plane: planeMailbox, verbs: []verb{{method: method, class: c, op: op, do: do, body: method == http.MethodPost}}}
	}
	free := func(pattern string, op caps.Op, do handler) *route {
		r := one(pattern, http.MethodPost, classWrite, op, do)
		r.verbs[0].frees = true
		return r
	}
	return []*route{
		one("/mbox/send", http.MethodPost, classWrite, caps.Send, s.mboxSend),
		one("/mbox/recv", http.MethodPost, classConsume, caps.Recv, s.mboxRecv),
		one("/mbox/recv/stream", http.MethodPost, classConsume, caps.Recv, s.mboxStream),
		one("/mbox/ack", http.MethodPost, classConsume, caps.Ack, s.mboxSettle(mbox.Ack)),
		one("/mbox/nack", http.MethodPost, classConsume, caps.Nack, s.mboxSettle(mbox.Nack)),
		one("/mbox/extend", http.MethodPost, classConsume, caps.Ack, s.mboxSettle(mbox.Extend)),
		one("/mbox/topics", http.MethodGet, classRead, caps.Peek, s.mboxTopics),
		one("/mbox/peek", http.MethodGet, classRead, caps.Peek, s.mboxPeek),
		one("/mbox/dlq", http.MethodGet, classRead, caps.Peek, s.mboxDead),
		one("/mbox/dlq/reprocess", http.MethodPost, classWrite, caps.Redo, s.mboxKeep("moved", true, m.Keep.Reprocess)),
		free("/mbox/dlq/purge", caps.Purge, s.mboxKeep("purged", true, m.Keep.PurgeDead)),
		free("/mbox/purge", caps.Purge, s.mboxKeep("purged", false, m.Keep.Purge)),
	}
}

// routeTable finds routes by exact path; only objects have a variable part.
// Paths are taken as they are: none is cleaned, none is redirected.
type routeTable struct {
	exact map[string]*route
	all   []*route
	none  *route // counts what is unmatched
}

func newRouteTable(all []*route) *routeTable {
	t := &routeTable{exact: map[string]*route{}, none: &route{pattern: unmatched}}
	for _, rt := range all {
		rt.allow = allowOf(rt.verbs)
		for i := range rt.verbs {
			switch v := &rt.verbs[i]; {
			case v.op != 0:
			case v.class == classMetrics:
				v.op = caps.Metric
			default:
				v.op = caps.Admin
			}
		}
		t.exact[rt.pattern] = rt
	}
	t.all = append(all, t.none)
	return t
}

// allowOf is the Allow header of a route.
func allowOf(verbs []verb) string {
	var allow []string
	for _, v := range verbs {
		allow = append(allow, v.method)
		if v.method == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
	}
	slices.Sort(allow)
	return strings.Join(allow, ", ")
}

// find returns the route of a path, or the unmatched one. An escaped slash is no slash.
func (t *routeTable) find(u *url.URL) *route {
	if rest, ok := strings.CutPrefix(u.Path, objectPrefix); ok {
		if rest == "" || strings.Contains(rest, "/") {
			return t.none
		}
		return t.exact[objectPattern]
	}
	if rt, ok := t.exact[u.Path]; ok && u.Path != objectPattern && (u.RawPath == "" || !strings.Contains(strings.ToLower(u.RawPath), "%2f")) {
		return rt
	}
	return t.none
}

// verbOf returns what a route does for a method; HEAD is GET.
func (rt *route) verbOf(method string) *verb {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for i := range rt.verbs {
		if rt.verbs[i].method == method {
			return &rt.verbs[i]
		}
	}
	return nil
}

// labelOf bounds methods for labels.
func labelOf(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete:
		return method
	default:
		return "OTHER"
	}
}
