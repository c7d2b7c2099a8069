package mailbox_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"micronode/actors/mailbox"
	"micronode/kernel"
	"micronode/store/mbox"
)

// patience ends a test that waits for what never comes.
const patience = 20 * time.Second

// rig is a mailbox whose shards run in a tree of their own.
type rig struct {
	testing.TB
	*mailbox.Mailbox
	tree *kernel.Tree
	ctx  context.Context
	wall atomic.Int64 // added to the wall clock, ns
	mono atomic.Int64 // added to the monotonic clock, ns

	mu   sync.Mutex
	died []mbox.DeadLetter
}

// start runs a mailbox. change may alter its options and the restart policy.
func start(t testing.TB, change func(*mailbox.Options, *kernel.Policy)) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	r := &rig{TB: t, ctx: ctx}
	began := time.Now()
	o := mailbox.Options{
		Shards: 2, MaxBytes: 64 << 20, MaxInflight: 1 << 20,
		Queue: mbox.Options{Capacity: 1 << 20, BackoffBase: time.Millisecond, BackoffCap: time.Millisecond, Visibility: time.Minute},
		Now:   func() time.Time { return time.Now().Add(time.Duration(r.wall.Load())) },
		Mono:  func() time.Duration { return time.Since(began) + time.Duration(r.mono.Load()) },
		Died: func(_ string, all []mbox.DeadLetter) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.died = append(r.died, all...)
		},
		Mended: func(shard string, what error) { t.Errorf("%s came back with broken books: %v", shard, what) },
	}
	p := kernel.Policy{BackoffMin: time.Millisecond, BackoffMax: time.Millisecond, MaxRestarts: 10_000, QuarantineAfter: 20_000, Watchdog: 200 * time.Millisecond}
	if change != nil {
		change(&o, &p)
	}
	o.Plane = func() kernel.Plane { return r.tree.Ledger().Plane(mailbox.ActorName) }
	m, err := mailbox.New(o)
	if err != nil {
		t.Fatal(err)
	}
	bus := kernel.NewBus(kernel.BusOptions{})
	r.Mailbox = m
	if r.tree, err = kernel.New(kernel.Options{Name: "test", Children: m.Children(), Policy: p, Bus: bus}); err != nil {
		t.Fatal(err)
	}
	m.Attach(r.tree.Ref)
	ready := bus.Subscribe(kernel.Query{Kind: kernel.KindReadyChanged})
	if err := r.tree.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer cancel()
		if err := r.tree.Stop(context.WithoutCancel(ctx)); err != nil {
			t.Errorf("stop: %v", err)
		}
		m.Close()
		bus.Close()
	})
	for !r.tree.Ledger().Readiness().Ready {
		if _, _, err := ready.Next(ctx); err != nil {
			t.Fatal(err)
		}
	}
	ready.Close()
	return r
}

func (r *rig) send(topic, payload string) mbox.ID {
	r.Helper()
	sent, err := r.Send(r.ctx, mbox.Message{Topic: topic, Payload: []byte(payload)})
	if err != nil {
		r.Fatalf("send %s: %v", payload, err)
	}
	return sent.ID
}

// one receives one message, waiting for it if need be.
func (r *rig) one(topic string) mbox.Delivery {
	r.Helper()
	got, err := r.Recv(r.ctx, mbox.Want{Topic: topic, Max: 1}, patience)
	if err != nil || len(got) != 1 {
		r.Fatalf("recv %s: %d messages, %v", topic, len(got), err)
	}
	return got[0]
}

func (r *rig) none(topic string) {
	r.Helper()
	if got, err := r.Recv(r.ctx, mbox.Want{Topic: topic}, 0); err != nil || len(got) != 0 {
		r.Errorf("recv %s: %d messages, %v, want none", topic, len(got), err)
	}
}

func (r *rig) settle(v mbox.Verdict, d mbox.Delivery, want error) {
	r.Helper()
	if _, err := r.Settle(r.ctx, mbox.Settlement{Verdict: v, Receipt: d.Receipt}); !errors.Is(err, want) {
		r.Errorf("settle %v of attempt %d: %v, want %v", v, d.Attempt, err, want)
	}
}

// shards are the names of the actors.
func (r *rig) shards() (names []string) {
	for _, c := range r.Children() {
		names = append(names, c.Name)
	}
	return names
}

// kill kills every shard; it may be down from the kill before.
func (r *rig) kill() {
	r.Helper()
	for _, name := range r.shards() {
		if _, err := r.tree.Kill(r.ctx, name, "test"); err != nil && !errors.Is(err, kernel.ErrNotRunning) {
			r.Errorf("kill %s: %v", name, err)
		}
	}
}
