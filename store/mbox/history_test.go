package mbox_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"micronode/store"
	"micronode/store/mbox"
)

// The histories are short by default; -args -histories=100000 is the long run.
func TestMain(m *testing.M) {
	histories := flag.Int("histories", 1000, "random histories of the model test")
	flag.Parse()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]string{"rapid.checks": fmt.Sprint(*histories), "rapid.steps": "80"} {
		if !given[name] {
			if err := flag.Set(name, value); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(2)
			}
		}
	}
	os.Exit(m.Run())
}

// history runs the queue beside the model, on clocks that it moves as it likes.
type history struct {
	q        *mbox.Queue
	n        *naive
	now      mbox.Now
	events   []string
	receipts []mbox.Receipt // ever given
	holders  []*mbox.Holder
	lastID   mbox.ID
}

var (
	topics   = []string{"a", "b", "jobs/eu-1"}
	long     = strings.Repeat("x", mbox.MaxReason+1)
	payloads = [][]byte{{}, []byte("p"), []byte(strings.Repeat("q", 20)), []byte(strings.Repeat("r", 300))}
)

func newHistory(t *rapid.T) *history {
	pick := func(label string, from ...int) int { return rapid.SampledFrom(from).Draw(t, label) }
	o := mbox.Options{
		Shard:       uint8(pick("shard", 0, 7)),
		Capacity:    pick("capacity", 3, 8, 8, 40),
		MaxAttempts: pick("attempts", 1, 2, 3, 5),
		Visibility:  5 * time.Second,
		DedupWindow: time.Duration(pick("window", 1, 10, 300)) * time.Second,
		BackoffBase: time.Duration(pick("base", 1, 200)) * time.Millisecond,
		BackoffCap:  time.Duration(pick("cap", 500, 60000)) * time.Millisecond,
		RequireKey:  pick("key", 0, 0, 0, 0, 0, 0, 0, 1) == 1,
		Bytes:       mbox.NewBudget(int64(pick("bytes", 2000, 6000, 1<<20, 1<<20))),
		Inflight:    mbox.NewBudget(int64(pick("leases", 3, 8, 100))),
	}
	h := &history{now: mbox.Now{
		Mono: time.Duration(pick("mono", 0, 1e9, 1e15)),
		Wall: time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC),
	}}
	h.n = &naive{o: o}
	o.OnReady = func(topic string) { h.events = append(h.events, "ready "+topic) }
	o.OnDead = func(d mbox.DeadLetter) { h.events = append(h.events, "dead "+d.ID.String()) }
	o.OnRoom = func(r *mbox.Holder) { h.events = append(h.events, fmt.Sprintf("room %p", r)) }
	h.holders = []*mbox.Holder{nil, {Window: 1}, {Window: 4}}
	h.q = mbox.New(o)
	extremes := rapid.Bool().Draw(t, "extremes")
	h.q.SpyJitter(func(limit, drawn time.Duration) time.Duration {
		if extremes { // ties need delays that are alike
			drawn = []time.Duration{0, limit}[drawn%2]
		}
		h.n.delays = append(h.n.delays, delay{limit, drawn})
		return drawn
	})
	return h
}

func (h *history) sendSome(t *rapid.T) {
	for range rapid.IntRange(1, 4).Draw(t, "messages") {
		h.send(t)
	}
}

func (h *history) send(t *rapid.T) {
	m := mbox.Message{
		Topic:   rapid.SampledFrom(topics).Draw(t, "topic"),
		Payload: rapid.SampledFrom(payloads).Draw(t, "payload"),
		CorrID:  "c",
	}
	if k := rapid.IntRange(0, 7).Draw(t, "key"); k < 4 { // mostly with the payload that it had before
		m.Key = "k" + string(rune('0'+k))
		if rapid.IntRange(0, 4).Draw(t, "same") > 0 {
			m.Payload = payloads[k]
		}
	}
	m.Hash = hashOf(m.Payload)
	if rapid.IntRange(0, 3).Draw(t, "more") == 0 {
		m.Attrs = map[string]string{"attr": "value"}
		m.Delay = rapid.SampledFrom([]time.Duration{1, time.Millisecond, time.Second, 5 * time.Second, mbox.MaxDelay}).Draw(t, "delay")
	}
	got, err := h.q.Send(h.now, m)
	r, known, wantErr := h.n.send(h.now, m)
	switch {
	case !errors.Is(err, wantErr) || err == nil != (wantErr == nil):
		t.Fatalf("Send: %v, want %v", err, wantErr)
	case err != nil && got != mbox.Sent{}:
		t.Fatalf("Send: %v beside the error %v", got, err)
	case err != nil:
	case r == nil && got != mbox.Sent{ID: known, Duplicate: true}:
		t.Fatalf("Send: %v, want the duplicate of %v", got, known)
	case r != nil:
		if got.Duplicate || got.ID.String() <= h.lastID.String() {
			t.Fatalf("Send: %v after %v", got, h.lastID)
		}
		h.lastID = got.ID
		h.n.sent(r, got.ID)
	}
}

