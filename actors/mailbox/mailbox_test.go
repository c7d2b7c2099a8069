package mailbox_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"micronode/actors/mailbox"
	httpapi "micronode/http"
	"micronode/kernel"
	"micronode/store"
	"micronode/store/mbox"
)

func TestSendReceiveSettle(t *testing.T) {
	r := start(t, nil)
	ids := []mbox.ID{r.send("a", "1"), r.send("a", "2"), r.send("b", "3")}
	for i, topic := range []string{"a", "a", "b"} {
		d := r.one(topic)
		if d.ID != ids[i] || d.Attempt != 1 || d.Hash != store.Sum(d.Payload) || string(d.Payload) != strconv.Itoa(i+1) {
			t.Errorf("message %d is %+v", i, d)
		}
		r.settle(mbox.Ack, d, nil)
		r.settle(mbox.Ack, d, mbox.ErrSettled)
	}
	r.none("a")
	if l := r.Load(); l.Enqueued != 3 || l.Acked != 3 || l.Leased != 0 || l.Inflight != 0 || l.Topics != 0 {
		t.Errorf("load %+v", l)
	}
	if _, err := r.Send(r.ctx, mbox.Message{Topic: "no spaces"}); !errors.Is(err, mbox.ErrInvalid) {
		t.Errorf("bad topic: %v", err)
	}
	foreign := mbox.Settlement{Receipt: mbox.Receipt{Shard: 200}}
	if _, err := r.Settle(r.ctx, foreign); !errors.Is(err, mbox.ErrUnknown) {
		t.Errorf("receipt of another node: %v", err)
	}
}

// A kill loses nothing that was accepted, ends no lease, and leaves receipts valid.
func TestKillKeepsEverything(t *testing.T) {
	r := start(t, nil)
	for i := range 20 {
		r.send("t"+strconv.Itoa(i%4), strconv.Itoa(i))
	}
	held := []mbox.Delivery{r.one("t0"), r.one("t1"), r.one("t2"), r.one("t3")}
	for range 5 {
		r.kill()
	}
	for i := range 4 {
		topic := "t" + strconv.Itoa(i)
		for k := 1; k < 5; k++ {
			d := retry(t, func() ([]mbox.Delivery, error) { return r.Recv(r.ctx, mbox.Want{Topic: topic, Max: 1}, 0) })
			if want := strconv.Itoa(4*k + i); string(d.Payload) != want || d.Attempt != 1 {
				t.Errorf("%s: got %s in attempt %d, want %s: order or lease was lost", topic, d.Payload, d.Attempt, want)
			}
		}
		r.settle(mbox.Ack, held[i], nil)
	}
}

func retry(t *testing.T, recv func() ([]mbox.Delivery, error)) mbox.Delivery {
	t.Helper()
	for {
		switch got, err := recv(); {
		case err == nil && len(got) == 1:
			return got[0]
		case err == nil:
			t.Fatalf("%d messages", len(got))
		case !errors.Is(err, store.ErrNotReady):
			t.Fatal(err)
		}
	}
}

// While a shard is down, its callers are answered at once: 503, nothing done.
func TestDownAnswersAtOnce(t *testing.T) {
	r := start(t, func(o *mailbox.Options, p *kernel.Policy) {
		o.Shards = 1
		p.BackoffMin, p.BackoffMax = 10_000*time.Hour, 10_000*time.Hour
	})
	r.send("t", "kept")
	d := r.one("t")
	r.kill()
	if _, err := r.Send(r.ctx, mbox.Message{Topic: "t"}); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("send: %v", err)
	}
	if _, err := r.Recv(r.ctx, mbox.Want{Topic: "t"}, patience); !errors.Is(err, store.ErrNotReady) {
		t.Errorf("recv: %v", err)
	}
	r.settle(mbox.Ack, d, store.ErrNotReady)
	if topics := r.Door().Topics("", 10); len(topics) != 1 || topics[0].Leased != 1 {
		t.Errorf("a look does not ask the actor: %+v", topics)
	}
	if _, err := r.tree.Restart(r.ctx, r.shards()[0], ""); err != nil {
		t.Fatal(err)
	}
	r.settle(mbox.Ack, d, nil)
}

// A hung shard is replaced; who waited behind the hang is served by the next
// incarnation, and no lease is given twice.
func TestHangKeepsEverything(t *testing.T) {
	r := start(t, func(o *mailbox.Options, _ *kernel.Policy) { o.Shards = 1 })
	r.send("t", "1")
	d := r.one("t")
	if _, err := r.tree.Hang(r.ctx, r.shards()[0], "test"); err != nil {
		t.Fatal(err)
	}
	r.none("t") // behind the hang
	r.settle(mbox.Ack, d, nil)
	if n := r.tree.Aborted(); n != 1 {
		t.Errorf("%d incarnations left behind", n)
	}
}

