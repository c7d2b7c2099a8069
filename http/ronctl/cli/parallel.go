package cli

import (
	"context"
	"sync"
)

// ahead is how many finished items may wait for a slower one before them.
const ahead = 64

// inOrder does work on items with some workers and hands the results out in
// the order of the items, from the caller's goroutine. It stops early when ctx
// ends or emit returns false, waits for its workers, and returns how many items
// were handed out.
func inOrder[T, R any](ctx context.Context, workers int, items []T, work func(context.Context, T) R, emit func(R) bool) int {
	type job struct {
		item   T
		result R
		done   chan struct{}
	}
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()

	jobs, order := make(chan *job), make(chan *job, ahead)
	running.Go(func() {
		defer close(order)
		defer close(jobs)
		for _, item := range items {
			j := &job{item: item, done: make(chan struct{})}
			select {
			case order <- j:
			case <-ctx.Done():
				return
			}
			select {
			case jobs <- j:
			case <-ctx.Done():
				return // j is in order and will never be done: the reader watches ctx too
			}
		}
	})
	for range max(workers, 1) {
		running.Go(func() {
			for j := range jobs {
				j.result = work(ctx, j.item)
				close(j.done)
			}
		})
	}
	emitted := 0
	for j := range order {
		select {
		case <-j.done:
		case <-ctx.Done():
			select {
			case <-j.done: // what is done is told
			default:
				return emitted
			}
		}
		if !emit(j.result) {
			return emitted
		}
		emitted++
	}
	return emitted
}
