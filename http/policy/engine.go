package policy

import (
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// Bounds of a policy file: each decision looks at all of it.
const (
	MaxFile     = 64 << 10
	MaxPolicies = 256
	maxID       = 64
)

//go:embed default.cedar
var defaultText string

// Default is the text of the policy that holds where none is configured.
func Default() string { return defaultText }

// ErrPolicy says that a text is no policy for this node, and where.
var ErrPolicy = errors.New("policy: the text cannot be used")

// Kinds of principals.
const (
	Capability  = "Capability"  // id: the cap id
	Certificate = "Certificate" // id: the subject of the client's certificate
	Operator    = "Operator"    // id: the uid at the operator socket
	Anonymous   = "Anonymous"   // id: "anonymous"
)

// Kinds of resources.
const (
	Object  = "Object"  // id: an address, "*" for put and list
	Topic   = "Topic"   // id: a topic; "*" where a receipt, not a topic, names the message, or where all are asked for
	Route   = "Route"   // id: the pattern of the path, of admin
	Metrics = "Metrics" // id: "*"
)

const namespace = "Micronode::"

var (
	principals = []string{Capability, Certificate, Operator, Anonymous}
	resources  = []string{Object, Topic, Route, Metrics}
	actions    = []string{"put", "get", "list", "delete", "send", "recv", "ack", "nack", "peek", "reprocess", "purge", "admin", "metrics"}
)

// Mapping tells a person how a request is put to the policy.
func Mapping() string {
	return "principal  " + namespace + `Capability::"<cap_id>" {kid, tenant} | Certificate::"<subject>" | Operator::"<uid>" | Anonymous::"anonymous"
action     ` + namespace + `Action::"<op>": ` + strings.Join(actions, " ") + `
resource   ` + namespace + `Object::"b3:…" ("*": put, list) | Topic::"<topic>" ("*": ack, nack, all topics) | Route::"<pattern>" (admin) | Metrics::"*"
context    {door: "http"|"oap"|"operator", client: ip, loopback: bool, tls: bool, dev: bool}
`
}

// Request is what a decision is about.
type Request struct {
	Kind, ID    string // of the principal
	KID, Tenant string // of a capability
	Action      string
	Resource    string // kind
	Name        string // id of the resource
	Context     Context
}

// Context is where a request came from: the same for all of a connection.
type Context struct{ record types.Record }

// Origin is what a Context is made of.
type Origin struct {
	Door          string     // http | oap | operator
	Client        netip.Addr // zero: not an IP peer
	Loopback, TLS bool
	Dev           bool
}

// Context puts an origin into the policy's words.
func (o Origin) Context() Context {
	m := types.RecordMap{"door": types.String(o.Door), "loopback": types.Boolean(o.Loopback), "tls": types.Boolean(o.TLS), "dev": types.Boolean(o.Dev)}
	if o.Client.IsValid() {
		m["client"] = types.IPAddr(netip.PrefixFrom(o.Client, o.Client.BitLen()))
	}
	return Context{types.NewRecord(m)}
}

// Decision is what the policies say.
type Decision struct {
	Allow  bool     `json:"allow"`
	Policy string   `json:"policy"` // ids of those that decided, with commas; empty: none allows it
	Errors []string `json:"errors,omitempty"`
}

// Engine is a set of policies. It is immutable.
type Engine struct {
	policies cedar.PolicyMap
	text     string
}

var (
	entityRef = regexp.MustCompile(`([A-Za-z_][A-Za-z0-9_]*(?:::[A-Za-z_][A-Za-z0-9_]*)*)::"((?:[^"\\]|\\.)*)"`)
	isRef     = regexp.MustCompile(`\bis\s+([A-Za-z_][A-Za-z0-9_:]*)`)
	comment   = regexp.MustCompile(`(?m)//.*$`)
)

// Parse reads Cedar. Errors: ErrPolicy, with file, line and column.
func Parse(name string, text []byte) (*Engine, error) {
	if len(text) > MaxFile {
		return nil, fmt.Errorf("%w: %s is longer than %d bytes", ErrPolicy, name, MaxFile)
	}
	list, err := cedar.NewPolicyListFromBytes(name, text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %s", ErrPolicy, name, oneLine(err.Error()))
	}
	if len(list) == 0 || len(list) > MaxPolicies {
		return nil, fmt.Errorf("%w: %s has %d policies; it takes 1 to %d, and without one nothing is allowed", ErrPolicy, name, len(list), MaxPolicies)
	}
	if err := checkNames(name, string(text)); err != nil {
		return nil, err
	}
	e := &Engine{policies: cedar.PolicyMap{}, text: string(text)}
	for i, p := range list {
		id := string(p.Annotations()["id"])
		if id == "" {
			id = "policy" + strconv.Itoa(i)
		}
		if _, twice := e.policies[cedar.PolicyID(id)]; twice || len(id) > maxID {
			return nil, fmt.Errorf("%w: %s:%d: the id %.64q is used twice or longer than %d bytes", ErrPolicy, name, p.Position().Line, id, maxID)
		}
		e.policies[cedar.PolicyID(id)] = p
	}
	return e, nil
}

// checkNames finds names that no request ever has: a policy with a typing error
// would silently not hold.
func checkNames(name, text string) error {
	bad := func(at int, what string) error {
		return fmt.Errorf("%w: %s:%d: no request has %s; see ronctl policy explain", ErrPolicy, name, 1+strings.Count(text[:at], "\n"), what)
	}
	text = comment.ReplaceAllStringFunc(text, func(c string) string { return strings.Repeat(" ", len(c)) })
	for _, m := range entityRef.FindAllStringSubmatchIndex(text, -1) {
		kind, id := text[m[2]:m[3]], text[m[4]:m[5]]
		switch bare := strings.TrimPrefix(kind, namespace); {
		case kind == namespace+"Action":
			if !slices.Contains(actions, id) {
				return bad(m[0], "the action "+strconv.Quote(id))
			}
		case bare == kind, !slices.Contains(principals, bare) && !slices.Contains(resources, bare):
			return bad(m[0], "an entity of type "+kind)
		}
	}
	for _, m := range isRef.FindAllStringSubmatchIndex(text, -1) {
		kind := text[m[2]:m[3]]
		if bare := strings.TrimPrefix(kind, namespace); bare == kind || !slices.Contains(principals, bare) && !slices.Contains(resources, bare) {
			return bad(m[0], "an entity of type "+kind)
		}
	}
	return nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Text is what the engine was made from.
func (e *Engine) Text() string { return e.text }

// IDs lists the policies' ids, sorted.
func (e *Engine) IDs() []string {
	var ids []string
	for id := range e.policies {
		ids = append(ids, string(id))
	}
	slices.Sort(ids)
	return ids
}

// Decide asks all policies. A forbid wins over any permit, an error in a policy
// takes it out, and without a permit it is a denial (Cedar's semantics). A forbid
// that cannot be worked out denies as well: it may have been meant.
func (e *Engine) Decide(r *Request) Decision {
	world := world{r: r, uid: types.EntityUID{Type: typeOf(r.Kind), ID: types.String(r.ID)}}
	verdict, diag := cedar.Authorize(e.policies, &world, cedar.Request{
		Principal: world.uid,
		Action:    types.EntityUID{Type: namespace + "Action", ID: types.String(r.Action)},
		Resource:  types.EntityUID{Type: typeOf(r.Resource), ID: types.String(r.Name)},
		Context:   r.Context.record,
	})
	d := Decision{Allow: bool(verdict)}
	for _, reason := range diag.Reasons {
		if d.Policy != "" {
			d.Policy += ","
		}
		d.Policy += string(reason.PolicyID)
	}
	for _, err := range diag.Errors {
		d.Errors = append(d.Errors, string(err.PolicyID)+": "+oneLine(err.Message))
		if p := e.policies[err.PolicyID]; p != nil && p.Effect() == cedar.Forbid && d.Allow {
			d.Allow, d.Policy = false, string(err.PolicyID)
		}
	}
	return d
}

// world knows one entity, the principal, whose attributes are made when a policy
// asks for them.
type world struct {
	r   *Request
	uid types.EntityUID
}

// Get implements types.EntityGetter.
func (w *world) Get(uid types.EntityUID) (types.Entity, bool) {
	if uid != w.uid {
		return types.Entity{}, false
	}
	e := types.Entity{UID: uid}
	if w.r.Kind == Capability {
		e.Attributes = types.NewRecord(types.RecordMap{"kid": types.String(w.r.KID), "tenant": types.String(w.r.Tenant)})
	}
	return e, true
}

// typeOf spares joining two strings for each request.
func typeOf(kind string) types.EntityType {
	switch kind {
	case Object:
		return namespace + Object
	case Topic:
		return namespace + Topic
	case Route:
		return namespace + Route
	case Metrics:
		return namespace + Metrics
	case Capability:
		return namespace + Capability
	case Operator:
		return namespace + Operator
	case Certificate:
		return namespace + Certificate
	default:
		return namespace + Anonymous
	}
}
