package httpapi_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	httpapi "micronode/http"
	"micronode/store"
)

// What has no route, or no such method, is a problem: never a text, never a redirect.
func TestRoutes(t *testing.T) {
	r := start(t)
	for _, tt := range []struct {
		method, target, allow string
		status                int
	}{
		{"GET", "/", "", 404},
		{"GET", "//o/" + helloText, "", 404},
		{"GET", "/o/../healthz", "", 404},
		{"GET", "/o/./" + helloText, "", 404},
		{"GET", "/o/", "", 404},
		{"GET", "/o/" + helloText + "/", "", 404},
		{"GET", "/o%2F" + helloText, "", 404},
		{"GET", "/o/{addr}/x", "", 404},
		{"GET", "/o/{addr}", "", 400},
		{"GET", "/healthz/", "", 404},
		{"GET", "/HEALTHZ", "", 404},
		{"GET", "/%68ealthz", "", 200},
		{"GET", "/o/b3%3A" + helloText[3:], "", 404},
		{"OPTIONS", "*", "", 404},
		{"POST", "/api/v1/chaos/kill", "", 404},
		{"GET", "/api/v1/chaos/kill", "", 404},
		{"GET", "/api/v1/bus/tail", "", 404},
		{"GET", "/put", "POST, PUT", 405},
		{"DELETE", "/put", "POST, PUT", 405},
		{"POST", "/o", "GET, HEAD", 405},
		{"PATCH", "/o/" + helloText, "DELETE, GET, HEAD", 405},
		{"OPTIONS", "/healthz", "GET, HEAD", 405},
		{"get", "/healthz", "GET, HEAD", 405},
		{"BREW", "/version", "GET, HEAD", 405},
	} {
		w := r.dial()
		w.say(tt.method + " " + tt.target + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
		a := w.hear(tt.method)
		if a.status != tt.status || a.header.Get("Allow") != tt.allow || a.header.Get("Location") != "" {
			t.Errorf("%s %s: %d Allow %q", tt.method, tt.target, a.status, a.header.Get("Allow"))
		}
		x := r.heard.last(t)
		if a.status == 200 {
			continue
		}
		if p := a.problem(t); p.Status != tt.status {
			t.Errorf("%s %s: %+v", tt.method, tt.target, p)
		}
		if tt.status == 404 && tt.target != "/o/b3%3A"+helloText[3:] && x.Route == "/healthz" {
			t.Errorf("%s %s: %+v", tt.method, tt.target, x)
		}
		if tt.method == "BREW" && x.Method != "OTHER" {
			t.Errorf("label %q", x.Method)
		}
	}
	for _, reason := range r.heard.rejections() {
		if reason != "method" && reason != "schema" {
			t.Errorf("counted %q", reason)
		}
	}
}

func TestCorrelation(t *testing.T) {
	r := start(t)
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	for _, tt := range []struct {
		name, want string
		headers    []string
	}{
		{"given", "a-B_9.", []string{"X-Corr-ID", "a-B_9."}},
		{"by the other name", "req", []string{"X-Request-ID", "req"}},
		{"both", "corr", []string{"X-Request-ID", "req", "X-Corr-ID", "corr"}},
		{"bad and good", "req", []string{"X-Request-ID", "req", "X-Corr-ID", "no good"}},
		{"longest", strings.Repeat("x", 64), []string{"X-Corr-ID", strings.Repeat("x", 64)}},
		{"too long", "", []string{"X-Corr-ID", strings.Repeat("x", 65)}},
		{"two", "", []string{"X-Corr-ID", "a", "X-Corr-ID", "b"}},
		{"none", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := r.ask("GET", "/nowhere", nil, append(tt.headers, "traceparent", "00-"+trace+"-00f067aa0ba902b7-01")...)
			got := a.header.Get("X-Corr-ID")
			if tt.want != "" && got != tt.want || tt.want == "" && len(got) != 26 {
				t.Errorf("%q", got)
			}
			if p := a.problem(t); p.CorrID != got {
				t.Errorf("%q in the problem", p.CorrID)
			}
			if x := r.heard.last(t); x.CorrID != got || x.TraceID != trace || x.Route != "unmatched" || x.Plane != "data" || x.Reason != "route" {
				t.Errorf("%+v", x)
			}
		})
	}
}

func TestHosts(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.AllowedHosts = []string{"Node.Internal", "other:8080"} })
	for host, ok := range map[string]bool{
		"localhost": true, "LOCALHOST:1": true, "127.0.0.1": true, "127.9.9.9:80": true, "[::1]:8080": true, "[::1]": true,
		"node.internal": true, "NODE.internal:99": true, "other": true, r.addr: true,
		"evil.example": false, "localhost.evil.example": false, "10.0.0.1": false, "0.0.0.0": false, "127.0.0.1.evil.example": false,
		"[::2]": false,
	} {
		a := r.ask("GET", "/healthz", nil, "Host", host)
		if ok != (a.status == 200) {
			t.Errorf("%s: %d", host, a.status)
		}
		if !ok && (a.status != 403 || a.problem(t).Code != "forbidden") {
			t.Errorf("%s: %d %s", host, a.status, a.body)
		}
		if a := r.order("GET", "/healthz", nil, "Host", host); a.status != 200 {
			t.Errorf("%s on the socket: %d", host, a.status)
		}
	}
}

