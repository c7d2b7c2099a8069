package httpapi

import (
	"cmp"
	"context"
	"net/http"
	"sync/atomic"
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
	limits    Limits
	hosts     hostCheck
	cross     *http.CrossOriginProtection
	table     *routeTable
	tails     *tails
	streams   *tails // of the mailbox
	buffers   buffers
	polls     underway // that wait, or have just waited
	maxParked int64    // of them, on each plane
	ordered   underway
	data      admission // objects on TCP
	admin     admission // the admin API on TCP
	operator  admission // everything but health and tails on the operator socket
	ownPlane  bool      // metrics have a listener of their own
	inflight  atomic.Int64
}

func newServer(o Options) *server {
	s := &server{
		ports: o.Ports, limits: o.Limits, hosts: newHostCheck(o.AllowedHosts), tails: newTails("tail", maxTails), streams: newTails("stream", maxStreams), maxParked: maxParked,
		cross:    http.NewCrossOriginProtection(),
		data:     newSlots(o.Limits.Inflight, o.Limits.RPS),
		admin:    newSlots(operatorInflight, 0),
		operator: newSlots(operatorInflight, 0),
		ownPlane: o.MetricsAddr != "",
	}
	s.table = newRouteTable(s.routes())
	return s
}

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
	w.conn.become(connWorking)
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
		w.leaveBody(r, f.limits.RequestTimeout)
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
	if err := f.checkClass(rt, v.class); err != nil {
		return err
	}
	if w.unread && v.class != classWrite && v.class != classConsume && v.class != classOrder && v.class != classChaos {
		w.readOver(r, f.limits.RequestTimeout)
	}
	w.slot = slot{at: f.admissionOf(v.class)}
	if err := w.slot.enter(f.ports.Now()); err != nil {
		return err
	}
	defer w.slot.leave()
	if v.timed {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.limits.RequestTimeout)
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
func (f *face) checkClass(rt *route, c class) error {
	switch c {
	case classRead, classWrite, classConsume:
		return f.gate(cmp.Or(rt.plane, planeObjects), c)
	case classAdmin, classTail, classMetrics:
		if !f.loopback.Load() {
			return refuse(ErrForbidden, "This is served to loopback and on the operator socket only. Use the operator socket: ronctl --socket PATH.")
		}
	case classHealth, classOrder, classChaos:
	}
	return nil
}

func (f *face) admissionOf(c class) admission {
	switch {
	case c == classHealth, c == classMetrics, c == classTail:
		return free{}
	case f.plane == planeOperator:
		return f.operator
	case c == classRead, c == classWrite, c == classConsume:
		return f.data
	default:
		return f.admin
	}
}
