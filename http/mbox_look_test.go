package httpapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	httpapi "micronode/http"
	"micronode/store/mbox"
)

// deadPost has one dead letter for each payload, in order of their deaths.
func deadPost(t *testing.T, payloads ...int) *post {
	t.Helper()
	p := newPost(mbox.Options{MaxAttempts: 1})
	for _, n := range payloads {
		p.put(t, mbox.Message{Topic: "t", Payload: make([]byte, n), Key: fmt.Sprint(n), CorrID: "c"})
	}
	for range payloads {
		got, err := p.q.Recv(p.now, mbox.Want{Topic: "t", Max: 1})
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		if _, err := p.q.Settle(p.now, mbox.Settlement{Verdict: mbox.Nack, Receipt: got[0].Receipt, Reason: "exit 1"}); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestTopics(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p))
	if a := r.ask("GET", "/mbox/topics", nil); a.body != `{"topics":[]}`+"\n" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %v", a.body, a.header)
	}
	for _, topic := range []string{"b", "a", "c/d"} {
		p.put(t, mbox.Message{Topic: topic, Payload: []byte("xyz")})
	}
	p.put(t, mbox.Message{Topic: "a", Delay: time.Hour})
	p.pass(1500 * time.Millisecond)
	r.recv(`{"topic":"b"}`)
	var names []string
	for cursor := ""; ; {
		page := decode[httpapi.TopicList](t, r.ask("GET", "/mbox/topics?limit=2&cursor="+cursor, nil))
		for _, topic := range page.Topics {
			names = append(names, fmt.Sprintf("%s %d %d %d %d %d %d", topic.Topic, topic.Ready, topic.Delayed, topic.Leased, topic.Dead, topic.Bytes, topic.OldestMS))
		}
		if cursor = strings.ReplaceAll(page.Cursor, "/", "%2F"); cursor == "" {
			break
		}
	}
	if got := strings.Join(names, "; "); got != "a 1 1 0 0 3 1500; b 0 0 1 0 3 0; c/d 1 0 0 0 3 1500" {
		t.Error(got)
	}
	if page := decode[httpapi.TopicList](t, r.order("GET", "/mbox/topics?limit=3", nil)); len(page.Topics) != 3 || page.Cursor != "" {
		t.Errorf("%+v", page)
	}
	for _, q := range []string{"limit=0", "limit=1001", "limit=x", "limit=", "cursor=no%20topic", "topic=a", "limit=1&limit=1"} {
		wantProblem(t, r.ask("GET", "/mbox/topics?"+q, nil), 400, "schema")
	}
}

func TestPeek(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p))
	for i := range 12 {
		p.put(t, mbox.Message{Topic: "t", Payload: []byte{byte(i)}})
	}
	p.put(t, mbox.Message{Topic: "t", Delay: 1234 * time.Millisecond})
	leased := r.one()
	page := decode[httpapi.PeekAnswer](t, r.ask("GET", "/mbox/peek?topic=t", nil))
	if len(page.Messages) != 10 || page.Messages[0].PayloadB64[0] != 1 || page.Messages[0].State != "ready" || page.Messages[0].Attempt != 0 {
		t.Errorf("%+v", page)
	}
	page = decode[httpapi.PeekAnswer](t, r.ask("GET", "/mbox/peek?topic=t&limit=256", nil))
	if n := len(page.Messages); n != 13 {
		t.Fatal(n)
	}
	if m := page.Messages[11]; m.State != "delayed" || m.DueMS != 1234 {
		t.Errorf("%+v", m)
	}
	if m := page.Messages[12]; m.State != "leased" || m.MsgID != leased.MsgID || m.Attempt != 1 || m.DueMS != 5000 {
		t.Errorf("%+v", m)
	}
	if s := p.stats(); s.Delivered != 1 || s.Ready != 11 {
		t.Errorf("%+v", s)
	}
	for range 3 {
		p.put(t, mbox.Message{Topic: "big", Payload: make([]byte, 300<<10)})
	}
	if page := decode[httpapi.PeekAnswer](t, r.ask("GET", "/mbox/peek?topic=big", nil)); len(page.Messages) != 2 {
		t.Errorf("%d messages of 300 KiB on a page", len(page.Messages))
	}
	if a := r.ask("GET", "/mbox/peek?topic=none", nil); a.body != `{"messages":[]}`+"\n" {
		t.Error(a.body)
	}
	wantProblem(t, r.ask("GET", "/mbox/peek", nil), 400, "message", "topic")
	wantProblem(t, r.ask("GET", "/mbox/peek?topic=a%20b", nil), 400, "message", "topic")
	wantProblem(t, r.ask("GET", "/mbox/peek?topic=a&limit=257", nil), 400, "schema", "256")
	wantProblem(t, r.ask("GET", "/mbox/peek?topic=a&msg_id=1", nil), 400, "schema", "topic, limit")
}

