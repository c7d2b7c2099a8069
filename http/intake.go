package httpapi

import (
	"context"
	"sync/atomic"

	"micronode/http/admit"
)

// intake is what a body costs the node while it comes, whatever door it comes
// through. A slow one costs nobody a slot: the right to work is asked for when the
// first slice of 64 KiB, or the whole, is there, and given back while the next
// slice is waited for. What it keeps in memory meanwhile is bounded over all
// bodies; where the store charges what has come, that is the slice on its way.
type intake struct {
	ctx     context.Context // of the request that the body belongs to, as in http.Request; nil: it asks for nothing
	place   *place
	unread  *atomic.Int64 // what all bodies keep; nil: this one is not worth it
	charged bool          // the store charges what has come
	kept    int64         // of unread, this one
	read    int64
	left    int // of the current slice
}

// close gives back what was counted.
func (t *intake) close() {
	if t.unread != nil {
		t.unread.Add(-t.kept)
		t.kept = 0
	}
}

// next begins to wait for a slice.
func (t *intake) next() error {
	t.left = sliceBytes
	if t.unread != nil && (t.read == 0 || !t.charged) {
		t.kept += sliceBytes
		if t.unread.Add(sliceBytes) > maxUnfinished {
			return refuse(ErrOverload, "The bodies that are on their way fill the memory that there is for them. Wait for Retry-After, then send again.")
		}
	}
	if t.ctx != nil {
		t.place.park()
	}
	return nil
}

// took counts bytes that came, and asks for the right to work on a slice that is
// full or the last one.
func (t *intake) took(n int, whole bool) error {
	t.left -= n
	t.read += int64(n)
	if t.ctx == nil || t.left > 0 && !whole {
		return nil
	}
	cost := 1
	if t.read <= sliceBytes { // the first one pays for the request, too
		cost = admit.Cost(t.read)
	}
	return t.place.work(t.ctx, cost)
}
