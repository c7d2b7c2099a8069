package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"micronode/http/admit"
	"micronode/http/caps"
	"micronode/http/policy"
	"micronode/store"
)

// Auth is who may do what (contract §8). The zero value admits nobody but the
// operator socket.
type Auth struct {
	Ring   *caps.Ring   // nil: no capability is good
	Policy *policy.Gate // nil: in dev mode nobody else is asked, without it nothing is admitted
	Dev    bool         // requests without a capability may do everything
}

// authScheme is what a 401 asks for.
const authScheme = `Macro realm="micronode"`

// authority is on whose behalf a request is answered. It belongs to one request.
type authority struct {
	s      *server
	grant  *caps.Grant // nil: no capability came
	token  string      // of the grant, to be checked again by what lasts
	kind   string      // of the principal
	id     string
	op     caps.Op
	origin policy.Context
	policy string // ids of those that permitted it
}

// originOf is where a connection's requests come from, in the policy's words.
func (f *face) originOf(c *conn, client netip.Addr, direct bool) policy.Context {
	door := "http"
	switch f.plane {
	case planeOAP:
		door = "oap"
	case planeOperator:
		door = "operator"
	}
	if known := c.origin.Load(); direct && known != nil {
		return *known
	}
	o := policy.Origin{Door: door, Client: client, Loopback: f.loopback.Load() || f.plane == planeOperator, TLS: c.secure(), Dev: f.auth.Dev}
	made := o.Context()
	if direct {
		c.origin.Store(&made)
	}
	return made
}

// authorize asks for the capability and then the policy (contract §6). What is
// known only from the body, a topic, is asked for by the handler.
func (f *face) authorize(c *call, conn *conn, token string, present bool, ask *caps.Ask, cl class, plain string, direct bool) error {
	a := &authority{s: f.server, op: ask.Op, kind: policy.Anonymous, id: "anonymous"}
	switch {
	case f.plane == planeOperator:
		a.kind, a.id = policy.Operator, strconv.Itoa(c.uid)
		if cl != classRead && cl != classWrite && cl != classConsume {
			return nil // the kernel has said who this is, and in an outage of the policy this is who mends it
		}
	case present && !f.auth.Dev: // in dev mode everybody may do everything, whatever they bring
		g, err := f.checkToken(token)
		if err != nil {
			return err
		}
		if err := g.Permits(ask); err != nil {
			return outOfScope(err)
		}
		a.grant, a.token, a.kind, a.id = g, token, policy.Capability, g.CapID
	case conn.subject() != "":
		a.kind, a.id = policy.Certificate, conn.subject()
	case cl == classOrder:
		if f.auth.Dev {
			return refuse(ErrForbidden, "Orders are taken on the operator socket, and elsewhere with a capability for admin. Use ronctl --socket PATH.")
		}
		return ErrUnauthenticated
	case cl == classAdmin || cl == classTail || cl == classMetrics:
		if !f.loopback.Load() {
			return ErrUnauthenticated
		}
		if cl == classMetrics {
			return nil // as /healthz: an alert must fire while nobody decides
		}
	case f.auth.Dev:
	default:
		return ErrUnauthenticated
	}
	c.auth = a
	a.origin = f.originOf(conn, ask.Client, direct)
	if ask.Op&topicOps != 0 {
		return a.alive() // the topic is in the body
	}
	kind, name := policy.Object, plain
	switch ask.Op {
	case caps.Admin:
		kind = policy.Route
	case caps.Metric:
		kind, name = policy.Metrics, "*"
	}
	return a.decide(kind, name)
}

const topicOps = caps.Send | caps.Recv | caps.Ack | caps.Nack | caps.Peek | caps.Redo | caps.Purge

// checkToken puts the verdict about a token into the door's words, which tell
// nothing of it.
func (s *server) checkToken(token string) (*caps.Grant, error) {
	if s.auth.Ring == nil {
		return nil, refuse(caps.ErrForged, "This node has no keys that a capability could be signed by.")
	}
	g, err := s.auth.Ring.Check(token)
	if err != nil && kindOf(err).err == ErrInternal {
		err = store.ErrNotReady
	}
	return g, err
}

func outOfScope(err error) error {
	return refuse(caps.ErrScope, "The capability is good, and not for this: "+strings.TrimPrefix(err.Error(), caps.ErrScope.Error()+": ")+". Ask for one that is, or leave this out.")
}

