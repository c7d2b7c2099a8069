package httpapi_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	httpapi "micronode/http"
	"micronode/http/caps"
	"micronode/http/oap"
	"micronode/http/policy"
	"micronode/store"
)

// allowAll is a door that asks for capabilities and has the built-in policy.
func allowAll(t testing.TB) httpapi.Auth {
	t.Helper()
	return authBy(t, policy.Default())
}

func authBy(t testing.TB, text string) httpapi.Auth {
	t.Helper()
	ring, err := caps.NewRing(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ring.Close)
	e, err := policy.Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	gate := policy.NewGate(func() time.Duration { return 0 }) // never stale
	gate.Lend(e)
	return httpapi.Auth{Ring: ring, Policy: gate}
}

// guarded is a door in cap mode, with OAP and a mailbox.
func guarded(t testing.TB, auth httpapi.Auth, change ...func(*httpapi.Options)) *rig {
	t.Helper()
	return start(t, append([]func(*httpapi.Options){func(o *httpapi.Options) {
		o.Auth, o.OAPAddr = auth, "127.0.0.1:0"
	}}, change...)...)
}

func minted(t testing.TB, a httpapi.Auth, s caps.Spec) string {
	t.Helper()
	m, err := a.Ring.Mint(s)
	if err != nil {
		t.Fatal(err)
	}
	return m.Token
}

// TestCapabilities: what each token opens, on HTTP.
func TestCapabilities(t *testing.T) {
	auth := allowAll(t)
	r := guarded(t, auth)
	all, puts := minted(t, auth, caps.Spec{Ops: caps.AllOps}), minted(t, auth, caps.Spec{Ops: caps.Put, Paths: []string{"/o/"}})
	narrow, err := caps.Attenuate(all, "op=get,list", "path=/o/b3:00")
	if err != nil {
		t.Fatal(err)
	}
	small, _ := caps.Attenuate(puts, "max-bytes=3")
	away, _ := caps.Attenuate(all, "cidr=10.0.0.0/8")
	over, _ := caps.Attenuate(all, "exp=1000")
	strange, _ := caps.Attenuate(all, "op=put")
	strange = strange[:len(strange)-4] + "AAAA"
	revoked := minted(t, auth, caps.Spec{Ops: caps.AllOps})
	view, _ := caps.Inspect(revoked)
	if err := auth.Ring.RevokeCap(view.CapID); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, method, path, token string
		status                    int
		reason                    string
	}{
		{"none", "POST", "/put", "", 401, "missing"},
		{"all", "POST", "/put", all, 201, ""},
		{"puts", "POST", "/put", puts, 200, ""},
		{"puts does not list", "GET", "/o", puts, 403, "scope"},
		{"puts is no admin", "GET", "/api/v1/status", puts, 403, "scope"},
		{"other path", "GET", "/o", narrow, 403, "scope"},
		{"too small", "POST", "/put", small, 403, "scope"},
		{"elsewhere", "POST", "/put", away, 403, "scope"},
		{"over", "POST", "/put", over, 401, "expired"},
		{"tampered", "POST", "/put", strange, 403, "tampered"},
		{"malformed", "POST", "/put", "xyz", 403, "malformed"},
		{"revoked", "POST", "/put", revoked, 403, "revoked"},
		{"admin", "GET", "/api/v1/status", all, 200, ""},
		{"loopback looks without", "GET", "/api/v1/status", "", 200, ""},
		{"metrics without", "GET", "/metrics", "", 200, ""},
		{"health without", "GET", "/healthz", "", 200, ""},
		{"health with junk", "GET", "/healthz", "junk", 200, ""},
		{"mint by capability", "POST", "/api/v1/caps/mint", all, 403, "forbidden"},
	} {
		var header []string
		if tc.token != "" {
			header = []string{"Authorization", "mAcRo " + tc.token}
		}
		var body io.Reader
		if tc.method == "POST" {
			body = strings.NewReader("hello")
		}
		a := r.ask(tc.method, tc.path, body, header...)
		if a.status != tc.status {
			t.Errorf("%s: %d %s", tc.name, a.status, a.body)
			continue
		}
		if tc.reason != "" && a.problem(t).Reason != tc.reason {
			t.Errorf("%s: %+v", tc.name, a.problem(t))
		}
		if (a.status == 401) != (a.header.Get("WWW-Authenticate") == `Macro realm="micronode"`) {
			t.Errorf("%s: WWW-Authenticate %q", tc.name, a.header.Get("WWW-Authenticate"))
		}
		if tc.token != "" && strings.Contains(a.body, tc.token) && len(tc.token) > 8 {
			t.Errorf("%s: the answer shows the token", tc.name)
		}
	}
	for _, scheme := range []string{"Bearer ", "Macaroon ", "MACRO  "} {
		if a := r.ask("POST", "/put", strings.NewReader("x"), "Authorization", scheme+all); a.status/100 != 2 {
			t.Errorf("%q: %d", scheme, a.status)
		}
	}
	if a := r.ask("POST", "/put", strings.NewReader("x"), "Authorization", "Basic "+all); a.status != 401 {
		t.Errorf("Basic: %d", a.status)
	}
	// without a length the bound of the capability holds on what comes
	req, _ := http.NewRequest("POST", "http://"+r.addr+"/put", io.MultiReader(strings.NewReader("12"), strings.NewReader("34567")))
	req.Header.Set("Authorization", "Macro "+small)
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 403 {
		t.Errorf("a stream beyond max-bytes: %d", resp.StatusCode)
	}
}

