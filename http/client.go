package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Bounds of the client.
const (
	defaultAnswerTimeout = 30 * time.Second
	dialTimeout          = 5 * time.Second
	idleTimeout          = 30 * time.Second
	maxIdleConns         = 64
	maxAnswerBytes       = 8 << 20 // of a JSON answer
	maxDeclaredBody      = 1 << 20 // the most that /put takes with a Content-Length (contract §2)
	expectAbove          = 64 << 10
	expectTimeout        = 2 * time.Second
)

// ClientOptions say which node to talk to and how. One of Addr and Socket is
// needed; with both, Socket wins.
type ClientOptions struct {
	Addr   string                 // host:port, or a base URL with http:// or https://
	Socket string                 // path of the operator socket
	OAP    string                 // host:port of OAP/1: every call goes there instead, those that it has verbs for
	TLS    *tls.Config            // whom to trust; not nil: an Addr without a scheme is https, and OAP speaks TLS
	Token  func() (string, error) // a capability, asked for before each request on TCP; nil: none
	CorrID func() string          // names each call; nil: the node does
	Stored bool                   // reads ask for what the node has itself, not for what it could fetch from its peers
	Retry  Retry                  // zero: no retries
	// AnswerTimeout bounds the wait for an answer to begin once a request has
	// been sent; 0 means 30 s. The context bounds the whole call.
	AnswerTimeout time.Duration
	// HTTP replaces the client's own connections: it is used as it is and has
	// to reach Addr or Socket by itself. Tests put a checking transport there.
	HTTP *http.Client
}

// Client speaks the wire to one node. It may be used from many goroutines.
//
// A refusal of the node comes back as *[Problem], which errors.Is-matches the
// sentinel that the node refused with (store.ErrNotFound, [ErrConflict], ...).
// A node that cannot be reached is [ErrUnreachable], one that was lost in the
// middle of a call [ErrConnLost].
type Client struct {
	base    string
	hc      *http.Client
	patient *http.Client // for answers that are meant to take long: has no answer timeout of its own
	answer  time.Duration
	token   func() (string, error)
	corrID  func() string
	retry   Retry
	stored  bool
}

// NewClient returns a client. It does not connect yet. Close it when done.
func NewClient(opt ClientOptions) (*Client, error) {
	base, err := baseURL(opt)
	if err != nil {
		return nil, err
	}
	if opt.AnswerTimeout <= 0 {
		opt.AnswerTimeout = defaultAnswerTimeout
	}
	c := &Client{base: base, answer: opt.AnswerTimeout, token: opt.Token, corrID: opt.CorrID, stored: opt.Stored, retry: opt.Retry.withDefaults()}
	if opt.Socket != "" {
		c.token = nil // the socket's peer credentials are the authority there
	}
	if opt.OAP != "" {
		opt.HTTP = &http.Client{Transport: &overOAP{addr: opt.OAP, tls: opt.TLS}}
	}
	if opt.HTTP != nil {
		c.hc = undirected(*opt.HTTP)
		c.patient = c.hc
		return c, nil
	}
	c.hc = undirected(http.Client{Transport: newTransport(opt, opt.AnswerTimeout)})
	c.patient = undirected(http.Client{Transport: newTransport(opt, 0)})
	return c, nil
}

// undirected makes a client follow no redirect: a node never redirects, and
// following one would carry the token elsewhere.
func undirected(hc http.Client) *http.Client {
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &hc
}

// Close gives idle connections back.
func (c *Client) Close() {
	c.hc.CloseIdleConnections()
	c.patient.CloseIdleConnections()
}

