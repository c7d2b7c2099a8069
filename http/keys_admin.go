package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"micronode/http/caps"
	"micronode/http/policy"
	"micronode/store"
)

// MintOrder asks for a capability (POST /api/v1/caps/mint). Empty members set no bound.
type MintOrder struct {
	Ops       []string   `json:"ops"`           // put, get, … or all
	TTL       string     `json:"ttl,omitempty"` // a duration, 15m when empty, at most 60m
	NotBefore *time.Time `json:"not_before,omitempty"`
	Paths     []string   `json:"paths,omitempty"`
	Topics    []string   `json:"topics,omitempty"`
	MaxBytes  int64      `json:"max_bytes,omitempty"`
	RPS       int        `json:"rps,omitempty"`
	Weight    int        `json:"weight,omitempty"`
	CIDRs     []string   `json:"cidrs,omitempty"`
	Tenant    string     `json:"tenant,omitempty"`
	Inline    bool       `json:"inline,omitempty"`
	Reason    string     `json:"reason,omitempty"` // of the audit
}

// FlagSet is what [MintFlags] needs of a set of flags.
type FlagSet interface {
	StringVar(p *string, name, value, usage string)
	StringSliceVar(p *[]string, name string, value []string, usage string)
	Int64Var(p *int64, name string, value int64, usage string)
	IntVar(p *int, name string, value int, usage string)
	BoolVar(p *bool, name string, value bool, usage string)
}

// MintFlags adds the flags of a capability to be minted: those of ronctl and of
// micronode are the same.
func MintFlags(f FlagSet, o *MintOrder) {
	f.StringSliceVar(&o.Ops, "op", nil, "operations: put get list delete send recv ack nack peek reprocess purge admin metrics, or all")
	f.StringVar(&o.TTL, "ttl", "15m", "how long it lives, at most 60m")
	f.StringSliceVar(&o.Paths, "path", nil, "prefix of paths, like /o/")
	f.StringSliceVar(&o.Topics, "topic", nil, "topics of the mailbox")
	f.Int64Var(&o.MaxBytes, "max-bytes", 0, "longest body")
	f.IntVar(&o.RPS, "rps", 0, "requests a second, of it and all that are made from it")
	f.IntVar(&o.Weight, "weight", 0, "share when the node is short, 1 to 1000")
	f.StringSliceVar(&o.CIDRs, "cidr", nil, "networks that it may be used from")
	f.StringVar(&o.Tenant, "tenant", "", "tenant, for the policy")
	f.BoolVar(&o.Inline, "inline", false, "objects may be shown by a browser")
}

// Spec is what the order asks for. Errors: caps.ErrSpec, caps.ErrCaveat.
func (o MintOrder) Spec() (caps.Spec, error) {
	s := caps.Spec{
		Paths: o.Paths, Topics: o.Topics, MaxBytes: o.MaxBytes, RPS: o.RPS, Weight: o.Weight, CIDRs: o.CIDRs, Tenant: o.Tenant, Inline: o.Inline,
	}
	if o.NotBefore != nil {
		s.NotBefore = *o.NotBefore
	}
	var err error
	switch list := strings.Join(o.Ops, ","); list {
	case "":
	case "all":
		s.Ops = caps.AllOps
	default:
		if s.Ops, err = caps.ParseOps(list); err != nil {
			return s, err
		}
	}
	if o.TTL != "" {
		if s.TTL, err = time.ParseDuration(o.TTL); err != nil || s.TTL <= 0 {
			return s, refuse(ErrBadRequest, "ttl is no duration. Write it like 90s or 15m.")
		}
	}
	return s, nil
}

