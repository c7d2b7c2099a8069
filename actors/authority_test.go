package actors_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"micronode/actors"
	"micronode/config"
	httpapi "micronode/http"
	"micronode/http/caps"
	"micronode/http/policy"
	"micronode/kernel"
)

func capMode(c *config.Config, _ *actors.Options) { c.Auth.Mode = "cap" }

// TestPolicyOutage: killed, hung, fed junk. From the moment the node says so
// nothing is admitted, readyz names policy, and it heals by itself.
func TestPolicyOutage(t *testing.T) {
	r := start(t, capMode, func(c *config.Config, _ *actors.Options) {
		c.Supervisor.BackoffMin, c.Supervisor.BackoffMax = 100*time.Millisecond, 100*time.Millisecond
		c.Supervisor.MaxRestarts, c.Supervisor.QuarantineAfter = 1000, 2000
	})
	m, err := r.node.Ring().Mint(caps.Spec{Ops: caps.AllOps})
	if err != nil {
		t.Fatal(err)
	}
	auth := []string{"Authorization", "Macro " + m.Token}
	ref := r.node.Tree().Ref("policy")
	for name, harm := range map[string]func() error{
		"killed": func() error { _, err := r.op.Kill(r.ctx(), httpapi.Order{Service: "policy"}); return err },
		"hung":   func() error { _, err := r.op.Hang(r.ctx(), httpapi.Order{Service: "policy"}); return err },
		"junk":   func() error { return ref.Send("junk") },
	} {
		if a := r.ask("PUT", "/put", []byte(name), auth...); a.status/100 != 2 {
			t.Fatalf("%s: before: %d %s", name, a.status, a.body)
		}
		if err := harm(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r.until(name, func(is *kernel.Readiness) bool { return !is.Ready && slices.Contains(is.Missing, "policy") })
		admitted := 0
		for !r.node.Readiness().Ready {
			a := r.ask("PUT", "/put", []byte(name), auth...)
			if a.status/100 == 2 && !r.node.Readiness().Ready {
				admitted++
			}
		}
		if admitted > 0 {
			t.Errorf("%s: %d requests were admitted in the outage", name, admitted)
		}
		r.healthy()
		if a := r.ask("PUT", "/put", []byte(name), auth...); a.status/100 != 2 {
			t.Errorf("%s: after: %d %s", name, a.status, a.body)
		}
	}
}

// TestPolicyReload: a good file takes effect, a bad one changes nothing and says where.
func TestPolicyReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.cedar")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(policy.Default())
	r := start(t, func(c *config.Config, o *actors.Options) {
		c.Auth.Mode, c.Policy.File = "cap", file
		keep := *c
		o.Reload = func() (config.Loaded, error) { return config.Loaded{Config: keep}, nil }
	})
	m, err := r.node.Ring().Mint(caps.Spec{Ops: caps.AllOps})
	if err != nil {
		t.Fatal(err)
	}
	put := func() int { return r.ask("PUT", "/put", []byte("x"), "Authorization", "Macro "+m.Token).status }
	if got := put(); got/100 != 2 {
		t.Fatal(got)
	}
	write(policy.Default() + `@id("closed") forbid (principal, action == Micronode::Action::"put", resource);`)
	if done, err := r.op.Reload(r.ctx(), httpapi.Order{}); err != nil || !slices.Contains(done.Changed, "policy.file") {
		t.Fatalf("%+v %v", done, err)
	}
	if got := put(); got != http.StatusForbidden {
		t.Errorf("under the new policy: %d", got)
	}
	write("permit (principal, action == Micronode::Action::\"putt\", resource);")
	var said *httpapi.Problem
	if _, err := r.op.Reload(r.ctx(), httpapi.Order{}); !errors.As(err, &said) || said.Status != 400 || !strings.Contains(said.Detail, "p.cedar:1") {
		t.Errorf("a bad policy: %+v", said)
	}
	if got := put(); got != http.StatusForbidden {
		t.Errorf("a bad file changed the policy: %d", got)
	}
	if _, err := r.op.Kill(r.ctx(), httpapi.Order{Service: "policy"}); err != nil {
		t.Fatal(err)
	}
	r.healthy()
	if got := put(); got != http.StatusForbidden {
		t.Errorf("a restart forgot the policy: %d", got)
	}
}

// TestAckByCapability: who leased a message acknowledges it, also after the keys
// were rotated; another topic's capability does not.
func TestAckByCapability(t *testing.T) {
	r := start(t, capMode)
	ring := r.node.Ring()
	token := func(ops caps.Op, topic string) []string {
		m, err := ring.Mint(caps.Spec{Ops: ops, Topics: []string{topic}})
		if err != nil {
			t.Fatal(err)
		}
		return []string{"Authorization", "Macro " + m.Token, "Content-Type", "application/json"}
	}
	jobs, other := token(caps.Send|caps.Recv|caps.Ack, "jobs"), token(caps.Send|caps.Recv|caps.Ack|caps.Nack, "other")
	if a := r.ask("POST", "/mbox/send", []byte(`{"topic":"jobs","payload_b64":"aGk="}`), other...); a.status != 403 {
		t.Errorf("send to another topic: %d %s", a.status, a.body)
	}
	if a := r.ask("POST", "/mbox/send", []byte(`{"topic":"jobs","payload_b64":"aGk="}`), jobs...); a.status != 200 {
		t.Fatalf("send: %d %s", a.status, a.body)
	}
	if a := r.ask("POST", "/mbox/recv", []byte(`{"topic":"jobs"}`), other...); a.status != 403 {
		t.Errorf("recv from another topic: %d %s", a.status, a.body)
	}
	got := decode[httpapi.RecvAnswer](t, r.ask("POST", "/mbox/recv", []byte(`{"topic":"jobs","visibility_ms":60000}`), jobs...).body)
	if len(got.Messages) != 1 {
		t.Fatalf("%+v", got)
	}
	receipt := []byte(`{"receipt":"` + got.Messages[0].Receipt + `"}`)
	for _, path := range []string{"/mbox/ack", "/mbox/nack", "/mbox/extend"} {
		if a := r.ask("POST", path, receipt, other...); a.status != 403 {
			t.Errorf("%s by another topic's capability: %d %s", path, a.status, a.body)
		}
	}
	if _, err := ring.Rotate(); err != nil {
		t.Fatal(err)
	}
	if a := r.ask("POST", "/mbox/ack", receipt, jobs...); a.status != 200 {
		t.Errorf("ack after a rotation: %d %s", a.status, a.body)
	}
}