func TestCrossOrigin(t *testing.T) {
	r := start(t)
	for _, tt := range []struct {
		method  string
		headers []string
		status  int
	}{
		{"PUT", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"PUT", []string{"Origin", "https://evil.example"}, 403},
		{"PUT", []string{"Sec-Fetch-Site", "same-origin"}, 201},
		{"PUT", []string{"Origin", "http://" + r.addr}, 200},
		{"PUT", nil, 200},
		{"GET", []string{"Sec-Fetch-Site", "cross-site"}, 200},
	} {
		target := "/put"
		if tt.method == "GET" {
			target = "/healthz"
		}
		if a := r.ask(tt.method, target, strings.NewReader("x"), tt.headers...); a.status != tt.status {
			t.Errorf("%s %v: %d", tt.method, tt.headers, a.status)
		}
	}
}

func TestPanic(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.Ports.Objects = panicking{} })
	for _, a := range []answer{r.ask("GET", "/o/"+helloText, nil), r.ask("PUT", "/put", strings.NewReader("x"))} {
		if p := a.problem(t); a.status != 500 || p.Code != "internal" || strings.Contains(a.body, "bug") {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if len(r.heard.panics) != 2 || r.heard.panics[0] != "bug" || len(r.heard.rejections()) != 0 {
		t.Errorf("%v %v", r.heard.panics, r.heard.rejections())
	}
	if n := r.door.Inflight(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

// A panic after the answer began cuts it: what was announced is not completed.
func TestPanicLate(t *testing.T) {
	r := start(t, func(o *httpapi.Options) {
		o.Ports.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x", 9000))
			panic("late")
		})
	})
	a := r.ask("GET", "/metrics", nil)
	if !errors.Is(a.err, io.ErrUnexpectedEOF) || len(r.heard.panics) != 1 {
		t.Errorf("%v after %d bytes; %v", a.err, len(a.body), r.heard.panics)
	}
	if x := r.heard.last(t); !x.Aborted || x.Route != "/metrics" {
		t.Errorf("%+v", x)
	}
}

func TestUnforeseenError(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.Ports.Objects = failing{errors.New("secret plan")} })
	if a := r.ask("GET", "/o/"+helloText, nil); a.status != 500 || strings.Contains(a.body, "secret") || len(r.heard.panics) != 1 {
		t.Errorf("%d %s, told %v", a.status, a.body, r.heard.panics)
	}
}

// The table is one to one: what a client gets back is what the server refused with.
func TestTable(t *testing.T) {
	seen := map[string]error{}
	for _, row := range httpapi.Table() {
		key := row.Code + "/" + row.Reason
		if other, twice := seen[key]; twice && key != "not_ready/deadline" {
			t.Errorf("%s stands for %v and %v", key, other, row.Err)
		} else if !twice {
			seen[key] = row.Err
			if got := httpapi.SentinelFor(row.Code, row.Reason); got != row.Err {
				t.Errorf("%s gives %v, want %v", key, got, row.Err)
			}
		}
	}
	if got := httpapi.SentinelFor("quota_exhausted", "something new"); got == nil {
		t.Error("a new reason of a known code has no sentinel")
	}
	if got := httpapi.SentinelFor("teapot", ""); got != nil {
		t.Errorf("%v for an unknown code", got)
	}
	for _, err := range []error{store.ErrNotFound, store.ErrFull, store.ErrTooLarge, store.ErrMismatch, store.ErrCorrupt, store.ErrNotReady, store.ErrReadOnly, store.ErrBadAddress} {
		found := false
		for _, got := range seen {
			found = found || errors.Is(got, err)
		}
		if !found {
			t.Errorf("%v has no row", err)
		}
	}
}

// A body where none belongs neither stops the connection nor holds it up.
func TestUnwantedBody(t *testing.T) {
	r := start(t)
	w := r.dial()
	for range 3 {
		w.say("GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\napple")
		if a := w.hear("GET"); a.status != 200 {
			t.Fatalf("%d %v", a.status, a.err)
		}
	}
	w.say("GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\napp")
	w.say("le")
	if a := w.hear("GET"); a.status != 200 || a.header.Get("Connection") == "close" {
		t.Fatalf("in pieces: %d %v", a.status, a.err)
	}
	w.say("GET /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nappleGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	for _, want := range []int{404, 200} {
		if a := w.hear("GET"); a.status != want {
			t.Fatalf("%d %v", a.status, a.err)
		}
	}
}
