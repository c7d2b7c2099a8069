package httpapi

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"micronode/http/admit"
	"micronode/http/caps"
	"micronode/http/inflate"
)

// Planes of the door.
const (
	planeData     = "data"
	planeMetrics  = "metrics"
	planeOperator = "operator"
)

// server is what all planes share: routes, limits and ports.
type server struct {
	ports     Ports
	inForce   atomic.Pointer[Limits]
	flows     atomic.Pointer[flows]
	hosts     hostCheck
	cross     *http.CrossOriginProtection
	table     *routeTable
	apps      oapApps // of OAP
	inflate   *inflate.Guard
	auth      Auth
	overTLS   bool
	tails     *tails
	streams   *tails // of the mailbox
	buffers   buffers
	polls     underway // that wait, or have just waited
	maxParked int64    // of them, on each plane
	ordered   underway
	data      *admit.Gate  // objects and mailbox on TCP
	admin     *slots       // the admin API on TCP
	operator  *slots       // everything but health and tails on the operator socket
	unread    atomic.Int64 // bytes of bodies under way that nobody has charged
	ownPlane  bool         // metrics have a listener of their own
	inflight  atomic.Int64
}

func newServer(o Options) (*server, error) {
	sharing, err := newFlows(o.Fairness)
	if err != nil {
		return nil, err
	}
	mono := o.Ports.Mono
	if mono == nil {
		began := time.Now()
		mono = func() time.Duration { return time.Since(began) }
	}
	s := &server{
		ports: o.Ports, auth: o.Auth, hosts: newHostCheck(o.AllowedHosts), tails: newTails("tail", maxTails), streams: newTails("stream", maxStreams), maxParked: maxParked,
		cross: http.NewCrossOriginProtection(), inflate: inflate.NewGuard(),
		data:     admit.NewGate(o.Limits.gate(), mono),
		admin:    newSlots(operatorInflight),
		operator: newSlots(operatorInflight),
		ownPlane: o.MetricsAddr != "",
	}
	s.table = newRouteTable(s.routes())
	if s.apps = s.oapApps(); o.OAPAddr != "" {
		s.table.all = append(s.table.all, s.apps.routes()...)
	}
	s.inForce.Store(&o.Limits)
	s.flows.Store(sharing)
	return s, nil
}

// limits are those in force now.
func (s *server) limits() *Limits { return s.inForce.Load() }

// face is the server as one plane shows it.
type face struct {
	*server
	plane    string
	loopback atomic.Bool     // the plane's socket is bound to a loopback address, or is a unix socket
	draining atomic.Bool     // every answer is the last on its connection
	ending   context.Context // ends when the plane drains: polls that wait are answered
	end      context.CancelFunc
	owed     atomic.Int64 // requests that a drain lets finish, tails not among them
}

// ServeHTTP is the chain: recover, correlation, who asks, route, gate, admission, handler.
func (f *face) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	began := f.ports.Now()
	w := &reply{
		ResponseWriter: rw, conn: connOf(r), plane: f.plane, head: r.Method == http.MethodHead, last: &f.draining, owed: &f.owed, ending: f.ending,
		call: call{corrID: corrIDOf(r.Header, began), traceID: traceIDOf(r.Header), uid: -1},
	}
	w.uid = w.conn.uid
	w.h2 = r.ProtoMajor == 2 && r.Method != methodPreface
	w.become(connWorking)
	rt := f.table.find(r.URL)
	f.inflight.Add(1)
	rt.inflight.Add(1)
	f.owed.Add(1)
	defer f.finish(w, r, rt, began)

	rw.Header()["X-Corr-Id"] = []string{w.corrID}
	w.unread = r.ContentLength != 0
	ctx := context.WithValue(r.Context(), callKey{}, &w.call)
	err := f.answer(ctx, w, r, rt)
	if err != nil {
		f.refuse(w, r, err)
	} else if w.unread {
		w.leaveBody(r, f.limits().RequestTimeout)
	}
}

// answer checks in the order of contract §6 and lets the handler work.
func (f *face) answer(ctx context.Context, w *reply, r *http.Request, rt *route) error {
	if err := checkFraming(w, r); err != nil {
		return err
	}
	if err := f.checkCaller(w, r); err != nil {
		return err
	}
	if !f.serves(rt) {
		return ErrNoRoute
	}
	v := rt.verbOf(r.Method)
	if v == nil {
		w.Header()["Allow"] = []string{rt.allow}
		return refuse(ErrMethod, "This path takes "+rt.allow+".")
	}
	if err := f.checkClass(rt, v.class, v.frees); err != nil {
		return err
	}
	if err := f.authorizeHTTP(w, r, rt, v); err != nil {
		if v.class == classOrder {
			f.audit(w, rt.pattern[strings.LastIndexByte(rt.pattern, '/')+1:], Order{}, err)
		}
		return err
	}
	if w.unread && v.class != classWrite && v.class != classConsume && v.class != classOrder && v.class != classChaos && v.class != classKeys {
		w.readOver(r, f.limits().RequestTimeout)
	}
	defer w.place.leave()
	if err := f.admit(ctx, w, r, v); err != nil {
		return err
	}
	if v.timed {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.limits().RequestTimeout)
		defer cancel()
	}
	return v.do(ctx, w, r)
}

// checkCaller refuses peers, hosts and pages that have no business here.
func (f *face) checkCaller(w *reply, r *http.Request) error {
	if f.plane == planeOperator {
		if w.conn.foreign {
			return refuse(ErrForbidden, "This user may not use the operator socket. Run as the node's user, or add the uid to uds.allow_uids.")
		}
		return nil
	}
	if f.loopback.Load() && !f.hosts.allows(r.Host) {
		return refuse(ErrForbidden, "The Host of this request is not a name of the loopback address that serves it. "+
			"Use 127.0.0.1 or localhost, or add the name to allowed_hosts.")
	}
	if f.cross.Check(r) != nil {
		return refuse(ErrForbidden, "A page of another origin may not change anything here. Send this request from a program.")
	}
	return nil
}

// serves reports whether a route exists on this plane.
func (f *face) serves(rt *route) bool {
	if len(rt.verbs) == 0 {
		return false
	}
	switch c := rt.verbs[0].class; f.plane {
	case planeMetrics:
		return c == classHealth || c == classMetrics
	case planeData:
		return c != classChaos && (c != classMetrics || !f.ownPlane)
	default:
		return true
	}
}

// checkClass refuses what the plane's socket or the node's state does not allow.
func (f *face) checkClass(rt *route, c class, frees bool) error {
	switch c {
	case classRead, classWrite, classConsume:
		return f.gate(cmp.Or(rt.plane, planeObjects), c, frees)
	case classKeys:
		if f.plane != planeOperator {
			return refuse(ErrForbidden, "Keys and capabilities are made and revoked on the operator socket only. Use ronctl --socket PATH on the node's machine.")
		}
	case classHealth, classOrder, classChaos, classAdmin, classTail, classMetrics:
	}
	return nil
}

// admit finds the request's place. Where the handler reads a body, the right to
// work is asked for when there is work to do: see [slicedBody].
func (f *face) admit(ctx context.Context, w *reply, r *http.Request, v *verb) error {
	cost := 1
	switch c := v.class; {
	case c == classHealth, c == classMetrics, c == classTail:
		return nil
	case f.plane == planeOperator:
		w.place.own = f.operator
	case c == classRead, c == classWrite, c == classConsume:
		w.place.fair = f.data
		kind := admit.Read
		if c == classWrite {
			kind = admit.Write
		}
		if err := w.place.begin(w.flow(f.flows.Load().flowOf(w.conn, r), f.limits().FlowRPS), kind); err != nil {
			return err
		}
		cost = v.cost
	default:
		w.place.own = f.admin
	}
	if v.body && w.unread && r.Header["Expect"] == nil {
		return nil
	}
	return w.place.work(ctx, max(1, cost))
}

// authorizeHTTP asks who may, before any of the body is read.
func (f *face) authorizeHTTP(w *reply, r *http.Request, rt *route, v *verb) error {
	if v.class == classHealth {
		return nil
	}
	token, present, err := bearer(r.Header)
	if err != nil {
		return err
	}
	client, direct := f.flows.Load().client(w.conn, r)
	ask := caps.Ask{Op: v.op, Paths: [2]string{r.URL.Path}, Client: client}
	name := rt.pattern
	switch v.op {
	case caps.Put, caps.List:
		ask.Paths[1], name = objectPrefix, "*"
	case caps.Get, caps.Delete:
		name = r.URL.Path[len(objectPrefix):]
	}
	if err := f.authorize(&w.call, w.conn, token, present, &ask, v.class, name, direct); err != nil {
		return err
	}
	if most := w.mayBody(); most >= 0 && r.ContentLength > most {
		return errBodyScope(most)
	}
	return nil
}