func TestDeadLetters(t *testing.T) {
	p := deadPost(t, 1, 2, 3, 300<<10, 300<<10+1, 4, 5)
	r := start(t, withPost(p))
	var keys []string
	var ids []string
	pages := 0
	for cursor := ""; ; pages++ {
		page := decode[httpapi.DLQAnswer](t, r.ask("GET", "/mbox/dlq?topic=t&limit=6&cursor="+cursor, nil))
		if page.Topic != "t" || page.Profile != "ephemeral" {
			t.Errorf("%+v", page)
		}
		for _, m := range page.Messages {
			keys, ids = append(keys, m.IdemKey), append(ids, m.MsgID)
			if m.Reason != "max_attempts" || m.LastError != "exit 1" || m.Attempt != 1 || m.CorrID != "c" || m.DiedAt.IsZero() {
				t.Errorf("%+v", m)
			}
		}
		if cursor = page.Cursor; cursor == "" {
			break
		}
		if cursor != ids[len(ids)-1] {
			t.Errorf("cursor %s behind %s", cursor, ids[len(ids)-1])
		}
	}
	if got := strings.Join(keys, " "); got != "1 2 3 307200 307201 4 5" || pages != 1 {
		t.Errorf("%s on %d pages", got, pages+1)
	}
	if page := decode[httpapi.DLQAnswer](t, r.ask("GET", "/mbox/dlq?topic=t&limit=2&cursor="+ids[4], nil)); len(page.Messages) != 2 || page.Cursor != "" {
		t.Errorf("%d, cursor %q", len(page.Messages), page.Cursor)
	}
	if page := decode[httpapi.DLQAnswer](t, r.ask("GET", "/mbox/dlq?topic=t&msg_id="+ids[2], nil)); len(page.Messages) != 1 || page.Messages[0].MsgID != ids[2] || page.Cursor != "" {
		t.Errorf("%+v", page)
	}
	wantProblem(t, r.ask("GET", "/mbox/dlq?topic=t&msg_id=01M85MX9X60R8R934CH2HPXGYV", nil), 404, "message")
	for _, q := range []string{"msg_id=", "msg_id=x", "msg_id=00000000000000000000000000", "cursor=x", "limit=0", "limit=257", "limit=1&msg_id=" + ids[0]} {
		wantProblem(t, r.ask("GET", "/mbox/dlq?topic=t&"+q, nil), 400, "schema")
	}
	wantProblem(t, r.ask("GET", "/mbox/dlq", nil), 400, "message", "topic")
	if a := r.ask("GET", "/mbox/dlq?topic=none", nil); a.body != `{"topic":"none","messages":[],"dlq_profile":"ephemeral"}`+"\n" {
		t.Error(a.body)
	}
}

func TestKeep(t *testing.T) {
	p := deadPost(t, 1, 2, 3, 4, 5, 6)
	r := start(t, withPost(p))
	ids := func() (all []string) {
		for _, m := range decode[httpapi.DLQAnswer](t, r.ask("GET", "/mbox/dlq?topic=t", nil)).Messages {
			all = append(all, m.MsgID)
		}
		return all
	}
	dead := ids()
	for _, tt := range []struct{ path, body, want string }{
		{"/mbox/dlq/reprocess", `{"topic":"t","limit":2}`, `{"moved":2}`},
		{"/mbox/dlq/reprocess", `{"topic":"t","msg_id":"` + dead[5] + `"}`, `{"moved":1}`},
		{"/mbox/dlq/purge", `{"topic":"t","limit":1}`, `{"purged":1}`},
		{"/mbox/dlq/purge", `{"topic":"t","msg_id":"` + dead[4] + `"}`, `{"purged":1}`},
		{"/mbox/dlq/purge", `{"topic":"none"}`, `{"purged":0}`},
		{"/mbox/purge", `{"topic":"t","limit":2}`, `{"purged":2}`},
		{"/mbox/purge", `{"topic":"t","limit":0}`, `{"purged":1}`},
		{"/mbox/dlq/reprocess", `{"topic":"t"}`, `{"moved":1}`},
	} {
		if a := r.post(tt.path, tt.body); a.status != 200 || strings.TrimSpace(a.body) != tt.want {
			t.Errorf("%s %s: %d %s", tt.path, tt.body, a.status, a.body)
		}
	}
	if s := p.stats(); s.Ready != 1 || s.Dead != 0 {
		t.Errorf("%+v", s)
	}
	for _, path := range []string{"/mbox/dlq/reprocess", "/mbox/dlq/purge"} {
		wantProblem(t, r.post(path, `{"topic":"t","msg_id":"`+dead[0]+`"}`), 404, "message")
	}
}

// No id that is not one ever means all of them.
func TestKeepMeansOne(t *testing.T) {
	p := deadPost(t, 1, 2)
	r := start(t, withPost(p))
	for _, id := range []string{"", "x", "00000000000000000000000000", "80000000000000000000000000"} {
		body, _ := json.Marshal(map[string]string{"topic": "t", "msg_id": id})
		for _, path := range []string{"/mbox/dlq/reprocess", "/mbox/dlq/purge"} {
			wantProblem(t, r.post(path, string(body)), 400, "schema", "msg_id")
		}
	}
	for _, path := range []string{"/mbox/dlq/reprocess", "/mbox/dlq/purge"} {
		wantProblem(t, r.post(path, `{"topic":"t","limit":1,"msg_id":"01M85MX9X60R8R934CH2HPXGYV"}`), 400, "schema", "limit")
	}
	wantProblem(t, r.post("/mbox/purge", `{"topic":"t","msg_id":"01M85MX9X60R8R934CH2HPXGYV"}`), 400, "schema", "topic, limit")
	if s := p.stats(); s.Dead != 2 {
		t.Errorf("%+v", s)
	}
}