func baseURL(opt ClientOptions) (string, error) {
	if opt.Socket != "" {
		return "http://localhost", nil
	}
	if opt.OAP != "" {
		return "http://oap", nil
	}
	if opt.Addr == "" {
		return "", errors.New("neither an address nor a socket to talk to")
	}
	raw := opt.Addr
	if !strings.Contains(raw, "://") {
		raw = "http://" + raw
		if opt.TLS != nil {
			raw = "https://" + opt.Addr
		}
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != "http" && u.Scheme != "https" {
		return "", errors.New("bad address: want host:port, or http:// or https:// and host:port")
	}
	return strings.TrimSuffix(u.Scheme+"://"+u.Host+u.Path, "/"), nil
}

func newTransport(opt ClientOptions, answer time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout}
	dial := dialer.DialContext
	if opt.Socket != "" {
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", opt.Socket)
		}
	}
	return &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        opt.TLS.Clone(),
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           maxIdleConns,
		MaxIdleConnsPerHost:    maxIdleConns,
		IdleConnTimeout:        idleTimeout,
		ResponseHeaderTimeout:  answer,
		ExpectContinueTimeout:  expectTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}
}

// wireCall is one logical call, of one or more attempts.
type wireCall struct {
	method, path string
	query        url.Values
	header       http.Header
	body         func() (io.ReadCloser, int64, error) // fresh for each attempt, with its length or -1; nil: none
	repeat       bool                                 // harmless when it is carried out twice
	once         bool                                 // never retried
	sure         bool                                 // repeated only where it was surely not carried out
	unsure       *bool                                // set when it is repeated and may have been carried out before
	patience     time.Duration                        // how much longer than others its answer may take to begin
	spent        func() bool                          // its body cannot be given again; nil: it can
	accept       int                                  // a status besides 2xx that is an answer and no refusal
}

// do carries a call out and returns its answer, or the refusal as an error.
func (c *Client) do(ctx context.Context, cl wireCall) (*http.Response, error) {
	corrID := ""
	if c.corrID != nil {
		corrID = c.corrID()
	}
	again := c.retry.begin()
	for {
		resp, err := c.attempt(ctx, cl, corrID)
		if err == nil {
			return resp, nil
		}
		if cl.once || cl.sure && unsure(err) || cl.spent != nil && cl.spent() || !again.after(ctx, err, cl.repeat) {
			return nil, err
		}
		if cl.unsure != nil && unsure(err) {
			*cl.unsure = true
		}
	}
}

// attempt is one exchange on the wire.
func (c *Client) attempt(ctx context.Context, cl wireCall, corrID string) (*http.Response, error) {
	target := c.base + cl.path
	if len(cl.query) > 0 {
		target += "?" + cl.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, cl.method, target, nil)
	if err != nil {
		return nil, err
	}
	for name, values := range cl.header {
		req.Header[name] = values
	}
	if corrID != "" {
		req.Header.Set("X-Corr-ID", corrID)
	}
	if c.token != nil {
		token, err := c.token()
		if err != nil {
			return nil, fmt.Errorf("capability: %w", err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
	}
	if cl.body != nil {
		body, size, err := cl.body()
		if err != nil {
			return nil, err
		}
		req.Body, req.ContentLength = body, size
	}
	resp, err := c.exchange(req, cl.patience)
	if err != nil {
		return nil, wireError(ctx, err)
	}
	if resp.StatusCode/100 == 2 || resp.StatusCode == cl.accept {
		return resp, nil
	}
	return nil, readProblem(resp)
}

// exchange sends a request and waits for its answer to begin: as long as any
// other, and for patience on top.
func (c *Client) exchange(req *http.Request, patience time.Duration) (*http.Response, error) {
	if patience <= 0 {
		return c.hc.Do(req)
	}
	ctx, cancel := context.WithCancel(req.Context())
	late := time.AfterFunc(c.answer+patience, cancel)
	resp, err := c.patient.Do(req.WithContext(ctx))
	inTime := late.Stop()
	if err != nil {
		cancel()
		if !inTime && req.Context().Err() == nil {
			return nil, fmt.Errorf("%w: no answer came within %v", ErrConnLost, c.answer+patience)
		}
		return nil, err
	}
	resp.Body = &leash{resp.Body, cancel}
	return resp, nil
}

// leash is a body whose context ends when it is closed.
type leash struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (l *leash) Close() error {
	defer l.cancel()
	return l.ReadCloser.Close()
}
