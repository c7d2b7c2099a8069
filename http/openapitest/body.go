package openapitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/getkin/kin-openapi/openapi3"

	httpapi "micronode/http"
)

// keepRequest returns the request's JSON body, if it has one, and a request
// that still carries it. Any other body is not touched.
func keepRequest(req *http.Request) ([]byte, *http.Request, error) {
	if req.Body == nil || req.Body == http.NoBody || mediaType(req.Header) != httpapi.TypeJSON {
		return nil, req, nil
	}
	sent, err := io.ReadAll(io.LimitReader(req.Body, MaxBuffered+1))
	if err != nil {
		return nil, nil, err
	}
	rest := req.Body
	out := req.Clone(req.Context())
	out.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(sent), rest), rest}
	if len(sent) > MaxBuffered {
		sent = nil // too large to hold: passed on, not checked
	}
	return sent, out, nil
}

// keepBody reads a response body of up to MaxBuffered and puts it back.
func keepBody(resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxBuffered+1))
	rest := resp.Body
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), failWith(err), rest), rest}
	if len(body) > MaxBuffered {
		return nil, fmt.Errorf("a JSON answer of more than %d bytes", MaxBuffered)
	}
	return body, err
}

// failWith reads as err, or as nothing when err is nil.
func failWith(err error) io.Reader {
	if err == nil {
		return bytes.NewReader(nil)
	}
	return errReader{err}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// visit checks JSON text against a named schema.
func (tr *transport) visit(name string, text []byte) []error {
	schema := tr.spec.schema(name)
	if schema == nil {
		return []error{fmt.Errorf("schema %s is not described", name)}
	}
	return visitWith(schema, name, text)
}

// visitWith checks JSON text against a schema.
func visitWith(schema *openapi3.Schema, name string, text []byte) []error {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return []error{fmt.Errorf("%s: not JSON: %w", name, err)}
	}
	if err := schema.VisitJSON(value, openapi3.EnableJSONSchema2020(), openapi3.VisitAsResponse()); err != nil {
		return []error{fmt.Errorf("%s: %w", name, err)}
	}
	return nil
}

// lineChecker checks each whole NDJSON line as it is read, holding one line.
type lineChecker struct {
	io.ReadCloser
	tr     *transport
	schema *openapi3.Schema // of a line; nil: none is described
	line   []byte
	long   bool
}

// Read implements io.Reader.
func (l *lineChecker) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	for _, b := range p[:n] {
		if b != '\n' {
			if len(l.line) < MaxBuffered {
				l.line = append(l.line, b)
			} else {
				l.long = true
			}
			continue
		}
		l.end()
	}
	return n, err
}

// end judges the line held; an empty line is a sign of life and fine.
func (l *lineChecker) end() {
	switch {
	case l.long:
		l.tr.t.Errorf("NDJSON line of more than %d bytes", MaxBuffered)
	case len(bytes.TrimSpace(l.line)) > 0 && l.schema == nil:
		l.tr.t.Errorf("NDJSON line %q is not described", l.line)
	case len(bytes.TrimSpace(l.line)) > 0:
		for _, fault := range visitWith(l.schema, "line", l.line) {
			l.tr.t.Errorf("NDJSON line %q: %v", l.line, fault)
		}
	}
	l.line, l.long = l.line[:0], false
}
