package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Ready asks GET /readyz. With write it asks scope=write: is every plane open.
// Not ready is an answer and no error. It is never retried.
func (c *Client) Ready(ctx context.Context, write, verbose bool) (Readiness, error) {
	query := url.Values{}
	if write {
		query.Set("scope", "write")
	}
	if verbose {
		query.Set("verbose", "1")
	}
	var r Readiness
	err := c.ask(ctx, wireCall{
		method: http.MethodGet, path: "/readyz", query: query, once: true, accept: http.StatusServiceUnavailable,
	}, &r)
	return r, err
}

// Status asks GET /api/v1/status.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.ask(ctx, wireCall{method: http.MethodGet, path: "/api/v1/status", repeat: true}, &s)
	return s, err
}

// Version asks GET /version.
func (c *Client) Version(ctx context.Context) (Version, error) {
	var v Version
	err := c.ask(ctx, wireCall{method: http.MethodGet, path: "/version", repeat: true}, &v)
	return v, err
}

// Restart orders an actor down and up again. Orders go to the operator socket
// and are never retried: each counts.
func (c *Client) Restart(ctx context.Context, o Order) (Done, error) {
	return c.order(ctx, "/api/v1/restart", o)
}

// Kill makes an actor crash; ErrNoRoute when the node runs without chaos.
func (c *Client) Kill(ctx context.Context, o Order) (Done, error) {
	return c.order(ctx, "/api/v1/chaos/kill", o)
}

// Hang makes an actor hang until its watchdog takes it down; ErrNoRoute when
// the node runs without chaos.
func (c *Client) Hang(ctx context.Context, o Order) (Done, error) {
	return c.order(ctx, "/api/v1/chaos/hang", o)
}

// Reload makes the node read its configuration again. Errors: [ErrBadRequest] for a
// faulty one, [ErrConflict] where a key needs a restart; nothing has changed then.
func (c *Client) Reload(ctx context.Context, o Order) (Done, error) {
	return c.order(ctx, "/api/v1/reload", o)
}

// Drain makes the node stop taking traffic. It returns when the drain has begun.
func (c *Client) Drain(ctx context.Context, o Order) (Done, error) {
	return c.order(ctx, "/api/v1/drain", o)
}

// Shutdown makes the node drain and end. It returns when that has begun.
func (c *Client) Shutdown(ctx context.Context, o Order) (Done, error) {
	return c.order(ctx, "/api/v1/shutdown", o)
}

func (c *Client) order(ctx context.Context, path string, o Order) (Done, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return Done{}, err
	}
	var d Done
	err = c.ask(ctx, wireCall{
		method: http.MethodPost, path: path, once: true,
		header: http.Header{"Content-Type": {TypeJSON}},
		body: func() (io.ReadCloser, int64, error) {
			return io.NopCloser(bytes.NewReader(text)), int64(len(text)), nil
		},
	}, &d)
	return d, err
}

// ask carries a call out and decodes its JSON answer. Members that this client
// does not know are left alone: the node may be newer.
func (c *Client) ask(ctx context.Context, cl wireCall, answer any) error {
	resp, err := c.do(ctx, cl)
	if err != nil {
		return err
	}
	return readJSON(ctx, resp, answer)
}

// readJSON decodes and closes an answer.
func readJSON(ctx context.Context, resp *http.Response, answer any) error {
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return wireError(ctx, err)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		if resp.StatusCode/100 != 2 { // a refusal by someone who is not the node
			p := problemByStatus(resp.StatusCode)
			return &p
		}
		return fmt.Errorf("answer is not the JSON that was asked for (is this a micronode?): %w", err)
	}
	return nil
}
