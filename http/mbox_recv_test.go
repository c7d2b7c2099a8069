package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	httpapi "micronode/http"
	"micronode/store"
	"micronode/store/mbox"
)

// What a receiver asks for is what the queue is asked for.
func TestRecvBounds(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p))
	for range 40 {
		p.put(t, mbox.Message{Topic: "t", Payload: make([]byte, 1000)})
	}
	for _, tt := range []struct {
		body string
		want int
	}{
		{`{"topic":"t","max_messages":1}`, 1},
		{`{"topic":"t","max_bytes":1}`, 1},
		{`{"topic":"t","max_bytes":2001}`, 3},
		{`{"topic":"t","max_messages":2,"wait_ms":0}`, 2},
		{`{"topic":"t"}`, 32},
		{`{"topic":"t","max_messages":256,"max_bytes":1048576,"visibility_ms":43200000,"wait_ms":30000}`, 1},
		{`{"topic":"none"}`, 0},
	} {
		if got := r.recv(tt.body); len(got) != tt.want {
			t.Errorf("%s: %d messages", tt.body, len(got))
		}
	}
	p.put(t, mbox.Message{Topic: "t"})
	got := r.recv(`{"topic":"t","visibility_ms":250}`)
	p.mu.Lock()
	now := p.now.Wall
	p.mu.Unlock()
	if len(got) != 1 || !got[0].Deadline.Equal(now.Add(250*time.Millisecond)) {
		t.Errorf("%+v at %v", got, now)
	}
}

// The encoder says what encoding/json would say of the wire struct.
func TestEnvelopes(t *testing.T) {
	odd := map[string]string{"": "", "a": "b", `q"\`: "line\nfeed \x00 \x7f \u2028 é 𝄞", "<&>": "<&>"}
	d := mbox.Delivery{
		ID: mbox.ID{1, 2, 3}, Topic: "a/b:c", Payload: []byte{0, 255, 62, 63}, Hash: store.Sum([]byte("x")), Attrs: odd, Key: `k"\`,
		CorrID: "c", Sent: time.Date(2026, 1, 2, 3, 4, 5, 600, time.FixedZone("x", 3600)), Attempt: 7,
		Receipt: mbox.Receipt{Shard: 3, ID: mbox.ID{1, 2, 3}, Nonce: [16]byte{9}}, Deadline: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	e := httpapi.Envelope{
		MsgID: d.ID.String(), Topic: d.Topic, TS: d.Sent.UTC(), IdemKey: d.Key, PayloadB64: d.Payload, PayloadHash: d.Hash.String(),
		Attrs: d.Attrs, CorrID: d.CorrID, Attempt: d.Attempt, Receipt: d.Receipt.String(), Deadline: d.Deadline,
	}
	same(t, httpapi.AppendEnvelope(nil, &d), e)
	same(t, httpapi.AppendDead(nil, &mbox.DeadLetter{Delivery: d, Reason: "max_attempts", LastError: "ü\t\"", Died: d.Sent}), httpapi.DeadMessage{
		MsgID: e.MsgID, Topic: e.Topic, TS: e.TS, IdemKey: e.IdemKey, PayloadB64: e.PayloadB64, PayloadHash: e.PayloadHash, Attrs: e.Attrs,
		CorrID: e.CorrID, Attempt: e.Attempt, Reason: "max_attempts", LastError: "ü\t\"", DiedAt: e.TS,
	})
	peeked := httpapi.PeekedMessage{
		MsgID: e.MsgID, Topic: e.Topic, TS: e.TS, IdemKey: e.IdemKey, PayloadB64: e.PayloadB64, PayloadHash: e.PayloadHash, Attrs: e.Attrs,
		CorrID: e.CorrID, Attempt: e.Attempt, State: "delayed", DueMS: 1500, LastError: "x",
	}
	same(t, httpapi.AppendWaiting(nil, &mbox.Waiting{Delivery: d, State: "delayed", Due: 1500 * time.Millisecond, LastError: "x"}), peeked)
	peeked.LastError = ""
	same(t, httpapi.AppendWaiting(nil, &mbox.Waiting{Delivery: d, State: "delayed", Due: 1500 * time.Millisecond}), peeked)

	d.Attrs, d.Payload, e.Attrs, e.PayloadB64 = nil, nil, map[string]string{}, []byte{}
	same(t, httpapi.AppendEnvelope(nil, &d), e)
	d.Attrs = map[string]string{"bad": "\xff"}
	if got := string(httpapi.AppendEnvelope(nil, &d)); !strings.Contains(got, `{"bad":"`+"\ufffd"+`"}`) {
		t.Error(got)
	}
}

func same(t *testing.T, got []byte, wire any) {
	t.Helper()
	want, err := json.Marshal(wire)
	if err != nil {
		t.Fatal(err)
	}
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if err := json.Unmarshal(want, &w); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// poll begins a long poll and returns where its answer comes.
func (r *rig) poll(body string) <-chan answer {
	got := make(chan answer, 1)
	go func() { got <- r.post("/mbox/recv", body) }()
	return got
}

const waits = `{"topic":"t","max_messages":1,"wait_ms":30000}`

// A poll that waits is answered by a send, and by nothing before.
func TestPollWoken(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p))
	polls := []<-chan answer{r.poll(waits), r.poll(waits)}
	<-p.waiting
	<-p.waiting
	p.put(t, mbox.Message{Topic: "other"})
	<-p.waiting
	<-p.waiting
	for range polls {
		if a := r.post("/mbox/send", `{"topic":"t","payload_b64":""}`); a.status != 200 {
			t.Fatal(a.body)
		}
	}
	for _, poll := range polls {
		if got := decode[httpapi.RecvAnswer](t, <-poll).Messages; len(got) != 1 {
			t.Errorf("%d messages", len(got))
		}
	}
	if a := r.post("/mbox/recv", `{"topic":"t","wait_ms":1}`); a.body != `{"messages":[]}`+"\n" {
		t.Errorf("after its wait: %d %s", a.status, a.body)
	}
}