// hashOf stands for the address: the queue only compares it.
func hashOf(payload []byte) (a store.Address) {
	a[0] = byte(len(payload))
	a[1] = byte(len(payload) >> 8)
	return a
}

func (h *history) recv(t *rapid.T) {
	w := mbox.Want{
		Topic:      rapid.SampledFrom(topics).Draw(t, "topic"),
		Visibility: rapid.SampledFrom([]time.Duration{0, 0, mbox.MinVisibility, time.Second, mbox.MaxVisibility}).Draw(t, "visibility"),
		Max:        rapid.SampledFrom([]int{0, 1, 2}).Draw(t, "max"),
		MaxBytes:   rapid.SampledFrom([]int{0, 0, 1, 20, 300}).Draw(t, "max bytes"),
		Holder:     rapid.SampledFrom(h.holders).Draw(t, "holder"),
	}
	got, err := h.q.Recv(h.now, w)
	rows, wantErr := h.n.recv(h.now, w)
	if !errors.Is(err, wantErr) || err == nil != (wantErr == nil) || len(got) != len(rows) {
		t.Fatalf("Recv(%+v): %d messages, %v; want %d, %v", w, len(got), err, len(rows), wantErr)
	}
	for i, r := range rows {
		d := got[i]
		want := r.delivery()
		want.Receipt, want.Deadline = d.Receipt, h.now.Wall.Add(r.due-h.now.Mono)
		if !sameDelivery(d, want) {
			t.Fatalf("Recv: message %d is\n%+v, want\n%+v", i, d, want)
		}
		if d.Receipt.ID != d.ID || d.Receipt.Shard != h.n.o.Shard || slices.Contains(h.receipts, d.Receipt) {
			t.Fatalf("Recv: receipt %+v of %v", d.Receipt, d.ID)
		}
		r.receipt = d.Receipt
		h.receipts = append(h.receipts, d.Receipt)
	}
}

// receipt draws one that is good, an old one, or a forged one.
func (h *history) receipt(t *rapid.T) (r mbox.Receipt) {
	good := h.n.in("", "leased")
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	switch {
	case len(h.receipts) == 0:
		t.SkipNow()
	case kind < 7 && len(good) > 0:
		return rapid.SampledFrom(good).Draw(t, "good").receipt
	default:
		r = h.receipts[len(h.receipts)-1-rapid.IntRange(0, min(len(h.receipts)-1, 8)).Draw(t, "back")]
	}
	switch kind {
	case 0:
		r.Nonce[rapid.IntRange(0, 15).Draw(t, "byte")] ^= 1
	case 1:
		r.Nonce = [16]byte{}
	case 2:
		r.ID[15] ^= 1
	case 3:
		r.Shard++
	}
	return r
}

func (h *history) settle(verdicts ...mbox.Verdict) func(*rapid.T) {
	return func(t *rapid.T) {
		s := mbox.Settlement{Verdict: rapid.SampledFrom(verdicts).Draw(t, "verdict"), Receipt: h.receipt(t)}
		if s.Verdict == mbox.Nack {
			s.Reason = rapid.SampledFrom([]string{"", "", "broken", "broken", long[1:], long}).Draw(t, "reason")
		}
		if s.Verdict == mbox.Extend {
			s.Visibility = rapid.SampledFrom([]time.Duration{0, 0, mbox.MinVisibility, 3 * time.Second, 3 * time.Second, mbox.MaxVisibility, mbox.MaxVisibility + 1, 1}).Draw(t, "visibility")
		}
		deadline, err := h.q.Settle(h.now, s)
		r, wantErr := h.n.settle(h.now, s)
		if !errors.Is(err, wantErr) || err == nil != (wantErr == nil) {
			t.Fatalf("Settle(%+v): %v, want %v", s, err, wantErr)
		}
		var want time.Time
		if err == nil && s.Verdict == mbox.Extend {
			want = h.now.Wall.Add(r.due - h.now.Mono)
		}
		if !deadline.Equal(want) {
			t.Fatalf("Settle(%+v): deadline %v, want %v", s, deadline, want)
		}
	}
}

