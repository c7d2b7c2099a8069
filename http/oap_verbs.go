package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"micronode/http/caps"
	"micronode/http/oap"
	"micronode/store/mbox"
)

// oapVerb is one verb of OAP/1 as the house sees it: the same classes, planes and
// admission as a route of HTTP.
type oapVerb struct {
	route *route // for metrics and the plane that readiness judges it by
	class class
	op    caps.Op // that a capability must be for
	body  bool    // DATA frames follow
	cost  int     // of admission; 0: one
	do    func(ctx context.Context, e *exchange) error
}

// oapApps are the verbs of each application of contract §7.
type oapApps map[uint16]map[string]*oapVerb

// oapApps is the table. Without a mailbox its application is unknown.
func (s *server) oapApps() oapApps {
	one := func(app, op, plane string, v oapVerb) *oapVerb {
		v.route = &route{pattern: "oap:" + app + "." + op, plane: plane}
		return &v
	}
	all := oapApps{oap.AppObjects: {
		"put":  one("objects", "put", planeObjects, oapVerb{class: classWrite, body: true, op: caps.Put, do: s.oapPut}),
		"get":  one("objects", "get", planeObjects, oapVerb{class: classRead, cost: 2, op: caps.Get, do: s.oapGet}),
		"head": one("objects", "head", planeObjects, oapVerb{class: classRead, op: caps.Get, do: s.oapHead}),
		"has":  one("objects", "has", planeObjects, oapVerb{class: classRead, op: caps.Get, do: s.oapHas}),
	}}
	if s.ports.Mailbox.Queue == nil {
		return all
	}
	all[oap.AppMailbox] = map[string]*oapVerb{
		"send": one("mailbox", "send", planeMailbox, oapVerb{class: classWrite, op: caps.Send, do: s.oapSend}),
		"recv": one("mailbox", "recv", planeMailbox, oapVerb{class: classConsume, op: caps.Recv, do: s.oapRecv}),
		"ack":  one("mailbox", "ack", planeMailbox, oapVerb{class: classConsume, op: caps.Ack, do: s.oapSettle(mbox.Ack)}),
		"nack": one("mailbox", "nack", planeMailbox, oapVerb{class: classConsume, op: caps.Nack, do: s.oapSettle(mbox.Nack)}),
	}
	return all
}

// routes of the verbs, for the gauges.
func (a oapApps) routes() (all []*route) {
	for _, app := range a {
		for _, v := range app {
			all = append(all, v.route)
		}
	}
	return all
}

// find returns the verb that a START asks for.
func (a oapApps) find(app uint16, raw []byte) (*oapVerb, error) {
	verbs := a[app]
	if verbs == nil {
		return nil, refuse(ErrNotSupported, "This node has no such application. It has 0x0301 (objects) and, where the mailbox is on, 0x0201 (mailbox).")
	}
	op, err := opOf(raw)
	if err != nil {
		return nil, err
	}
	if v := verbs[op]; v != nil {
		return v, nil
	}
	return nil, refuse(ErrBadRequest, "op is not a verb of this application. Objects have put, get, head and has; the mailbox has send, recv, ack and nack.")
}

const shapeVerb = `{"op":"get","obj":"b3:…"}`

// opOf finds the member op; everything else is read later, and strictly.
func opOf(raw []byte) (string, error) {
	bad := refuse(ErrBadRequest, "The payload of START is a JSON object that names its verb, like "+shapeVerb+".")
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != jsontext.KindBeginObject {
		return "", bad
	}
	for {
		tok, err := dec.ReadToken()
		if err != nil || tok.Kind() != jsontext.KindString {
			return "", bad
		}
		if tok.String() != "op" {
			if dec.SkipValue() != nil {
				return "", bad
			}
			continue
		}
		if tok, err = dec.ReadToken(); err != nil || tok.Kind() != jsontext.KindString {
			return "", bad
		}
		return tok.String(), nil
	}
}

// readVerb reads the rest of a verb as the body of its path is read.
func readVerb[T any](raw []byte, shape string, one func(*reader) (judged[T], error)) (judged[T], error) {
	r := &reader{dec: jsontext.NewDecoder(bytes.NewBuffer(raw)), raw: raw, shape: strings.Replace(shape, "{", `{"op":"…",`, 1), verb: true}
	item, err := one(r)
	if err != nil {
		return item, err
	}
	if _, err := r.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return item, refuse(ErrBadRequest, "Something follows the JSON object in the payload of START. Send one object and nothing else.")
	}
	return item, item.err
}
