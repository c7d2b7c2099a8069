package httpapi

import (
	"time"

	"micronode/store"
)

// Planes that readiness judges on their own.
const (
	planeObjects = "objects"
	planeMailbox = "mailbox"
)

// gate refuses, before a body is read, what a plane does not take now:
// writes unless it is open, reads only when it is closed (contract §4). A plane
// that readiness does not mention is as open as the node is ready.
func gate(r Readiness, plane string, c class) error {
	state, known := r.Planes[plane]
	if !known {
		state = PlaneOpen
		if !r.Ready {
			state = PlaneClosed
		}
	}
	after := time.Duration(r.RetryAfter) * time.Second
	switch {
	case state == PlaneOpen, state == PlaneReadOnly && c != classWrite:
		return nil
	case state == PlaneReadOnly:
		return &refusal{kind: store.ErrReadOnly, after: after}
	default:
		return &refusal{kind: store.ErrNotReady, after: after}
	}
}
