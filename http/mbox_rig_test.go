package httpapi_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	httpapi "micronode/http"
	"micronode/store"
	"micronode/store/mbox"
)

// post is a real queue behind a lock, under a clock that the test moves.
type post struct {
	mu       sync.Mutex
	q        *mbox.Queue
	now      mbox.Now
	changed  chan struct{}     // closed and made anew when something may have become ready
	waiting  chan struct{}     // a token for each Recv that begins to wait
	settled  []mbox.Settlement // all that was asked for
	sends    [][]mbox.Message
	fail     error                 // answers everything, when set
	handover func(context.Context) // called with what a waiting Recv has leased, before it returns
}

func newPost(o mbox.Options) *post {
	o.Seed = [32]byte{1}
	return &post{
		q: mbox.New(o), now: mbox.Now{Mono: time.Hour, Wall: time.Date(2026, 11, 24, 2, 0, 0, 123456789, time.UTC)},
		changed: make(chan struct{}), waiting: make(chan struct{}, 1024),
	}
}

// withPost gives the door a mailbox.
func withPost(p *post) func(*httpapi.Options) {
	return func(o *httpapi.Options) {
		o.Ports.Mailbox = httpapi.Mailbox{Queue: p, View: p, Keep: p, Profile: "ephemeral"}
	}
}

// stir is called with mu held.
func (p *post) stir() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// pass moves both clocks.
func (p *post) pass(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.Mono += d
	p.now.Wall = p.now.Wall.Add(d)
	p.stir()
}

func (p *post) stats() mbox.Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.q.Stats()
}

// verdicts returns the verdicts that were asked for.
func (p *post) verdicts() (all []mbox.Verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.settled {
		all = append(all, s.Verdict)
	}
	return all
}

func (p *post) Send(ctx context.Context, items []mbox.Message) []httpapi.SendVerdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sends = append(p.sends, items)
	verdicts := make([]httpapi.SendVerdict, len(items))
	for i, m := range items {
		if verdicts[i].Err = p.fail; p.fail == nil {
			verdicts[i].Sent, verdicts[i].Err = p.q.Send(p.now, m)
		}
	}
	p.stir()
	return verdicts
}

func (p *post) Settle(ctx context.Context, items []mbox.Settlement) []httpapi.SettleVerdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settled = append(p.settled, items...)
	verdicts := make([]httpapi.SettleVerdict, len(items))
	for i, s := range items {
		if verdicts[i].Err = p.fail; p.fail == nil {
			verdicts[i].Deadline, verdicts[i].Err = p.q.Settle(p.now, s)
		}
	}
	p.stir()
	return verdicts
}

func (p *post) Recv(ctx, patience context.Context, w mbox.Want) ([]mbox.Delivery, error) {
	for {
		p.mu.Lock()
		got, err := p.q.Recv(p.now, w)
		if p.fail != nil {
			got, err = nil, p.fail
		}
		changed, handover := p.changed, p.handover
		p.mu.Unlock()
		if len(got) > 0 && patience != nil && handover != nil {
			handover(ctx)
		}
		if len(got) > 0 || err != nil || patience == nil {
			return got, err
		}
		p.waiting <- struct{}{}
		select {
		case <-changed:
		case <-patience.Done():
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (p *post) Topics(after string, limit int) []mbox.Topic {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.DeleteFunc(p.q.Topics(p.now), func(t mbox.Topic) bool { return t.Name <= after })
	slices.SortFunc(all, func(a, b mbox.Topic) int { return strings.Compare(a.Name, b.Name) })
	return all[:min(limit, len(all))]
}

func (p *post) Peek(topic string, limit int) []mbox.Waiting {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.q.Peek(p.now, topic, limit)
}

func (p *post) Dead(topic string, q httpapi.DeadQuery) ([]mbox.DeadLetter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q.Only != (mbox.ID{}) {
		one, err := p.q.DeadOne(topic, q.Only)
		if err != nil {
			return nil, err
		}
		return []mbox.DeadLetter{one}, nil
	}
	return p.q.Dead(topic, q.After, q.Limit), nil
}

func (p *post) Reprocess(_ context.Context, k httpapi.Keep) (int, error) {
	return p.keep(func() (int, error) { return p.q.Reprocess(p.now, k.Topic, k.Limit, k.Only) })
}

func (p *post) PurgeDead(_ context.Context, k httpapi.Keep) (int, error) {
	return p.keep(func() (int, error) { return p.q.PurgeDead(p.now, k.Topic, k.Limit, k.Only) })
}

func (p *post) Purge(_ context.Context, k httpapi.Keep) (int, error) {
	return p.keep(func() (int, error) { return p.q.Purge(p.now, k.Topic, k.Limit), nil })
}

func (p *post) keep(do func() (int, error)) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return 0, p.fail
	}
	defer p.stir()
	return do()
}

// put sends a message past the door.
func (p *post) put(t testing.TB, m mbox.Message) mbox.ID {
	t.Helper()
	m.Hash = store.Sum(m.Payload)
	v := p.Send(context.Background(), []mbox.Message{m})
	if v[0].Err != nil {
		t.Fatal(v[0].Err)
	}
	return v[0].Sent.ID
}

// post posts a body of JSON to the mailbox.
func (r *rig) post(path, body string, headers ...string) answer {
	r.t.Helper()
	return r.ask("POST", path, strings.NewReader(body), append([]string{"Content-Type", "application/json"}, headers...)...)
}

// recv receives and returns the messages.
func (r *rig) recv(body string) []httpapi.Envelope {
	r.t.Helper()
	return decode[httpapi.RecvAnswer](r.t, r.post("/mbox/recv", body)).Messages
}

// one receives exactly one message of topic t.
func (r *rig) one() httpapi.Envelope {
	r.t.Helper()
	got := r.recv(`{"topic":"t","max_messages":1}`)
	if len(got) != 1 {
		r.t.Fatalf("%d messages", len(got))
	}
	return got[0]
}

// wantProblem holds an answer against a row of the table.
func wantProblem(t testing.TB, a answer, status int, reason string, words ...string) {
	t.Helper()
	p := a.problem(t)
	if a.status != status || p.Reason != reason {
		t.Errorf("%d %s/%s %q, want %d %s", a.status, p.Code, p.Reason, p.Detail, status, reason)
	}
	for _, word := range words {
		if !strings.Contains(p.Detail, word) {
			t.Errorf("detail %q says nothing of %q", p.Detail, word)
		}
	}
}

func text64(n int) string { // of base64 that decodes to n bytes
	b, _ := json.Marshal(make([]byte, n))
	return string(b)
}