// keep reprocesses and purges.
func (h *history) keep(t *rapid.T) {
	topic := rapid.SampledFrom(topics).Draw(t, "topic")
	limit := rapid.SampledFrom([]int{0, 1, 2}).Draw(t, "limit")
	var only mbox.ID
	if rows := h.n.rows; len(rows) > 0 && rapid.Bool().Draw(t, "one") {
		only = rapid.SampledFrom(rows).Draw(t, "row").id
	}
	var got, want int
	var err, wantErr error
	switch rapid.SampledFrom([]string{"reprocess", "reprocess", "purge dead", "purge"}).Draw(t, "order") {
	case "reprocess":
		got, err = h.q.Reprocess(h.now, topic, limit, only)
		want, wantErr = h.n.reprocess(h.now, topic, limit, only)
	case "purge dead":
		got, err = h.q.PurgeDead(h.now, topic, limit, only)
		want, wantErr = h.n.purgeDead(h.now, topic, limit, only)
	case "purge":
		got = h.q.Purge(h.now, topic, limit)
		want = h.n.purge(h.now, topic, limit)
	}
	if got != want || !errors.Is(err, wantErr) || err == nil != (wantErr == nil) {
		t.Fatalf("%d, %v; want %d, %v", got, err, want, wantErr)
	}
}

// moments are the times at which something is to happen, or might be thought to.
func (h *history) moments() []time.Duration {
	out := []time.Duration{h.now.Mono, h.now.Mono + 1, h.now.Mono + time.Second, h.now.Mono + time.Minute, h.now.Mono + 13*time.Hour}
	for _, r := range h.n.timed("") {
		out = append(out, r.due-1, r.due, r.due+1)
	}
	for _, k := range h.n.keys {
		out = append(out, k.until-1, k.until)
	}
	return slices.DeleteFunc(out, func(at time.Duration) bool { return at < h.now.Mono })
}

// pass lets time pass, on two clocks that have nothing to do with each other.
func (h *history) pass(t *rapid.T) {
	was := h.now.Mono
	near := h.moments()
	if slices.Sort(near); rapid.IntRange(0, 3).Draw(t, "near") > 0 {
		near = near[:min(5, len(near))]
	}
	h.now.Mono = rapid.SampledFrom(near).Draw(t, "moment")
	h.now.Wall = h.now.Wall.Add(h.now.Mono - was)
	if rapid.IntRange(0, 3).Draw(t, "wall") == 0 {
		h.now.Wall = h.now.Wall.Add(rapid.SampledFrom([]time.Duration{-24 * time.Hour, -time.Second, time.Second, 24 * time.Hour}).Draw(t, "jump"))
	}
}

func (h *history) advance(t *rapid.T) {
	for range rapid.IntRange(0, 3).Draw(t, "jumps") {
		h.pass(t)
	}
	h.q.Advance(h.now)
	h.n.advance(h.now)
}

// restart is what the owner does after a fall, whatever it left of the books.
func (h *history) restart(t *rapid.T) {
	for range rapid.IntRange(0, 3).Draw(t, "damages") {
		h.q.Wreck(rapid.IntRange(0, mbox.Damages-1).Draw(t, "damage"))
	}
	h.q.Rebuild(h.now)
	h.n.advance(h.now)
}

// others are the shards beside this one, which share its budgets.
func (h *history) others(t *rapid.T) {
	o := &h.n.others
	h.n.o.Bytes.Give(o.bytes)
	h.n.o.Inflight.Give(o.leases)
	o.bytes = rapid.SampledFrom([]int64{0, 0, 500, 1000, h.n.o.Bytes.Max() - h.n.bytes()}).Draw(t, "bytes")
	o.leases = rapid.SampledFrom([]int64{0, 0, 1, h.n.o.Inflight.Max() - int64(len(h.n.in("", "leased")))}).Draw(t, "leases")
	if !h.n.o.Bytes.Take(o.bytes) {
		o.bytes = 0
	}
	if !h.n.o.Inflight.Take(o.leases) {
		o.leases = 0
	}
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		t.Repeat(map[string]func(*rapid.T){
			"":          h.same,
			"send":      h.send,
			"send some": h.sendSome,
			"recv":      h.recv,
			"recv more": h.recv,
			"ack":       h.settle(mbox.Ack),
			"nack":      h.settle(mbox.Nack),
			"extend":    h.settle(mbox.Extend, mbox.Extend, mbox.Extend, mbox.Release+1),
			"release":   h.settle(mbox.Release),
			"keep":      h.keep,
			"pass":      h.pass,
			"pass more": h.pass,
			"advance":   h.advance,
			"restart":   h.restart,
			"others":    h.others,
		})
	})
}
