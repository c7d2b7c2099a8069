package httpapi_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	httpapi "micronode/http"
	"micronode/store"
)

const (
	helloText = "b3:d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24"
	emptyText = "b3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
)

func TestPut(t *testing.T) {
	const mib = 1 << 20
	r := start(t, func(o *httpapi.Options) { o.Limits.MaxTTL = time.Hour; o.Limits.MaxObjectBytes = 2 * mib })
	tests := []struct {
		name    string
		body    io.Reader
		headers []string
		status  int
		code    string
		reason  string
		counted string
	}{
		{"new", strings.NewReader("hello world"), nil, 201, "", "", ""},
		{"again", strings.NewReader("hello world"), nil, 200, "", "", ""},
		{"streamed again", streamed("hello world"), nil, 200, "", "", ""},
		{"empty", http.NoBody, nil, 201, "", "", ""},
		{"expected", strings.NewReader("hello world"), []string{"X-Content-B3", helloText}, 200, "", "", ""},
		{"identity", strings.NewReader("hello world"), []string{"Content-Encoding", "identity"}, 200, "", "", ""},
		{"exactly the bound", strings.NewReader(text(mib)), nil, 201, "", "", ""},
		{"streamed to the bound", streamed(text(2 * mib)), nil, 201, "", "", ""},
		{"with a life", strings.NewReader("mortal"), []string{"X-Ron-Ttl", "15m"}, 201, "", "", ""},
		{"over the bound", strings.NewReader(text(mib + 1)), nil, 413, "too_large", "too_large", "413"},
		{"streamed over the bound", streamed(text(2*mib + 1)), nil, 413, "too_large", "too_large", "413"},
		{"other bytes", strings.NewReader("hello mars"), []string{"X-Content-B3", helloText}, 422, "integrity_fail", "mismatch", "integrity"},
		{"streamed other bytes", streamed("hello venus"), []string{"X-Content-B3", helloText}, 422, "integrity_fail", "mismatch", "integrity"},
		{"bad expectation", strings.NewReader("x"), []string{"X-Content-B3", "b3:00"}, 400, "bad_request", "address", "schema"},
		{"upper case", strings.NewReader("x"), []string{"X-Content-B3", strings.ToUpper(helloText)}, 400, "bad_request", "address", "schema"},
		{"two expectations", strings.NewReader("x"), []string{"X-Content-B3", helloText, "X-Content-B3", helloText}, 400, "bad_request", "schema", "schema"},
		{"not gzip", strings.NewReader("x"), []string{"Content-Encoding", "gzip"}, 400, "bad_request", "schema", "schema"},
		{"brotli", strings.NewReader("x"), []string{"Content-Encoding", "br"}, 415, "unsupported_encoding", "encoding", "schema"},
		{"stacked", strings.NewReader("x"), []string{"Content-Encoding", "identity", "Content-Encoding", "gzip"}, 415, "unsupported_encoding", "encoding", "schema"},
		{"no duration", strings.NewReader("x"), []string{"X-Ron-Ttl", "15"}, 400, "bad_request", "schema", "schema"},
		{"zero", strings.NewReader("x"), []string{"X-Ron-Ttl", "0s"}, 400, "bad_request", "schema", "schema"},
		{"negative", strings.NewReader("x"), []string{"X-Ron-Ttl", "-1m"}, 400, "bad_request", "schema", "schema"},
		{"too long", strings.NewReader("x"), []string{"X-Ron-Ttl", "61m"}, 400, "bad_request", "schema", "schema"},
		{"two lives", strings.NewReader("x"), []string{"X-Ron-Ttl", "1m", "X-Ron-Ttl", "2m"}, 400, "bad_request", "schema", "schema"},
		{"empty life", strings.NewReader("x"), []string{"X-Ron-Ttl", ""}, 400, "bad_request", "schema", "schema"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(r.heard.rejections())
			method := []string{"PUT", "POST"}[i%2]
			used := r.mem.Usage()
			a := r.ask(method, "/put", tt.body, tt.headers...)
			if a.status != tt.status {
				t.Fatalf("%d %s", a.status, a.body)
			}
			rejected := r.heard.rejections()[before:]
			if tt.code == "" {
				checkStored(t, a)
				if len(rejected) != 0 {
					t.Errorf("counted %v", rejected)
				}
				return
			}
			if p := a.problem(t); p.Code != tt.code || p.Reason != tt.reason || p.Retryable {
				t.Errorf("%+v", p)
			}
			if len(rejected) != 1 || rejected[0] != tt.counted {
				t.Errorf("counted %v, want one %s", rejected, tt.counted)
			}
			if now := r.mem.Usage(); now != used {
				t.Errorf("the store went from %+v to %+v", used, now)
			}
		})
	}
	if a := r.ask("GET", "/o/"+store.Sum([]byte("mortal")).String(), nil); a.header.Get("X-Ron-Expires") == "" {
		t.Error("no X-Ron-Expires")
	}
}

