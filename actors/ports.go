package actors

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"runtime"
	"time"

	"micronode/actors/redact"
	httpapi "micronode/http"
	"micronode/kernel"
)

// ports shows the node to the door, in the door's own words.
func (n *Node) ports() httpapi.Ports {
	p := httpapi.Ports{
		Objects: n.gate, Ready: n.wireReadiness, Plane: n.planeState, Frees: n.frees, Status: n.status, Version: n.version,
		Config: n.wireConfig, Tail: n.tail, Operator: operator{n}, Metrics: n.metrics.handler(),
		Observe: n.observer(), Now: n.opt.Now, Mono: n.opt.Mono,
	}
	if n.opt.Reload != nil {
		p.Reload = n.orderReload
	}
	p.Policy = n.policyState
	if n.disk != nil {
		p.Storage = storekeeper{n}
	}
	if n.cfg.Chaos.Enabled {
		p.Chaos = chaos{n}
	}
	if n.mail != nil {
		door := n.mail.Door()
		p.Mailbox = httpapi.Mailbox{Queue: door, View: door, Keep: door, Profile: n.dlqProfile(), RequireKey: n.cfg.Mailbox.RequireIdempotency}
	}
	return p
}

func (n *Node) wireConfig() any {
	if shown := n.shown.Load(); shown != nil {
		return shown
	}
	return nil
}

// wireReadiness is the ledger's truth as /readyz?verbose words it.
func (n *Node) wireReadiness() httpapi.Readiness {
	ledger := n.tree.Ledger()
	r := ledger.Readiness()
	w := httpapi.Readiness{
		Ready: r.Ready, Degraded: r.Degraded, Missing: r.Missing,
		Planes: make(map[string]string, len(r.Planes)), Services: n.services(), Causes: n.causes(),
	}
	for name, p := range r.Planes {
		w.Planes[name] = p.String()
	}
	if r.Degraded {
		w.RetryAfter = n.retrySeconds(r)
	}
	return w
}

func (n *Node) retrySeconds(r *kernel.Readiness) int {
	return max(1, int(math.Ceil(r.RetryAt.Sub(n.opt.Now()).Seconds())))
}

// planeState is the ledger's truth about one plane, as every request asks for it.
func (n *Node) planeState(name string) (state string, retryAfter time.Duration) {
	r := n.tree.Ledger().Readiness()
	p := r.Planes[name]
	if p == kernel.Open {
		return httpapi.PlaneOpen, 0
	}
	return p.String(), time.Duration(n.retrySeconds(r)) * time.Second
}

func (n *Node) services() []httpapi.ServiceState {
	all := n.tree.Ledger().Services()
	w := make([]httpapi.ServiceState, len(all))
	for i, s := range all {
		w[i] = httpapi.ServiceState{
			Name: s.Name, State: s.State.String(), Required: s.Required, Planes: s.Planes, Restarts: s.Restarts,
			LastReason: redact.String(s.LastReason), LastCrash: timeOrNil(s.LastCrash), Since: s.Since, NextRestart: timeOrNil(s.NextRestart),
			QueueDepth: s.QueueDepth, QueueCap: s.QueueCap,
		}
	}
	return w
}

func (n *Node) causes() []httpapi.Cause {
	all := n.tree.Ledger().Causes()
	w := make([]httpapi.Cause, len(all))
	for i, c := range all {
		w[i] = httpapi.Cause{Name: c.Name, Detail: redact.String(c.Detail), Effect: c.Effect.String(), Plane: c.Plane}
	}
	return w
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (n *Node) status() httpapi.Status {
	now, u := n.opt.Now(), n.gate.Usage()
	s := httpapi.Status{
		Service: Service, Version: n.opt.Build.Version, PID: os.Getpid(),
		Started: n.started, UptimeMS: now.Sub(n.started).Milliseconds(),
		Mode: n.cfg.Auth.Mode, Amnesia: n.cfg.Amnesia,
		Listeners: n.Listeners(), Readiness: n.wireReadiness(),
		Store: httpapi.StoreStatus{Tier: n.tierName(), Objects: u.Objects, Bytes: u.Bytes, MaxBytes: u.MaxBytes},
		Bus:   httpapi.BusStatus{Seq: n.bus.Seq(), Subscribers: n.bus.Subscribers(), Lagged: n.bus.Lagged()},
	}
	s.Services, s.Readiness.Services = s.Readiness.Services, nil // told once
	if n.door != nil {
		s.Inflight, s.Conns = n.door.Inflight(), n.door.Conns()
	}
	return s
}

func (n *Node) version() httpapi.Version {
	return httpapi.Version{
		Service: Service, Version: n.opt.Build.Version, GitSHA: n.opt.Build.GitSHA, BuildTS: n.opt.Build.Time, Go: runtime.Version(),
		Features:  httpapi.Features{Amnesia: n.cfg.Amnesia, AmnesiaEnforced: n.cfg.Amnesia && n.enforced.Load(), TLS: n.cfg.TLS.Cert != "", Mailbox: n.mail != nil, Persistence: n.disk != nil, Chaos: n.cfg.Chaos.Enabled, OAP: n.cfg.OAPAddr != ""},
		PQ:        n.postQuantum(),
		ConfigSHA: n.config().SHA, ConfigVersion: n.config().version, API: httpapi.API{HTTP: "v1", OAP: oapVersion(n.cfg.OAPAddr)}, AuthMode: n.cfg.Auth.Mode,
	}
}

// oapVersion is the version of OAP that is spoken at an address, 0 at none.
func oapVersion(addr string) int {
	if addr == "" {
		return 0
	}
	return 1
}

// tail subscribes to the bus for one reader of /api/v1/bus/tail.
func (n *Node) tail(q httpapi.TailQuery) (httpapi.Tail, error) {
	k := kernel.Query{Topic: q.Topic, Kind: q.Kind}
	switch {
	case !q.History:
	case q.SinceSeq > 0:
		k.After = q.SinceSeq
	case q.Since > 0:
		k.Since = n.opt.Now().Add(-q.Since)
	default: // after event 0: everything
		k.Since = time.Unix(0, 1)
	}
	return tail{n.bus.Subscribe(k)}, nil
}

type tail struct{ sub *kernel.Sub }

// Next implements httpapi.Tail.
func (t tail) Next(ctx context.Context) (httpapi.Event, error) {
	e, lag, err := t.sub.Next(ctx)
	if err != nil {
		return httpapi.Event{}, err
	}
	w := httpapi.Event{Seq: e.Seq, TS: e.TS, Topic: e.Topic, Kind: e.Kind, Service: e.Service, CorrID: e.CorrID, Lagged: lag}
	if data, err := json.Marshal(e.Data); err == nil && e.Data != nil {
		w.Data = redact.Bytes(data) // a host's event that can not be shown still happened
	}
	return w, nil
}

// Close implements httpapi.Tail.
func (t tail) Close() { t.sub.Close() }

// operator carries out orders of /api/v1 (httpapi.Operator).
type operator struct{ n *Node }

func (o operator) Restart(ctx context.Context, d httpapi.Order) (httpapi.Done, error) {
	restarts, err := o.n.tree.Restart(ctx, d.Service, d.Reason)
	return done(d.Service, restarts, "", err)
}

func (o operator) Drain(_ context.Context, d httpapi.Order) (httpapi.Done, error) {
	return o.n.askToStop(StopRequest{Grace: true, Reason: d.Reason})
}

func (o operator) Shutdown(_ context.Context, d httpapi.Order) (httpapi.Done, error) {
	return o.n.askToStop(StopRequest{Reason: d.Reason})
}

func (n *Node) askToStop(r StopRequest) (httpapi.Done, error) {
	select {
	case n.asked <- r:
		return httpapi.Done{OK: true, Detail: "the node drains and stops; watch /readyz or ronctl tail"}, nil
	default:
		return httpapi.Done{}, httpapi.ErrConflict // asked before
	}
}

// chaos breaks actors on order (httpapi.Chaos).
type chaos struct{ n *Node }

func (c chaos) Kill(ctx context.Context, d httpapi.Order) (httpapi.Done, error) {
	restarts, err := c.n.tree.Kill(ctx, d.Service, d.Reason)
	return done(d.Service, restarts, "it restarts after its backoff", err)
}

func (c chaos) Hang(ctx context.Context, d httpapi.Order) (httpapi.Done, error) {
	restarts, err := c.n.tree.Hang(ctx, d.Service, d.Reason)
	return done(d.Service, restarts, "until the watchdog replaces it", err)
}

// done translates the kernel's answer into the door's.
func done(service string, restarts int64, detail string, err error) (httpapi.Done, error) {
	switch {
	case err == nil:
		return httpapi.Done{OK: true, Service: service, Restarts: restarts, Detail: detail}, nil
	case errors.Is(err, kernel.ErrUnknownChild):
		err = httpapi.ErrUnknownService
	case errors.Is(err, kernel.ErrNotRunning), errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, kernel.ErrUnknownOutcome):
		err = httpapi.Refuse(httpapi.ErrConflict, service+" does not run now and nothing was done. ronctl status says when it is due; order again then, or ronctl restart "+service+" first.")
	case errors.Is(err, kernel.ErrCrashed):
		err = httpapi.Refuse(httpapi.ErrConflict, service+" was started anew and fell at once. ronctl tail --since 1m --kind ServiceCrashed says why.")
	case errors.Is(err, kernel.ErrStopped):
		err = httpapi.Refuse(httpapi.ErrConflict, "The node is stopping and takes no more orders.")
	}
	return httpapi.Done{}, err
}
