package mbox_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"micronode/store"
	"micronode/store/mbox"
)

var histories = flag.Int("histories", 2000, "random histories that the model test runs")

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("rapid.checks", fmt.Sprint(*histories)); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// history drives the queue and the naive one through the same calls and holds
// every answer, every hook and all that can be seen afterwards against each other.
type history struct {
	*rapid.T
	q       *mbox.Queue
	n       *naive
	now     mbox.Now
	heard   []string
	given   []mbox.Receipt // every receipt ever given
	holders []*mbox.Holder
	sent    int
}

var topics = []string{"a", "b", "c/d"}

func begin(t *rapid.T) *history {
	h := &history{T: t, n: &naive{}, now: mbox.Now{Mono: time.Hour, Wall: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
	h.n.o = mbox.Options{
		Shard: 3, Capacity: rapid.IntRange(1, 12).Draw(t, "capacity"), MaxAttempts: rapid.IntRange(1, 4).Draw(t, "attempts"),
		Visibility: 5 * time.Second, DedupWindow: 300 * time.Second, BackoffBase: 200 * time.Millisecond, BackoffCap: time.Second,
		RequireKey: rapid.IntRange(0, 9).Draw(t, "require") == 0,
		Bytes:      mbox.NewBudget(rapid.Int64Range(1000, 8000).Draw(t, "bytes")),
		Inflight:   mbox.NewBudget(rapid.Int64Range(1, 6).Draw(t, "inflight")),
		Seed:       [32]byte{1, 2, 3},
	}
	say := func(format string, args ...any) { h.heard = append(h.heard, fmt.Sprintf(format, args...)) }
	o := h.n.o
	o.OnReady = func(topic string) { say("ready %s", topic) }
	o.OnDead = func(d mbox.DeadLetter) { say("dead %v", d.ID) }
	o.OnRoom = func(holder *mbox.Holder) { say("room %p", holder) }
	h.q = mbox.New(o)
	h.q.SpyJitter(func(limit, drawn time.Duration) time.Duration {
		h.n.delays = append(h.n.delays, delay{limit, drawn})
		return drawn
	})
	h.holders = []*mbox.Holder{{Window: 1}, {Window: 3}}
	return h
}

func (h *history) topic() string { return rapid.SampledFrom(topics).Draw(h.T, "topic") }

// tick moves both clocks, each in its own way.
func (h *history) tick() {
	const ms, day = time.Millisecond, 24 * time.Hour
	h.now.Mono += rapid.SampledFrom([]time.Duration{0, 1, ms, 100 * ms, 200 * ms, 400 * ms, time.Second, 5*time.Second - 1, 5 * time.Second, 300 * time.Second}).Draw(h.T, "tick")
	h.now.Wall = h.now.Wall.Add(rapid.SampledFrom([]time.Duration{0, ms, time.Second, day, -day}).Draw(h.T, "wall"))
}

func (h *history) same(what string, got, want any) {
	if g, w := fmt.Sprintf("%v", got), fmt.Sprintf("%v", want); g != w {
		h.Fatalf("%s: %s, the model says %s", what, g, w)
	}
}

func (h *history) sameError(what string, got, want error) {
	if !errors.Is(got, want) || (got == nil) != (want == nil) {
		h.Fatalf("%s: error %v, the model says %v", what, got, want)
	}
}

func (h *history) send() {
	m := mbox.Message{Topic: h.topic(), CorrID: "c"}
	h.sent++
	m.Payload = fmt.Append(nil, "p", rapid.IntRange(0, 2).Draw(h.T, "payload"))
	if rapid.Bool().Draw(h.T, "large") {
		m.Payload = append(m.Payload, make([]byte, 300)...)
	}
	m.Hash = store.Sum(m.Payload)
	if rapid.Bool().Draw(h.T, "keyed") {
		m.Key = rapid.SampledFrom([]string{"k", "l"}).Draw(h.T, "key")
	}
	if rapid.IntRange(0, 4).Draw(h.T, "late") == 0 {
		m.Delay = rapid.SampledFrom([]time.Duration{1, time.Second, time.Minute}).Draw(h.T, "delay")
	}
	sent, err := h.q.Send(h.now, m)
	row, known, wantErr := h.n.send(h.now, m)
	h.sameError("send", err, wantErr)
	switch {
	case row != nil:
		h.same("duplicate", sent.Duplicate, false)
		if last := h.lastID(); sent.ID.String() <= last {
			h.Fatalf("id %v after %s", sent.ID, last)
		}
		h.n.sent(row, sent.ID)
	case err == nil:
		h.same("duplicate", sent, mbox.Sent{ID: known, Duplicate: true})
	}
}

func (h *history) lastID() (last string) {
	for _, r := range h.n.rows {
		last = max(last, r.id.String())
	}
	return last
}

func (h *history) recv() {
	w := mbox.Want{Topic: h.topic(), Max: rapid.IntRange(0, 4).Draw(h.T, "max")}
	if rapid.Bool().Draw(h.T, "few") {
		w.MaxBytes = rapid.IntRange(1, 400).Draw(h.T, "bytes")
	}
	if rapid.Bool().Draw(h.T, "held") {
		w.Holder = rapid.SampledFrom(h.holders).Draw(h.T, "holder")
	}
	if rapid.Bool().Draw(h.T, "short") {
		w.Visibility = mbox.MinVisibility
	}
	got, err := h.q.Recv(h.now, w)
	want, wantErr := h.n.recv(h.now, w)
	h.sameError("recv", err, wantErr)
	h.same("deliveries", len(got), len(want))
	for i, d := range got {
		r := want[i]
		h.same("delivery", []any{d.ID, d.Topic, d.Key, d.Attempt, d.Deadline, d.Sent}, []any{
			r.id, r.m.Topic, r.m.Key, r.attempt, h.now.Wall.Add(r.due - h.now.Mono), r.sent.Wall,
		})
		if slices.Contains(h.given, d.Receipt) {
			h.Fatalf("receipt %v was given before", d.Receipt)
		}
		h.given = append(h.given, d.Receipt)
		r.receipt = d.Receipt
	}
}

func (h *history) settle() {
	if len(h.given) == 0 {
		return
	}
	s := mbox.Settlement{Verdict: mbox.Verdict(rapid.IntRange(0, 4).Draw(h.T, "verdict"))}
	newest := h.given[max(0, len(h.given)-6):]
	s.Receipt = rapid.SampledFrom(newest).Draw(h.T, "receipt")
	switch rapid.IntRange(0, 9).Draw(h.T, "forge") {
	case 0:
		s.Receipt.Nonce[5]++
	case 1:
		s.Receipt.Shard++
	case 2:
		s.Receipt.ID[15]++
	}
	if s.Verdict == mbox.Nack {
		s.Reason = rapid.SampledFrom([]string{"", "why"}).Draw(h.T, "reason")
	}
	if s.Verdict == mbox.Extend {
		s.Visibility = rapid.SampledFrom([]time.Duration{0, 1, mbox.MinVisibility, mbox.MaxVisibility}).Draw(h.T, "visibility")
	}
	deadline, err := h.q.Settle(h.now, s)
	r, wantErr := h.n.settle(h.now, s)
	h.sameError("settle", err, wantErr)
	if err == nil && s.Verdict == mbox.Extend {
		h.same("deadline", deadline, h.now.Wall.Add(r.due-h.now.Mono))
	}
}

func (h *history) keep() {
	topic, limit, only := h.topic(), rapid.IntRange(0, 3).Draw(h.T, "limit"), mbox.ID{}
	if len(h.n.rows) > 0 && rapid.IntRange(0, 3).Draw(h.T, "one") == 0 {
		only = rapid.SampledFrom(h.n.rows).Draw(h.T, "row").id
	}
	switch rapid.IntRange(0, 5).Draw(h.T, "order") {
	case 0:
		h.same("purge", h.q.Purge(h.now, topic, limit), h.n.purge(h.now, topic, limit))
	case 1:
		n, err := h.q.PurgeDead(h.now, topic, limit, only)
		want, wantErr := h.n.purgeDead(h.now, topic, limit, only)
		h.same("purged", n, want)
		h.sameError("purge dead", err, wantErr)
	default:
		n, err := h.q.Reprocess(h.now, topic, limit, only)
		want, wantErr := h.n.reprocess(h.now, topic, limit, only)
		h.same("reprocessed", n, want)
		h.sameError("reprocess", err, wantErr)
	}
}

// restart is the actor's: the books may be in any state, the truth stands.
func (h *history) restart() {
	wrecked := rapid.Bool().Draw(h.T, "wrecked") && h.q.Wreck(rapid.IntRange(0, mbox.Damages-1).Draw(h.T, "damage"))
	if err := h.q.Check(); (err != nil) != wrecked {
		h.Fatalf("wrecked %v, and Check says %v", wrecked, err)
	}
	h.q.Rebuild(h.now)
	h.n.advance(h.now)
}

// compare looks at everything that can be seen.
func (h *history) compare() {
	n := h.n
	if n.fault != "" || len(n.delays) != 0 {
		h.Fatalf("backoff: %s, %d drawn in vain", n.fault, len(n.delays))
	}
	h.same("hooks", h.heard, n.events)
	h.heard, n.events = nil, nil
	if err := h.q.Check(); err != nil {
		h.Fatal(err)
	}
	want := n.stats
	want.Ready, want.Delayed, want.Leased, want.Dead = len(n.in("", "ready")), len(n.in("", "delayed")), len(n.in("", "leased")), len(n.in("", "dead"))
	want.Keys, want.Bytes = len(n.keys), n.bytes()
	for _, topic := range topics {
		rows := n.in(topic, "ready", "delayed", "leased", "dead")
		if len(rows) > 0 {
			want.Topics++
		}
		var see []string
		for _, r := range append(n.in(topic, "ready"), n.timed(topic)...) {
			left := time.Duration(0)
			if r.state != "ready" {
				left = max(0, r.due-h.now.Mono)
			}
			see = append(see, fmt.Sprint(r.id, r.state, r.attempt, r.lastErr, left))
		}
		var got []string
		for _, p := range h.q.Peek(h.now, topic, 0) {
			got = append(got, fmt.Sprint(p.ID, p.State, p.Attempt, p.LastError, p.Due))
		}
		h.same("peek "+topic, got, see)
		see, got = nil, nil
		for _, r := range n.in(topic, "dead") {
			see = append(see, fmt.Sprint(r.id, r.attempt, r.lastErr, r.diedAt))
		}
		for _, d := range h.q.Dead(topic, mbox.ID{}, 0) {
			got = append(got, fmt.Sprint(d.ID, d.Attempt, d.LastError, d.Died))
		}
		h.same("dead "+topic, got, see)
	}
	h.same("stats", h.q.Stats(), want)
	for _, holder := range h.holders {
		h.same("room", holder.Room(), holder.Window-n.held(holder))
	}
	h.due()
}

// due is the moment of the first timer, or of the last key.
func (h *history) due() {
	var want time.Duration
	if timed := h.n.timed(""); len(timed) > 0 {
		want = timed[0].due
	}
	for i, k := range h.n.keys {
		if i == len(h.n.keys)-1 && (want == 0 || k.until < want) {
			want = k.until
		}
	}
	got, ok := h.q.NextDue()
	h.same("next due", []any{got, ok}, []any{want, want != 0})
}

// TestHistories: random histories, against the naive queue.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := begin(rt)
		steps := rapid.IntRange(5, 60).Draw(rt, "steps")
		for range steps {
			h.tick()
			switch rapid.IntRange(0, 11).Draw(rt, "step") {
			case 0, 1, 2, 3:
				h.send()
			case 4, 5, 6:
				h.recv()
			case 7, 8, 9:
				h.settle()
			case 10:
				h.keep()
			case 11:
				h.restart()
			}
			h.compare()
		}
	})
}