// Receivers are served in the order they came, woken by a send, and go on
// waiting over a crash of their shard.
func TestWaitersInOrder(t *testing.T) {
	r := start(t, func(o *mailbox.Options, _ *kernel.Policy) { o.Shards = 1 })
	const many = 8
	got := make(chan string, many)
	for i := range many {
		go func() {
			d, err := r.Recv(r.ctx, mbox.Want{Topic: "t", Max: 1}, patience)
			if err != nil || len(d) != 1 {
				got <- fmt.Sprint(i, d, err)
				return
			}
			got <- fmt.Sprint(i, string(d[0].Payload))
		}()
		r.await(func(l mailbox.Load) bool { return l.Waiters == i+1 })
	}
	r.kill()
	for i := range many {
		if _, err := r.tree.Restart(r.ctx, r.shards()[0], ""); err != nil {
			t.Fatal(err)
		}
		r.send("t", "m"+strconv.Itoa(i))
		if said := <-got; said != fmt.Sprint(i, "m"+strconv.Itoa(i)) {
			t.Errorf("message %d went to %s", i, said)
		}
	}
	r.await(func(l mailbox.Load) bool { return l.Waiters == 0 })
}

// await waits for what other goroutines do to show.
func (r *rig) await(seen func(mailbox.Load) bool) {
	r.Helper()
	for !seen(r.Load()) {
		if r.ctx.Err() != nil {
			r.Fatalf("never seen: %+v", r.Load())
		}
	}
}

// A receiver that leaves takes nothing with it: what came for it goes back to
// the head of the line, and the attempt does not count.
func TestReceiverGone(t *testing.T) {
	r := start(t, func(o *mailbox.Options, _ *kernel.Policy) { o.Shards = 1 })
	for i := range 200 {
		ctx, leave := context.WithCancel(r.ctx)
		var got []mbox.Delivery
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { got, err = r.Recv(ctx, mbox.Want{Topic: "t"}, patience) })
		wg.Go(func() { r.send("t", strconv.Itoa(i)) })
		if rand.N(2) == 0 {
			wg.Go(leave)
		}
		wg.Wait()
		leave()
		if err != nil { // it left: the next one gets the message, as the first
			if !errors.Is(err, context.Canceled) || len(got) != 0 {
				t.Fatalf("%d messages, %v", len(got), err)
			}
			got = []mbox.Delivery{r.one("t")}
		}
		if len(got) != 1 || got[0].Attempt != 1 || string(got[0].Payload) != strconv.Itoa(i) {
			t.Fatalf("round %d: %+v", i, got)
		}
		r.settle(mbox.Ack, got[0], nil)
	}
	if l := r.Load(); l.Waiters != 0 || l.Leased != 0 || l.Inflight != 0 {
		t.Errorf("left behind: %+v", l)
	}
}

func TestWaitEnds(t *testing.T) {
	r := start(t, nil)
	if got, err := r.Recv(r.ctx, mbox.Want{Topic: "t"}, time.Millisecond); err != nil || len(got) != 0 {
		t.Errorf("after its wait: %v, %v", got, err)
	}
	var wg sync.WaitGroup
	var failed atomic.Int64
	const many = 1000
	for range many {
		wg.Go(func() {
			if _, err := r.Recv(r.ctx, mbox.Want{Topic: "t"}, patience); errors.Is(err, store.ErrNotReady) {
				failed.Add(1)
			}
		})
	}
	r.await(func(l mailbox.Load) bool { return l.Waiters == many })
	r.Close()
	wg.Wait()
	if failed.Load() != many || r.Load().Waiters != 0 {
		t.Errorf("%d of %d were told that the node stops, %d wait", failed.Load(), many, r.Load().Waiters)
	}
}

// A window bounds what one consumer holds; settling opens it again.
func TestHolderWindow(t *testing.T) {
	r := start(t, nil)
	for i := range 5 {
		r.send("t", strconv.Itoa(i))
	}
	want := mbox.Want{Topic: "t", Holder: &mbox.Holder{Window: 2}}
	got, err := r.Recv(r.ctx, want, patience)
	if err != nil || len(got) != 2 {
		t.Fatalf("%d, %v", len(got), err)
	}
	more := make(chan []mbox.Delivery)
	go func() {
		d, _ := r.Recv(r.ctx, want, patience)
		more <- d
	}()
	r.await(func(l mailbox.Load) bool { return l.Waiters == 1 })
	r.settle(mbox.Ack, got[0], nil)
	if d := <-more; len(d) != 1 || string(d[0].Payload) != "2" {
		t.Errorf("with room for one: %d messages", len(d))
	}
}

