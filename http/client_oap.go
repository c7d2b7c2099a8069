package httpapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"micronode/http/oap"
)

// overOAP carries the calls of a [Client] over OAP/1, so that everything above it,
// retries, verification and errors, is the same on both doors. What OAP/1 has no
// verb for is refused as the node would.
type overOAP struct {
	addr string
	tls  *tls.Config // nil: plain

	mu  sync.Mutex // guards all that follows
	now *oap.Client
	cap string // that now was dialled with
}

// client is the connection, dialled anew where the last one was lost.
func (t *overOAP) client(ctx context.Context, capability string) (*oap.Client, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now != nil && t.cap == capability {
		return t.now, nil
	}
	c, err := oap.Dial(ctx, t.addr, oap.ClientOptions{UA: "ronctl", TLS: t.tls, Cap: []byte(capability)})
	if err == nil {
		if t.now != nil {
			_ = t.now.Close()
		}
		t.now, t.cap = c, capability
	}
	return c, err
}

// drop forgets a connection that failed.
func (t *overOAP) drop(c *oap.Client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now == c {
		t.now = nil
		_ = c.Close()
	}
}

// CloseIdleConnections ends the connection.
func (t *overOAP) CloseIdleConnections() {
	t.mu.Lock()
	c := t.now
	t.mu.Unlock()
	if c != nil {
		t.drop(c)
	}
}

// RoundTrip implements http.RoundTripper.
func (t *overOAP) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer func() { _ = r.Body.Close() }()
	}
	capability, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	c, err := t.client(r.Context(), capability)
	if err != nil {
		return nil, err
	}
	resp, err := t.carry(c, r)
	var refused *oap.RemoteError
	var fault *oap.Fault
	switch {
	case err == nil:
	case errors.As(err, &fault):
		t.drop(c)
		err = fmt.Errorf("what answers at %s does not speak OAP/1: is that the node's oap_addr?", t.addr)
	case errors.As(err, &refused):
		resp, err = answerOf(r, int(refused.Code), TypeProblem, refused.Body), nil
	case r.Context().Err() == nil:
		t.drop(c)
		err = fmt.Errorf("%w: %w", ErrConnLost, err)
	}
	return resp, err
}

func (t *overOAP) carry(c *oap.Client, r *http.Request) (*http.Response, error) {
	verb, isMailbox := strings.CutPrefix(r.URL.Path, "/mbox/")
	addr, isObject := strings.CutPrefix(r.URL.Path, objectPrefix)
	switch {
	case r.URL.Path == "/put" && r.Header.Get("X-Ron-Ttl") == "":
		return oapPut(c, r)
	case isObject && r.Method == http.MethodHead:
		s, err := c.Head(r.Context(), addr)
		resp := answerOf(r, http.StatusOK, TypeOctets, nil)
		resp.ContentLength = s.Size
		return resp, err
	case isObject && r.Method == http.MethodGet:
		return oapGet(c, r, addr)
	case isMailbox && (verb == "send" || verb == "recv" || verb == "ack" || verb == "nack"):
		return oapMail(c, r, verb)
	}
	p, _ := problemOf(refuse(ErrNotSupported, "OAP/1 has no verb for this. Use --addr or --socket."), newULID(time.Now()))
	body, err := json.Marshal(p)
	return answerOf(r, p.Status, TypeProblem, body), err
}

// answerOf is an answer as HTTP would have given it.
func answerOf(r *http.Request, status int, kind string, body []byte) *http.Response {
	return &http.Response{
		Status: strconv.Itoa(status), StatusCode: status, Proto: "OAP/1", Request: r, ContentLength: int64(len(body)),
		Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(bytes.NewReader(body)),
	}
}

func oapPut(c *oap.Client, r *http.Request) (*http.Response, error) {
	body := r.Body
	if body == nil {
		body = http.NoBody
	}
	s, err := c.Put(r.Context(), body, r.ContentLength, r.Header.Get("X-Content-B3"))
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(Stored{Address: s.Address, Size: s.Size})
	return answerOf(r, http.StatusOK, TypeJSON, text), err
}

// oapGet asks for the size first: an answer of HTTP begins with its length.
func oapGet(c *oap.Client, r *http.Request, addr string) (*http.Response, error) {
	s, err := c.Head(r.Context(), addr)
	if err != nil {
		return nil, err
	}
	resp := answerOf(r, http.StatusOK, TypeOctets, nil)
	off, n := int64(0), s.Size
	if asked := r.Header.Get("Range"); asked != "" {
		var verdict rangeVerdict
		if off, n, verdict = parseRange(asked, s.Size); verdict == rangeUnsatisfiable {
			p, _ := problemOf(ErrRange, newULID(time.Now()))
			body, err := json.Marshal(p)
			return answerOf(r, p.Status, TypeProblem, body), err
		}
		resp.StatusCode = http.StatusPartialContent
		resp.Header.Set("Content-Range", contentRange(off, n, s.Size))
	}
	resp.ContentLength = n
	if n == 0 {
		return resp, nil
	}
	from, to := io.Pipe()
	resp.Body = from // closing it ends the exchange, and with it the goroutine
	go func() {
		_, err := c.Get(r.Context(), addr, off, n, to)
		var refused *oap.RemoteError
		if errors.As(err, &refused) { // damage that was found on the way
			err = ErrorOf(refused.Code, refused.Body)
		}
		_ = to.CloseWithError(err) // nil: the end
	}()
	return resp, nil
}

// oapMail carries a call of the mailbox; an array of them one by one.
func oapMail(c *oap.Client, r *http.Request, verb string) (*http.Response, error) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxMailboxBody+1))
	if err != nil {
		return nil, err
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		body, err := c.Call(r.Context(), oap.AppMailbox, withVerb(raw, verb, r))
		return answerOf(r, http.StatusOK, TypeJSON, body), err
	}
	out := []byte{'['}
	for i, item := range items {
		if i > 0 {
			out = append(out, ',')
		}
		body, err := c.Call(r.Context(), oap.AppMailbox, withVerb(item, verb, r))
		var refused *oap.RemoteError
		switch {
		case errors.As(err, &refused):
			out = append(out, refused.Body...)
		case err != nil:
			return nil, err
		default:
			out = append(append(out, `{"status":200,`...), bytes.TrimPrefix(body, []byte{'{'})...)
		}
	}
	return answerOf(r, http.StatusOK, TypeJSON, append(out, ']')), nil
}

// withVerb puts the verb, and a key that came in the header, in front of an object.
func withVerb(object []byte, verb string, r *http.Request) []byte {
	b := append([]byte(`{"op":"`+verb+`"`), ',')
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		b = append(append(b, `"idem_key":`...), strconv.Quote(strings.Trim(key, `"`))...)
		b = append(b, ',')
	}
	rest := bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(object), []byte{'{'}))
	if len(rest) > 0 && rest[0] == '}' {
		b = b[:len(b)-1]
	}
	return append(b, rest...)
}