// Who waits holds no slot and is none of the requests in flight.
func TestPollHoldsNothing(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p), func(o *httpapi.Options) { o.Limits.Inflight = 1 })
	polls := []<-chan answer{r.poll(waits)}
	<-p.waiting
	polls = append(polls, r.poll(waits))
	<-p.waiting
	if n := r.door.Inflight(); n != 0 {
		t.Errorf("%d in flight", n)
	}
	if a := r.ask("PUT", "/put", strings.NewReader("x")); a.status != 201 {
		t.Errorf("%d %s", a.status, a.body)
	}
	p.put(t, mbox.Message{Topic: "t"})
	p.put(t, mbox.Message{Topic: "t"})
	for _, poll := range polls {
		if a := <-poll; a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	for range 2 {
		r.heard.last(t)
	}
	if n := r.door.Inflight(); n != 0 {
		t.Errorf("%d in flight at the end", n)
	}
}

// A drain, and the end of the door, answer those who wait.
func TestPollDrained(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p))
	data := r.poll(waits)
	<-p.waiting
	operator := make(chan answer, 1)
	go func() {
		operator <- r.order("POST", "/mbox/recv", strings.NewReader(waits), "Content-Type", "application/json")
	}()
	<-p.waiting
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second) // half of the poll's wait
	defer cancel()
	if cut, err := r.door.Drain(ctx); cut != 0 || err != nil {
		t.Errorf("%d cut, %v", cut, err)
	}
	if a := <-data; a.status != 200 || a.body != `{"messages":[]}`+"\n" || a.header.Get("Connection") != "close" && a.header.Get("Connection") != "" {
		t.Errorf("%d %s %v", a.status, a.body, a.header)
	}
	select {
	case a := <-operator:
		t.Errorf("the operator's poll ended with the data plane: %d %s", a.status, a.body)
	default:
	}
	if cut, err := r.door.Close(t.Context()); cut != 0 || err != nil {
		t.Errorf("%d cut, %v", cut, err)
	}
	if a := <-operator; a.status != 200 || a.body != `{"messages":[]}`+"\n" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// Polls beyond the bound are refused, on each plane by itself.