// TestNoSecretLeaves plants secrets wherever one can enter, and looks for them in
// everything that comes out.
func TestNoSecretLeaves(t *testing.T) {
	const password = "hunter2-hunter2"
	key := strings.Repeat("5e", 32)
	keyFile := filepath.Join(t.TempDir(), "root.key")
	if err := os.WriteFile(keyFile, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	var log safeBuffer
	logger, err := actors.NewLogger(&log, "debug", false)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, capMode, func(c *config.Config, o *actors.Options) {
		c.Keys.RootFile, o.Logger = keyFile, logger
		c.Supervisor.BackoffMin, c.Supervisor.BackoffMax = time.Millisecond, time.Millisecond
		o.Children = []kernel.Child{{Name: "guest", New: func() kernel.Actor { return &talker{} }}}
	})
	m, err := r.node.Ring().Mint(caps.Spec{Ops: caps.AllOps})
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{m.Token, m.Token[:len(m.Token)/2], key, password}
	r.http.CloseIdleConnections()
	bare := &http.Transport{}
	t.Cleanup(bare.CloseIdleConnections)
	r.http = &http.Client{Transport: bare} // these requests fit no document
	var out bytes.Buffer
	keep := func(a answer) {
		out.Write(a.body)
		for name, v := range a.header {
			out.WriteString(name + ": " + strings.Join(v, ",") + "\n")
		}
	}
	for _, path := range []string{"/o", "/o/" + m.Token, "/put?token=" + m.Token, "/mbox/peek?topic=" + m.Token[:60], "/api/v1/status?password=" + password} {
		keep(r.ask("GET", path, nil, "Authorization", "Macro "+m.Token))
		keep(r.ask("POST", path, []byte(m.Token), "Authorization", "Macro "+m.Token+"x"))
	}
	for _, h := range []string{"X-Corr-Id", "X-Content-B3", "Range", "Content-Type", "Content-Encoding", "X-Ron-Ttl", "If-Match", "Traceparent", "User-Agent", "Idempotency-Key"} {
		keep(r.ask("POST", "/put", []byte("x"), "Authorization", "Macro "+m.Token, h, m.Token+" "+password))
	}
	keep(r.ask("POST", "/mbox/send", []byte(`{"topic":"`+m.Token[:60]+`","x":"`+key+`"}`), "Authorization", "Macro "+m.Token, "Content-Type", "application/json"))
	for _, secret := range []string{m.Token, key, "password=" + password, "Authorization: Macro " + m.Token} {
		if err := r.node.Tree().Ref("guest").Send(secret); err != nil { // panics with it
			t.Fatal(err)
		}
		r.event(kernel.KindServiceCrashed, "guest")
		r.healthy()
		if _, err := r.op.Restart(r.ctx(), httpapi.Order{Service: "storage", Reason: "because " + secret}); err != nil {
			t.Fatal(err)
		}
		logger.Info("a library says "+secret, zap.String("field", secret), zap.Any("any", map[string][]string{"Authorization": {secret}}), zap.Error(errors.New(secret)))
		r.healthy()
	}
	for _, path := range []string{"/metrics", "/readyz?verbose", "/version", "/api/v1/status", "/api/v1/config", "/api/v1/keys", "/api/v1/policy"} {
		keep(r.ask("GET", path, nil))
	}
	seq := r.node.Bus().Seq()
	for e, err := range r.op.Tail(r.ctx(), httpapi.TailOptions{Since: "1h"}) {
		if err != nil {
			t.Fatal(err)
		}
		out.Write(e.Data)
		if e.Seq >= seq {
			break
		}
	}
	bare.CloseIdleConnections()
	r.stop()
	if !strings.Contains(out.String(), "because ") || !strings.Contains(log.String(), "a library says") {
		t.Fatal("the test looks at nothing")
	}
	for _, secret := range secrets {
		for what, text := range map[string]string{"log": log.String(), "answers and events": out.String()} {
			for line := range strings.Lines(text) {
				if strings.Contains(line, secret) {
					t.Errorf("%s: %.12s… in %.400s", what, secret, line)
				}
			}
		}
	}
}

// talker panics with what it is told.
type talker struct{}

func (*talker) Start(context.Context, *kernel.Life) error { return nil }
func (*talker) Receive(_ context.Context, msg any) error  { panic(msg) }
func (*talker) Stop()                                     {}

// safeBuffer is a log that may be read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
