package httpapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	httpapi "micronode/http"
	"micronode/store"
	"micronode/store/mbox"
)

const hello64 = "aGVsbG8gd29ybGQ=" // hello world

// A message arrives as it was sent, and everything about it is told.
func TestSendRecvAck(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p))
	a := r.post("/mbox/send", `{"topic":"t","payload_b64":"`+hello64+`","attrs":{"n":"v","":""}}`)
	wantProblem(t, a, 400, "message", "name of an attr")
	a = r.post("/mbox/send", `{"topic":"t","payload_b64":"`+hello64+`","attrs":{"n\"":"v\u0000é"},"idem_key":"k"}`, "X-Corr-ID", "c-1")
	if a.status != 200 || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v", a.status, a.header)
	}
	sent := decode[httpapi.SendAnswer](t, a)
	if len(sent.MsgID) != 26 || sent.Duplicate || sent.Status != 0 {
		t.Errorf("%+v", sent)
	}
	a = r.post("/mbox/recv", `{"topic":"t"}`)
	p.mu.Lock()
	due := p.now.Wall.Add(5 * time.Second)
	p.mu.Unlock()
	got := decode[httpapi.RecvAnswer](t, a).Messages
	if len(got) != 1 {
		t.Fatal(a.body)
	}
	want := fmt.Sprintf(`{"messages":[{"msg_id":%q,"topic":"t","ts":"2026-11-24T02:00:00.123456789Z","idem_key":"k","payload_b64":%q,"payload_hash":%q,`+
		`"attrs":{"n\"":"v\u0000é"},"corr_id":"c-1","attempt":1,"receipt":%q,"deadline":%q}]}`+"\n",
		sent.MsgID, hello64, helloText, got[0].Receipt, due.Format(time.RFC3339Nano))
	if a.body != want {
		t.Errorf("got  %s\nwant %s", a.body, want)
	}
	for range 2 { // and never again
		if a := r.post("/mbox/recv", `{"topic":"t"}`); a.body != `{"messages":[]}`+"\n" {
			t.Error(a.body)
		}
	}
	if a := r.post("/mbox/ack", `{"receipt":"`+got[0].Receipt+`"}`); a.body != `{"ok":true}`+"\n" || a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if s := p.stats(); s.Acked != 1 || s.Ready+s.Leased+s.Delayed+s.Dead != 0 {
		t.Errorf("%+v", s)
	}
}

// The same on the operator socket, without a content type, and chunked.
func TestSendOtherwise(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p))
	body := `{"topic":"t","payload_b64":"` + hello64 + `"}`
	if a := r.order("POST", "/mbox/send", strings.NewReader(body), "Content-Type", "application/json"); a.status != 200 {
		t.Errorf("on the socket: %d %s", a.status, a.body)
	}
	if a := r.ask("POST", "/mbox/send", streamed(body), "Content-Type", "application/json; charset=utf-8"); a.status != 200 {
		t.Errorf("chunked: %d %s", a.status, a.body)
	}
	w := r.dial()
	w.say("POST /mbox/send HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body)
	if a := w.hear("POST"); a.status != 200 {
		t.Errorf("without a type: %d %s", a.status, a.body)
	}
	if n := len(r.recv(`{"topic":"t"}`)); n != 3 {
		t.Errorf("%d messages", n)
	}
}

func TestIdempotency(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p))
	body := func(payload, key string) string {
		if key != "" {
			key = `,"idem_key":"` + key + `"`
		}
		return `{"topic":"t","payload_b64":"` + payload + `"` + key + `}`
	}
	first := decode[httpapi.SendAnswer](t, r.post("/mbox/send", body(hello64, "k 1")))
	for name, a := range map[string]answer{
		"in the body":      r.post("/mbox/send", body(hello64, "k 1")),
		"in the header":    r.post("/mbox/send", body(hello64, ""), "Idempotency-Key", "k 1"),
		"in quotes":        r.post("/mbox/send", body(hello64, ""), "Idempotency-Key", `"k 1"`),
		"in both":          r.post("/mbox/send", body(hello64, "k 1"), "Idempotency-Key", `"k 1"`),
		"in an array":      r.post("/mbox/send", `[`+body(hello64, "k 1")+`]`),
		"on a second line": r.order("POST", "/mbox/send", strings.NewReader(body(hello64, "k 1")), "Content-Type", "application/json"),
	} {
		if !strings.Contains(a.body, first.MsgID) || !strings.Contains(a.body, `"duplicate":true`) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	wantProblem(t, r.post("/mbox/send", body("", "k 1")), 409, "idempotency_key", "new key")
	wantProblem(t, r.post("/mbox/send", body(hello64, "k 1"), "Idempotency-Key", "k 2"), 400, "schema", "differ")
	wantProblem(t, r.post("/mbox/send", body(hello64, ""), "Idempotency-Key", ""), 400, "schema", "empty")
	wantProblem(t, r.post("/mbox/send", body(hello64, ""), "Idempotency-Key", `""`), 400, "schema", "empty")
	wantProblem(t, r.post("/mbox/send", body(hello64, ""), "Idempotency-Key", strings.Repeat("x", 129)), 400, "message", "1 to 128")
	wantProblem(t, r.post("/mbox/send", `[`+body(hello64, "")+`]`, "Idempotency-Key", "k"), 400, "schema", "array")
	wantProblem(t, r.post("/mbox/send", body(hello64, ""), "Idempotency-Key", "k 1", "Idempotency-Key", "k 1"), 400, "schema", "Idempotency-Key")
	if s := p.stats(); s.Enqueued != 1 || s.Duplicates != 6 {
		t.Errorf("%+v", s)
	}
}