// TestPolicyDenies: the policy is asked after the capability, on both doors, and
// its outage denies everything but health and the operator.
func TestPolicyDenies(t *testing.T) {
	auth := authBy(t, policy.Default()+`@id("no-deletes") forbid (principal is Micronode::Capability, action == Micronode::Action::"delete", resource);`)
	var denied []httpapi.Denial
	var mu sync.Mutex
	r := guarded(t, auth, func(o *httpapi.Options) {
		o.Ports.Observe.Denied = func(d httpapi.Denial) {
			mu.Lock()
			defer mu.Unlock()
			denied = append(denied, d)
		}
	})
	all := minted(t, auth, caps.Spec{Ops: caps.AllOps})
	name := store.Sum([]byte("hello")).String()
	if a := r.ask("POST", "/put", strings.NewReader("hello"), "Authorization", "Macro "+all); a.status != 201 {
		t.Fatalf("put: %d %s", a.status, a.body)
	}
	a := r.ask("DELETE", "/o/"+name, nil, "Authorization", "Macro "+all)
	if a.status != 403 || a.problem(t).Reason != "policy" || !strings.Contains(a.problem(t).Detail, "no-deletes") {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	mu.Lock()
	if len(denied) != 1 || denied[0].Policy != "no-deletes" || denied[0].Action != "delete" {
		t.Errorf("told: %+v", denied)
	}
	mu.Unlock()
	auth.Policy.Withdraw()
	for _, ask := range [][2]string{{"GET", "/o"}, {"GET", "/o/" + name}, {"POST", "/put"}, {"DELETE", "/o/" + name}, {"GET", "/api/v1/status"}} {
		if a := r.ask(ask[0], ask[1], nil, "Authorization", "Macro "+all, "Content-Type", "application/octet-stream"); a.status != 503 || a.problem(t).Reason != "policy" {
			t.Errorf("%v in an outage: %d %s", ask, a.status, a.body)
		}
	}
	if a := r.ask("GET", "/healthz", nil); a.status != 200 {
		t.Errorf("healthz in an outage: %d", a.status)
	}
	if a := r.order("GET", "/api/v1/status", nil); a.status != 200 {
		t.Errorf("the operator in an outage: %d", a.status)
	}
	o := dialOAP(t, r, all)
	if _, err := o.Head(t.Context(), name); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("OAP in an outage: %v", err)
	}
}

func dialOAP(t testing.TB, r *rig, token string) *oap.Client {
	t.Helper()
	for _, l := range r.door.Listeners() {
		if l.Plane == "oap" {
			o, err := oap.Dial(t.Context(), l.Address, oap.ClientOptions{Cap: []byte(token)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = o.Close() })
			return o
		}
	}
	t.Fatal("no OAP")
	return nil
}

// TestCapabilitiesOverOAP: the second door asks the same.
func TestCapabilitiesOverOAP(t *testing.T) {
	auth := allowAll(t)
	r := guarded(t, auth)
	all := minted(t, auth, caps.Spec{Ops: caps.AllOps})
	gets, _ := caps.Attenuate(all, "op=get")
	name := store.Sum([]byte("hello")).String()
	if a := r.ask("POST", "/put", strings.NewReader("hello"), "Authorization", "Macro "+all); a.status != 201 {
		t.Fatalf("put: %d %s", a.status, a.body)
	}
	for _, tc := range []struct {
		name, token, want string // of the error of head; empty: none
	}{{"none", "", "401"}, {"gets", gets, ""}, {"junk", "junk", "403"}, {"all", all, ""}} {
		_, err := dialOAP(t, r, tc.token).Head(t.Context(), name)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	view, _ := caps.Inspect(all)
	o := dialOAP(t, r, gets)
	if err := auth.Ring.RevokeCap(view.CapID); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Head(t.Context(), name); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("revoked, on a connection that is open: %v", err)
	}
}

