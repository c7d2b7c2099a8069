package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	httpapi "micronode/http"
	"micronode/store"
	"micronode/store/mbox"
)

// stream is a stream of messages that the test reads.
type stream struct {
	t     *testing.T
	resp  *http.Response
	lines *bufio.Reader
	leave context.CancelFunc
}

func (r *rig) stream(t *testing.T, c *http.Client, body string) *stream {
	t.Helper()
	ctx, leave := context.WithCancel(context.Background())
	t.Cleanup(leave)
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+r.addr+"/mbox/recv/stream", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return &stream{t, resp, bufio.NewReader(resp.Body), leave}
}

func (s *stream) next() (e httpapi.Envelope) {
	s.t.Helper()
	line, err := s.lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &e)
	}
	if err != nil {
		s.t.Fatalf("%v in %q", err, line)
	}
	return e
}

// A line as soon as there is a message; no more out than the window; room again
// with each verdict and with each lease that ends.
func TestStreamWindow(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p))
	s := r.stream(t, r.client, `{"topic":"t","max_messages":2,"visibility_ms":60000}`)
	if s.resp.StatusCode != 200 || s.resp.Header.Get("Content-Type") != httpapi.TypeNDJSON || s.resp.Header.Get("X-Accel-Buffering") != "no" {
		t.Fatalf("%d %v", s.resp.StatusCode, s.resp.Header)
	}
	<-p.waiting
	for range 5 {
		p.put(t, mbox.Message{Topic: "t", Payload: []byte("x")})
	}
	first, second := s.next(), s.next()
	p.drainTokens()
	if got := p.stats(); got.Leased != 2 || got.Ready != 3 {
		t.Errorf("%+v", got)
	}
	if a := r.post("/mbox/ack", `{"receipt":"`+first.Receipt+`"}`); a.status != 200 {
		t.Fatal(a.body)
	}
	third := s.next()
	if third.MsgID == second.MsgID || third.Attempt != 1 {
		t.Errorf("%+v", third)
	}
	p.pass(time.Minute) // both leases end
	s.next()
	s.next()
	if got := p.stats(); got.Leased != 2 || got.Expired != 2 {
		t.Errorf("%+v", got)
	}
	if n := r.door.Inflight(); n > 1 {
		t.Errorf("%d in flight", n)
	}
	s.leave()
	for x := r.heard.last(t); x.Route != "/mbox/recv/stream"; x = r.heard.last(t) {
	}
	if got := p.stats(); got.Leased != 2 {
		t.Errorf("leases of a client that left are its own until they end: %+v", got)
	}
}

// drainTokens empties waiting until somebody waits who was not answered.
func (p *post) drainTokens() {
	<-p.waiting
	for len(p.waiting) > 0 {
		<-p.waiting
	}
}

// A stream holds no slot, and its end by a drain is a clean one.
func TestStreamDrained(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p), func(o *httpapi.Options) { o.Limits.Inflight = 1 })
	s := r.stream(t, r.client, `{"topic":"t"}`)
	<-p.waiting
	if a := r.ask("PUT", "/put", strings.NewReader("x")); a.status != 201 {
		t.Errorf("%d %s", a.status, a.body)
	}
	operator := r.stream(t, r.op, `{"topic":"t"}`)
	<-p.waiting
	if cut, err := r.door.Drain(t.Context()); cut != 0 || err != nil {
		t.Errorf("%d cut, %v", cut, err)
	}
	if rest, err := io.ReadAll(s.lines); len(rest) != 0 || err != nil {
		t.Errorf("%q %v", rest, err)
	}
	p.put(t, mbox.Message{Topic: "t"})
	operator.next()
	if cut, err := r.door.Close(t.Context()); cut != 0 || err != nil {
		t.Errorf("%d cut, %v", cut, err)
	}
	if rest, err := io.ReadAll(operator.lines); len(rest) != 0 || err != nil {
		t.Errorf("%q %v", rest, err)
	}
}

// A stream that cannot go on is cut; a new one is told why.
func TestStreamCut(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p))
	s := r.stream(t, r.client, `{"topic":"t"}`)
	<-p.waiting
	p.mu.Lock()
	p.fail = store.ErrNotReady
	p.stir()
	p.mu.Unlock()
	if rest, err := io.ReadAll(s.lines); len(rest) != 0 || err == nil {
		t.Errorf("%q ended as if all were well", rest)
	}
	if x := r.heard.last(t); !x.Aborted || x.Reason != "not_ready" {
		t.Errorf("%+v", x)
	}
	wantProblem(t, r.post("/mbox/recv/stream", `{"topic":"t"}`), 503, "not_ready")
	if got := r.heard.rejections(); len(got) != 2 || got[0] != "503" {
		t.Errorf("counted %v", got)
	}
}

func TestStreamBound(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p))
	r.door.LimitStreams(1)
	s := r.stream(t, r.client, `{"topic":"t"}`)
	<-p.waiting
	wantProblem(t, r.post("/mbox/recv/stream", `{"topic":"t"}`), 503, "overload", "stream")
	wantProblem(t, r.post("/mbox/recv/stream", `{"topic":"t","wait_ms":5}`), 400, "schema", "wait_ms")
	o := r.stream(t, r.op, `{"topic":"t"}`)
	<-p.waiting
	s.leave()
	for x := r.heard.last(t); x.Route != "/mbox/recv/stream" || x.Status != 200; x = r.heard.last(t) {
	}
	again := r.stream(t, r.client, `{"topic":"t"}`)
	p.put(t, mbox.Message{Topic: "t"})
	p.put(t, mbox.Message{Topic: "t"})
	_, _ = o, again
}

// What came for a client that left in the same moment is ready again.
func TestStreamLeft(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p))
	s := r.stream(t, r.client, `{"topic":"t"}`)
	<-p.waiting
	p.mu.Lock()
	p.handover = func(asked context.Context) {
		s.leave()
		<-asked.Done()
	}
	p.mu.Unlock()
	p.put(t, mbox.Message{Topic: "t", Payload: []byte("x")})
	if x := r.heard.last(t); x.Status != 200 || x.Aborted {
		t.Errorf("%+v", x)
	}
	if got := r.one(); got.Attempt != 1 {
		t.Errorf("%+v", got)
	}
}

// A client that reads no more is dropped, and what it did not take is ready again.
func TestStreamUnread(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p), func(o *httpapi.Options) { o.Limits.RequestTimeout = 50 * time.Millisecond })
	const many = 32
	for range many {
		p.put(t, mbox.Message{Topic: "t", Payload: make([]byte, mbox.MaxPayload)})
	}
	w := r.dial()
	w.say("POST /mbox/recv/stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: 32\r\n\r\n" + `{"topic":"t","max_messages":256}`)
	if x := r.heard.last(t); !x.Aborted || x.Status != 200 {
		t.Errorf("%+v", x)
	}
	if got := p.stats(); got.Ready == 0 || got.Leased == many || len(p.verdicts()) != 1 {
		t.Errorf("%+v", got)
	}
}
