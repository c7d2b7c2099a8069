package actors

import (
	"fmt"

	"github.com/dustin/go-humanize"
)

const (
	headroomShare = 0.90 // of store.max_bytes, contract §2, and of the mailbox's bounds
	inflightShare = 0.80 // of limits.inflight, contract §4
	queueShare    = 0.50 // of fairness.queue_total
)

// healthChecks are the questions about the node as a whole.
func (n *Node) healthChecks() []check {
	lasting := func(look func() string) func() string { // two looks in a row are a second
		before := false
		return func() string {
			trouble := look()
			held := before
			before = trouble != ""
			if !held {
				return ""
			}
			return trouble
		}
	}
	return []check{
		{cause: "store_headroom", look: func() string {
			u := n.gate.Usage()
			if u.MaxBytes == 0 || float64(u.Bytes) < headroomShare*float64(u.MaxBytes) {
				return ""
			}
			return fmt.Sprintf("%s of %s used; delete objects or raise store.max_bytes", size(u.Bytes), size(u.MaxBytes))
		}},
		{cause: "inflight", look: lasting(func() string {
			a := n.admission()
			if float64(a.Inflight) <= inflightShare*float64(a.Limits.Inflight) {
				return ""
			}
			return fmt.Sprintf("%d of %d requests in flight", a.Inflight, a.Limits.Inflight)
		})},
		{cause: "queue_depth", look: lasting(func() string {
			a := n.admission()
			if float64(a.Queued) <= queueShare*float64(a.Limits.QueueTotal) {
				return ""
			}
			return fmt.Sprintf("%d requests wait for a slot, %d may", a.Queued, a.Limits.QueueTotal)
		})},
		{cause: "shedding", look: lasting(func() string {
			shed := n.admission().Shed()
			before := n.seen.shed.Swap(shed)
			if shed <= before {
				return ""
			}
			return fmt.Sprintf("%d requests refused since the last look: more is offered than limits.rps and limits.inflight allow", shed-before)
		})},
		{cause: "bus_lag", look: func() string {
			lagged := n.bus.Lagged()
			before := n.seen.lagged.Swap(lagged)
			if lagged == before {
				return ""
			}
			return fmt.Sprintf("%d events dropped for a slow subscriber since the last look", lagged-before)
		}},
		{cause: "integrity", look: func() string {
			corrupt := n.corrupt.Load()
			if n.seen.corrupt.Swap(corrupt) == corrupt {
				return ""
			}
			return "stored bytes did not match their address; memory has failed, or something wrote to it. Put the objects named in IntegrityFailed events again"
		}},
	}
}

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }
