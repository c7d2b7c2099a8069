package mbox_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"micronode/store/mbox"
)

// bench is a queue on a clock that a test sets by hand.
type bench struct {
	*testing.T
	q   *mbox.Queue
	now mbox.Now
}

func newBench(t *testing.T, o mbox.Options) *bench {
	return &bench{T: t, q: mbox.New(o), now: mbox.Now{Mono: time.Hour, Wall: time.Unix(1e9, 0)}}
}

func (b *bench) send(m mbox.Message) mbox.ID {
	b.Helper()
	if m.Topic == "" {
		m.Topic = "a"
	}
	sent, err := b.q.Send(b.now, m)
	if err != nil {
		b.Fatalf("Send: %v", err)
	}
	return sent.ID
}

func (b *bench) recv(want int) []mbox.Delivery {
	b.Helper()
	d, err := b.q.Recv(b.now, mbox.Want{Topic: "a"})
	if err != nil || len(d) != want {
		b.Fatalf("Recv: %d messages, %v; want %d", len(d), err, want)
	}
	return d
}

func (b *bench) settle(s mbox.Settlement, want error) time.Time {
	b.Helper()
	at, err := b.q.Settle(b.now, s)
	if !errors.Is(err, want) || err != nil && want == nil {
		b.Fatalf("Settle(%d): %v, want %v", s.Verdict, err, want)
	}
	return at
}

func ack(d mbox.Delivery) mbox.Settlement { return mbox.Settlement{Receipt: d.Receipt} }
func nack(d mbox.Delivery) mbox.Settlement {
	return mbox.Settlement{Verdict: mbox.Nack, Receipt: d.Receipt}
}

func TestLeaseEndsOnTheNanosecond(t *testing.T) {
	for name, late := range map[string]time.Duration{"a nanosecond before": -1, "on the dot": 0, "after": 1} {
		b := newBench(t, mbox.Options{})
		b.send(mbox.Message{})
		d := b.recv(1)[0]
		if !d.Deadline.Equal(b.now.Wall.Add(5 * time.Second)) {
			t.Fatalf("deadline %v", d.Deadline)
		}
		b.now.Mono += 5*time.Second + late
		want := error(nil)
		if late >= 0 {
			want = mbox.ErrLeaseLost
		}
		b.settle(ack(d), want)
		if s := b.q.Stats(); s.Acked+s.Expired != 1 {
			t.Fatalf("%s: %+v", name, s)
		}
	}
}

func TestDelayEndsOnTheNanosecond(t *testing.T) {
	b := newBench(t, mbox.Options{})
	b.send(mbox.Message{Delay: time.Second})
	b.now.Mono += time.Second - 1
	b.recv(0)
	b.now.Mono++
	b.recv(1)
}

// TestWallClock: a day either way moves no lease, delay, backoff, key or age.
func TestWallClock(t *testing.T) {
	for _, jump := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		b := newBench(t, mbox.Options{})
		b.send(mbox.Message{Key: "k"})
		b.send(mbox.Message{Delay: time.Minute})
		d := b.recv(1)[0]
		b.now.Wall = b.now.Wall.Add(jump)
		if due, ok := b.q.NextDue(); !ok || due != b.now.Mono+5*time.Second {
			t.Fatalf("due %v, %v", due, ok)
		}
		b.recv(0)
		again, err := b.q.Send(b.now, mbox.Message{Topic: "a", Key: "k"})
		if err != nil || !again.Duplicate {
			t.Fatalf("%+v, %v", again, err)
		}
		b.settle(mbox.Settlement{Verdict: mbox.Extend, Receipt: d.Receipt}, nil)
		b.settle(ack(d), nil)
		b.now.Mono += time.Minute
		b.recv(1)
	}
}

// TestIDsGrow: whatever the wall clock does, and when the counter runs over.
func TestIDsGrow(t *testing.T) {
	b := newBench(t, mbox.Options{Capacity: 1 << 20})
	last := mbox.ID{}
	grow := func() {
		t.Helper()
		id := b.send(mbox.Message{})
		if slices.Compare(id[:], last[:]) <= 0 {
			t.Fatalf("%v after %v", id, last)
		}
		last = id
	}
	for _, jump := range []time.Duration{0, 0, time.Millisecond, -24 * time.Hour, 48 * time.Hour, -1, -100 * 365 * 24 * time.Hour, 0} {
		b.now.Wall = b.now.Wall.Add(jump)
		grow()
	}
	for i := 6; i < 16; i++ {
		last[i] = 0xff
	}
	b.q.SetLastID(last)
	grow()
	early := newBench(t, mbox.Options{})
	early.now.Wall = time.Time{}
	if id := early.send(mbox.Message{}); id == (mbox.ID{}) {
		t.Fatal("the zero id names no message")
	}
}

