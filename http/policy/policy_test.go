package policy

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func engine(t testing.TB, text string) *Engine {
	t.Helper()
	e, err := Parse("test.cedar", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestDefault(t *testing.T) {
	e, here, dev := engine(t, Default()), Origin{Loopback: true}.Context(), Origin{Dev: true}.Context()
	away := Origin{}.Context()
	for _, tc := range []struct {
		r    Request
		want bool
		by   string
	}{
		{Request{Kind: Capability, ID: "c", Action: "put", Resource: Object, Name: "*"}, true, "capability"},
		{Request{Kind: Operator, ID: "0", Action: "admin", Resource: Route, Name: "/api/v1/status"}, true, "operator"},
		{Request{Kind: Certificate, ID: "CN=x", Action: "admin", Resource: Route}, true, "certificate"},
		{Request{Kind: Certificate, ID: "CN=x", Action: "put", Resource: Object, Context: away}, false, ""},
		{Request{Kind: Anonymous, ID: "anonymous", Action: "metrics", Resource: Metrics, Context: here}, true, "loopback"},
		{Request{Kind: Anonymous, ID: "anonymous", Action: "metrics", Resource: Metrics, Context: away}, false, ""},
		{Request{Kind: Anonymous, ID: "anonymous", Action: "put", Resource: Object, Context: here}, false, ""},
		{Request{Kind: Anonymous, ID: "anonymous", Action: "put", Resource: Object, Context: dev}, true, "dev"},
		{Request{Kind: Certificate, ID: "CN=x", Action: "put", Resource: Object, Context: dev}, true, "dev"},
		{Request{Kind: "Nobody", Action: "put", Resource: Object, Context: away}, false, ""},
	} {
		if d := e.Decide(&tc.r); d.Allow != tc.want || d.Policy != tc.by || len(d.Errors) > 0 {
			t.Errorf("%+v: %+v", tc.r, d)
		}
	}
}

func TestOwnPolicy(t *testing.T) {
	e := engine(t, `
@id("all") permit (principal, action, resource);
@id("no-jobs") forbid (principal, action == Micronode::Action::"send", resource == Micronode::Topic::"jobs") unless { principal has tenant && principal.tenant == "acme" };
@id("lan") forbid (principal, action == Micronode::Action::"delete", resource) unless { context.client.isInRange(ip("10.0.0.0/8")) };
`)
	ask := func(r Request) Decision { return e.Decide(&r) }
	if d := ask(Request{Kind: Capability, Action: "send", Resource: Topic, Name: "jobs"}); d.Allow || d.Policy != "no-jobs" {
		t.Errorf("forbid: %+v", d)
	}
	if d := ask(Request{Kind: Capability, Tenant: "acme", Action: "send", Resource: Topic, Name: "jobs"}); !d.Allow {
		t.Errorf("unless: %+v", d)
	}
	if d := ask(Request{Kind: Capability, Action: "delete", Resource: Object, Context: Origin{Client: netip.MustParseAddr("10.2.3.4")}.Context()}); !d.Allow {
		t.Errorf("in range: %+v", d)
	}
	if d := ask(Request{Kind: Capability, Action: "delete", Resource: Object, Context: Origin{Client: netip.MustParseAddr("11.2.3.4")}.Context()}); d.Allow {
		t.Errorf("out of range: %+v", d)
	}
	if d := ask(Request{Kind: Operator, Action: "delete", Resource: Object}); d.Allow || len(d.Errors) != 1 || d.Policy != "lan" {
		t.Errorf("a forbid that cannot be worked out must deny: %+v", d)
	}
}

func TestRefusedTexts(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "no cedar": "permit everything", "unknown type": `permit (principal is User, action, resource);`,
		"unknown action": `permit (principal, action == Micronode::Action::"putt", resource);`, "no namespace": `permit (principal, action == Action::"put", resource);`,
		"twice": `@id("a") permit (principal, action, resource); @id("a") permit (principal, action, resource);`,
		"long":  strings.Repeat(" ", MaxFile+1), "many": strings.Repeat("permit (principal, action, resource);", MaxPolicies+1),
	} {
		if _, err := Parse("x.cedar", []byte(text)); !errors.Is(err, ErrPolicy) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Parse("x.cedar", []byte("\n\npermit (principal, action == Micronode::Action::\"putt\", resource);")); err == nil || !strings.Contains(err.Error(), "x.cedar:3:") {
		t.Errorf("no place: %v", err)
	}
	engine(t, "// Action::\"x\" in a comment\npermit (principal, action, resource);")
}

func TestGateDeniesInDoubt(t *testing.T) {
	var now time.Duration
	g := NewGate(func() time.Duration { return now })
	r := Request{Kind: Operator, Action: "get", Resource: Object, Name: "*"}
	decide := func() error {
		d, err := g.Decide(&r)
		if (err == nil) != d.Allow {
			t.Fatalf("%+v %v", d, err)
		}
		return err
	}
	if !errors.Is(decide(), ErrOutage) {
		t.Error("a new gate admits")
	}
	g.Lend(engine(t, Default()))
	if decide() != nil {
		t.Error("a lent policy does not decide")
	}
	now += Stale
	if decide() != nil {
		t.Error("stale too early")
	}
	now++
	if !errors.Is(decide(), ErrOutage) {
		t.Error("a stale policy admits")
	}
	g.Beat()
	if decide() != nil {
		t.Error("a beat does not heal")
	}
	g.Withdraw()
	if !errors.Is(decide(), ErrOutage) {
		t.Error("withdrawn, and it admits")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(Default()))
	f.Add([]byte(`permit(principal,action,resource)when{context.client.isInRange(ip("::1"))};`))
	r := Request{Kind: Anonymous, ID: "anonymous", Action: "put", Resource: Object, Name: "*"}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := Parse("f", text)
		if err != nil {
			return
		}
		if d := e.Decide(&r); d.Allow && d.Policy == "" {
			t.Fatal("allowed by nobody")
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	e := engine(b, Default())
	r := Request{Kind: Capability, ID: "01J", KID: "ab", Action: "get", Resource: Object, Name: "b3:00", Context: Origin{Door: "http", Client: netip.MustParseAddr("127.0.0.1"), Loopback: true}.Context()}
	b.ReportAllocs()
	for b.Loop() {
		if !e.Decide(&r).Allow {
			b.Fatal("denied")
		}
	}
}
