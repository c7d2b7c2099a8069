package httpapi_test

import (
	"strings"
	"testing"

	httpapi "micronode/http"
)

func TestReadyz(t *testing.T) {
	var now httpapi.Readiness
	r := start(t, func(o *httpapi.Options) { o.Ports.Ready = func() httpapi.Readiness { return now } })
	services := []httpapi.ServiceState{{Name: "storage", State: "backoff"}}
	planes := func(s string) map[string]string { return map[string]string{"objects": s} }
	for _, tt := range []struct {
		name, query string
		state       httpapi.Readiness
		status      int
		degraded    string
		after, body string
	}{
		{"ready", "", httpapi.Readiness{Ready: true, Services: services}, 200, "", "", `{"ready":true,"degraded":false,"missing":[]}`},
		{"ready for writes", "?scope=write", httpapi.Readiness{Ready: true, Planes: planes("open")}, 200, "", "", `{"ready":true,"degraded":false,"missing":[],"planes":{"objects":"open"}}`},
		{"degraded", "", httpapi.Readiness{Ready: true, Degraded: true, Missing: []string{"storage"}, Planes: planes("read_only"), RetryAfter: 2}, 200, "degraded", "",
			`{"ready":true,"degraded":true,"missing":["storage"],"planes":{"objects":"read_only"},"retry_after":2}`},
		{"degraded for writes", "?scope=write", httpapi.Readiness{Ready: true, Degraded: true, Missing: []string{"storage"}, Planes: planes("read_only"), RetryAfter: 2}, 503, "degraded", "2",
			`{"ready":true,"degraded":true,"missing":["storage"],"planes":{"objects":"read_only"},"retry_after":2}`},
		{"not ready", "", httpapi.Readiness{Degraded: true, Missing: []string{"storage"}, Planes: planes("closed"), RetryAfter: 7}, 503, "", "7",
			`{"ready":false,"degraded":true,"missing":["storage"],"planes":{"objects":"closed"},"retry_after":7}`},
		{"not ready, unknown wait", "", httpapi.Readiness{Degraded: true}, 503, "", "1", `{"ready":false,"degraded":true,"missing":[]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now = tt.state
			a := r.ask("GET", "/readyz"+tt.query, nil)
			if a.status != tt.status || strings.TrimSpace(a.body) != tt.body || a.header.Get("Ron-Ready") != tt.degraded || a.header.Get("Retry-After") != tt.after {
				t.Errorf("%d %s %v", a.status, a.body, a.header)
			}
			if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" {
				t.Errorf("%v", a.header)
			}
		})
	}
	now = httpapi.Readiness{Ready: true, Services: services, Causes: []httpapi.Cause{{Name: "x", Effect: "warn"}}}
	for _, q := range []string{"?verbose", "?verbose=1", "?verbose=true&scope=write"} {
		if got := decode[httpapi.Readiness](t, r.ask("GET", "/readyz"+q, nil)); len(got.Services) != 1 || len(got.Causes) != 1 {
			t.Errorf("%s: %+v", q, got)
		}
	}
	for _, q := range []string{"?scope=read", "?scope=", "?scope=write&scope=write", "?verbose=2", "?verbos", "?%zz"} {
		if a := r.ask("GET", "/readyz"+q, nil); a.status != 400 {
			t.Errorf("%s: %d", q, a.status)
		}
	}
}

// The gate: writes need an open plane and are refused before their body is
// read; reads go on until the plane is closed; health always answers.
func TestGate(t *testing.T) {
	var now httpapi.Readiness
	r := start(t, func(o *httpapi.Options) { o.Ports.Ready = func() httpapi.Readiness { return now } })
	path := "/o/" + r.keep("kept").String()
	for _, tt := range []struct {
		name        string
		ready       bool
		plane       string
		read, write int
		reason      string
	}{
		{"open", true, "open", 200, 201, ""},
		{"open though not ready", false, "open", 200, 200, ""},
		{"read-only", true, "read_only", 200, 503, "read_only"},
		{"closed", false, "closed", 503, 503, "not_ready"},
		{"unheard of", true, "ajar", 503, 503, "not_ready"},
		{"unknown, ready", true, "", 200, 200, ""},
		{"unknown, not ready", false, "", 503, 503, "not_ready"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now = httpapi.Readiness{Ready: tt.ready, RetryAfter: 3}
			if tt.plane != "" {
				now.Planes = map[string]string{"objects": tt.plane}
			}
			for _, target := range []string{path, "/o"} {
				if a := r.ask("GET", target, nil); a.status != tt.read {
					t.Errorf("GET %s: %d", target, a.status)
				}
			}
			if a := r.ask("GET", "/healthz", nil); a.status != 200 {
				t.Errorf("healthz: %d", a.status)
			}
			a := r.ask("PUT", "/put", strings.NewReader("new"))
			if a.status != tt.write {
				t.Fatalf("PUT: %d", a.status)
			}
			if tt.write != 503 {
				return
			}
			if p := a.problem(t); p.Code != "not_ready" || p.Reason != tt.reason || !p.Retryable || p.RetryAfterMS != 3000 || a.header.Get("Retry-After") != "3" {
				t.Errorf("%+v %v", p, a.header)
			}
			w := r.dial()
			w.say("PUT /put HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
			if a := w.hear("PUT"); a.status != 503 {
				t.Errorf("unread PUT: %d", a.status)
			}
			if a := r.ask("DELETE", "/o/"+helloText, nil); a.status != 503 {
				t.Errorf("DELETE: %d", a.status)
			}
		})
	}
}

func TestAboutTheNode(t *testing.T) {
	r := start(t)
	for path, want := range map[string]string{
		"/healthz": `{"ok":true}`, "/version": `"service":"micronode"`, "/metrics": "up 1", "/openapi.yaml": "openapi: 3.1",
		"/api/v1/status": `"service":"micronode"`, "/api/v1/config": `{"limits":1}`,
	} {
		for _, a := range []answer{r.ask("GET", path, nil), r.order("GET", path, nil)} {
			if a.status != 200 || !strings.Contains(a.body, want) || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d %.80s %v", path, a.status, a.body, a.header)
			}
		}
	}
}

func TestMetricsPlane(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.MetricsAddr = "127.0.0.1:0" })
	var addr string
	for _, l := range r.door.Listeners() {
		if l.Plane == "metrics" {
			addr = l.Address
		}
	}
	c := unchecked("tcp", addr)
	defer c.CloseIdleConnections()
	for path, want := range map[string]int{"/metrics": 200, "/healthz": 200, "/readyz": 200, "/version": 200, "/o": 404, "/api/v1/status": 404} {
		if a := send(t, c, "GET", "http://"+addr+path, nil); a.status != want {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := r.ask("GET", "/metrics", nil); a.status != 404 {
		t.Errorf("metrics on the data plane: %d", a.status)
	}
	if a := r.order("GET", "/metrics", nil); a.status != 200 {
		t.Errorf("metrics on the socket: %d", a.status)
	}
}

// Whoever asks from elsewhere sees objects, and nothing of the node's inside.
func TestBeyondLoopback(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.HTTPAddr, o.Auth = "0.0.0.0:0", httpapi.Auth{} })
	_, port, _ := strings.Cut(strings.TrimPrefix(r.addr, "[::]"), ":")
	for path, want := range map[string]int{"/healthz": 200, "/o": 401, "/metrics": 401, "/api/v1/status": 401, "/api/v1/config": 401} {
		if a := send(t, r.client, "GET", "http://127.0.0.1:"+port+path, nil, "Host", "any.example"); a.status != want {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}
