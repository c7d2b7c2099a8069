package openapitest_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"micronode/http/openapitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	hello = "b3:d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24"
	gone  = `{"type":"about:blank","title":"Not Found","status":404,"detail":"no such object","code":"not_found","reason":"","retryable":false,"corr_id":"x"}`
)

// complaints is a testing.TB that keeps what it is told.
type complaints struct {
	testing.TB
	mu   sync.Mutex
	said []string
}

func (c *complaints) Errorf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said = append(c.said, fmt.Sprintf(format, args...))
}

type reply struct {
	status int
	header map[string]string
	body   string
}

func with(status int, body, contentType string, more ...string) reply {
	h := map[string]string{"X-Corr-ID": "x", "Content-Type": contentType}
	for i := 0; i+1 < len(more); i += 2 {
		h[more[i]] = more[i+1]
	}
	return reply{status, h, body}
}

func TestExchanges(t *testing.T) {
	const js, pj, nd, oct = "application/json", "application/problem+json", "application/x-ndjson", "application/octet-stream"
	event := `{"seq":1,"ts":"2026-11-23T21:40:00Z","topic":"micronode.crash","kind":"ServiceCrashed","service":"storage","data":{"reason":"killed"}}` + "\n"
	stored := `{"address":"` + hello + `","size":11}`
	tests := []struct {
		name, method, target, body, sends string
		answer                            reply
		fault                             string // "" = in order, else part of the complaint
	}{
		{"healthz", "GET", "/healthz", "", "", with(200, `{"ok":true}`, js), ""},
		{"put", "POST", "/put", "hello world", oct, with(201, stored, js, "ETag", `"`+hello+`"`, "Location", "/o/"+hello), ""},
		{"put by PUT", "PUT", "/put", "hello world", "", with(200, stored, js, "ETag", `"`+hello+`"`, "Location", "/o/"+hello), ""},
		{"get", "GET", "/o/" + hello, "", "", with(200, "hello world", oct, "ETag", `"`+hello+`"`, "Accept-Ranges", "bytes"), ""},
		{"head", "HEAD", "/o/" + hello, "", "", with(200, "", oct, "ETag", `"`+hello+`"`), ""},
		{"head of what only has GET", "HEAD", "/o", "", "", with(200, "", js), ""},
		{"delete of the listing", "DELETE", "/o", "", "", with(405, strings.Replace(strings.Replace(gone, "404", "405", 1), `"not_found"`, `"method_not_allowed"`, 1), pj), ""},
		{"not found", "GET", "/o/" + hello, "", "", with(404, gone, pj), ""},
		{"bad on purpose", "GET", "/o/nonsense", "", "", with(400, strings.Replace(strings.Replace(gone, "404", "400", 1), `"not_found"`, `"bad_request"`, 1), pj), ""},
		{"delete", "DELETE", "/o/" + hello, "", "", reply{204, map[string]string{"X-Corr-ID": "x"}, ""}, ""},
		{"tail", "GET", "/api/v1/bus/tail?since=10m", "", "", with(200, event+"\n"+event, nd), ""},
		{"order", "POST", "/api/v1/restart", `{"service":"storage"}`, js, with(200, `{"ok":true,"service":"storage","restarts":1}`, js), ""},
		{"unknown path", "GET", "/nowhere", "", "", with(404, gone, pj), ""},
		{"ready with a flag", "GET", "/readyz?verbose", "", "", with(200, `{"ready":true,"degraded":false,"missing":[]}`, js), ""},
		{"not ready", "GET", "/readyz?scope=write", "", "", with(503, `{"ready":false,"degraded":true,"missing":["storage"],"planes":{"objects":"read_only"},"retry_after":1}`, js, "Retry-After", "1"), ""},
		{"headers too large", "GET", "/healthz", "", "", reply{431, map[string]string{"Content-Type": "text/plain; charset=utf-8"}, "431"}, ""},

		{"delete of the listing carried out", "DELETE", "/o", "", "", with(200, `{}`, js), "route is not described"},
		{"unknown status", "GET", "/healthz", "", "", with(418, `{"ok":true}`, js), "status is not described"},
		{"unknown header", "GET", "/healthz", "", "", with(200, `{"ok":true}`, js, "X-Surprise", "1"), `header "X-Surprise" is not described`},
		{"missing header", "GET", "/healthz", "", "", reply{200, map[string]string{"Content-Type": js}, `{"ok":true}`}, `header "X-Corr-ID" missing`},
		{"missing header on HEAD", "HEAD", "/o/" + hello, "", "", with(200, "", oct), `header "ETag" missing`},
		{"missing header on 304", "GET", "/o/" + hello, "", "", reply{304, map[string]string{"ETag": `"` + hello + `"`}, ""}, `header "X-Corr-ID" missing`},
		{"unknown type", "GET", "/healthz", "", "", with(200, `ok`, "text/html"), `content type "text/html" is not described`},
		{"unknown member", "GET", "/healthz", "", "", with(200, `{"ok":true,"really":1}`, js), "schema"},
		{"not JSON", "GET", "/healthz", "", "", with(200, `{"ok"`, js), "decode response body"},
		{"body on 204", "DELETE", "/o/" + hello, "", "", with(200, `{}`, js), "status is not described"},
		{"bad line", "GET", "/api/v1/bus/tail", "", "", with(200, event+`{"seq":"one"}`+"\n", nd), "NDJSON line"},
		{"accepted nonsense", "GET", "/o?limit=5000", "", "", with(200, `{"objects":[]}`, js), "accepted request"},
		{"accepted stray query", "GET", "/o?limt=5", "", "", with(200, `{"objects":[]}`, js), `query parameter "limt"`},
		{"accepted stray member", "POST", "/api/v1/restart", `{"svc":"storage"}`, js, with(200, `{"ok":true}`, js), "accepted request"},
		{"unknown path answered", "GET", "/nowhere", "", "", with(200, `{}`, js), "route is not described"},
		{"unknown path, plain 404", "GET", "/nowhere", "", "", with(404, `gone`, "text/plain"), "is refused with"},
		{"unknown path, poor problem", "GET", "/nowhere", "", "", with(404, `{"title":"no"}`, pj), "Problem"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for k, v := range tt.answer.header {
					w.Header().Set(k, v)
				}
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(tt.answer.status)
				_, _ = io.WriteString(w, tt.answer.body)
			}))
			defer srv.Close()
			heard := &complaints{TB: t}
			client := &http.Client{Transport: openapitest.Transport(heard, srv.Client().Transport)}
			req, err := http.NewRequestWithContext(t.Context(), tt.method, srv.URL+tt.target, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if tt.sends != "" {
				req.Header.Set("Content-Type", tt.sends)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || tt.method != "HEAD" && string(got) != tt.answer.body {
				t.Errorf("the test reads %q, %v; the node sent %q", got, err, tt.answer.body)
			}
			said := strings.Join(heard.said, "\n")
			switch {
			case tt.fault == "" && said != "":
				t.Errorf("complaint about an exchange in order:\n%s", said)
			case tt.fault != "" && !strings.Contains(said, tt.fault):
				t.Errorf("complaint %q, want one with %q", said, tt.fault)
			}
		})
	}
}

// A body larger than the transport may hold passes through a unix socket.
func TestLargeBodyOverSocket(t *testing.T) {
	const size = 8 << 20
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Corr-ID", "x")
		w.Header().Set("ETag", `"`+hello+`"`)
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = io.CopyN(w, zeros{}, size)
	}))
	srv.Listener = l
	srv.Start()
	defer srv.Close()
	base := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	client := &http.Client{Transport: openapitest.Transport(t, base)}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://localhost/o/" + hello)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
