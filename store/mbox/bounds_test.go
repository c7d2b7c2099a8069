package mbox_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"micronode/store"
	"micronode/store/mbox"
)

func (b *bench) refused(m mbox.Message, want error) {
	b.Helper()
	before := b.q.Stats()
	if _, err := b.q.Send(b.now, m); !errors.Is(err, want) {
		b.Fatalf("Send: %v, want %v", err, want)
	}
	if after := b.q.Stats(); after != before {
		b.Fatalf("a refused message left something behind: %+v, before %+v", after, before)
	}
}

// TestCapacity: messages of every state count, and nothing makes room but an
// ack or a purge. A duplicate is answered all the same.
func TestCapacity(t *testing.T) {
	b := newBench(t, mbox.Options{Capacity: 4, MaxAttempts: 1})
	b.send(mbox.Message{})
	b.settle(nack(b.recv(1)[0]), nil)
	b.send(mbox.Message{Key: "k"})
	leased := b.recv(1)[0]
	b.send(mbox.Message{Delay: time.Hour})
	b.send(mbox.Message{})
	if s := b.q.Stats(); s.Ready != 1 || s.Delayed != 1 || s.Leased != 1 || s.Dead != 1 {
		t.Fatalf("%+v", s)
	}
	b.refused(mbox.Message{Topic: "b"}, mbox.ErrFull)
	if again := b.send(mbox.Message{Key: "k"}); again != leased.ID {
		t.Fatalf("%v, want %v", again, leased.ID)
	}
	b.settle(ack(leased), nil)
	b.send(mbox.Message{})
	b.refused(mbox.Message{}, mbox.ErrFull)
	if n, _ := b.q.PurgeDead(b.now, "a", 0, mbox.ID{}); n != 1 {
		t.Fatalf("%d purged", n)
	}
	b.send(mbox.Message{})
	if n := b.q.Purge(b.now, "a", 0); n != 4 {
		t.Fatalf("%d purged", n)
	}
	if s := b.q.Stats(); s.Topics != 0 || s.Purged != 5 {
		t.Fatalf("%+v", s)
	}
}

// TestDedupWindow counts from the first acceptance, whatever becomes of the message.
func TestDedupWindow(t *testing.T) {
	other := store.Sum([]byte("other"))
	for name, end := range map[string]func(*bench){
		"waiting": func(*bench) {},
		"acked":   func(b *bench) { b.settle(ack(b.recv(1)[0]), nil) },
		"purged":  func(b *bench) { b.q.Purge(b.now, "a", 0) },
		"dead":    func(b *bench) { b.settle(nack(b.recv(1)[0]), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, mbox.Options{MaxAttempts: 1})
			id := b.send(mbox.Message{Key: "k"})
			end(b)
			for _, at := range []time.Duration{0, 200 * time.Second, 100*time.Second - 1} {
				b.now.Mono += at
				if sent, err := b.q.Send(b.now, mbox.Message{Topic: "a", Key: "k"}); err != nil || !sent.Duplicate || sent.ID != id {
					t.Fatalf("%+v, %v", sent, err)
				}
				b.refused(mbox.Message{Topic: "a", Key: "k", Hash: other}, mbox.ErrKeyReused)
			}
			b.now.Mono++
			if sent, err := b.q.Send(b.now, mbox.Message{Topic: "a", Key: "k", Hash: other}); err != nil || sent.Duplicate {
				t.Fatalf("after 300 s: %+v, %v", sent, err)
			}
		})
	}
	b := newBench(t, mbox.Options{RequireKey: true})
	b.refused(mbox.Message{Topic: "a"}, mbox.ErrKeyNeeded)
	if one, two := b.send(mbox.Message{Key: "k"}), b.send(mbox.Message{Topic: "b", Key: "k"}); one == two {
		t.Fatal("a key means nothing in another topic")
	}
}

// TestIdleKeys: a shard that nobody calls is woken once for all its keys, and
// then holds nothing and waits for nothing.
func TestIdleKeys(t *testing.T) {
	bytes := mbox.NewBudget(1 << 30)
	b := newBench(t, mbox.Options{Bytes: bytes, Capacity: 5000})
	for i := range 3000 {
		b.send(mbox.Message{Key: fmt.Sprint(i)})
		b.now.Mono++
	}
	b.q.Purge(b.now, "a", 0)
	if s := b.q.Stats(); s.Keys != 3000 || bytes.Used() != s.Bytes || s.Bytes < 3000*160 {
		t.Fatalf("%+v", s)
	}
	due, ok := b.q.NextDue()
	if want := b.now.Mono - 1 + 300*time.Second; !ok || due != want {
		t.Fatalf("due %v, %v; want %v", due, ok, want)
	}
	b.now.Mono = due
	b.q.Advance(b.now)
	if due, ok := b.q.NextDue(); ok || bytes.Used() != 0 || b.q.Stats().Keys != 0 {
		t.Fatalf("due %v, %d bytes, %+v", due, bytes.Used(), b.q.Stats())
	}
	b.send(mbox.Message{Key: "0"})
	if err := b.q.Check(); err != nil {
		t.Fatal(err)
	}
}

