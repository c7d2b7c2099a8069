package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	httpapi "micronode/http"
	"micronode/store"
	"micronode/store/mbox"
)

func ptr[T any](v T) *T { return &v }

var (
	keyed     = httpapi.SendRequest{Topic: "t", PayloadB64: []byte("hello"), IdemKey: "k"}
	keyless   = httpapi.SendRequest{Topic: "t", PayloadB64: []byte("hello")}
	sent      = answers(200, `{"msg_id":"01A","duplicate":false}`)
	settled   = answers(200, `{"ok":true}`)
	shardDown = refuses(503, "not_ready", "not_ready", true, 0)
	slowNode  = refuses(503, "not_ready", "deadline", true, 0)
	full      = refuses(429, "quota_exhausted", "mailbox_full", true, 0)
	acked     = refuses(404, "not_found", "already_acked", false, 0)
	leaseLost = refuses(404, "not_found", "lease_lost", false, 0)
)

// What is repeated, and what is not: a call that may have been carried out is
// repeated only where twice is as good as once.
func TestMailboxRetries(t *testing.T) {
	type call = func(context.Context, *httpapi.Client) error
	send := func(m httpapi.SendRequest) call {
		return func(ctx context.Context, c *httpapi.Client) error { _, err := c.Send(ctx, m); return err }
	}
	batch := func(items ...httpapi.SendRequest) call {
		return func(ctx context.Context, c *httpapi.Client) error { _, err := c.SendBatch(ctx, items); return err }
	}
	ack := func(ctx context.Context, c *httpapi.Client) error {
		return c.Ack(ctx, httpapi.SettleRequest{Receipt: "r"})
	}
	nack := func(ctx context.Context, c *httpapi.Client) error {
		return c.Nack(ctx, httpapi.SettleRequest{Receipt: "r"})
	}
	extend := func(ctx context.Context, c *httpapi.Client) error {
		_, err := c.Extend(ctx, httpapi.SettleRequest{Receipt: "r"})
		return err
	}
	recv := func(ctx context.Context, c *httpapi.Client) error {
		_, err := c.Recv(ctx, httpapi.RecvRequest{Topic: "t"})
		return err
	}
	purge := func(ctx context.Context, c *httpapi.Client) error {
		_, err := c.Purge(ctx, httpapi.KeepRequest{Topic: "t"})
		return err
	}
	reprocess := func(ctx context.Context, c *httpapi.Client) error {
		_, err := c.Reprocess(ctx, httpapi.KeepRequest{Topic: "t"})
		return err
	}
	topics := func(ctx context.Context, c *httpapi.Client) error {
		_, err := c.TopicsPage(ctx, "", 9)
		return err
	}
	none := answers(200, `{"messages":[]}`)
	two := answers(200, `[{"status":200,"msg_id":"a","duplicate":false},{"status":200,"msg_id":"b","duplicate":false}]`)
	tests := []struct {
		name  string
		do    call
		steps []step
		want  error
	}{
		{"send with a key, lost", send(keyed), []step{reset, refused, sent}, nil},
		{"send with a key, shard down", send(keyed), []step{shardDown, slowNode, sent}, nil},
		{"send without a key, lost", send(keyless), []step{reset}, httpapi.ErrConnLost},
		{"send without a key, not reached", send(keyless), []step{refused}, httpapi.ErrUnreachable},
		{"send without a key, shard down", send(keyless), []step{shardDown}, store.ErrNotReady},
		{"send without a key, too slow", send(keyless), []step{slowNode}, httpapi.ErrDeadline},
		{"send without a key, surely refused", send(keyless), []step{closed, busy, full, sent}, nil},
		{"send full to the end", send(keyed), []step{full, full, full, full}, mbox.ErrFull},
		{"key reused", send(keyed), []step{refuses(409, "conflict", "idempotency_key", false, 0)}, mbox.ErrKeyReused},
		{"batch with keys, lost", batch(keyed, keyed), []step{reset, two}, nil},
		{"batch, one without a key, lost", batch(keyed, keyless), []step{reset}, httpapi.ErrConnLost},
		{"ack", ack, []step{settled}, nil},
		{"ack, lost and it had worked", ack, []step{reset, acked}, nil},
		{"ack, shard down and it had worked", ack, []step{shardDown, acked}, nil},
		{"ack, lost and it had not worked", ack, []step{reset, settled}, nil},
		{"ack, lost and so is the lease", ack, []step{reset, leaseLost}, mbox.ErrLeaseLost},
		{"ack twice by the caller", ack, []step{acked}, mbox.ErrSettled},
		{"ack after a sure refusal", ack, []step{busy, acked}, mbox.ErrSettled},
		{"ack never sent before", ack, []step{refused, acked}, mbox.ErrSettled},
		{"nack, lost and it had worked", nack, []step{reset, leaseLost}, nil},
		{"nack after the lease", nack, []step{leaseLost}, mbox.ErrLeaseLost},
		{"extend, lost", extend, []step{reset, settled}, nil},
		{"extend, lost and so is the lease", extend, []step{reset, leaseLost}, mbox.ErrLeaseLost},
		{"recv, lost", recv, []step{reset}, httpapi.ErrConnLost},
		{"recv, not reached", recv, []step{refused}, httpapi.ErrUnreachable},
		{"recv, shard down", recv, []step{shardDown, none}, nil},
		{"purge, lost", purge, []step{reset}, httpapi.ErrConnLost},
		{"purge, refused for now", purge, []step{closed}, store.ErrReadOnly},
		{"reprocess, lost", reprocess, []step{reset}, httpapi.ErrConnLost},
		{"topics, lost", topics, []step{reset, answers(200, `{"topics":[]}`)}, nil},
		{"unknown message", ack, []step{refuses(404, "not_found", "message", false, 0)}, mbox.ErrUnknown},
		{"in flight", recv, []step{refuses(429, "quota_exhausted", "mailbox_inflight", true, 0), none}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, w := scripted(t, httpapi.Retry{Attempts: 4}, tt.steps...)
				err := tt.do(t.Context(), c)
				if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
					t.Errorf("err = %v, want %v", err, tt.want)
				}
				if len(w.seen) != len(tt.steps) {
					t.Errorf("%d requests, want %d: %q", len(w.seen), len(tt.steps), w.seen)
				}
				for _, seen := range w.seen {
					if seen != w.seen[0] {
						t.Errorf("repeated with other words: %q, %q", seen, w.seen[0])
					}
				}
			})
		})
	}
}

