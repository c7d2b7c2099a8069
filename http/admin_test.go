package httpapi_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	httpapi "micronode/http"
)

// commander plays the node's operator port and remembers what it was told.
type commander struct {
	told []string
	uid  int
	corr string
}

func (c *commander) hear(ctx context.Context, what string, o httpapi.Order) (httpapi.Done, error) {
	c.told = append(c.told, what+" "+o.Service)
	c.uid, c.corr = httpapi.PeerUID(ctx), httpapi.CorrID(ctx)
	switch o.Service {
	case "nobody":
		return httpapi.Done{}, httpapi.ErrUnknownService
	case "down":
		return httpapi.Done{}, fmt.Errorf("is down: %w", httpapi.ErrConflict)
	case "slow":
		<-ctx.Done()
		return httpapi.Done{}, ctx.Err()
	}
	return httpapi.Done{OK: true, Service: o.Service, Restarts: 3}, nil
}

func (c *commander) Restart(ctx context.Context, o httpapi.Order) (httpapi.Done, error) {
	return c.hear(ctx, "restart", o)
}
func (c *commander) Drain(ctx context.Context, o httpapi.Order) (httpapi.Done, error) {
	return c.hear(ctx, "drain", o)
}
func (c *commander) Shutdown(ctx context.Context, o httpapi.Order) (httpapi.Done, error) {
	return c.hear(ctx, "shutdown", o)
}
func (c *commander) Kill(ctx context.Context, o httpapi.Order) (httpapi.Done, error) {
	return c.hear(ctx, "kill", o)
}
func (c *commander) Hang(ctx context.Context, o httpapi.Order) (httpapi.Done, error) {
	return c.hear(ctx, "hang", o)
}

func TestOrders(t *testing.T) {
	c := &commander{}
	r := start(t, func(o *httpapi.Options) {
		o.Ports.Operator, o.Ports.Chaos = c, c
		o.Limits.RequestTimeout = 200e6
	})
	const storage = `{"service":"storage","reason":"drill"}`
	for _, tt := range []struct {
		name, path, body string
		headers          []string
		status           int
		code, outcome    string
		told             string
	}{
		{"restart", "restart", storage, nil, 200, "", "ok", "restart storage"},
		{"typed", "restart", storage, []string{"Content-Type", "application/json; charset=utf-8"}, 200, "", "ok", "restart storage"},
		{"drain", "drain", "", nil, 200, "", "ok", "drain "},
		{"drain, no service", "drain", `{"service":"","reason":"upgrade"}`, nil, 200, "", "ok", "drain "},
		{"shutdown", "shutdown", "{}", nil, 200, "", "ok", "shutdown "},
		{"kill", "chaos/kill", storage, nil, 200, "", "ok", "kill storage"},
		{"hang", "chaos/hang", storage, nil, 200, "", "ok", "hang storage"},
		{"unknown", "restart", `{"service":"nobody"}`, nil, 404, "not_found", "not_found", "restart nobody"},
		{"down", "chaos/kill", `{"service":"down"}`, nil, 409, "conflict", "conflict", "kill down"},
		{"slow", "restart", `{"service":"slow"}`, nil, 503, "not_ready", "not_ready", "restart slow"},
		{"nobody named", "restart", "{}", nil, 400, "bad_request", "bad_request", ""},
		{"no body", "chaos/kill", "", nil, 400, "bad_request", "bad_request", ""},
		{"somebody named", "shutdown", storage, nil, 400, "bad_request", "bad_request", ""},
		{"unknown member", "restart", `{"service":"storage","now":true}`, nil, 400, "bad_request", "bad_request", ""},
		{"twice the same member", "restart", `{"service":"x","service":"storage"}`, nil, 400, "bad_request", "bad_request", ""},
		{"a member in other letters", "restart", `{"Service":"storage"}`, nil, 400, "bad_request", "bad_request", ""},
		{"null", "shutdown", "null", nil, 400, "bad_request", "bad_request", ""},
		{"wrong type", "restart", `{"service":7}`, nil, 400, "bad_request", "bad_request", ""},
		{"array", "restart", `["storage"]`, nil, 400, "bad_request", "bad_request", ""},
		{"garbage after", "restart", storage + "x", nil, 400, "bad_request", "bad_request", ""},
		{"two objects", "restart", storage + storage, nil, 400, "bad_request", "bad_request", ""},
		{"cut", "restart", `{"service":`, nil, 400, "bad_request", "bad_request", ""},
		{"other type", "restart", storage, []string{"Content-Type", "text/plain"}, 400, "bad_request", "bad_request", ""},
		{"encoded", "restart", storage, []string{"Content-Type", "application/json", "Content-Encoding", "gzip"}, 415, "unsupported_encoding", "unsupported_encoding", ""},
		{"too large", "restart", `{"service":"` + strings.Repeat("x", 4097) + `"}`, nil, 413, "too_large", "too_large", ""},
		{"long name", "restart", `{"service":"` + strings.Repeat("x", 65) + `"}`, nil, 404, "not_found", "not_found", ""},
		{"long reason", "restart", `{"service":"storage","reason":"` + strings.Repeat("x", 257) + `"}`, nil, 400, "bad_request", "bad_request", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c.told, r.heard.audits = nil, nil
			a := r.order("POST", "/api/v1/"+tt.path, strings.NewReader(tt.body), tt.headers...)
			if a.status != tt.status {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if got := strings.Join(c.told, ";"); got != tt.told {
				t.Errorf("told %q", got)
			}
			if tt.code == "" {
				if done := decode[httpapi.Done](t, a); !done.OK || c.uid != os.Getuid() || c.corr != a.header.Get("X-Corr-ID") {
					t.Errorf("%+v by %d %s", done, c.uid, c.corr)
				}
			} else if p := a.problem(t); p.Code != tt.code {
				t.Errorf("%+v", p)
			}
			if au := r.heard.audits; len(au) != 1 || au[0].Outcome != tt.outcome || au[0].UID != os.Getuid() || au[0].CorrID != a.header.Get("X-Corr-ID") {
				t.Errorf("audit %+v", au)
			}
		})
	}
}

// On TCP orders are refused with the next step, and chaos does not exist.
func TestOrdersOnTCP(t *testing.T) {
	c := &commander{}
	r := start(t, func(o *httpapi.Options) { o.Ports.Operator, o.Ports.Chaos = c, c })
	for path, want := range map[string]int{"restart": 403, "drain": 403, "shutdown": 403, "chaos/kill": 404, "chaos/hang": 404} {
		a := r.ask("POST", "/api/v1/"+path, strings.NewReader(`{"service":"storage"}`))
		if a.status != want {
			t.Errorf("%s: %d", path, a.status)
		}
		if p := a.problem(t); want == 403 && !strings.Contains(p.Detail, "ronctl --socket") {
			t.Errorf("%+v", p)
		}
	}
	if len(c.told) != 0 {
		t.Errorf("carried out: %v", c.told)
	}
	if len(r.heard.audits) != 3 || r.heard.audits[0].UID != -1 || r.heard.audits[0].Outcome != "forbidden" {
		t.Errorf("%+v", r.heard.audits)
	}
}

func TestOrdersWithoutPort(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.Ports.Config = nil })
	for _, path := range []string{"restart", "drain", "chaos/kill", "config"} {
		if a := r.order("POST", "/api/v1/"+path, strings.NewReader("{}")); a.status != 404 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}