// TestBytes: the last byte fits, the next one does not, and all comes back.
func TestBytes(t *testing.T) {
	m := mbox.Message{Topic: "a", Payload: make([]byte, 100), Attrs: map[string]string{"ab": "cde"}, CorrID: "four"}
	cost := int64(256 + 1 + 100 + 5 + 4)
	budget := mbox.NewBudget(2 * cost)
	b := newBench(t, mbox.Options{Bytes: budget})
	other := mbox.New(mbox.Options{Bytes: budget, Shard: 1})
	b.send(m)
	if _, err := other.Send(b.now, m); err != nil {
		t.Fatal(err)
	}
	b.refused(mbox.Message{Topic: "a"}, mbox.ErrBytes)
	if other.Purge(b.now, "a", 0) != 1 || budget.Used() != cost {
		t.Fatalf("%d bytes used", budget.Used())
	}
	keyed := m
	keyed.Key = "k"
	b.refused(keyed, mbox.ErrBytes)
	b.send(m)
	for _, d := range b.recv(2) {
		b.settle(ack(d), nil)
	}
	if budget.Used() != 0 || budget.Max() != 2*cost {
		t.Fatalf("%d of %d bytes used", budget.Used(), budget.Max())
	}
}

func TestRecvBytes(t *testing.T) {
	for _, c := range []struct{ max, want int }{{1, 1}, {99, 1}, {100, 2}, {199, 2}, {200, 3}, {0, 4}} {
		b := newBench(t, mbox.Options{})
		for range 4 {
			b.send(mbox.Message{Payload: make([]byte, 100)})
		}
		d, err := b.q.Recv(b.now, mbox.Want{Topic: "a", MaxBytes: c.max})
		if err != nil || len(d) != c.want {
			t.Errorf("max %d bytes: %d messages of 100, %v; want %d", c.max, len(d), err, c.want)
		}
	}
}

// TestInflight: an exhausted budget is an error only where it keeps a message back.
func TestInflight(t *testing.T) {
	leases := mbox.NewBudget(3)
	b := newBench(t, mbox.Options{Inflight: leases})
	full := &mbox.Holder{}
	for range 5 {
		b.send(mbox.Message{})
	}
	d := b.recv(3)
	if _, err := b.q.Recv(b.now, mbox.Want{Topic: "a"}); !errors.Is(err, mbox.ErrInflight) {
		t.Fatal(err)
	}
	for _, w := range []mbox.Want{{Topic: "b"}, {Topic: "a", Holder: full}} {
		if d, err := b.q.Recv(b.now, w); d != nil || err != nil {
			t.Fatalf("%+v: %v, %v", w, d, err)
		}
	}
	b.settle(nack(d[0]), nil)
	b.settle(mbox.Settlement{Verdict: mbox.Extend, Receipt: d[1].Receipt}, nil)
	b.recv(1)
	if leases.Used() != 3 {
		t.Fatalf("%d leases", leases.Used())
	}
	b.now.Mono += time.Minute
	b.q.Advance(b.now)
	if leases.Used() != 0 {
		t.Fatalf("%d leases", leases.Used())
	}
}

func TestHolder(t *testing.T) {
	var freed int
	holder := &mbox.Holder{Window: 2}
	b := newBench(t, mbox.Options{OnRoom: func(h *mbox.Holder) {
		if h == holder {
			freed++
		}
	}})
	for range 8 {
		b.send(mbox.Message{})
	}
	for i, end := range []mbox.Verdict{mbox.Ack, mbox.Nack, mbox.Release} {
		d, err := b.q.Recv(b.now, mbox.Want{Topic: "a", Holder: holder})
		if err != nil || len(d) != 2 || holder.Room() != 0 {
			t.Fatalf("%d messages, %v, room %d", len(d), err, holder.Room())
		}
		if d, err := b.q.Recv(b.now, mbox.Want{Topic: "a", Holder: holder}); d != nil || err != nil {
			t.Fatal(d, err)
		}
		b.settle(mbox.Settlement{Verdict: end, Receipt: d[0].Receipt}, nil)
		if holder.Room() != 1 || freed != 2*i+1 {
			t.Fatalf("room %d, heard %d", holder.Room(), freed)
		}
		b.now.Mono += time.Minute // the other lease ends by itself
		b.q.Advance(b.now)
		if holder.Room() != 2 || freed != 2*i+2 {
			t.Fatalf("room %d, heard %d", holder.Room(), freed)
		}
	}
}

// TestBudgetIsShared: many shards at once never take more than there is.
func TestBudgetIsShared(t *testing.T) {
	const bound = 1 // two processors are enough to meet at it
	budget := mbox.NewBudget(bound)
	var over atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50_000 {
				if budget.Take(1) {
					if budget.Used() > bound {
						over.Add(1)
					}
					budget.Give(1)
				}
			}
		})
	}
	all.Wait()
	if over.Load() != 0 || budget.Used() != 0 || budget.Take(bound+1) || !budget.Take(bound) {
		t.Fatalf("over the bound %d times, %d used", over.Load(), budget.Used())
	}
	var none *mbox.Budget
	if !none.Take(1<<40) || none.Used() != 0 || none.Max() != 0 {
		t.Fatal("a nil budget has no bound")
	}
	none.Give(1)
}

// TestTopicsComeAndGo: what holds nothing costs nothing.
func TestTopicsComeAndGo(t *testing.T) {
	b := newBench(t, mbox.Options{})
	for i := range 10_000 {
		b.send(mbox.Message{Topic: fmt.Sprint(i)})
		d, err := b.q.Recv(b.now, mbox.Want{Topic: fmt.Sprint(i)})
		if err != nil || len(d) != 1 {
			t.Fatal(d, err)
		}
		b.settle(ack(d[0]), nil)
	}
	if s := b.q.Stats(); s.Topics != 0 || s.Bytes != 0 || len(b.q.Topics(b.now)) != 0 {
		t.Fatalf("%+v", s)
	}
}