// Each call goes out and comes back as openapi.yaml has it.
func TestMailboxWire(t *testing.T) {
	at := time.Date(2026, 11, 24, 1, 2, 3, 4_000_000, time.UTC)
	const envelope = `{"msg_id":"01A","topic":"t","ts":"2026-11-24T01:02:03.004Z","idem_key":"k","payload_b64":"aGVsbG8=","payload_hash":"b3:00","attrs":{"a":"1"},"corr_id":"c","attempt":2,"receipt":"r","deadline":"2026-11-24T01:02:03.004Z","newer":[1]}`
	want := httpapi.Envelope{
		MsgID: "01A", Topic: "t", TS: at, IdemKey: "k", PayloadB64: []byte("hello"), PayloadHash: "b3:00",
		Attrs: map[string]string{"a": "1"}, CorrID: "c", Attempt: 2, Receipt: "r", Deadline: at,
	}
	dead := httpapi.DeadMessage{MsgID: "01D", Topic: "t", PayloadB64: []byte{0}, Reason: "max_attempts", LastError: "exit 1", DiedAt: at}
	const deadText = `{"msg_id":"01D","topic":"t","ts":"0001-01-01T00:00:00Z","payload_b64":"AA==","reason":"max_attempts","last_error":"exit 1","died_at":"2026-11-24T01:02:03.004Z"}`
	tests := []struct {
		name string
		do   func(context.Context, *httpapi.Client) (any, error)
		seen string
		says string
		want any
	}{
		{
			"send", func(ctx context.Context, c *httpapi.Client) (any, error) {
				return c.Send(ctx, httpapi.SendRequest{Topic: "t", Attrs: map[string]string{"a": "1"}, DelayMS: 5})
			}, `POST /mbox/send {"topic":"t","payload_b64":"","attrs":{"a":"1"},"delay_ms":5}`,
			`{"msg_id":"01A","duplicate":true}`, httpapi.SendAnswer{MsgID: "01A", Duplicate: true},
		},
		{
			"recv", func(ctx context.Context, c *httpapi.Client) (any, error) {
				return c.Recv(ctx, httpapi.RecvRequest{Topic: "t", MaxMessages: ptr(int64(3)), WaitMS: ptr(int64(1000))})
			}, `POST /mbox/recv {"topic":"t","max_messages":3,"wait_ms":1000}`,
			`{"messages":[` + envelope + `]}`, []httpapi.Envelope{want},
		},
		{
			"ack", func(ctx context.Context, c *httpapi.Client) (any, error) {
				return nil, c.Ack(ctx, httpapi.SettleRequest{Receipt: "r", MsgID: "01A"})
			}, `POST /mbox/ack {"receipt":"r","msg_id":"01A"}`, `{"ok":true}`, nil,
		},
		{
			"nack", func(ctx context.Context, c *httpapi.Client) (any, error) {
				return nil, c.Nack(ctx, httpapi.SettleRequest{Receipt: "r", Reason: "no\n"})
			}, `POST /mbox/nack {"receipt":"r","reason":"no\n"}`, `{"ok":true}`, nil,
		},
		{
			"extend", func(ctx context.Context, c *httpapi.Client) (any, error) {
				return c.Extend(ctx, httpapi.SettleRequest{Receipt: "r", VisibilityMS: ptr(int64(250))})
			}, `POST /mbox/extend {"receipt":"r","visibility_ms":250}`, `{"ok":true,"deadline":"2026-11-24T01:02:03.004Z"}`, at,
		},
		{
			"peek", func(ctx context.Context, c *httpapi.Client) (any, error) { return c.Peek(ctx, "a/b:c", 2) },
			`GET /mbox/peek?limit=2&topic=a%2Fb%3Ac`, `{"messages":[{"msg_id":"01A","state":"delayed","due_ms":7}]}`,
			[]httpapi.PeekedMessage{{MsgID: "01A", State: "delayed", DueMS: 7}},
		},
		{
			"one dead letter", func(ctx context.Context, c *httpapi.Client) (any, error) { return c.DeadLetter(ctx, "t", "01D") },
			`GET /mbox/dlq?msg_id=01D&topic=t`, `{"topic":"t","messages":[` + deadText + `],"dlq_profile":"ephemeral"}`, dead,
		},
		{
			"reprocess", func(ctx context.Context, c *httpapi.Client) (any, error) {
				return c.Reprocess(ctx, httpapi.KeepRequest{Topic: "t", Limit: 4})
			}, `POST /mbox/dlq/reprocess {"topic":"t","limit":4}`, `{"moved":4}`, 4,
		},
		{
			"purge dead", func(ctx context.Context, c *httpapi.Client) (any, error) {
				return c.PurgeDead(ctx, httpapi.KeepRequest{Topic: "t", Limit: 1, MsgID: "01D"})
			}, `POST /mbox/dlq/purge {"topic":"t","limit":1,"msg_id":"01D"}`, `{"purged":1}`, 1,
		},
		{
			"purge", func(ctx context.Context, c *httpapi.Client) (any, error) {
				return c.Purge(ctx, httpapi.KeepRequest{Topic: "t", Limit: 2})
			}, `POST /mbox/purge {"topic":"t","limit":2}`, `{"purged":2}`, 2,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, w := scripted(t, httpapi.Retry{}, answers(200, tt.says))
			got, err := tt.do(t.Context(), c)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%+v, %v; want %+v", got, err, tt.want)
			}
			seen := strings.ReplaceAll(w.seen[0], "  ", " ")
			if body := strings.Index(seen, "{"); body > 0 && seen[body-1] != ' ' {
				seen = seen[:body] + " " + seen[body:]
			}
			if seen != tt.seen {
				t.Errorf("asked %s\n want %s", seen, tt.seen)
			}
		})
	}
}

// Each item of a batch has its own outcome.
func TestMailboxBatches(t *testing.T) {
	problem := func(status int, code, reason string) string {
		return fmt.Sprintf(`{"type":"about:blank","title":"T","status":%d,"detail":"D","code":%q,"reason":%q,"retryable":false,"corr_id":"c"}`, status, code, reason)
	}
	c, w := scripted(t, httpapi.Retry{Attempts: 2},
		answers(200, `[{"status":200,"msg_id":"01A","duplicate":true},`+problem(429, "quota_exhausted", "mailbox_full")+`]`),
		answers(200, `[{"status":200,"ok":true},`+problem(404, "not_found", "already_acked")+`]`),
		reset,
		answers(200, `[`+problem(404, "not_found", "lease_lost")+`,`+problem(404, "not_found", "already_acked")+`]`),
		answers(200, `[{"status":200,"ok":true}]`),
		answers(200, `[{"status":200,"msg_id":"01A","duplicate":true}]`),
	)
	sends, err := c.SendBatch(t.Context(), []httpapi.SendRequest{keyless, keyless})
	if err != nil || sends[0].Err != nil || sends[0].Answer.MsgID != "01A" || !sends[0].Answer.Duplicate || !errors.Is(sends[1].Err, mbox.ErrFull) || sends[1].Answer.MsgID != "" {
		t.Errorf("%+v, %v", sends, err)
	}
	receipts := []httpapi.SettleRequest{{Receipt: "r"}, {Receipt: "s"}}
	acks, err := c.AckBatch(t.Context(), receipts)
	if err != nil || acks[0].Err != nil || !errors.Is(acks[1].Err, mbox.ErrSettled) {
		t.Errorf("%+v, %v", acks, err)
	}
	acks, err = c.AckBatch(t.Context(), receipts) // its first answer is lost
	if err != nil || !errors.Is(acks[0].Err, mbox.ErrLeaseLost) || acks[1].Err != nil {
		t.Errorf("%+v, %v", acks, err)
	}
	if want := `POST /mbox/ack [{"receipt":"r"},{"receipt":"s"}]`; w.seen[1] != want {
		t.Errorf("%s", w.seen[1])
	}
	if _, err := c.AckBatch(t.Context(), receipts); err == nil || !strings.Contains(err.Error(), "1 verdicts came for a batch of 2") {
		t.Errorf("%v", err)
	}
	if _, err := c.SendBatch(t.Context(), []httpapi.SendRequest{keyless, keyless}); err == nil {
		t.Error("one verdict for two messages passed")
	}
}

