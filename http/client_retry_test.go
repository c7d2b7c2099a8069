package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	httpapi "micronode/http"
	"micronode/store"
)

// wire is a scripted node: each request takes the next step.
type wire struct {
	t     *testing.T
	steps []step
	seen  []string
}

type step func(*http.Request) (*http.Response, error)

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	body := ""
	if req.Body != nil {
		text, err := io.ReadAll(req.Body)
		if closed := req.Body.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return nil, err
		}
		body = string(text)
	}
	w.seen = append(w.seen, strings.TrimSpace(req.Method+" "+req.URL.RequestURI()+" "+req.Header.Get("Range")+body))
	if len(w.seen) > len(w.steps) {
		w.t.Fatalf("request %d was not expected: %s", len(w.seen), w.seen[len(w.seen)-1])
	}
	return w.steps[len(w.seen)-1](req)
}

func answers(status int, body string, header ...string) step {
	return func(req *http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{
			StatusCode: status, Header: h, Request: req,
			Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		}, nil
	}
}

func fails(err error) step {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// breaks answers and loses the connection after some bytes.
func breaks(status int, body string, after int, header ...string) step {
	return func(req *http.Request) (*http.Response, error) {
		resp, err := answers(status, body, header...)(req)
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(body[:after]), iotest.ErrReader(syscall.ECONNRESET)))
		return resp, err
	}
}

func refuses(status int, code, reason string, retryable bool, afterMS int) step {
	return answers(status, fmt.Sprintf(`{"type":"about:blank","title":"T","status":%d,"detail":"D","code":%q,"reason":%q,"retryable":%v,"corr_id":"c","retry_after_ms":%d}`,
		status, code, reason, retryable, afterMS), "Content-Type", httpapi.TypeProblem)
}

var (
	refused = fails(&net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED})
	reset   = fails(&net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET})
	busy    = refuses(429, "quota_exhausted", "rps", true, 1500)
	closed  = refuses(503, "not_ready", "read_only", true, 700)
)

func scripted(t *testing.T, retry httpapi.Retry, steps ...step) (*httpapi.Client, *wire) {
	t.Helper()
	w := &wire{t: t, steps: steps}
	c, err := httpapi.NewClient(httpapi.ClientOptions{Addr: "node:1", Retry: retry, HTTP: &http.Client{Transport: w}})
	if err != nil {
		t.Fatal(err)
	}
	return c, w
}

const helloAddr = "b3:d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24"