// RevokeOrder names what is refused from now on: one of both.
type RevokeOrder struct {
	CapID  string `json:"cap_id,omitempty"`
	KID    string `json:"kid,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// KeyList answers GET /api/v1/keys.
type KeyList struct {
	Keys    []caps.KeyInfo `json:"keys"`    // the active one first
	Revoked int            `json:"revoked"` // cap ids that are refused
	Locked  bool           `json:"locked"`  // the keys' memory cannot be swapped out
}

// PolicyState answers GET /api/v1/policy.
type PolicyState struct {
	Vouched bool     `json:"vouched"` // false: an outage, everything is denied
	Source  string   `json:"source"`  // the file, or "built in"
	IDs     []string `json:"ids"`
	Text    string   `json:"text"`
	Mapping string   `json:"mapping"` // how requests are put to the policy
}

// ExplainOrder is a request as the policy would see it.
type ExplainOrder struct {
	Principal string `json:"principal"` // Capability | Certificate | Operator | Anonymous
	ID        string `json:"id,omitempty"`
	KID       string `json:"kid,omitempty"`
	Tenant    string `json:"tenant,omitempty"`
	Action    string `json:"action"`
	Resource  string `json:"resource"` // Object | Topic | Route | Metrics
	Name      string `json:"name,omitempty"`
	Door      string `json:"door,omitempty"`
	Client    string `json:"client,omitempty"` // IP address
	Loopback  bool   `json:"loopback,omitempty"`
	TLS       bool   `json:"tls,omitempty"`
	Dev       bool   `json:"dev,omitempty"`
}

// authRoutes are keys, capabilities and policy. Only the operator socket makes or
// revokes: a capability that could mint would be worth more than its caveats.
func (s *server) authRoutes() []*route {
	var all []*route
	post := func(pattern, action string, do auditedOrder) {
		all = append(all, s.audited(pattern, action, timed, do))
	}
	if ring := s.auth.Ring; ring != nil {
		all = append(all, &route{pattern: "/api/v1/keys", verbs: []verb{{method: http.MethodGet, class: classAdmin, timed: true, do: func(_ context.Context, w *reply, _ *http.Request) error {
			return w.writeJSON(http.StatusOK, KeyList{Keys: ring.Keys(), Revoked: ring.Revoked(), Locked: ring.Locked()})
		}}}})
		post("/api/v1/keys/rotate", "keys_rotate", s.rotateKeys)
		post("/api/v1/caps/mint", "cap_mint", s.mintCap)
		post("/api/v1/caps/revoke", "cap_revoke", s.revokeCap)
	}
	if s.ports.Policy != nil {
		all = append(all, &route{pattern: "/api/v1/policy", verbs: []verb{{method: http.MethodGet, class: classAdmin, timed: true, do: func(_ context.Context, w *reply, _ *http.Request) error {
			return w.writeJSON(http.StatusOK, s.ports.Policy())
		}}}}, &route{pattern: "/api/v1/policy/explain", verbs: []verb{{method: http.MethodPost, class: classKeys, timed: true, do: s.explainPolicy}}})
	}
	return all
}

// auditedOrder carries out an order and returns its answer; it fills in what the audit is to say of it.
type auditedOrder func(ctx context.Context, w *reply, r *http.Request, a *AuditRecord) (any, error)

// audited is a route for an order on the operator socket, which is told whatever becomes of it.
func (s *server) audited(pattern, action string, timed bool, do auditedOrder) *route {
	return &route{pattern: pattern, verbs: []verb{{method: http.MethodPost, class: classKeys, timed: timed, do: func(ctx context.Context, w *reply, r *http.Request) error {
		a := AuditRecord{Action: action, UID: w.uid, CorrID: w.corrID, Outcome: "ok"}
		answer, err := do(ctx, w, r, &a)
		if err != nil {
			a.Outcome = kindOf(err).code
		}
		s.told(w, a)
		if err != nil {
			return err
		}
		return w.writeJSON(http.StatusOK, answer)
	}}}}
}

// readBody reads a small JSON body strictly.
func readBody[T any](s *server, w *reply, r *http.Request, example string) (o T, err error) {
	if err := checkJSONType(r.Header); err != nil {
		return o, err
	}
	body := newSlicedBody(w, r, s.limits().RequestTimeout)
	raw, err := io.ReadAll(io.LimitReader(body, maxOrderBytes+1))
	w.unread = !body.whole
	switch {
	case err != nil:
		return o, err
	case len(raw) > maxOrderBytes:
		return o, store.ErrTooLarge
	case len(strings.TrimSpace(string(raw))) == 0:
		raw = []byte("{}")
	}
	if err := decodeStrict(raw, &o); err != nil {
		return o, refuse(ErrBadRequest, strings.Replace(err.Error(), `{"service":"storage","reason":"drill"}`, example, 1))
	}
	return o, nil
}

func (s *server) rotateKeys(_ context.Context, w *reply, r *http.Request, a *AuditRecord) (any, error) {
	o, err := readBody[Order](s, w, r, `{"reason":"quarterly"}`)
	if err == nil {
		err = o.check(false)
	}
	if err != nil {
		return nil, err
	}
	a.Reason = o.Reason
	key, err := s.auth.Ring.Rotate()
	a.Target = key.KID
	return key, ringError(err)
}

func (s *server) mintCap(_ context.Context, w *reply, r *http.Request, a *AuditRecord) (any, error) {
	o, err := readBody[MintOrder](s, w, r, `{"ops":["get"],"ttl":"15m"}`)
	if err != nil {
		return nil, err
	}
	if len(o.Reason) > maxReason {
		return nil, refuse(ErrBadRequest, "reason is too long. Shorten it.")
	}
	spec, err := o.Spec()
	if err != nil {
		return nil, ringError(err)
	}
	a.Reason = o.Reason
	m, err := s.auth.Ring.Mint(spec)
	a.Target = m.CapID
	return m, ringError(err)
}

func (s *server) revokeCap(_ context.Context, w *reply, r *http.Request, a *AuditRecord) (any, error) {
	o, err := readBody[RevokeOrder](s, w, r, `{"cap_id":"01J…","reason":"leaked"}`)
	if err != nil {
		return nil, err
	}
	if (o.CapID == "") == (o.KID == "") || len(o.Reason) > maxReason {
		return nil, refuse(ErrBadRequest, "Name cap_id or kid, one of both. ronctl cap inspect shows them.")
	}
	a.Reason, a.Target = o.Reason, o.CapID+o.KID
	if o.CapID != "" {
		return Done{OK: true, Detail: o.CapID + " and all that were made from it are refused"}, ringError(s.auth.Ring.RevokeCap(o.CapID))
	}
	active, err := s.auth.Ring.RevokeKey(o.KID)
	return Done{OK: true, Detail: "every capability of key " + o.KID + " is refused; " + active.KID + " is active"}, ringError(err)
}

// ringError puts the ring's errors into the door's words.
func ringError(err error) error {
	switch {
	case errors.Is(err, caps.ErrSpec), errors.Is(err, caps.ErrCaveat), errors.Is(err, caps.ErrLastRefused):
		return refuse(ErrBadRequest, strings.TrimPrefix(err.Error(), "caps: ")+". GET /openapi.yaml shows what there is.")
	case errors.Is(err, caps.ErrUnknownKey):
		return refuse(ErrUnknownService, "No key has this kid. GET /api/v1/keys lists them.")
	case errors.Is(err, caps.ErrFullRing):
		return refuse(ErrConflict, "As many capabilities are revoked as the node remembers. Rotate the keys, then revoke the old kid.")
	case errors.Is(err, caps.ErrNotKept):
		return refuse(store.ErrNotReady, "The order is in force, but could not be written to the disk: a restart would forget it. GET /readyz?verbose says what is wrong with the disk; order again when it is well.")
	case errors.Is(err, caps.ErrClosed):
		return store.ErrNotReady
	}
	return err
}

func (s *server) explainPolicy(_ context.Context, w *reply, r *http.Request) error {
	o, err := readBody[ExplainOrder](s, w, r, `{"principal":"Capability","action":"get","resource":"Object","name":"*"}`)
	if err != nil {
		return err
	}
	from := policy.Origin{Door: o.Door, Loopback: o.Loopback, TLS: o.TLS, Dev: o.Dev}
	if o.Client != "" {
		p, err := ParseNetwork(o.Client)
		if err != nil || !p.IsSingleIP() {
			return refuse(ErrBadRequest, "client is no IP address.")
		}
		from.Client = p.Addr()
	}
	d, err := s.auth.Policy.Decide(&policy.Request{
		Kind: o.Principal, ID: o.ID, KID: o.KID, Tenant: o.Tenant, Action: o.Action, Resource: o.Resource, Name: o.Name, Context: from.Context(),
	})
	if err != nil {
		return err
	}
	return w.writeJSON(http.StatusOK, d)
}