// More requests than a shard's actor takes are refused, not queued.
func TestBusy(t *testing.T) {
	r := start(t, func(o *mailbox.Options, p *kernel.Policy) { o.Shards, p.Watchdog = 1, time.Second })
	if _, err := r.tree.Hang(r.ctx, r.shards()[0], "test"); err != nil {
		t.Fatal(err)
	}
	gone, leave := context.WithCancel(r.ctx)
	leave()
	var err error
	for range 5000 {
		if _, err = r.Recv(gone, mbox.Want{Topic: "t"}, 0); errors.Is(err, httpapi.ErrMailboxBusy) {
			break
		}
	}
	if !errors.Is(err, httpapi.ErrMailboxBusy) && !errors.Is(err, store.ErrNotReady) {
		t.Errorf("never refused: %v", err)
	}
}

// The wall clock moves by a day, either way: leases and delays do not.
func TestWallClockJumps(t *testing.T) {
	r := start(t, func(o *mailbox.Options, _ *kernel.Policy) { o.Shards = 1 })
	const day = int64(24 * time.Hour)
	r.send("t", "leased")
	d := r.one("t")
	if _, err := r.Send(r.ctx, mbox.Message{Topic: "t", Delay: time.Hour}); err != nil {
		t.Fatal(err)
	}
	for _, jump := range []int64{day, -day} {
		r.wall.Store(jump)
		r.none("t")
		if _, err := r.Settle(r.ctx, mbox.Settlement{Verdict: mbox.Extend, Receipt: d.Receipt}); err != nil {
			t.Errorf("the lease is gone after a jump of %v: %v", time.Duration(jump), err)
		}
	}
	r.mono.Store(int64(time.Hour + time.Minute))
	r.settle(mbox.Ack, d, mbox.ErrLeaseLost)
	if got, err := r.Recv(r.ctx, mbox.Want{Topic: "t"}, patience); err != nil || len(got) == 0 {
		t.Errorf("an hour later: %d messages, %v", len(got), err)
	}
}

// The alarm brings back what nobody asks for: metrics, dead letters and waiters
// do not depend on the next request.
func TestAlarm(t *testing.T) {
	r := start(t, func(o *mailbox.Options, _ *kernel.Policy) {
		o.Shards, o.Queue.MaxAttempts, o.Queue.Visibility = 1, 2, mbox.MinVisibility
	})
	id := r.send("t", "x")
	r.one("t")
	if d := r.one("t"); d.Attempt != 2 { // this receiver waits for the lease to end
		t.Errorf("attempt %d", d.Attempt)
	}
	r.await(func(l mailbox.Load) bool { return l.Dead == 1 })
	r.await(func(mailbox.Load) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.died) == 1
	})
	dead, err := r.Door().Dead("t", httpapi.DeadQuery{Limit: 10})
	if err != nil || len(dead) != 1 || dead[0].ID != id || dead[0].Attempt != 2 || dead[0].LastError != "visibility timeout" {
		t.Errorf("%+v, %v", dead, err)
	}
	if n, err := r.Door().Reprocess(r.ctx, httpapi.Keep{Topic: "t"}); n != 1 || err != nil {
		t.Errorf("reprocess: %d, %v", n, err)
	}
	if d := r.one("t"); d.ID != id || d.Attempt != 1 {
		t.Errorf("reprocessed: %+v", d)
	}
}