// TestAttempts: five deliveries, then dead, with the words of the last failure.
func TestAttempts(t *testing.T) {
	var letters []mbox.DeadLetter
	b := newBench(t, mbox.Options{OnDead: func(d mbox.DeadLetter) { letters = append(letters, d) }})
	id := b.send(mbox.Message{Payload: []byte("work")})
	for attempt := 1; attempt <= 5; attempt++ {
		d := b.recv(1)[0]
		if d.Attempt != attempt || d.ID != id {
			t.Fatalf("attempt %d, want %d", d.Attempt, attempt)
		}
		if attempt < 5 {
			b.settle(nack(d), nil)
			if w := b.q.Peek(b.now, "a", 0); w[0].LastError != "nack" || w[0].State != "delayed" {
				t.Fatalf("%+v", w)
			}
		}
		b.now.Mono += time.Minute // past the backoff, or the fifth lease
	}
	b.recv(0)
	b.now.Wall = b.now.Wall.Add(time.Second)
	if len(letters) != 1 || letters[0].Attempt != 5 || letters[0].LastError != "visibility timeout" || letters[0].Reason != "max_attempts" {
		t.Fatalf("%+v", letters)
	}
	s := b.q.Stats()
	if s.Delivered != 5 || s.Redelivered != 4 || s.Nacked != 4 || s.Expired != 1 || s.Died != 1 || s.Dead != 1 {
		t.Fatalf("%+v", s)
	}
	if n, err := b.q.Reprocess(b.now, "a", 0, mbox.ID{}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if d := b.recv(1)[0]; d.Attempt != 1 || string(d.Payload) != "work" {
		t.Fatalf("%+v", d)
	}
}

func TestRelease(t *testing.T) {
	b := newBench(t, mbox.Options{MaxAttempts: 1})
	var ids []mbox.ID
	for range 5 {
		ids = append(ids, b.send(mbox.Message{}))
	}
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
		d, err := b.q.Recv(b.now, mbox.Want{Topic: "a", Max: 3})
		if err != nil || len(d) != 3 {
			t.Fatal(d, err)
		}
		for _, i := range order {
			if d[i].Attempt != 1 {
				t.Fatalf("a released delivery counts: attempt %d", d[i].Attempt)
			}
			b.settle(mbox.Settlement{Verdict: mbox.Release, Receipt: d[i].Receipt}, nil)
			b.settle(mbox.Settlement{Verdict: mbox.Release, Receipt: d[i].Receipt}, mbox.ErrLeaseLost)
		}
		for i, w := range b.q.Peek(b.now, "a", 0) {
			if w.ID != ids[i] {
				t.Fatalf("released as %v, message %d is out of place", order, i)
			}
		}
	}
	if s := b.q.Stats(); s.Delivered != 9 || s.Released != 9 || s.Redelivered != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestFIFO(t *testing.T) {
	b := newBench(t, mbox.Options{})
	var want []mbox.ID
	for range 100 {
		want = append(want, b.send(mbox.Message{}))
	}
	late := b.send(mbox.Message{Delay: 2})
	soon := b.send(mbox.Message{Delay: 1})
	tie1, tie2 := b.send(mbox.Message{Delay: 3}), b.send(mbox.Message{Delay: 3})
	b.now.Mono += 10
	last := b.send(mbox.Message{})
	want = append(want, soon, late, tie1, tie2, last)
	for i := 0; i < len(want); {
		d, err := b.q.Recv(b.now, mbox.Want{Topic: "a", Max: 7})
		if err != nil || len(d) == 0 {
			t.Fatal(d, err)
		}
		for _, d := range d {
			if d.ID != want[i] {
				t.Fatalf("message %d is out of order", i)
			}
			i++
		}
	}
}

// TestExtend: never past twelve hours after the delivery.
func TestExtend(t *testing.T) {
	b := newBench(t, mbox.Options{})
	b.send(mbox.Message{})
	d := b.recv(1)[0]
	end := b.now.Mono + mbox.MaxVisibility
	extend := mbox.Settlement{Verdict: mbox.Extend, Receipt: d.Receipt, Visibility: 5 * time.Hour}
	for range 5 {
		at := b.settle(extend, nil)
		due, _ := b.q.NextDue()
		if want := min(b.now.Mono+5*time.Hour, end); due != want || !at.Equal(b.now.Wall.Add(want-b.now.Mono)) {
			t.Fatalf("due %v at %v, want %v", due, at, want)
		}
		b.now.Mono += 150 * time.Minute
	}
	b.settle(extend, mbox.ErrLeaseLost)
	for _, bad := range []time.Duration{-1, 1, mbox.MinVisibility - 1, mbox.MaxVisibility + 1} {
		b.settle(mbox.Settlement{Verdict: mbox.Extend, Receipt: d.Receipt, Visibility: bad}, mbox.ErrInvalid)
	}
}

// TestSecondAck: known while it is among the latest 4096, then unknown.
func TestSecondAck(t *testing.T) {
	b := newBench(t, mbox.Options{})
	b.send(mbox.Message{})
	first := b.recv(1)[0]
	b.settle(ack(first), nil)
	b.settle(ack(first), mbox.ErrSettled)
	b.settle(nack(first), mbox.ErrSettled)
	forged := first
	forged.Receipt.Nonce[0] ^= 1
	b.settle(ack(forged), mbox.ErrUnknown)
	for i := range 4096 {
		if i == 4095 {
			b.settle(ack(first), mbox.ErrSettled)
		}
		b.send(mbox.Message{})
		b.settle(ack(b.recv(1)[0]), nil)
	}
	b.settle(ack(first), mbox.ErrUnknown)
	b.settle(ack(forged), mbox.ErrUnknown)
}

func TestDeadCursor(t *testing.T) {
	b := newBench(t, mbox.Options{MaxAttempts: 1})
	var ids []mbox.ID
	for i := range 6 {
		id := b.send(mbox.Message{})
		b.settle(mbox.Settlement{Verdict: mbox.Nack, Receipt: b.recv(1)[0].Receipt, Reason: fmt.Sprint(i)}, nil)
		ids = append(ids, id)
	}
	if page := b.q.Dead("a", ids[1], 2); len(page) != 2 || page[0].ID != ids[2] || page[1].LastError != "3" {
		t.Fatalf("%+v", page)
	}
	if page := b.q.Dead("b", ids[1], 2); page != nil {
		t.Fatalf("%+v", page)
	}
	if _, err := b.q.DeadOne("b", ids[1]); !errors.Is(err, mbox.ErrUnknown) {
		t.Fatal(err)
	}
	if n, err := b.q.PurgeDead(b.now, "a", 0, ids[2]); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if page := b.q.Dead("a", ids[2], 1); len(page) != 1 || page[0].ID != ids[0] {
		t.Fatalf("behind a letter that is gone the list begins anew: %+v", page)
	}
	if _, err := b.q.Reprocess(b.now, "b", 0, ids[0]); !errors.Is(err, mbox.ErrUnknown) {
		t.Fatal(err)
	}
}

// TestBackoffSpreads: full jitter uses all of its range.
func TestBackoffSpreads(t *testing.T) {
	for attempt, limit := range map[int]time.Duration{1: 400 * time.Millisecond, 2: 800 * time.Millisecond, 9: time.Minute, 70: time.Minute} {
		b := newBench(t, mbox.Options{MaxAttempts: 100, Capacity: 4096, Seed: [32]byte{1}})
		var counts [8]int
		b.q.SpyJitter(func(bound, drawn time.Duration) time.Duration {
			if drawn < 0 || drawn > bound || bound > time.Minute {
				t.Fatalf("%v of %v", drawn, bound)
			}
			if bound == limit {
				counts[min(7, drawn*8/limit)]++
			}
			return 0
		})
		for range 100 {
			b.send(mbox.Message{})
		}
		for range attempt {
			for range 4 {
				for _, d := range b.mustRecv() {
					b.settle(nack(d), nil)
				}
			}
			b.now.Mono++
			b.q.Advance(b.now)
		}
		for eighth, n := range counts {
			if n == 0 {
				t.Errorf("attempt %d: no delay in eighth %d of %v: %v", attempt, eighth, limit, counts)
			}
		}
	}
}

func (b *bench) mustRecv() []mbox.Delivery {
	d, err := b.q.Recv(b.now, mbox.Want{Topic: "a"})
	if err != nil {
		b.Fatal(err)
	}
	return d
}

func TestSettlementBounds(t *testing.T) {
	for name, s := range map[string]mbox.Settlement{
		"verdict": {Verdict: mbox.Release + 1},
		"reason":  {Verdict: mbox.Nack, Reason: strings.Repeat("x", mbox.MaxReason+1)},
		"short":   {Verdict: mbox.Extend, Visibility: 1},
	} {
		if err := s.Check(); !errors.Is(err, mbox.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