func TestClientRetries(t *testing.T) {
	hello := []byte("hello world")
	stored := answers(201, `{"address":"`+helloAddr+`","size":11}`)
	status := answers(200, `{"service":"micronode"}`)
	put := func(ctx context.Context, c *httpapi.Client) error {
		_, _, err := c.Put(ctx, bytes.NewReader(hello), store.PutOptions{Size: 11})
		return err
	}
	putOnce := func(ctx context.Context, c *httpapi.Client) error {
		_, _, err := c.Put(ctx, io.MultiReader(bytes.NewReader(hello)), store.PutOptions{Size: 11})
		return err
	}
	look := func(ctx context.Context, c *httpapi.Client) error { _, err := c.Status(ctx); return err }
	kill := func(ctx context.Context, c *httpapi.Client) error {
		_, err := c.Kill(ctx, httpapi.Order{Service: "storage"})
		return err
	}
	some := httpapi.Retry{Attempts: 4, MaxWait: 10 * time.Second}
	tests := []struct {
		name  string
		retry httpapi.Retry
		do    func(context.Context, *httpapi.Client) error
		steps []step
		want  error         // nil: success
		least time.Duration // that was waited in all
		most  time.Duration
	}{
		{"no policy", httpapi.Retry{}, look, []step{closed}, store.ErrReadOnly, 0, 0},
		{"503 honours retry_after_ms", some, look, []step{closed, status}, nil, 700 * time.Millisecond, 800 * time.Millisecond},
		{"429 honours retry_after_ms", some, look, []step{busy, busy, status}, nil, 3 * time.Second, 3200 * time.Millisecond},
		{"Retry-After without a problem", some, look, []step{answers(503, "busy", "Retry-After", "2"), status}, nil, 2 * time.Second, 2100 * time.Millisecond},
		{"a hint is capped", some, look, []step{refuses(503, "not_ready", "not_ready", true, 3600_000), status}, nil, 5 * time.Second, 5100 * time.Millisecond},
		{"attempts are bounded", some, look, []step{closed, closed, closed, closed}, store.ErrReadOnly, 2100 * time.Millisecond, 2400 * time.Millisecond},
		{"waiting is bounded", httpapi.Retry{Attempts: 99, MaxWait: time.Second}, look, []step{closed, closed}, store.ErrReadOnly, 700 * time.Millisecond, 800 * time.Millisecond},
		{"a full store is not retried", some, put, []step{refuses(429, "quota_exhausted", "store_bytes", true, 5000)}, store.ErrFull, 0, 0},
		{"what is not retryable is not retried", some, look, []step{refuses(503, "not_ready", "not_ready", false, 0)}, store.ErrNotReady, 0, 0},
		{"404 is not retried", some, look, []step{refuses(404, "not_found", "route", true, 0)}, httpapi.ErrNoRoute, 0, 0},
		{"connections are made again", some, look, []step{refused, reset, status}, nil, 0, 300 * time.Millisecond},
		{"unreachable in the end", some, look, []step{refused, refused, refused, refused}, httpapi.ErrUnreachable, 0, 700 * time.Millisecond},
		{"lost in the end", httpapi.Retry{Attempts: 2}, look, []step{refused, reset}, httpapi.ErrConnLost, 0, 100 * time.Millisecond},
		{"a put is sent again whole", some, put, []step{reset, closed, stored}, nil, 700 * time.Millisecond, time.Second},
		{"a put that cannot be read again", some, putOnce, []step{closed}, store.ErrReadOnly, 0, 0},
		{"an order is given once", some, kill, []step{closed}, store.ErrReadOnly, 0, 0},
		{"an order is not repeated when lost", some, kill, []step{reset}, httpapi.ErrConnLost, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, w := scripted(t, tt.retry, tt.steps...)
				begun := time.Now()
				err := tt.do(t.Context(), c)
				if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
					t.Errorf("err = %v, want %v", err, tt.want)
				}
				if len(w.seen) != len(tt.steps) {
					t.Errorf("%d requests, want %d: %q", len(w.seen), len(tt.steps), w.seen)
				}
				for _, seen := range w.seen {
					if strings.HasPrefix(seen, "POST /put") && seen != "POST /put hello world" {
						t.Errorf("sent %q", seen)
					}
				}
				if waited := time.Since(begun); waited < tt.least || waited > tt.most { // virtual time
					t.Errorf("waited %v, want %v to %v", waited, tt.least, tt.most)
				}
			})
		})
	}
}

func TestClientWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var notices []httpapi.RetryNotice
		c, _ := scripted(t, httpapi.Retry{Attempts: 9, Notify: func(n httpapi.RetryNotice) { notices = append(notices, n) }}, busy)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Status(ctx)
		if !errors.Is(err, httpapi.ErrRateLimited) {
			t.Errorf("err = %v, want what the node said", err)
		}
		if len(notices) != 1 || notices[0].Attempt != 1 || notices[0].Wait < 1500*time.Millisecond || notices[0].Err == nil {
			t.Errorf("notices = %+v", notices)
		}
	})
}