func TestKeyRequired(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p), func(o *httpapi.Options) { o.Ports.Mailbox.RequireKey = true })
	wantProblem(t, r.post("/mbox/send", `{"topic":"t","payload_b64":""}`), 400, "idempotency_key", "Idempotency-Key")
	if a := r.post("/mbox/send", `{"topic":"t","payload_b64":""}`, "Idempotency-Key", "k"); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if len(p.sends) != 1 {
		t.Errorf("%d sends reached the queue", len(p.sends))
	}
}

// One verdict for each, in order; what is wrong with one does not stop the others.
func TestSendMany(t *testing.T) {
	p := newPost(mbox.Options{Capacity: 3})
	r := start(t, withPost(p))
	good := func(key string) string { return `{"topic":"t","payload_b64":"","idem_key":"` + key + `"}` }
	body := `[` + strings.Join([]string{
		good("a"), `{"topic":"no good","payload_b64":""}`, good("a"), `{"topic":"t","payload_b64":"AA==","idem_key":"a"}`,
		`{"topic":"t","payload_b64":"?"}`, `{"topic":"t"}`, good("b"), `{"topic":"t","payload_b64":"","delay_ms":-1}`, good("c"), good("d"),
	}, ",") + `]`
	c := unchecked("tcp", r.addr) // the document does not allow such items
	defer c.CloseIdleConnections()
	a := send(t, c, "POST", "http://"+r.addr+"/mbox/send", strings.NewReader(body), "Content-Type", "application/json", "X-Corr-ID", "batch")
	var items []struct {
		httpapi.Problem
		MsgID     string `json:"msg_id"`
		Duplicate bool   `json:"duplicate"`
	}
	if err := json.Unmarshal([]byte(a.body), &items); err != nil || a.status != 200 {
		t.Fatal(a.status, err, a.body)
	}
	var got []string
	for _, item := range items {
		got = append(got, fmt.Sprintf("%d %s %v", item.Status, item.Reason, item.Duplicate))
		if (item.Status == 200) != (len(item.MsgID) == 26) || item.Status != 200 && (item.Detail == "" || item.CorrID != "batch") {
			t.Errorf("%+v", item)
		}
	}
	want := []string{
		"200  false", "400 message false", "200  true", "409 idempotency_key false", "400 schema false", "400 schema false",
		"200  false", "400 schema false", "200  false", "429 mailbox_full false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if n := items[9].RetryAfterMS; n < 1000 || !items[9].Retryable {
		t.Errorf("%+v", items[9].Problem)
	}
	if len(p.sends) != 1 || len(p.sends[0]) != 6 {
		t.Errorf("%d calls for one batch", len(p.sends))
	}
	if n := len(r.heard.rejections()); n != 5 { // a conflict is no rejection
		t.Errorf("%v counted", r.heard.rejections())
	}
	wantProblem(t, r.post("/mbox/send", `[]`), 400, "schema", "1 to 256")
	many := strings.Repeat(`{"topic":"x","payload_b64":""},`, 257)
	wantProblem(t, r.post("/mbox/send", `[`+many[:len(many)-1]+`]`), 400, "schema", "256")
}

// What the queue answers, in the words of the wire.
func TestMailboxErrors(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p))
	p.put(t, mbox.Message{Topic: "t"})
	receipt := r.one().Receipt
	for _, tt := range []struct {
		err    error
		status int
		reason string
	}{
		{mbox.ErrInvalid, 400, "message"},
		{mbox.ErrBadReceipt, 400, "receipt"},
		{mbox.ErrKeyNeeded, 400, "idempotency_key"},
		{mbox.ErrUnknown, 404, "message"},
		{mbox.ErrLeaseLost, 404, "lease_lost"},
		{mbox.ErrSettled, 404, "already_acked"},
		{mbox.ErrKeyReused, 409, "idempotency_key"},
		{mbox.ErrFull, 429, "mailbox_full"},
		{mbox.ErrBytes, 429, "mailbox_bytes"},
		{mbox.ErrInflight, 429, "mailbox_inflight"},
		{httpapi.ErrMailboxBusy, 429, "mailbox_busy"},
		{httpapi.ErrDeadline, 503, "deadline"},
		{store.ErrNotReady, 503, "not_ready"},
		{store.ErrReadOnly, 503, "read_only"},
		{errors.New("secret"), 500, "internal"},
	} {
		p.mu.Lock()
		p.fail = fmt.Errorf("shard 3: %w", tt.err)
		p.mu.Unlock()
		for path, body := range map[string]string{
			"/mbox/send": `{"topic":"t","payload_b64":""}`, "/mbox/recv": `{"topic":"t"}`, "/mbox/recv/stream": `{"topic":"t"}`,
			"/mbox/ack": `{"receipt":"` + receipt + `"}`, "/mbox/nack": `{"receipt":"` + receipt + `"}`, "/mbox/extend": `{"receipt":"` + receipt + `"}`,
			"/mbox/purge": `{"topic":"t"}`, "/mbox/dlq/purge": `{"topic":"t"}`, "/mbox/dlq/reprocess": `{"topic":"t"}`,
		} {
			if tt.status == 409 && path != "/mbox/send" {
				continue
			}
			a := r.post(path, body)
			pr := a.problem(t)
			after := a.header.Get("Retry-After")
			busy := tt.status == 429 || tt.status == 503
			if a.status != tt.status || pr.Reason != tt.reason || pr.Retryable != busy || (after != "") != busy || strings.Contains(a.body, "secret") || strings.Contains(a.body, "shard 3") {
				t.Errorf("%s for %v: %d %+v, Retry-After %q", path, tt.err, a.status, pr, after)
			}
		}
	}
}
