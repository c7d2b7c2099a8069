package httpapi

import (
	"context"
	"net/http"
	"strconv"
)

type alive struct {
	OK bool `json:"ok"`
}

// healthz answers while the process lives, whatever the actors do.
func (s *server) healthz(_ context.Context, w *reply, _ *http.Request) error {
	return w.writeJSON(http.StatusOK, alive{true})
}

// readyz answers GET /readyz (contract §4).
func (s *server) readyz(_ context.Context, w *reply, r *http.Request) error {
	q, err := queryOf(r, "scope", "verbose")
	if err != nil {
		return err
	}
	if scope := q.Get("scope"); q.Has("scope") && scope != "write" {
		return refuse(ErrBadRequest, "The only scope is write: /readyz?scope=write.")
	}
	if v := q.Get("verbose"); v != "" && v != "1" && v != "true" {
		return refuse(ErrBadRequest, "verbose takes no value, or 1, or true: /readyz?verbose.")
	}
	ready := s.ports.Ready()
	if !q.Has("verbose") {
		ready.Services, ready.Causes = nil, nil
	}
	if ready.Missing == nil {
		ready.Missing = []string{}
	}
	if ready.Ready && ready.Degraded {
		w.Header()["Ron-Ready"] = headerDegraded
	}
	if ready.Ready && (!q.Has("scope") || ready.WritesOpen()) {
		return w.writeJSON(http.StatusOK, ready)
	}
	w.Header()["Retry-After"] = []string{strconv.Itoa(max(1, ready.RetryAfter))}
	return w.writeJSON(http.StatusServiceUnavailable, ready)
}

func (s *server) version(_ context.Context, w *reply, _ *http.Request) error {
	return w.writeJSON(http.StatusOK, s.ports.Version())
}

func (s *server) metrics(_ context.Context, w *reply, r *http.Request) error {
	w.Header()["Cache-Control"] = headerNoStore
	s.ports.Metrics.ServeHTTP(w, r)
	return nil
}

func (s *server) openAPI(_ context.Context, w *reply, r *http.Request) error {
	serveOpenAPI(w, r)
	return nil
}
