package httpapi

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"micronode/store"
)

// Bounds of an Order.
const (
	maxServiceName = 64
	maxReason      = 256
)

// readOrder reads a body of JSON strictly. No body is an empty order.
func readOrder(w *reply, r *http.Request, timeout time.Duration) (Order, error) {
	var o Order
	if err := checkJSONType(r.Header); err != nil {
		return o, err
	}
	body := newSlicedBody(w, r, timeout)
	raw, err := io.ReadAll(io.LimitReader(body, maxOrderBytes+1))
	w.unread = !body.whole
	switch {
	case err != nil:
		return o, err
	case len(raw) > maxOrderBytes:
		return o, refuse(store.ErrTooLarge, "An order may have "+strconv.Itoa(maxOrderBytes)+" bytes. Shorten its reason.")
	case len(bytes.TrimSpace(raw)) == 0:
		return o, nil
	}
	return o, decodeStrict(raw, &o)
}

// checkJSONType takes application/json, or a body whose type is not said.
func checkJSONType(h http.Header) error {
	v, present, err := single(h, "Content-Type")
	if err != nil {
		return err
	}
	if kind, _, err := mime.ParseMediaType(v); present && (err != nil || kind != TypeJSON) {
		return refuse(ErrBadRequest, "The body must be JSON: send it with Content-Type: application/json.")
	}
	return checkEncoding(h)
}

// decodeStrict takes one JSON object whose members all are known, each named once
// and in its own letters.
func decodeStrict(raw []byte, into any) error {
	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	err := json.UnmarshalDecode(dec, into, json.RejectUnknownMembers(true))
	switch {
	case err != nil, bytes.TrimLeft(raw, " \t\r\n")[0] != '{': // null fits everything
		return refuse(ErrBadRequest, "The body is not the JSON that this path takes ("+jsonFault(err)+"). It is an object like {\"service\":\"storage\",\"reason\":\"drill\"}.")
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return refuse(ErrBadRequest, "Something follows the JSON object in the body. Send one object and nothing else.")
	}
	return nil
}

func jsonFault(err error) string {
	var syntax *jsontext.SyntacticError
	var kind *json.SemanticError
	switch {
	case err == nil:
		return "it is no object"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends too early"
	case errors.Is(err, jsontext.ErrDuplicateName):
		return "a member is there twice"
	case errors.Is(err, json.ErrUnknownName):
		return "it has an unknown member"
	case errors.As(err, &syntax):
		return "malformed at byte " + strconv.FormatInt(syntax.ByteOffset, 10)
	case errors.As(err, &kind):
		return "wrong type at byte " + strconv.FormatInt(kind.ByteOffset, 10)
	default:
		return "malformed"
	}
}

// check holds an order against what its path takes.
func (o Order) check(needsService bool) error {
	switch {
	case needsService && o.Service == "":
		return refuse(ErrBadRequest, "Name the actor: {\"service\":\"storage\"}. GET /api/v1/status lists them.")
	case !needsService && o.Service != "":
		return refuse(ErrBadRequest, "This order is about the whole node and takes no service. Leave it out.")
	case len(o.Reason) > maxReason:
		return refuse(ErrBadRequest, "reason may have "+strconv.Itoa(maxReason)+" bytes. Shorten it.")
	case len(o.Service) > maxServiceName:
		return ErrUnknownService
	}
	return nil
}