// Pages are followed to their end, and a cursor that stands still is an error.
func TestMailboxPages(t *testing.T) {
	c, w := scripted(t, httpapi.Retry{},
		answers(200, `{"topics":[{"topic":"a"},{"topic":"b"}],"cursor":"b"}`), answers(200, `{"topics":[{"topic":"c"}]}`),
		answers(200, `{"messages":[{"msg_id":"1"}],"cursor":"1"}`), answers(200, `{"messages":[{"msg_id":"2"}],"cursor":"1"}`),
		answers(200, `{"topics":[{"topic":"a"},{"topic":"b"}],"cursor":"b"}`),
	)
	var names []string
	for topic, err := range c.Topics(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, topic.Topic)
	}
	if !slices.Equal(names, []string{"a", "b", "c"}) {
		t.Errorf("%q", names)
	}
	var ids []string
	var last error
	for dead, err := range c.DeadLetters(t.Context(), "t") {
		if last = err; err == nil {
			ids = append(ids, dead.MsgID)
		}
	}
	if !slices.Equal(ids, []string{"1", "2"}) || last == nil {
		t.Errorf("%q, %v", ids, last)
	}
	for range c.Topics(t.Context()) {
		break // a reader that has enough
	}
	if want := []string{
		"GET /mbox/topics?limit=1000", "GET /mbox/topics?cursor=b&limit=1000",
		"GET /mbox/dlq?limit=256&topic=t", "GET /mbox/dlq?cursor=1&limit=256&topic=t", "GET /mbox/topics?limit=1000",
	}; !slices.Equal(w.seen, want) {
		t.Errorf("asked %q", w.seen)
	}
}

