package httpapi

import (
	"context"
	"sync"

	"micronode/store"
)

// tails bounds the bus tails under way and can end them: they would outlast any drain.
type tails struct {
	mu    sync.Mutex // guards open, next, ended
	open  map[int]tailing
	next  int
	ended map[string]bool // planes that begin no more
	none  chan struct{}   // closed when the last one ends, made by whoever waits
}

type tailing struct {
	plane string
	end   context.CancelFunc
}

func newTails() *tails {
	return &tails{open: map[int]tailing{}, ended: map[string]bool{}}
}

// begin returns the tail's own context and what to call at its end.
func (t *tails) begin(ctx context.Context, plane string) (context.Context, func(), error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended[plane] {
		return nil, nil, refuse(store.ErrNotReady, "The node drains and begins no new tail here. The operator socket serves until the end.")
	}
	if len(t.open) >= maxTails {
		return nil, nil, refuse(ErrOverload, "As many tails as the node serves are under way. End one, or wait for Retry-After.")
	}
	ctx, cancel := context.WithCancel(ctx)
	id := t.next
	t.next++
	t.open[id] = tailing{plane, cancel}
	return ctx, func() {
		cancel()
		t.mu.Lock()
		delete(t.open, id)
		if len(t.open) == 0 && t.none != nil {
			close(t.none)
			t.none = nil
		}
		t.mu.Unlock()
	}, nil
}

// end ends the tails of a plane.
func (t *tails) end(plane string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended[plane] = true
	for _, one := range t.open {
		if one.plane == plane {
			one.end()
		}
	}
}

// settle begins no more tails and waits for those under way: the bus has ended
// them, and they still write what they hold. Those that do not in time are ended.
func (t *tails) settle(ctx context.Context, planes ...string) {
	t.mu.Lock()
	for _, p := range planes {
		t.ended[p] = true
	}
	if len(t.open) == 0 {
		t.mu.Unlock()
		return
	}
	if t.none == nil {
		t.none = make(chan struct{})
	}
	none := t.none
	t.mu.Unlock()
	select {
	case <-none:
	case <-ctx.Done():
		for _, p := range planes {
			t.end(p)
		}
	}
}