func checkStored(t *testing.T, a answer) {
	t.Helper()
	var addr string
	var size int64
	if _, err := fmt.Sscanf(a.body, `{"address":%q,"size":%d}`, &addr, &size); err != nil {
		t.Fatalf("%v in %q", err, a.body)
	}
	if a.header.Get("Location") != "/o/"+addr || a.header.Get("ETag") != `"`+addr+`"` || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", a.header)
	}
}

// What is too long is refused before a byte of it is asked for.
func TestPutRefusedUnread(t *testing.T) {
	r := start(t)
	for _, tt := range []struct {
		name, headers, code string
		status              int
	}{
		{"too long", "Content-Length: 1048577\r\n", "too_large", 413},
		{"too long, waiting for 100", "Content-Length: 1048577\r\nExpect: 100-continue\r\n", "too_large", 413},
		{"bad header, waiting for 100", "Content-Length: 5\r\nExpect: 100-continue\r\nX-Content-B3: no\r\n", "bad_request", 400},
		{"bad header, endless", "Transfer-Encoding: chunked\r\nX-Content-B3: no\r\n", "bad_request", 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := r.dial()
			w.say("POST /put HTTP/1.1\r\nHost: localhost\r\n" + tt.headers + "\r\n")
			a := w.hear("POST")
			if a.status != tt.status || a.problem(t).Code != tt.code {
				t.Errorf("%d %s", a.status, a.body)
			}
			if rest := w.closed(); a.header.Get("Connection") != "close" || rest != "" {
				t.Errorf("Connection: %q, then %q", a.header.Get("Connection"), rest)
			}
		})
	}
}

