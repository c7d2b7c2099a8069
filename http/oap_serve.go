package httpapi

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"time"

	"micronode/http/admit"
	"micronode/http/caps"
	"micronode/http/inflate"
	"micronode/http/oap"
	"micronode/store"
)

// methodOAP stands where a method of HTTP does, in metrics and logs.
const methodOAP = "OAP"

// codeOK is the code of a good answer.
const codeOK = 200

// exchange is one request that came through the second door, and what will be
// told about it.
type exchange struct {
	*oap.Exchange
	call
	place  place
	conn   *conn
	begun  bool // an answer was
	ended  bool
	status int
	out    int64
	reason string
	ending context.Context // ends when the plane drains
}

// serveOAP is the chain of the second door: recover, correlation, verb, gate,
// admission, handler. It is that of ServeHTTP.
func (f *face) serveOAP(ctx context.Context, x *oap.Exchange) {
	began := f.ports.Now()
	e := &exchange{Exchange: x, call: call{corrID: oapCorrID(x.Corr()), uid: -1}, ending: f.ending}
	e.conn, _ = x.Conn().(*conn)
	rt := f.table.none
	v, err := f.apps.find(x.App(), x.Verb())
	if err == nil {
		rt = v.route
	}
	f.inflight.Add(1)
	rt.inflight.Add(1)
	f.owed.Add(1)
	defer f.finishOAP(e, rt, began)
	if err == nil {
		err = f.answerOAP(context.WithValue(ctx, callKey{}, &e.call), e, v)
	}
	if err != nil {
		f.refuseOAP(ctx, e, err)
	}
}

// oapCorrID words the number of an exchange as the correlation id of problems,
// logs and events.
func oapCorrID(n uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	return hex.EncodeToString(b[:])
}

// answerOAP checks in the order of contract §6 and lets the handler work.
func (f *face) answerOAP(ctx context.Context, e *exchange, v *oapVerb) error {
	if f.draining.Load() {
		return refuse(store.ErrNotReady, "The node drains and begins nothing new on this connection. Connect to another node, or wait for Retry-After.")
	}
	if !v.body && !e.Unary() {
		return refuse(ErrBadRequest, "This verb has no body: send START and END in one frame.")
	}
	if err := f.checkClass(v.route, v.class, false); err != nil {
		return err
	}
	if err := f.authorizeOAP(e, v); err != nil {
		return err
	}
	kind := admit.Read
	if v.class == classWrite {
		kind = admit.Write
	}
	e.place.fair = f.data
	defer e.place.leave()
	if err := e.place.begin(e.flow(f.flows.Load().peer(e.conn), f.limits().FlowRPS), kind); err != nil {
		return err
	}
	if !v.body {
		cost := max(1, v.cost)
		if n := len(e.Verb()); n > sliceBytes {
			cost = admit.Cost(int64(n))
		}
		if err := e.place.work(ctx, cost); err != nil {
			return err
		}
	}
	return v.do(ctx, e)
}

// end answers an exchange. What is too long for one frame is sent in chunks.
func (e *exchange) end(body []byte) error {
	e.status, e.ended = codeOK, true
	e.out += int64(len(body))
	if len(body) <= sliceBytes {
		return e.End(codeOK, body)
	}
	if err := e.Start(nil); err != nil {
		return err
	}
	if _, err := e.Write(body); err != nil {
		return err
	}
	return e.End(codeOK, nil)
}

// refuseOAP answers with the problem of err, counted once, also when an answer
// has begun: what was sent is not an object then, and its END says so.
func (f *face) refuseOAP(ctx context.Context, e *exchange, err error) {
	switch {
	case errors.Is(ctx.Err(), context.Canceled): // the client left, or the session answered, or the door closes
		e.status, e.ended = statusClientGone, true
		return
	case errors.Is(err, context.Canceled):
		err = store.ErrNotReady // what the handler leaned on stopped
	}
	if e.ended {
		return
	}
	p, k := problemOf(oapError(err), e.corrID)
	body, _ := json.Marshal(p) // strings and numbers: cannot fail
	e.status, e.reason, e.ended = p.Status, p.Reason, true
	_ = e.End(uint16(p.Status), body) // a client that left is seen in the exchange
	f.rejected(k)
	if k.err == ErrInternal && f.ports.Observe.Panic != nil {
		f.ports.Observe.Panic(err, nil, e.corrID)
	}
}

// finishOAP ends every exchange: it catches panics and tells the observer.
func (f *face) finishOAP(e *exchange, rt *route, began time.Time) {
	if v := recover(); v != nil {
		if f.ports.Observe.Panic != nil {
			f.ports.Observe.Panic(v, debug.Stack(), e.corrID)
		}
		f.refuseOAP(context.Background(), e, ErrInternal)
	}
	f.inflight.Add(-1)
	rt.inflight.Add(-1)
	f.owed.Add(-1)
	if f.ports.Observe.Request == nil {
		return
	}
	f.ports.Observe.Request(Exchange{
		Route: rt.pattern, Method: methodOAP, Status: e.status, BytesIn: e.BytesIn(), BytesOut: e.out, Duration: f.ports.Now().Sub(began),
		CorrID: e.corrID, Reason: e.reason, Remote: e.Remote().String(), Plane: f.plane, Aborted: e.status == statusClientGone,
	})
}

// oapFault words what is wrong with frames, before any verb is known.
func (f *face) oapFault(err error, corr uint64) (code uint16, body []byte) {
	p, k := problemOf(oapError(err), oapCorrID(corr))
	body, _ = json.Marshal(p) // strings and numbers: cannot fail
	f.rejected(k)
	return uint16(p.Status), body
}

// oapRefusal words what the session found.
func oapRefusal(f *oap.Fault) error {
	kind := ErrBadRequest
	switch {
	case f.Code == 500:
		return ErrInternal
	case f.Code == 503:
		kind = ErrOverload
	case f.Code == 408:
		kind = ErrTimeout
	case f.Reason == "streams":
		kind = ErrStreams
	case f.Reason == "decompress":
		kind = ErrInflated
	case f.Code == 413:
		kind = store.ErrTooLarge
	}
	return refuse(kind, f.Detail)
}

// oapError puts the session's errors into the door's words.
func oapError(err error) error {
	var fault *oap.Fault
	switch {
	case errors.As(err, &fault):
		return oapRefusal(fault)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(ErrTimeout, "The next frame of this exchange did not come in time; nothing was stored. A stream may be idle for 10 s and last 30 s.")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errBodyCut
	case errors.Is(err, inflate.ErrBusy):
		return ErrInflating
	}
	return err
}

// authorizeOAP asks who may; what an object's verb names is read here and again,
// strictly, by the verb.
func (f *face) authorizeOAP(e *exchange, v *oapVerb) error {
	ask := caps.Ask{Op: v.op, Client: e.conn.flow.of(f.flows.Load(), e.conn.RemoteAddr()).addr}
	name := "*"
	switch v.op {
	case caps.Put:
		ask.Paths = [2]string{"/put", objectPrefix}
	case caps.Get:
		asked, err := readVerb(e.Verb(), shapeGet, readObject("obj offset length", true))
		if err != nil {
			return err
		}
		name = asked.value.addr.String()
		ask.Paths[0] = objectPrefix + name
	default:
		ask.Paths[0] = "/mbox/" + v.op.String()
	}
	return f.authorize(&e.call, e.conn, string(e.Cap()), len(e.Cap()) > 0, &ask, v.class, name, true)
}
