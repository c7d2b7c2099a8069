package httpapi

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	"micronode/store"
)

// refuse turns a handler's error into a problem, counted once; or, when the
// answer has begun or the client has left, into a cut connection.
func (f *face) refuse(w *reply, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) {
		if r.Context().Err() != nil {
			panic(http.ErrAbortHandler) // the client left, or the door closes
		}
		err = store.ErrNotReady // what the handler leaned on stopped
	}
	if w.status != 0 || errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	if w.unread {
		w.leaveBody(r, f.limits().RequestTimeout)
	}
	k := w.writeProblem(err)
	f.rejected(k)
	if k.err == ErrInternal && f.ports.Observe.Panic != nil {
		f.ports.Observe.Panic(err, nil, w.corrID)
	}
}

// rejected counts one refusal.
func (s *server) rejected(k *kind) {
	if isAuth(k) && s.ports.Observe.AuthFail != nil {
		s.ports.Observe.AuthFail(k.reason)
	}
	if k.counted != "" && s.ports.Observe.Rejected != nil {
		s.ports.Observe.Rejected(k.counted)
	}
}

// finish ends every request: it catches panics, tells the observer, and lets
// net/http cut the connection where the answer cannot be whole.
func (f *face) finish(w *reply, r *http.Request, rt *route, began time.Time) {
	aborted := false
	if v := recover(); v != nil {
		aborted = f.recovered(w, r, v)
	}
	f.inflight.Add(-1)
	rt.inflight.Add(-1)
	w.unowe()
	w.done()
	if f.ports.Observe.Request != nil {
		f.ports.Observe.Request(w.exchange(r, rt, f.ports.Now().Sub(began), aborted))
	}
	if aborted {
		panic(http.ErrAbortHandler)
	}
}

// recovered reports whether the connection must be cut.
func (f *face) recovered(w *reply, r *http.Request, v any) bool {
	if v == http.ErrAbortHandler {
		return true
	}
	if f.ports.Observe.Panic != nil {
		f.ports.Observe.Panic(v, debug.Stack(), w.corrID)
	}
	if w.status != 0 {
		return true
	}
	w.lastOnConnection()
	if w.unread {
		w.leaveBody(r, f.limits().RequestTimeout)
	}
	w.writeProblem(ErrInternal)
	return false
}

func (w *reply) exchange(r *http.Request, rt *route, took time.Duration, aborted bool) Exchange {
	status := w.status
	if status == 0 {
		status = http.StatusOK // net/http's own for a handler that wrote nothing
		if aborted {
			status = statusClientGone
		}
	}
	return Exchange{
		Route: rt.pattern, Method: labelOf(r.Method), Status: status, BytesIn: w.in, BytesOut: w.out, Duration: took,
		CorrID: w.corrID, TraceID: w.traceID, Reason: w.reason, Remote: r.RemoteAddr, Plane: w.plane, Aborted: aborted,
	}
}