func TestPollBound(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p))
	r.door.LimitParked(1)
	first := r.poll(waits)
	<-p.waiting
	wantProblem(t, r.post("/mbox/recv", waits), 503, "overload", "wait_ms")
	if a := r.post("/mbox/recv", `{"topic":"t"}`); a.status != 200 {
		t.Errorf("without a wait: %d", a.status)
	}
	second := make(chan answer, 1)
	go func() {
		second <- r.order("POST", "/mbox/recv", strings.NewReader(waits), "Content-Type", "application/json")
	}()
	<-p.waiting
	p.put(t, mbox.Message{Topic: "t"})
	p.put(t, mbox.Message{Topic: "t"})
	for _, a := range []answer{<-first, <-second, r.post("/mbox/recv", `{"topic":"t","wait_ms":1}`)} {
		if a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

// What was leased for a client that has left is ready again, and was no attempt.
func TestPollLeft(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p))
	ctx, leave := context.WithCancel(t.Context())
	p.handover = func(asked context.Context) {
		leave()
		<-asked.Done()
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		req, _ := http.NewRequestWithContext(ctx, "POST", "http://"+r.addr+"/mbox/recv", strings.NewReader(`{"topic":"t","wait_ms":30000}`))
		req.Header.Set("Content-Type", "application/json")
		if resp, err := r.client.Do(req); err == nil {
			_ = resp.Body.Close()
			t.Error("answered")
		}
	})
	<-p.waiting
	p.mu.Lock()
	for _, payload := range []string{"first", "second"} { // in one moment
		if _, err := p.q.Send(p.now, mbox.Message{Topic: "t", Payload: []byte(payload)}); err != nil {
			t.Error(err)
		}
	}
	p.stir()
	p.mu.Unlock()
	wg.Wait()
	if x := r.heard.last(t); x.Status != 499 || !x.Aborted {
		t.Errorf("%+v", x)
	}
	if got := p.verdicts(); len(got) != 2 || got[0] != mbox.Release || got[1] != mbox.Release {
		t.Errorf("%v", got)
	}
	got := r.recv(`{"topic":"t"}`)
	if len(got) != 2 || string(got[0].PayloadB64) != "first" || got[0].Attempt != 1 {
		t.Errorf("%+v", got)
	}
	if len(r.heard.rejections()) != 0 {
		t.Errorf("counted %v", r.heard.rejections())
	}
}

// Idle polls make room when nothing else can, and lose no message by it.
func TestPollMakesRoom(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p), func(o *httpapi.Options) { o.Limits.MaxConns = 2 })
	ask := "POST /mbox/recv HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n" + `{"topic":"t","wait_ms": 30000}`
	let := make(chan struct{})
	p.handover = func(context.Context) { <-let }
	poll := r.dial()
	poll.say(ask)
	<-p.waiting
	silent := []*rawConn{r.dial(), r.dial()} // the second takes the place of the first, though the poll has waited longer
	second := r.dial()
	for _, w := range silent {
		if rest := w.closed(); rest != "" {
			t.Errorf("%q", rest)
		}
	}
	second.say(ask)
	<-p.waiting
	third := r.dial() // now both are polls: the older one goes
	third.say(askHealth)
	if a := third.hear("GET"); a.status != 200 {
		t.Fatal(a.err)
	}
	if rest := poll.closed(); rest != "" {
		t.Errorf("the poll heard %q", rest)
	}
	p.put(t, mbox.Message{Topic: "t"}) // for whichever still waits
	close(let)
	if a := second.hear("POST"); a.status != 200 || len(decode[httpapi.RecvAnswer](t, a).Messages) != 1 {
		t.Errorf("%d %s %v", a.status, a.body, a.err)
	}
}
