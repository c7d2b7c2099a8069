package actors

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"

	"micronode/kernel"
)

const (
	checkEvery = time.Second
	// quietFor is how long a check must find nothing before its cause is
	// cleared, so that readiness does not flap.
	quietFor = 5 * time.Second

	headroomShare = 0.90 // of store.max_bytes, contract §2
	inflightShare = 0.80 // of limits.inflight, contract §4
)

type checkNow struct{}

// health looks once a second at what no actor's state tells, and raises or
// clears causes in the ledger. Readiness itself never waits for it.
type health struct {
	n      *Node
	checks []check
}

// check is one question. look returns a line for a person while there is
// trouble. It runs on the health actor; what it has to remember across restarts
// is in seen.
type check struct {
	cause string
	look  func() string
	last  time.Time // when look last found something; zero: never
}

// seen is how far the health actor has looked. The node lends it to each
// incarnation, so what happens while none runs is found by the next.
type seen struct {
	lagged  atomic.Uint64
	corrupt atomic.Int64
}

// Start takes over the causes that an earlier incarnation may have left.
func (h *health) Start(_ context.Context, life *kernel.Life) error {
	busy := 0
	h.checks = []check{
		{cause: "store_headroom", look: func() string {
			u := h.n.gate.Usage()
			if u.MaxBytes == 0 || float64(u.Bytes) < headroomShare*float64(u.MaxBytes) {
				return ""
			}
			return fmt.Sprintf("%s of %s used; delete objects or raise store.max_bytes", size(u.Bytes), size(u.MaxBytes))
		}},
		{cause: "inflight", look: func() string {
			in, bound := h.n.inflight(), h.n.cfg.Limits.Inflight
			if float64(in) <= inflightShare*float64(bound) {
				busy = 0
				return ""
			}
			if busy++; busy < 2 { // two looks in a row are a second
				return ""
			}
			return fmt.Sprintf("%d of %d requests in flight", in, bound)
		}},
		{cause: "bus_lag", look: func() string {
			lagged := h.n.bus.Lagged()
			before := h.n.seen.lagged.Swap(lagged)
			if lagged == before {
				return ""
			}
			return fmt.Sprintf("%d events dropped for a slow subscriber since the last look", lagged-before)
		}},
		{cause: "integrity", look: func() string {
			corrupt := h.n.corrupt.Load()
			if h.n.seen.corrupt.Swap(corrupt) == corrupt {
				return ""
			}
			return "stored bytes did not match their address; memory has failed, or something wrote to it. Put the objects named in IntegrityFailed events again"
		}},
	}
	for i := range h.checks {
		h.checks[i].last = h.n.opt.Now() // an inherited cause is cleared in its time
	}
	life.Tick(checkEvery, checkNow{})
	return nil
}

// Receive looks.
func (h *health) Receive(_ context.Context, msg any) error {
	if _, ok := msg.(checkNow); !ok {
		return nil
	}
	now, ledger := h.n.opt.Now(), h.n.tree.Ledger()
	for i := range h.checks {
		c := &h.checks[i]
		if trouble := c.look(); trouble != "" {
			c.last = now
			ledger.Raise(kernel.Cause{Name: c.cause, Detail: trouble, Effect: kernel.Warn})
		} else if !c.last.IsZero() && now.Sub(c.last) >= quietFor {
			c.last = time.Time{}
			ledger.Clear(c.cause)
		}
	}
	return nil
}

// Stop leaves the causes for the next incarnation.
func (h *health) Stop() {}

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }
