package httpapi

import (
	"context"
	"net/http"
	"strconv"

	"micronode/http/policy"
)

func (s *server) status(_ context.Context, w *reply, _ *http.Request) error {
	return w.writeJSON(http.StatusOK, s.ports.Status())
}

func (s *server) config(_ context.Context, w *reply, _ *http.Request) error {
	v := s.ports.Config()
	if v == nil {
		v = struct{}{}
	}
	return w.writeJSON(http.StatusOK, v)
}

// order is one thing that an operator can ask for.
type order struct {
	action string // of the audit
	needs  bool   // a service must be named; otherwise none may be
	do     func(context.Context, Order) (Done, error)
}

// orders are the routes that change the node. Those whose port is nil do not exist.
func (s *server) orders() []*route {
	var all []*route
	if o := s.ports.Operator; o != nil {
		all = append(all,
			s.orderRoute("/api/v1/restart", classOrder, order{"restart", true, o.Restart}),
			s.orderRoute("/api/v1/drain", classOrder, order{"drain", false, o.Drain}),
			s.orderRoute("/api/v1/shutdown", classOrder, order{"shutdown", false, o.Shutdown}))
	}
	if reload := s.ports.Reload; reload != nil {
		all = append(all, s.orderRoute("/api/v1/reload", classOrder, order{"reload", false, reload}))
	}
	if c := s.ports.Chaos; c != nil {
		all = append(all,
			s.orderRoute("/api/v1/chaos/kill", classChaos, order{"chaos_kill", true, c.Kill}),
			s.orderRoute("/api/v1/chaos/hang", classChaos, order{"chaos_hang", true, c.Hang}))
	}
	return all
}

func (s *server) orderRoute(pattern string, c class, o order) *route {
	return &route{pattern: pattern, verbs: []verb{{method: http.MethodPost, class: c, timed: true, do: func(ctx context.Context, w *reply, r *http.Request) error {
		s.ordered.begin()
		defer s.ordered.end()
		asked, done, err := s.carryOut(ctx, w, r, o)
		s.audit(w, o.action, asked, err)
		if err != nil {
			return err
		}
		if err := w.writeJSON(http.StatusOK, done); err != nil {
			return err
		}
		_ = http.NewResponseController(w).Flush() // before the node may be gone; who asked may have left
		return nil
	}}}}
}

func (s *server) carryOut(ctx context.Context, w *reply, r *http.Request, o order) (Order, Done, error) {
	asked, err := readOrder(w, r, s.limits().RequestTimeout)
	if err != nil {
		return Order{}, Done{}, err
	}
	if err := asked.check(o.needs); err != nil {
		return asked, Done{}, err
	}
	done, err := o.do(ctx, asked)
	return asked, done, err
}

// audit tells of every order, carried out or refused.
func (s *server) audit(w *reply, action string, asked Order, err error) {
	outcome := "ok"
	if err != nil {
		outcome = kindOf(err).code
	}
	s.told(w, AuditRecord{
		Action: action, Service: asked.Service, Reason: asked.Reason, UID: w.uid, CorrID: w.corrID, Outcome: outcome,
	})
}

// told hands an audit on, with who it was.
func (s *server) told(w *reply, a AuditRecord) {
	if s.ports.Observe.Audit == nil {
		return
	}
	a.Actor = "uid:" + strconv.Itoa(w.uid)
	if w.auth != nil {
		a.Policy = w.auth.policy
		switch w.auth.kind {
		case policy.Capability:
			a.Actor = "cap:" + w.auth.id
		case policy.Certificate:
			a.Actor = "cert:" + w.auth.id
		}
	}
	s.ports.Observe.Audit(a)
}