func TestPutNeedsLength(t *testing.T) {
	r := start(t)
	w := r.dial()
	w.say("POST /put HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if a := w.hear("POST"); a.status != 411 || a.problem(t).Code != "length_required" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestPutContinues(t *testing.T) {
	r := start(t)
	w := r.dial()
	w.say("PUT /put HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if a := w.hear("PUT"); a.status != 100 {
		t.Fatalf("%d", a.status)
	}
	w.say("apple")
	if a := w.hear("PUT"); a.status != 201 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// An upload that is cut at any byte stores nothing and gives everything back.
func TestPutCut(t *testing.T) {
	r := start(t)
	body := "5\r\napple\r\n6\r\nbanana\r\n0\r\n\r\n"
	chunked := "PUT /put HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + body
	plain := "PUT /put HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\napplebanana"
	for _, whole := range []string{plain, chunked} {
		for cut := 1; cut < len(whole); cut++ {
			w := r.dial()
			w.say(whole[:cut])
			if err := w.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if out := w.closed(); strings.HasPrefix(out, "HTTP/1.1 2") {
				t.Fatalf("cut at %d of %q: %s", cut, whole, out)
			}
			_ = w.Close()
		}
	}
	large := text(300_000)
	for cut := 1; cut < len(large); cut += 40_000 {
		w := r.dial()
		w.say(fmt.Sprintf("PUT /put HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", len(large)))
		w.say(large[:cut])
		_ = w.CloseWrite()
		if a := w.hear("PUT"); a.status != 400 || a.problem(t).Reason != "body_cut" {
			t.Fatalf("cut at %d: %d %s", cut, a.status, a.body)
		}
	}
	if u := r.mem.Usage(); u.Objects != 0 || u.Bytes != 0 {
		t.Errorf("%+v is left", u)
	}
}

// CloseWrite ends what the client says.
func (w *rawConn) CloseWrite() error {
	return w.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

func TestPutBadFraming(t *testing.T) {
	r := start(t)
	const head = "PUT /put HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, body := range []string{
		"zz\r\napple\r\n0\r\n\r\n", "5\napple\n0\n\n", "5\r\napplepie\r\n0\r\n\r\n", "-5\r\napple\r\n0\r\n\r\n",
		"fffffffffffffffff\r\napple\r\n", "5 \x00\r\napple\r\n0\r\n\r\n",
	} {
		w := r.dial()
		w.say(head + body)
		_ = w.CloseWrite()
		if a := w.hear("PUT"); a.status != 400 || a.problem(t).Code != "bad_request" {
			t.Errorf("%q: %d %s", body, a.status, a.body)
		}
	}
	if u := r.mem.Usage(); u.Bytes != 0 {
		t.Errorf("%+v is left", u)
	}
}

// A body that stops is told so, and what came of it is given back; one whose
// slices come in time may take longer in all.
func TestPutSlow(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.Limits.RequestTimeout = 50 * time.Millisecond })
	for _, head := range []string{"Content-Length: 100\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"} {
		w := r.dial()
		w.say("PUT /put HTTP/1.1\r\nHost: localhost\r\n" + head)
		if a := w.hear("PUT"); a.status != 408 || a.problem(t).Code != "timeout" || !a.problem(t).Retryable {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if got := r.heard.rejections(); len(got) != 2 || got[0] != "timeout" {
		t.Errorf("counted %v", got)
	}
	if u := r.mem.Usage(); u.Bytes != 0 {
		t.Errorf("%+v is left", u)
	}
}

// Once the body is whole, its deadline is over: a store may take its time.
func TestPutSlowStore(t *testing.T) {
	var h *holding
	r := start(t, func(o *httpapi.Options) {
		o.Limits.RequestTimeout = 30 * time.Millisecond
		h = newHolding(o.Ports.Objects)
		o.Ports.Objects = h
	})
	w := r.dial()
	w.say("PUT /put HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\napple")
	<-h.entered
	clock := r.dial() // a body that never comes: its 408 says that the time has passed
	clock.say("PUT /put HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
	if a := clock.hear("PUT"); a.status != 408 {
		t.Fatal(a.status, a.err)
	}
	close(h.release)
	if a := w.hear("PUT"); a.status != 201 {
		t.Errorf("%d %v", a.status, a.err)
	}
}

func TestHeadersTooLarge(t *testing.T) {
	r := start(t)
	frame := len("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Pad: \r\n\r\n")
	for _, tt := range []struct{ total, status int }{{16 << 10, 200}, {21 << 10, 431}} {
		w := r.dial()
		w.say("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Pad: " + strings.Repeat("x", tt.total-frame) + "\r\n\r\n")
		if a := w.hear("GET"); a.status != tt.status {
			t.Errorf("%d bytes of headers: %d, %v", tt.total, a.status, a.err)
		}
	}
}

func TestStoreFull(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.Ports.Objects = failing{store.ErrFull} })
	a := r.ask("PUT", "/put", strings.NewReader("x"))
	p := a.problem(t)
	if a.status != 429 || p.Code != "quota_exhausted" || p.Reason != "store_bytes" || !p.Retryable || p.RetryAfterMS < 5000 || a.header.Get("Retry-After") < "5" {
		t.Errorf("%d %+v %v", a.status, p, a.header)
	}
}

// Codings are named in any letters (RFC 9110 §8.4.1).
func TestPutIdentity(t *testing.T) {
	r := start(t)
	w := r.dial()
	w.say("PUT /put HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: IDENTITY\r\nContent-Length: 1\r\n\r\nx")
	if a := w.hear("PUT"); a.status != 201 {
		t.Errorf("%d %s", a.status, a.body)
	}
}
