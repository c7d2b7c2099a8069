package httpapi

import (
	"context"
	"sync"
	"time"

	"micronode/store"
)

// tails bounds the streams without end under way, on each plane by itself, and
// can end them: they would outlast any drain.
type tails struct {
	what  string          // in problems
	max   int             // on each plane
	mu    sync.Mutex      // guards all that follows
	open  map[int]tailing // until the last byte is written
	count map[string]int  // at work, by plane
	next  int
	ended map[string]bool // planes that begin no more
	none  chan struct{}   // closed when the last one ends, made by whoever waits
}

type tailing struct {
	plane string
	conn  *conn
	end   context.CancelFunc
}

func newTails(what string, limit int) *tails {
	return &tails{what: what, max: limit, open: map[int]tailing{}, count: map[string]int{}, ended: map[string]bool{}}
}

// begin returns the stream's own context and what to call at its end. From now on
// no drain waits for the request.
func (t *tails) begin(ctx context.Context, w *reply) (context.Context, func(), error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	plane := w.plane
	if t.ended[plane] {
		return nil, nil, refuse(store.ErrNotReady, "The node drains and begins no new "+t.what+" here. The operator socket serves until the end.")
	}
	if t.count[plane] >= t.max {
		return nil, nil, refuse(ErrOverload, "As many "+t.what+"s as this listener serves are under way. End one, or wait for Retry-After.")
	}
	w.unowe()
	ctx, cancel := context.WithCancel(ctx)
	id := t.next
	t.next++
	t.open[id] = tailing{plane, w.conn, cancel}
	t.count[plane]++
	return ctx, func() {
		cancel()
		t.mu.Lock()
		t.count[plane]--
		t.mu.Unlock()
		w.conn.afterAnswer(func() { t.remove(id) })
	}, nil
}

// remove takes a stream out whose last byte is written.
func (t *tails) remove(id int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, id)
	if len(t.open) == 0 && t.none != nil {
		close(t.none)
		t.none = nil
	}
}

// end ends the tails of a plane. A client that does not read is left when what
// is written for it has waited so long.
func (t *tails) end(plane string, unread time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended[plane] = true
	for _, one := range t.open {
		if one.plane == plane {
			one.end()
			one.conn.hurry(unread)
		}
	}
}

// settle begins no more tails and waits for those under way: the bus has ended
// them, and they still write what they hold. It reports whether all did in time.
func (t *tails) settle(ctx context.Context, planes ...string) bool {
	t.mu.Lock()
	for _, p := range planes {
		t.ended[p] = true
	}
	if len(t.open) == 0 {
		t.mu.Unlock()
		return true
	}
	if t.none == nil {
		t.none = make(chan struct{})
	}
	none := t.none
	t.mu.Unlock()
	select {
	case <-none:
		return true
	case <-ctx.Done():
		return false
	}
}
