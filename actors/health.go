package actors

import (
	"fmt"

	"github.com/dustin/go-humanize"
)

const (
	headroomShare = 0.90 // of store.max_bytes, contract §2, and of the mailbox's bounds
	inflightShare = 0.80 // of limits.inflight, contract §4
)

// healthChecks are the questions about the node as a whole.
func (n *Node) healthChecks() []check {
	busy := 0
	return []check{
		{cause: "store_headroom", look: func() string {
			u := n.gate.Usage()
			if u.MaxBytes == 0 || float64(u.Bytes) < headroomShare*float64(u.MaxBytes) {
				return ""
			}
			return fmt.Sprintf("%s of %s used; delete objects or raise store.max_bytes", size(u.Bytes), size(u.MaxBytes))
		}},
		{cause: "inflight", look: func() string {
			in, bound := n.inflight(), n.cfg.Limits.Inflight
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