// A read that breaks off is taken up where it stopped, and still verified.
func TestClientGetResumes(t *testing.T) {
	const text = "hello world"
	some := httpapi.Retry{Attempts: 4}
	part := func(from, to int) []string {
		return []string{"Content-Range", fmt.Sprintf("bytes %d-%d/11", from, to-1)}
	}
	tests := []struct {
		name  string
		span  *httpapi.Span
		steps []step
		seen  []string
		got   string
		want  error
	}{
		{"whole", nil, []step{answers(200, text)}, []string{"GET /o/" + helloAddr}, text, nil},
		{
			"resumed twice", nil,
			[]step{breaks(200, text, 3), closed, breaks(206, text[3:], 4, part(3, 11)...), answers(206, text[7:], part(7, 11)...)},
			[]string{"GET /o/" + helloAddr, "GET /o/" + helloAddr + " bytes=3-10", "GET /o/" + helloAddr + " bytes=3-10", "GET /o/" + helloAddr + " bytes=7-10"},
			text, nil,
		},
		{"broken after the last byte", nil, []step{breaks(200, text, 11)}, []string{"GET /o/" + helloAddr}, text, nil},
		{
			"suffix resumed", &httpapi.Span{Off: -5},
			[]step{breaks(206, "world", 2, part(6, 11)...), answers(206, "rld", part(8, 11)...)},
			[]string{"GET /o/" + helloAddr + " bytes=-5", "GET /o/" + helloAddr + " bytes=8-10"},
			"world", nil,
		},
		{"wrong bytes", nil, []step{answers(200, "hello w0rld")}, []string{"GET /o/" + helloAddr}, "hello w0rld", store.ErrCorrupt},
		{
			"502 on the way", nil,
			[]step{breaks(200, text, 3), refuses(502, "integrity_fail", "corrupt", false, 0)},
			[]string{"GET /o/" + helloAddr, "GET /o/" + helloAddr + " bytes=3-10"},
			"hel", store.ErrCorrupt,
		},
		{
			"gone on the way", nil,
			[]step{breaks(200, text, 3), refuses(404, "not_found", "object", false, 0)},
			[]string{"GET /o/" + helloAddr, "GET /o/" + helloAddr + " bytes=3-10"},
			"hel", store.ErrNotFound,
		},
	}
	addr, err := store.ParseAddress(helloAddr)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, w := scripted(t, some, tt.steps...)
				var got strings.Builder
				n, err := c.Get(t.Context(), addr, &got, tt.span)
				if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
					t.Errorf("err = %v, want %v", err, tt.want)
				}
				if got.String() != tt.got || n != int64(len(tt.got)) {
					t.Errorf("got %d bytes, %q; want %q", n, got.String(), tt.got)
				}
				if strings.Join(w.seen, "\n") != strings.Join(tt.seen, "\n") {
					t.Errorf("asked\n%s\nwant\n%s", strings.Join(w.seen, "\n"), strings.Join(tt.seen, "\n"))
				}
			})
		})
	}
}

// Answers that no node gives are errors, not data.
func TestClientStrangeAnswers(t *testing.T) {
	addr, _ := store.ParseAddress(helloAddr)
	get := func(c *httpapi.Client, span *httpapi.Span) error {
		_, err := c.Get(t.Context(), addr, io.Discard, span)
		return err
	}
	tests := []struct {
		name string
		do   func(*httpapi.Client) error
		step step
	}{
		{"a range for a whole", func(c *httpapi.Client) error { return get(c, nil) }, answers(206, "h", "Content-Range", "bytes 0-0/11")},
		{"a whole for a range", func(c *httpapi.Client) error { return get(c, &httpapi.Span{Off: 3, N: 2}) }, answers(200, "hello world")},
		{"a nonsense range", func(c *httpapi.Client) error { return get(c, &httpapi.Span{Off: 3, N: 2}) }, answers(206, "lo", "Content-Range", "bytes 9-3/11")},
		{"a web page", func(c *httpapi.Client) error { _, err := c.Status(t.Context()); return err }, answers(200, "<html>")},
		{"a redirect", func(c *httpapi.Client) error { _, err := c.Status(t.Context()); return err }, answers(302, "", "Location", "http://elsewhere/")},
		{"another address", func(c *httpapi.Client) error {
			_, _, err := c.Put(t.Context(), strings.NewReader("hello w0rld"), store.PutOptions{Size: 11})
			return err
		}, answers(201, `{"address":"`+helloAddr+`","size":11}`)},
		{"a line that is no event", func(c *httpapi.Client) error {
			for _, err := range c.Tail(t.Context(), httpapi.TailOptions{}) {
				if err != nil {
					return err
				}
			}
			return nil
		}, answers(200, "{}\n\n?\n")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := scripted(t, httpapi.Retry{}, tt.step)
			if err := tt.do(c); err == nil {
				t.Error("no error")
			} else if errors.Is(err, httpapi.ErrConnLost) {
				t.Errorf("err = %v: a strange answer is no lost connection", err)
			}
		})
	}
}