// decide asks the policy in force.
func (a *authority) decide(kind, name string) error {
	gate := a.s.auth.Policy
	if gate == nil {
		if a.s.auth.Dev || a.kind == policy.Operator {
			return nil
		}
		return policy.ErrOutage
	}
	r := policy.Request{Kind: a.kind, ID: a.id, Action: opName(a.op), Resource: kind, Name: name, Context: a.origin}
	if a.grant != nil {
		r.KID, r.Tenant = a.grant.KID, a.grant.Scope.Tenant
	}
	d, err := gate.Decide(&r)
	switch {
	case err != nil:
		return err
	case d.Allow:
		a.policy = d.Policy
		return nil
	}
	if a.s.ports.Observe.Denied != nil {
		a.s.ports.Observe.Denied(Denial{Principal: a.kind, ID: a.id, Action: r.Action, Resource: kind, Policy: d.Policy})
	}
	if d.Policy == "" {
		return refuse(ErrPolicyDenied, "No policy of this node permits this. ronctl policy explain says which are asked.")
	}
	return refuse(ErrPolicyDenied, "The policy "+strconv.Quote(d.Policy)+" of this node forbids this. ronctl policy explain says more.")
}

// opName spares building the name of a single operation.
func opName(op caps.Op) string {
	switch op {
	case caps.Get:
		return "get"
	case caps.Put:
		return "put"
	case caps.Send:
		return "send"
	case caps.Recv:
		return "recv"
	case caps.Ack:
		return "ack"
	}
	return op.String()
}

// alive says whether anything is decided at all now.
func (a *authority) alive() error {
	if gate := a.s.auth.Policy; gate != nil && gate.Engine() == nil {
		return policy.ErrOutage
	}
	return nil
}

// still says whether what lasts may go on: a capability ends, or is revoked.
func (a *authority) still() error {
	if a == nil {
		return nil
	}
	if a.grant != nil {
		if _, err := a.s.checkToken(a.token); err != nil {
			return err
		}
	}
	return a.alive()
}

func authorityOf(ctx context.Context) *authority {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c.auth
	}
	return nil
}

// mayTopic asks about a topic that the body named; "" stands for all of them.
func mayTopic(ctx context.Context, topic string) error {
	a := authorityOf(ctx)
	if a == nil {
		return nil
	}
	if a.grant != nil {
		if err := a.grant.Topic(topic); err != nil {
			return outOfScope(err)
		}
	}
	if topic == "" {
		topic = "*"
	}
	return a.decide(policy.Topic, topic)
}

// mayAck is the same for the topic of a receipt, which the queue knows: nil where
// every topic will do.
func mayAck(ctx context.Context) func(topic string) bool {
	a := authorityOf(ctx)
	if a == nil || a.grant == nil || a.grant.Scope.Topics == nil {
		return nil
	}
	return func(topic string) bool { return a.grant.Topic(topic) == nil }
}

// mayBody is how many bytes a body may have by the capability; -1: any.
func (c *call) mayBody() int64 {
	if c.auth == nil || c.auth.grant == nil {
		return -1
	}
	return c.auth.grant.Scope.MaxBytes
}

// errBodyScope refuses a body that is longer than its capability allows.
func errBodyScope(most int64) error {
	return refuse(caps.ErrScope, "The capability is for bodies of at most "+strconv.FormatInt(most, 10)+" bytes, and this one is longer; nothing was stored.")
}

// tooLong refuses what has come of a body when it is more than the capability allows.
func (c *call) tooLong(n int64) error {
	if most := c.mayBody(); most >= 0 && n > most {
		return errBodyScope(most)
	}
	return nil
}

// flow is whom a request is charged to: the capability and all that were made
// from it, else the client.
func (c *call) flow(peer admit.Flow, quota int) admit.Flow {
	if c.auth == nil || c.auth.grant == nil {
		return peer
	}
	g := c.auth.grant
	f := admit.Flow{Key: g.Flow(), Weight: max(g.Scope.Weight, 1), RPS: g.Scope.RPS}
	if quota > 0 && (f.RPS == 0 || quota < f.RPS) {
		f.RPS = quota
	}
	return f
}

// bearer takes the token out of Authorization (RFC 9110 §11.6.2); the scheme is
// Macro, Macaroon or Bearer, in any case.
func bearer(h http.Header) (token string, present bool, err error) {
	v := h["Authorization"]
	switch {
	case len(v) == 0:
		return "", false, nil
	case len(v) > 1:
		return "", false, refuse(ErrBadRequest, "The header Authorization came more than once. Send it once.")
	}
	scheme, token, _ := strings.Cut(v[0], " ")
	for _, known := range [...]string{"Macro", "Bearer", "Macaroon"} {
		if strings.EqualFold(scheme, known) {
			return strings.Trim(token, " "), true, nil
		}
	}
	return "", false, refuse(ErrUnauthenticated, "This scheme of Authorization is not taken here. Send Authorization: Macro <capability>.")
}

// isAuth reports whether an error is about who may, for the counter of failures.
func isAuth(k *kind) bool {
	return k.status == http.StatusUnauthorized || k.err == policy.ErrOutage || k.code == codeForbidden && !errors.Is(k.err, ErrForbidden)
}

const codeForbidden = "forbidden"
