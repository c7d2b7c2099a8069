package httpapi_test

import (
	"strings"
	"testing"

	httpapi "micronode/http"
)

// What is malformed is refused with a problem, counted once, and ends its
// connection where the next request's beginning is in doubt. Nothing is a 500,
// nothing hangs.
func TestMalformed(t *testing.T) {
	r := start(t)
	const host = "Host: localhost\r\n"
	const next = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
	long := strings.Repeat("a", 20<<10)
	for name, c := range map[string]struct {
		raw    string
		status int
		reason string
		goesOn bool // a request that follows is answered
	}{
		"no request at all":                {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "schema", false},
		"a request line of one word":       {"GARBAGE\r\n\r\n", 400, "schema", false},
		"a version of the future":          {"GET / HTTP/9.9\r\n" + host + "\r\n", 505, "schema", false},
		"no host":                          {"GET /healthz HTTP/1.1\r\n\r\n", 400, "schema", false},
		"two hosts":                        {"GET /healthz HTTP/1.1\r\n" + host + host + "\r\n", 400, "schema", false},
		"a host with a space":              {"GET /healthz HTTP/1.1\r\nHost: local host\r\n\r\n", 400, "schema", false},
		"a field without a colon":          {"GET /healthz HTTP/1.1\r\n" + host + "nonsense\r\n\r\n", 400, "schema", false},
		"a space before the colon":         {"GET /healthz HTTP/1.1\r\n" + host + "X : y\r\n\r\n", 400, "schema", false},
		"a NUL in a value":                 {"GET /healthz HTTP/1.1\r\n" + host + "X: a\x00b\r\n\r\n", 400, "schema", false},
		"a CR in a value":                  {"GET /healthz HTTP/1.1\r\n" + host + "X: a\rb\r\n\r\n", 400, "schema", false},
		"a long header":                    {"GET /healthz HTTP/1.1\r\n" + host + "X: " + long + "\r\n\r\n", 431, "header_too_large", false},
		"a long request line":              {"GET /" + long + " HTTP/1.1\r\n" + host + "\r\n", 431, "header_too_large", false},
		"many small fields":                {"GET /healthz HTTP/1.1\r\n" + host + strings.Repeat("X: y\r\n", 4000) + "\r\n", 431, "header_too_large", false},
		"a coding of transfer that is not": {"PUT /put HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip\r\n\r\n", 501, "schema", false},
		"chunked twice":                    {"PUT /put HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501, "schema", false},
		"a negative length":                {"PUT /put HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n", 400, "schema", false},
		"two lengths":                      {"PUT /put HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, "schema", false},
		"a length beyond all numbers":      {"PUT /put HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999999\r\n\r\n", 400, "schema", false},
		"length and chunks":                {"PUT /put HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "schema", false},
		"chunks in HTTP/1.0":               {"PUT /put HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "schema", false},
		"a chunk size that is none":        {"PUT /put HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n", 400, "schema", false},
		"a chunk size that overflows":      {"PUT /put HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nab\r\n0\r\n\r\n", 400, "schema", false},
		"a chunk that is longer than said": {"PUT /put HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n", 400, "schema", false},
		"a long trailer":                   {"PUT /put HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: " + long + "\r\n\r\n", 400, "body_cut", false},
		"another expectation":              {"PUT /put HTTP/1.1\r\n" + host + "Expect: 200-ok\r\nContent-Length: 0\r\n\r\n", 417, "schema", false},
		"a method of its own":              {"BREW /healthz HTTP/1.1\r\n" + host + "\r\n", 405, "method", true},
		"TRACE":                            {"TRACE /healthz HTTP/1.1\r\n" + host + "\r\n", 405, "method", true},
		"CONNECT":                          {"CONNECT localhost:22 HTTP/1.1\r\n" + host + "\r\n", 404, "route", true},
		"OPTIONS *":                        {"OPTIONS * HTTP/1.1\r\n" + host + "\r\n", 404, "route", true},
		"another host":                     {"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, "forbidden", true},
		"another host in the target":       {"GET http://evil.example/healthz HTTP/1.1\r\n" + host + "\r\n", 403, "forbidden", true},
		"a host with a user":               {"GET /healthz HTTP/1.1\r\nHost: me@localhost\r\n\r\n", 400, "schema", false},
		"two capabilities":                 {"GET /healthz HTTP/1.1\r\n" + host + "Authorization: a\r\nAuthorization: b\r\n\r\n", 400, "schema", true},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(r.heard.rejections())
			w := r.dial()
			w.say(c.raw)
			if c.goesOn {
				w.say(next)
			}
			a := w.hear("GET")
			if a.err != nil {
				t.Fatal(a.err)
			}
			if a.status != c.status {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if p := a.problem(t); p.Reason != c.reason {
				t.Errorf("%+v", p)
			}
			if got, counts := len(r.heard.rejections())-before, c.status != 404; got != map[bool]int{true: 1}[counts] {
				t.Errorf("counted %d times", got)
			}
			if c.goesOn {
				if a := w.hear("GET"); a.status != 200 {
					t.Errorf("the request behind it: %d %v", a.status, a.err)
				}
				return
			}
			if rest := w.closed(); rest != "" || a.header.Get("Connection") != "close" {
				t.Errorf("Connection %q, and behind it came %q", a.header.Get("Connection"), rest)
			}
		})
	}
	if a := r.ask("GET", "/healthz", nil); a.status != 200 {
		t.Errorf("afterwards: %d", a.status)
	}
}

// HTTP/2's preface, where HTTP/2 is not spoken, does not switch the watch over
// framing off: the connection ends.
func TestPrefaceWithoutHTTP2(t *testing.T) {
	r := start(t)
	w := dialRaw(t, "unix", r.sock)
	w.say("PRI * HTTP/2.0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if a := w.hear("GET"); a.status != 400 || a.header.Get("Connection") != "close" {
		t.Errorf("%d %v %q", a.status, a.err, a.body)
	}
	if rest := w.closed(); rest != "" {
		t.Errorf("behind it came %q", rest)
	}
}

// Pipelined requests are answered in their order.
func TestPipelined(t *testing.T) {
	r := start(t)
	one, two := r.keep("one"), r.keep("two")
	w := r.dial()
	get := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n" }
	w.say(get("/o/"+one.String()) + "PUT /put HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nthree" + get("/o/"+two.String()) + get("/nothing"))
	for i, want := range []string{"one", `"size":5`, "two", "route"} {
		if a := w.hear("GET"); a.err != nil || !strings.Contains(a.body, want) {
			t.Errorf("answer %d: %d %q %v", i, a.status, a.body, a.err)
		}
	}
}

// A client that asks and never reads makes room at the connection cap, as one
// that waits does: others are let in.
func TestStalledReaderMakesRoom(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.Limits.MaxConns = 2 })
	path := "/o/" + r.keep(text(32<<20)).String()
	for range 2 {
		w := r.dial()
		w.say("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if _, err := w.r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	for { // until one has stalled for long enough; before, whoever comes is told so
		w := r.dial()
		w.say("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if a := w.hear("GET"); a.status == 200 {
			return
		} else if a.err == nil && a.status != 503 {
			t.Fatalf("%d", a.status)
		}
	}
}