func TestOneKeyManySenders(t *testing.T) {
	r := start(t, nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids, fresh := map[mbox.ID]int{}, 0
	for range 64 {
		wg.Go(func() {
			sent, err := r.Send(r.ctx, mbox.Message{Topic: "t", Payload: []byte("same"), Key: "k"})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			ids[sent.ID]++
			if !sent.Duplicate {
				fresh++
			}
		})
	}
	wg.Wait()
	if len(ids) != 1 || fresh != 1 || r.Load().Ready != 1 {
		t.Errorf("%d ids, %d fresh, %d messages", len(ids), fresh, r.Load().Ready)
	}
	if _, err := r.Send(r.ctx, mbox.Message{Topic: "t", Payload: []byte("other"), Key: "k"}); !errors.Is(err, mbox.ErrKeyReused) {
		t.Errorf("another payload: %v", err)
	}
}

// Producers and consumers under kills: what was accepted is handled, and never
// again after its ack.
func TestConsumeUnderKills(t *testing.T) {
	r := start(t, nil)
	const many = 2000
	var mu sync.Mutex
	acked, again, failed := map[string]int{}, 0, map[string]bool{}
	ctx, end := context.WithCancel(r.ctx)
	var loops sync.WaitGroup
	for _, topic := range []string{"a", "b", "c"} {
		loops.Go(func() {
			err := r.Consume(ctx, mailbox.ConsumeOptions{Topic: topic, Parallel: 4, Lost: func(d mbox.Delivery, err error) {
				t.Errorf("the verdict on %s did not count: %v", d.Payload, err)
			}}, func(_ context.Context, d mbox.Delivery) error {
				mu.Lock()
				defer mu.Unlock()
				switch {
				case len(d.Payload)%7 == 0 && !failed[string(d.Payload)]:
					failed[string(d.Payload)] = true
					return errors.New("not this time")
				case len(d.Payload)%11 == 0 && !failed[string(d.Payload)]:
					failed[string(d.Payload)] = true
					panic("not this time either")
				case acked[string(d.Payload)] > 0:
					again++
				}
				acked[string(d.Payload)]++
				return nil
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("consumer ended: %v", err)
			}
		})
	}
	kills := 0
	for i := range many {
		if i%50 == 0 {
			r.kill()
			kills++
		}
		m := mbox.Message{Topic: string("abc"[i%3]), Payload: fmt.Appendf(nil, "%d%*s", i, i%13, ""), Key: strconv.Itoa(i)}
		for {
			if _, err := r.Send(r.ctx, m); err == nil {
				break
			} else if !errors.Is(err, store.ErrNotReady) && !errors.Is(err, store.ErrReadOnly) {
				t.Fatal(err)
			}
		}
	}
	r.await(func(l mailbox.Load) bool { return l.Ready+l.Delayed+l.Leased == 0 })
	end()
	loops.Wait()
	if len(acked) != many || again != 0 || kills < 10 || len(failed) == 0 {
		t.Errorf("%d of %d handled, %d again, %d rounds of kills, %d failed once", len(acked), many, again, kills, len(failed))
	}
}

func TestConsumeLosesALease(t *testing.T) {
	r := start(t, func(o *mailbox.Options, _ *kernel.Policy) { o.Shards = 1 })
	r.send("t", "x")
	ctx, end := context.WithCancel(r.ctx)
	lost := make(chan error, 1)
	err := r.Consume(ctx, mailbox.ConsumeOptions{Topic: "t", Visibility: 300 * time.Millisecond, Lost: func(_ mbox.Delivery, err error) { lost <- err }},
		func(work context.Context, d mbox.Delivery) error {
			if d.Attempt > 1 {
				end()
				return nil
			}
			r.mono.Store(int64(time.Hour)) // the lease is over; the next try to extend it finds out
			<-work.Done()
			return nil
		})
	if !errors.Is(err, context.Canceled) || !errors.Is(<-lost, mbox.ErrLeaseLost) {
		t.Errorf("ended with %v", err)
	}
	if err := r.Consume(ctx, mailbox.ConsumeOptions{Topic: "bad topic"}, nil); !errors.Is(err, mbox.ErrInvalid) {
		t.Errorf("bad topic: %v", err)
	}
}

func TestTopicsArePaged(t *testing.T) {
	r := start(t, func(o *mailbox.Options, _ *kernel.Policy) { o.Shards = 8 })
	var names []string
	for i := range 30 {
		names = append(names, fmt.Sprintf("t%02d", i))
		r.send(names[i], "x")
	}
	var seen []string
	for after := ""; ; {
		page := r.Door().Topics(after, 7)
		for _, one := range page {
			seen = append(seen, one.Name)
			after = one.Name
		}
		if len(page) < 7 {
			break
		}
	}
	if !slices.Equal(seen, names) {
		t.Errorf("topics %v", seen)
	}
}

// A message reaches its waiting consumer; one send, one wake, one settlement.
func BenchmarkWake(b *testing.B) {
	r := start(b, nil)
	got := make(chan mbox.Delivery)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			d, _ := r.Recv(ctx, mbox.Want{Topic: "t", Max: 1}, patience)
			for _, one := range d {
				got <- one
			}
		}
	}()
	for b.Loop() {
		if _, err := r.Send(ctx, mbox.Message{Topic: "t", Payload: []byte("x")}); err != nil {
			b.Fatal(err)
		}
		d := <-got
		if _, err := r.Settle(ctx, mbox.Settlement{Receipt: d.Receipt}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCycle(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			r := start(b, nil)
			payload := make([]byte, 1024)
			ctx := context.Background()
			b.SetParallelism(max(1, callers/2))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := r.Send(ctx, mbox.Message{Topic: "bench", Payload: payload}); err != nil {
						b.Error(err)
						return
					}
					d, err := r.Recv(ctx, mbox.Want{Topic: "bench", Max: 1}, patience)
					if err != nil || len(d) != 1 {
						b.Error(len(d), err)
						return
					}
					if _, err := r.Settle(ctx, mbox.Settlement{Receipt: d[0].Receipt}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
