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

// gate refuses, before a body is read, what a plane does not take now: writes
// unless it is open, reads only when it is closed (contract §4).
func (s *server) gate(plane string, c class, frees bool) error {
	ask := s.ports.Plane
	if ask == nil {
		r := s.ports.Ready()
		ask = r.plane
	}
	switch state, after := ask(plane); {
	case state == PlaneOpen, state == PlaneReadOnly && c != classWrite:
		return nil
	case state == PlaneReadOnly && frees && s.ports.Frees != nil && s.ports.Frees():
		return nil
	case state == PlaneReadOnly:
		return &refusal{kind: store.ErrReadOnly, after: after}
	default:
		return &refusal{kind: store.ErrNotReady, after: after}
	}
}

// plane reads the state of one plane out of readiness; one that it does not
// mention is as open as the node is ready.
func (r Readiness) plane(name string) (state string, retryAfter time.Duration) {
	state, known := r.Planes[name]
	if !known {
		state = PlaneOpen
		if !r.Ready {
			state = PlaneClosed
		}
	}
	return state, time.Duration(r.RetryAfter) * time.Second
}
