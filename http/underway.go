package httpapi

import (
	"context"
	"sync"
)

// underway counts what Close lets finish: an order that ends the node is
// answered before the node is gone.
type underway struct {
	mu   sync.Mutex // guards n, none
	n    int
	none chan struct{} // closed when n falls to 0; nil: nobody waits
}

func (u *underway) begin() {
	u.mu.Lock()
	u.n++
	u.mu.Unlock()
}

func (u *underway) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.n--
	if u.n == 0 && u.none != nil {
		close(u.none)
		u.none = nil
	}
}

// wait returns when nothing is under way, or ctx ends.
func (u *underway) wait(ctx context.Context) {
	u.mu.Lock()
	if u.n == 0 {
		u.mu.Unlock()
		return
	}
	if u.none == nil {
		u.none = make(chan struct{})
	}
	none := u.none
	u.mu.Unlock()
	select {
	case <-none:
	case <-ctx.Done():
	}
}
