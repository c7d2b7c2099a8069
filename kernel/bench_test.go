package kernel_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"micronode/kernel"
)

func BenchmarkBusPublish(b *testing.B) {
	for _, subs := range []int{0, 1, 16} {
		b.Run(fmt.Sprintf("subscribers=%d", subs), func(b *testing.B) {
			bus := kernel.NewBus(kernel.BusOptions{})
			for range subs {
				defer bus.Subscribe(kernel.Query{}).Handle(func(kernel.Event, uint64) {})()
			}
			b.ReportAllocs()
			for b.Loop() {
				bus.Publish(kernel.Event{Topic: "node.bench", Kind: "Bench"})
			}
		})
	}
}

func benchTree(b *testing.B) *kernel.Tree {
	tree, err := start(kernel.Options{
		Jitter:   func(time.Duration) time.Duration { return 0 },
		Policy:   kernel.Policy{MaxRestarts: 1 << 30, QuarantineAfter: 1 << 31},
		Children: []kernel.Child{child(&diary{}, "a")},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = tree.Stop(context.Background()) })
	awaitReady(b, tree)
	return tree
}

func awaitReady(b *testing.B, tree *kernel.Tree) {
	sub := tree.Bus().Subscribe(kernel.Query{Kind: kernel.KindReadyChanged})
	defer sub.Close()
	for r := tree.Ledger().Readiness(); r.Degraded; r = tree.Ledger().Readiness() {
		if _, _, err := sub.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRestart is the time from a kill's order to the next incarnation's
// readiness, with no backoff: what the supervisor itself costs.
func BenchmarkRestart(b *testing.B) {
	tree := benchTree(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tree.Kill(b.Context(), "a", "bench"); err != nil {
			b.Fatal(err)
		}
		awaitReady(b, tree)
	}
}

// BenchmarkAsk is one request and its answer.
func BenchmarkAsk(b *testing.B) {
	tree := benchTree(b)
	ref := tree.Ref("a")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := kernel.Ask[string, string](b.Context(), ref, "x"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadiness(b *testing.B) {
	l := benchTree(b).Ledger()
	b.ReportAllocs()
	for b.Loop() {
		if !l.Readiness().Ready {
			b.Fatal("not ready")
		}
	}
}
