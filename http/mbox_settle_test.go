package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	httpapi "micronode/http"
	"micronode/store/mbox"
)

// Each verdict under its receipt, and what is said when the lease is over.
func TestSettle(t *testing.T) {
	p := newPost(mbox.Options{MaxAttempts: 2, BackoffBase: time.Nanosecond, BackoffCap: time.Nanosecond})
	r := start(t, withPost(p))
	p.put(t, mbox.Message{Topic: "t", Payload: []byte("x")})

	first := r.one()
	a := r.post("/mbox/extend", `{"receipt":"`+first.Receipt+`","visibility_ms":60000,"msg_id":"`+first.MsgID+`"}`)
	p.mu.Lock()
	due := p.now.Wall.Add(time.Minute)
	p.mu.Unlock()
	if want := `{"ok":true,"deadline":"` + due.Format(time.RFC3339Nano) + `"}` + "\n"; a.body != want || a.status != 200 {
		t.Errorf("%d %s, want %s", a.status, a.body, want)
	}
	p.pass(59 * time.Second)
	if a := r.post("/mbox/nack", `{"receipt":"`+first.Receipt+`","reason":"later \"please\""}`); a.body != `{"ok":true}`+"\n" {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, path := range []string{"/mbox/ack", "/mbox/nack", "/mbox/extend"} {
		wantProblem(t, r.post(path, `{"receipt":"`+first.Receipt+`"}`), 404, "lease_lost", "receipt")
	}
	p.pass(time.Second)
	second := r.one()
	if second.Attempt != 2 || second.MsgID != first.MsgID || second.Receipt == first.Receipt {
		t.Errorf("%+v", second)
	}
	wantProblem(t, r.post("/mbox/ack", `{"receipt":"`+second.Receipt+`","msg_id":"01M85MX9X60R8R934CH2HPXGYV"}`), 404, "message", "receipt alone")
	wantProblem(t, r.post("/mbox/ack", `{"receipt":"`+first.Receipt+`"}`), 404, "lease_lost")
	if a := r.order("POST", "/mbox/ack", strings.NewReader(`{"receipt":"`+second.Receipt+`","msg_id":"`+second.MsgID+`"}`), "Content-Type", "application/json"); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	wantProblem(t, r.post("/mbox/ack", `{"receipt":"`+second.Receipt+`"}`), 404, "already_acked")
	wantProblem(t, r.post("/mbox/ack", `{"receipt":"`+mbox.Receipt{Shard: 7}.String()+`"}`), 404, "message")
}

// An array of acks has a verdict for each, as an array of sends has.
func TestAckMany(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p))
	for range 3 {
		p.put(t, mbox.Message{Topic: "t"})
	}
	got := r.recv(`{"topic":"t"}`)
	ack := func(e httpapi.Envelope) string { return `{"receipt":"` + e.Receipt + `"}` }
	a := r.post("/mbox/ack", `[`+strings.Join([]string{
		ack(got[0]), ack(got[1]), ack(got[0]), `{"receipt":"` + got[2].Receipt + `","msg_id":"` + got[1].MsgID + `"}`,
	}, ",")+`]`)
	var items []struct {
		httpapi.Problem
		OK bool `json:"ok"`
	}
	if err := json.Unmarshal([]byte(a.body), &items); err != nil || a.status != 200 || len(items) != 4 {
		t.Fatal(a.status, err, a.body)
	}
	for i, want := range []struct {
		status int
		reason string
	}{{200, ""}, {200, ""}, {404, "already_acked"}, {404, "message"}} {
		if items[i].Status != want.status || items[i].Reason != want.reason || items[i].OK != (want.status == 200) {
			t.Errorf("%d: %+v", i, items[i])
		}
	}
	if s := p.stats(); s.Acked != 2 || s.Leased != 1 {
		t.Errorf("%+v", s)
	}
	if len(p.settled) != 3 {
		t.Errorf("%d settlements reached the queue", len(p.settled))
	}
	for _, path := range []string{"/mbox/nack", "/mbox/extend"} {
		wantProblem(t, r.post(path, `[`+ack(got[2])+`]`), 400, "schema", "object")
	}
	if strings.Contains(a.body, "deadline") {
		t.Error(a.body)
	}
}
