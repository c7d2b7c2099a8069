package httpapi

import (
	"context"
	"errors"
	"sync/atomic"

	"micronode/http/admit"
)

// slots is a plain bound on what works at a time, without rate, flows or queue:
// the budget of operators, which data traffic does not touch.
type slots struct {
	taken atomic.Int64
	max   int64
}

func newSlots(inflight int) *slots { return &slots{max: int64(inflight)} }

func (s *slots) enter() error {
	if s.taken.Add(1) > s.max {
		s.taken.Add(-1)
		return ErrOverload
	}
	return nil
}

func (s *slots) leave() { s.taken.Add(-1) }

// place is one request's place in an admission: in the fair gate of data, in the
// slots of operators, or nowhere (health, metrics, tails). A slot is held while
// there is work to do, never while the node waits for the client.
type place struct {
	fair    *admit.Gate
	own     *slots
	pass    admit.Pass
	entered bool
	parked  bool
	over    bool
}

// begin makes the request known before its body is read.
func (p *place) begin(f admit.Flow, c admit.Class) error {
	if p.fair == nil {
		return nil
	}
	return admitted(p.fair.Begin(&p.pass, f, c))
}

// work asks for the right to work: first at all, and later for more after a
// wait. While it is held, asking changes nothing.
func (p *place) work(ctx context.Context, cost int) (err error) {
	switch {
	case p.over:
	case p.fair == nil && p.own != nil && !p.entered:
		err = p.own.enter()
	case p.fair == nil:
	case !p.entered:
		err = admitted(p.pass.Enter(ctx, cost))
	case p.parked:
		if err = admitted(p.pass.Resume(ctx, cost)); err == nil {
			p.parked = false
		}
	}
	p.entered = p.entered || err == nil
	return err
}

// park gives the slot back while the client is waited for. Slots of operators
// are kept: nobody else is waiting for them.
func (p *place) park() {
	if p.fair != nil && p.entered && !p.parked && !p.over {
		p.pass.Park()
		p.parked = true
	}
}

// leave ends the request's work; leaving twice changes nothing.
func (p *place) leave() {
	if p.over {
		return
	}
	p.over = true
	switch {
	case p.fair != nil:
		p.pass.End()
	case p.own != nil && p.entered:
		p.own.leave()
	}
}

// admitted puts the gate's refusals into the door's words; how long to wait is
// the gate's.
func admitted(err error) error {
	var r *admit.Refusal
	if !errors.As(err, &r) {
		return err
	}
	said := &refusal{after: r.After}
	switch r.Kind {
	case admit.ErrRate:
		said.kind = ErrRateLimited
	case admit.ErrQuota:
		said.kind = ErrFlowLimited
	case admit.ErrOpen:
		said.kind = ErrOverload
		said.detail = "As many requests as this node takes, or takes from one client, are under way and not finished. Finish some, then send again."
	default:
		said.kind = ErrOverload
	}
	return said
}
