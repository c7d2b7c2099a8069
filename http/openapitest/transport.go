package openapitest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"

	httpapi "micronode/http"
)

// MaxBuffered is the most that the transport holds of one body, in bytes: a
// larger JSON body is reported, octets and event streams are never held.
const MaxBuffered = 1 << 20

// Transport wraps next (nil: http.DefaultTransport) so that every exchange is
// held against http/openapi.yaml. What does not fit is a t.Errorf; the
// exchange itself is passed on as it is.
//
// A request that the node refuses with 4xx was wrong on purpose, so only the
// answer is checked. A path or method that the document does not know may be
// answered 404 or 405 with a problem, nothing else. Bodies of octets are left
// alone; each NDJSON line is checked when the test reads it.
func Transport(t testing.TB, next http.RoundTripper) http.RoundTripper {
	t.Helper()
	s, err := own()
	if err != nil {
		t.Fatal(err)
	}
	if next == nil {
		next = http.DefaultTransport
	}
	return &transport{t: t, next: next, spec: s}
}

type transport struct {
	t    testing.TB
	next http.RoundTripper
	spec *spec
}

// RoundTrip implements http.RoundTripper.
func (tr *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	sent, req, err := keepRequest(req)
	if err != nil {
		return nil, err
	}
	resp, err := tr.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	for _, fault := range tr.check(req, sent, resp) {
		tr.t.Errorf("%s %s -> %d: %v", req.Method, req.URL.RequestURI(), resp.StatusCode, fault)
	}
	return resp, nil
}

// CloseIdleConnections lets http.Client close what is underneath.
func (tr *transport) CloseIdleConnections() {
	if c, ok := tr.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// check returns everything about an exchange that the document does not allow.
func (tr *transport) check(req *http.Request, sent []byte, resp *http.Response) []error {
	if beforeRouting(resp) {
		return nil
	}
	route, params := tr.spec.find(req)
	if route == nil {
		return tr.checkUnrouted(req, resp)
	}
	input := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route, Options: options(),
	}
	var faults []error
	if resp.StatusCode < 400 || resp.StatusCode > 499 {
		faults = append(faults, checkRequest(input, sent)...)
	}
	return append(faults, tr.checkResponse(input, resp)...)
}

// beforeRouting tells the two plain answers of the HTTP layer itself.
func beforeRouting(resp *http.Response) bool {
	plain := mediaType(resp.Header) == "text/plain"
	return plain && (resp.StatusCode == http.StatusRequestHeaderFieldsTooLarge ||
		resp.StatusCode == http.StatusBadRequest && resp.Close)
}

func options() *openapi3filter.Options {
	return &openapi3filter.Options{
		IncludeResponseStatus: true,
		SkipSettingDefaults:   true,
		MultiError:            true,
		AuthenticationFunc:    openapi3filter.NoopAuthenticationFunc,
	}
}

// checkRequest holds an accepted request against its operation. Octets are
// taken as they are.
func checkRequest(input *openapi3filter.RequestValidationInput, sent []byte) []error {
	var faults []error
	for _, name := range strayQuery(input.Route, input.Request.URL.Query()) {
		faults = append(faults, fmt.Errorf("accepted request: query parameter %q is not described", name))
	}
	opt := *input.Options
	opt.ExcludeRequestBody = sent == nil
	probe := *input
	probe.Options = &opt
	probe.Request = input.Request.Clone(context.Background())
	if sent != nil {
		probe.Request.Body = io.NopCloser(bytes.NewReader(sent))
		probe.Request.GetBody = nil
	}
	if err := openapi3filter.ValidateRequest(context.Background(), &probe); err != nil {
		faults = append(faults, fmt.Errorf("accepted request: %w", err))
	}
	return faults
}

// checkUnrouted takes a 404 or 405 problem for what the document does not know.
func (tr *transport) checkUnrouted(req *http.Request, resp *http.Response) []error {
	if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMethodNotAllowed {
		return []error{errors.New("route is not described")}
	}
	if req.Method == http.MethodHead {
		return nil
	}
	if got := mediaType(resp.Header); got != httpapi.TypeProblem {
		return []error{fmt.Errorf("an unknown route is refused with %q, want %q", got, httpapi.TypeProblem)}
	}
	body, err := keepBody(resp)
	if err != nil {
		return []error{err}
	}
	return tr.visit("Problem", body)
}

// checkResponse holds status, headers, media type and body against the operation.
func (tr *transport) checkResponse(in *openapi3filter.RequestValidationInput, resp *http.Response) []error {
	described := in.Route.Operation.Responses.Status(resp.StatusCode)
	if described == nil || described.Value == nil {
		return []error{errors.New("status is not described")}
	}
	var faults []error
	for _, name := range strayHeaders(described.Value, resp.Header) {
		faults = append(faults, fmt.Errorf("header %q is not described", name))
	}
	faults = append(faults, checkMedia(in.Request, described.Value, resp)...)
	switch mediaType(resp.Header) {
	case httpapi.TypeNDJSON:
		resp.Body = &lineChecker{ReadCloser: resp.Body, tr: tr, schema: lineSchema(described.Value)}
		return append(faults, validate(in, resp, nil)...)
	case httpapi.TypeJSON, httpapi.TypeProblem:
		if in.Request.Method == http.MethodHead {
			return append(faults, validate(in, resp, nil)...)
		}
		body, err := keepBody(resp)
		if err != nil {
			return append(faults, err)
		}
		return append(faults, validate(in, resp, body)...)
	default:
		return append(faults, validate(in, resp, nil)...)
	}
}

// lineSchema is what the document says of each line of a stream.
func lineSchema(described *openapi3.Response) *openapi3.Schema {
	media := described.Content[httpapi.TypeNDJSON]
	if media == nil || media.Schema == nil {
		return nil
	}
	return media.Schema.Value
}

// checkMedia asks that a body has one of the described types and that a
// response without described content has no body.
func checkMedia(req *http.Request, described *openapi3.Response, resp *http.Response) []error {
	got := resp.Header.Get("Content-Type")
	switch {
	case len(described.Content) == 0:
		if resp.ContentLength > 0 && req.Method != http.MethodHead {
			return []error{fmt.Errorf("a body of %q is not described", got)}
		}
	case described.Content.Get(got) == nil && !(req.Method == http.MethodHead && got == ""):
		return []error{fmt.Errorf("content type %q is not described", got)}
	}
	return nil
}

// validate runs the validator over headers and, with a body, the body. It
// exempts HEAD, so the method is masked, and 304, whose required headers are
// looked for here.
func validate(in *openapi3filter.RequestValidationInput, resp *http.Response, body []byte) []error {
	if resp.StatusCode == http.StatusNotModified {
		return absent(in.Route.Operation.Responses.Status(resp.StatusCode).Value, resp.Header)
	}
	opt := *in.Options
	opt.ExcludeResponseBody = body == nil
	masked := *in
	masked.Request = in.Request.Clone(context.Background())
	masked.Request.Method = http.MethodGet
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &masked, Status: resp.StatusCode, Header: resp.Header, Options: &opt,
	}
	out.SetBodyBytes(body)
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		return []error{err}
	}
	return nil
}

// absent names required headers that are not there.
func absent(described *openapi3.Response, got http.Header) []error {
	var faults []error
	for name, h := range described.Headers {
		if h.Value != nil && h.Value.Required && len(got.Values(name)) == 0 {
			faults = append(faults, fmt.Errorf("response header %q missing", name))
		}
	}
	return faults
}

func mediaType(h http.Header) string {
	mt, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return strings.TrimSpace(h.Get("Content-Type"))
	}
	return mt
}