// TestRevokedUnderLoad revokes while clients ask on both doors: after the call
// has returned nothing is admitted.
func TestRevokedUnderLoad(t *testing.T) {
	auth := allowAll(t)
	r := guarded(t, auth)
	m, err := auth.Ring.Mint(caps.Spec{Ops: caps.AllOps})
	if err != nil {
		t.Fatal(err)
	}
	name := store.Sum([]byte("hello")).String()
	if a := r.ask("POST", "/put", strings.NewReader("hello"), "Authorization", "Macro "+m.Token); a.status != 201 {
		t.Fatalf("put: %d", a.status)
	}
	revoked := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		warm := make(chan struct{})
		all.Go(func() {
			for i := 0; ; i++ {
				late := false
				select {
				case <-revoked:
					late = true
				default:
				}
				a := r.ask("HEAD", "/o/"+name, nil, "Authorization", "Macro "+m.Token)
				if late && a.status != 403 || a.status != 200 && a.status != 403 {
					t.Errorf("%d, revoked: %v", a.status, late)
				}
				if i == 10 {
					close(warm)
				}
				if late {
					return
				}
			}
		})
		<-warm
	}
	if err := auth.Ring.RevokeCap(m.CapID); err != nil {
		t.Fatal(err)
	}
	close(revoked)
	all.Wait()
}

// slowBody gives its first half, does something, and gives the second.
type slowBody struct {
	parts [][]byte
	then  func()
}

func (s *slowBody) Read(p []byte) (int, error) {
	if len(s.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.parts[0])
	if s.parts[0] = s.parts[0][n:]; len(s.parts[0]) == 0 {
		if s.parts = s.parts[1:]; len(s.parts) == 1 {
			s.then()
		}
	}
	return n, nil
}

// TestRevokedInTheMiddle: what was begun before a revocation does not end well after it.
func TestRevokedInTheMiddle(t *testing.T) {
	auth := allowAll(t)
	r := guarded(t, auth)
	for _, size := range []int{20_000, 200_000} {
		m, err := auth.Ring.Mint(caps.Spec{Ops: caps.AllOps})
		if err != nil {
			t.Fatal(err)
		}
		half := make([]byte, size)
		body := &slowBody{parts: [][]byte{half, half}, then: func() {
			for r.door.Admission().Open == 0 { // it has been let in
				runtime.Gosched()
			}
			if err := auth.Ring.RevokeCap(m.CapID); err != nil {
				t.Error(err)
			}
		}}
		if a := r.ask("POST", "/put", body, "Authorization", "Macro "+m.Token); a.status != 403 || a.problem(t).Reason != "revoked" {
			t.Errorf("%d bytes over HTTP: %d %s", size, a.status, a.body)
		}
		if m, err = auth.Ring.Mint(caps.Spec{Ops: caps.AllOps}); err != nil {
			t.Fatal(err)
		}
		body.parts = [][]byte{half, half}
		if _, err := dialOAP(t, r, m.Token).Put(t.Context(), body, -1, ""); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("%d bytes over OAP: %v", size, err)
		}
	}
}

// TestInline: who minted the capability says whether a browser may show objects.
func TestInline(t *testing.T) {
	auth := allowAll(t)
	r := guarded(t, auth)
	shows, hides := minted(t, auth, caps.Spec{Ops: caps.AllOps, Inline: true}), minted(t, auth, caps.Spec{Ops: caps.AllOps})
	widened, err := caps.Attenuate(hides, "inline=yes")
	if err != nil {
		t.Fatal(err)
	}
	if a := r.ask("POST", "/put", strings.NewReader("hello"), "Authorization", "Macro "+shows); a.status != 201 {
		t.Fatal(a.status)
	}
	for token, want := range map[string]string{shows: "inline", hides: "attachment", widened: "attachment"} {
		if a := r.ask("GET", "/o/"+store.Sum([]byte("hello")).String(), nil, "Authorization", "Macro "+token); a.header.Get("Content-Disposition") != want {
			t.Errorf("%q, want %q", a.header.Get("Content-Disposition"), want)
		}
	}
}

// TestAuthorityRoutes: mint, use, rotate and revoke by the operator.
func TestAuthorityRoutes(t *testing.T) {
	auth := allowAll(t)
	var audits []httpapi.AuditRecord
	r := guarded(t, auth, func(o *httpapi.Options) {
		o.Ports.Policy = func() httpapi.PolicyState {
			return httpapi.PolicyState{Vouched: true, Source: "built in", IDs: []string{"x"}, Text: "t", Mapping: policy.Mapping()}
		}
		o.Ports.Observe.Audit = func(a httpapi.AuditRecord) { audits = append(audits, a) }
	})
	op, err := httpapi.NewClient(httpapi.ClientOptions{Addr: "localhost", HTTP: r.op})
	if err != nil {
		t.Fatal(err)
	}
	m, err := op.Mint(t.Context(), httpapi.MintOrder{Ops: []string{"put", "get"}, TTL: "5m", Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if a := r.ask("POST", "/put", strings.NewReader("x"), "Authorization", "Macro "+m.Token); a.status != 201 {
		t.Errorf("minted, and refused: %d %s", a.status, a.body)
	}
	if _, err := op.RotateKeys(t.Context(), httpapi.Order{Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	if a := r.ask("POST", "/put", strings.NewReader("x"), "Authorization", "Macro "+m.Token); a.status != 200 {
		t.Errorf("after a rotation: %d %s", a.status, a.body)
	}
	k, err := op.Keys(t.Context())
	if err != nil || len(k.Keys) != 2 || k.Keys[1].KID != m.KID {
		t.Errorf("keys: %+v %v", k, err)
	}
	if _, err := op.Revoke(t.Context(), httpapi.RevokeOrder{CapID: m.CapID}); err != nil {
		t.Fatal(err)
	}
	if a := r.ask("POST", "/put", strings.NewReader("x"), "Authorization", "Macro "+m.Token); a.status != 403 {
		t.Errorf("revoked: %d", a.status)
	}
	for _, bad := range []string{`{"ops":["fly"]}`, `{}`, `{"ops":["get"],"ttl":"2h"}`, `{"ops":["get"],"ttl":"x"}`, `{"ops":["get"],"paths":["o"]}`, `{"ops":["get"],"x":1}`, `[]`, `{"ops":["get"],"rps":-1}`} {
		if a := r.order("POST", "/api/v1/caps/mint", strings.NewReader(bad)); a.status != 400 {
			t.Errorf("%s: %d %s", bad, a.status, a.body)
		}
	}
	if a := r.order("POST", "/api/v1/caps/revoke", strings.NewReader(`{"kid":"nobody"}`)); a.status != 404 {
		t.Errorf("unknown kid: %d", a.status)
	}
	if d, err := op.Explain(t.Context(), httpapi.ExplainOrder{Principal: policy.Anonymous, Action: "put", Resource: policy.Object, Name: "*"}); err != nil || d.Allow {
		t.Errorf("explain: %+v %v", d, err)
	}
	actions := []string{}
	for _, a := range audits {
		actions = append(actions, a.Action+"="+a.Outcome)
		if strings.Contains(fmt.Sprintf("%+v", a), m.Token) {
			t.Error("an audit shows the token")
		}
	}
	if !slices.Contains(actions, "cap_mint=ok") || !slices.Contains(actions, "cap_revoke=ok") || !slices.Contains(actions, "keys_rotate=ok") || !slices.Contains(actions, "cap_mint=bad_request") {
		t.Errorf("audits: %v", actions)
	}
}

// BenchmarkHotPath is a capability and the policy together, as each request asks.
func BenchmarkHotPath(b *testing.B) {
	auth := allowAll(b)
	text := minted(b, auth, caps.Spec{Ops: caps.Get | caps.Put, Paths: []string{"/o/"}, RPS: 1000})
	from := policy.Origin{Door: "http", Loopback: true}.Context()
	b.ReportAllocs()
	for b.Loop() {
		g, err := auth.Ring.Check(text)
		if err != nil {
			b.Fatal(err)
		}
		if err := g.Permits(&caps.Ask{Op: caps.Get, Paths: [2]string{"/o/b3:00"}}); err != nil {
			b.Fatal(err)
		}
		d, err := auth.Policy.Decide(&policy.Request{Kind: policy.Capability, ID: g.CapID, KID: g.KID, Action: "get", Resource: policy.Object, Name: "b3:00", Context: from})
		if err != nil || !d.Allow {
			b.Fatal(d, err)
		}
	}
}

func percentile(all []time.Duration, p int) time.Duration {
	slices.Sort(all)
	return all[len(all)*p/100]
}