// A stream yields whole lines, and tells its end from a break.
func TestMailboxStream(t *testing.T) {
	const line = `{"msg_id":"01A","payload_b64":"aGVsbG8="}` + "\n"
	long := `{"msg_id":"01B","payload_b64":"` + strings.Repeat("aGVs", 1<<18) + `"}` + "\n"
	for _, tt := range []struct {
		name string
		step step
		ids  string
		ends bool // without an error
		want error
	}{
		{"ended by the node", answers(200, line+"\n"+long), "01A 01B", true, nil},
		{"broken between lines", breaks(200, line+line, len(line)), "01A", false, httpapi.ErrConnLost},
		{"broken in a line", breaks(200, line+line, len(line)+10), "01A", false, httpapi.ErrConnLost},
		{"cut in a line", answers(200, line+line[:10]), "01A", false, httpapi.ErrConnLost},
		{"not an envelope", answers(200, line+"[]\n"), "01A", false, nil},
		{"refused", full, "", false, mbox.ErrFull},
		{"lost", reset, "", false, httpapi.ErrConnLost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, w := scripted(t, httpapi.Retry{}, tt.step)
			var ids []string
			var last error
			for e, err := range c.RecvStream(t.Context(), httpapi.RecvRequest{Topic: "t", MaxMessages: ptr(int64(2))}) {
				if last = err; err == nil {
					ids = append(ids, e.MsgID)
				}
			}
			if got := strings.Join(ids, " "); got != tt.ids || (last == nil) != tt.ends || tt.want != nil && !errors.Is(last, tt.want) {
				t.Errorf("%q, %v; want %q, %v", got, last, tt.ids, tt.want)
			}
			if w.seen[0] != `POST /mbox/recv/stream {"topic":"t","max_messages":2}` {
				t.Errorf("asked %s", w.seen[0])
			}
		})
	}
}

// A poll may last longer than the answer timeout, but not for ever; other calls
// keep to it.
func TestMailboxPollOutlastsAnswerTimeout(t *testing.T) {
	for _, tt := range []struct {
		name   string
		waitMS int64
		after  time.Duration
		want   error
	}{
		{"a poll that is answered at its end", 200, 150 * time.Millisecond, nil},
		{"a poll that is never answered", 50, -1, httpapi.ErrConnLost},
		{"no poll", 0, -1, httpapi.ErrConnLost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				var answer <-chan time.Time
				if tt.after >= 0 {
					answer = time.After(tt.after)
				}
				select {
				case <-answer:
					_, _ = io.WriteString(w, `{"messages":[]}`)
				case <-r.Context().Done():
				}
			}))
			defer srv.Close()
			c, err := httpapi.NewClient(httpapi.ClientOptions{Addr: srv.Listener.Addr().String(), AnswerTimeout: 50 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, err = c.Recv(t.Context(), httpapi.RecvRequest{Topic: "t", WaitMS: ptr(tt.waitMS)})
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("err = %v, want %v", err, tt.want)
			}
		})
	}
}

// Answers that no node gives are errors, and text that is no UTF-8 is not sent.
func TestMailboxStrangeAnswers(t *testing.T) {
	for _, body := range []string{"<html>", `[]`, `{"messages":[{"msg_id":1}]}`, `{"messages":[{"payload_b64":"*"}]}`, ""} {
		c, _ := scripted(t, httpapi.Retry{}, answers(200, body))
		if got, err := c.Recv(t.Context(), httpapi.RecvRequest{Topic: "t"}); err == nil || len(got) > 0 && got[0].MsgID != "" {
			t.Errorf("%q: %+v, %v", body, got, err)
		}
	}
	c, _ := scripted(t, httpapi.Retry{}, answers(200, `{"topic":"t","messages":[]}`))
	if _, err := c.DeadLetter(t.Context(), "t", "01D"); err == nil {
		t.Error("no dead letter passed for one")
	}
	c, _ = scripted(t, httpapi.Retry{})
	if _, err := c.Send(t.Context(), httpapi.SendRequest{Topic: "t", Attrs: map[string]string{"a": "\xff"}}); !errors.Is(err, httpapi.ErrBadRequest) {
		t.Errorf("%v", err)
	}
	c, _ = scripted(t, httpapi.Retry{Attempts: 3}, breaks(200, `{"messages":[{"msg_id":"01A"}]}`, 9))
	if _, err := c.Recv(t.Context(), httpapi.RecvRequest{Topic: "t"}); !errors.Is(err, httpapi.ErrConnLost) {
		t.Errorf("%v", err)
	}
}
