package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"micronode/http/caps"
	"micronode/http/policy"
)

// Mint makes a capability. Only the operator socket does that.
func (c *Client) Mint(ctx context.Context, o MintOrder) (caps.Minted, error) {
	var m caps.Minted
	return m, c.tell(ctx, "/api/v1/caps/mint", o, &m)
}

// Revoke refuses a capability, or every one of a key, from now on.
func (c *Client) Revoke(ctx context.Context, o RevokeOrder) (Done, error) {
	var d Done
	return d, c.tell(ctx, "/api/v1/caps/revoke", o, &d)
}

// RotateKeys makes another key the active one; the old one goes on verifying.
func (c *Client) RotateKeys(ctx context.Context, o Order) (caps.KeyInfo, error) {
	var k caps.KeyInfo
	return k, c.tell(ctx, "/api/v1/keys/rotate", o, &k)
}

// Keys lists the keys, the active one first.
func (c *Client) Keys(ctx context.Context) (KeyList, error) {
	var k KeyList
	return k, c.ask(ctx, wireCall{method: http.MethodGet, path: "/api/v1/keys", repeat: true}, &k)
}

// Policy asks for the policy in force.
func (c *Client) Policy(ctx context.Context) (PolicyState, error) {
	var p PolicyState
	return p, c.ask(ctx, wireCall{method: http.MethodGet, path: "/api/v1/policy", repeat: true}, &p)
}

// Explain asks what the policy in force says of a request.
func (c *Client) Explain(ctx context.Context, o ExplainOrder) (policy.Decision, error) {
	var d policy.Decision
	return d, c.tell(ctx, "/api/v1/policy/explain", o, &d)
}

// tell posts one value and is never retried.
func (c *Client) tell(ctx context.Context, path string, o, answer any) error {
	return c.tellPatiently(ctx, path, o, answer, 0)
}

// tellPatiently is tell for what takes longer.
func (c *Client) tellPatiently(ctx context.Context, path string, o, answer any, patience time.Duration) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return c.ask(ctx, wireCall{
		method: http.MethodPost, path: path, once: true, patience: patience, header: http.Header{"Content-Type": {TypeJSON}},
		body: func() (io.ReadCloser, int64, error) {
			return io.NopCloser(bytes.NewReader(text)), int64(len(text)), nil
		},
	}, answer)
}
