package kernel

import (
	"cmp"
	"time"
)

// order is what an operator wants done with one child.
type order struct {
	verb   verb
	child  string
	reason string
}

type verb uint8

const (
	verbRestart verb = iota
	verbKill
	verbHang
)

// order carries out what an operator asked for.
func (r *root) order(c *Call[order, int64]) {
	s, known := r.byName[c.Req.child]
	switch {
	case !known:
		c.Fail(ErrUnknownChild)
	case r.leaving():
		c.Fail(ErrStopped)
	case c.Req.verb == verbRestart && len(s.restart)+len(s.early) >= maxQueuedOrders:
		c.Fail(ErrNotRunning)
	case c.Req.verb == verbRestart:
		if c.claim() {
			r.orderRestart(s, c)
		}
	case s.record.troubled() && s.down, len(s.queued) >= maxQueuedOrders:
		c.Fail(ErrNotRunning)
	default:
		s.queued = append(s.queued, c)
		r.nextOrder(s)
	}
}

// maxQueuedOrders bounds the chaos orders that wait for one child, and the
// restarts likewise.
const maxQueuedOrders = 64

// nextOrder gives a running child the oldest chaos order whose caller still
// waits. One incarnation gets one order at most, so each is one crash.
func (r *root) nextOrder(s *service) {
	for len(s.queued) > 0 && !s.ordered && r.serves(s) {
		c := s.queued[0]
		s.queued = s.queued[1:]
		if !c.claim() {
			continue // its caller gave up: surely not done
		}
		s.ordered = true
		if c.Req.verb == verbHang {
			s.inc.hangNext()
			c.Reply(s.restarts)
			continue
		}
		s.kill = c
		s.inc.fall(&crash{reason: clip("killed: "+cmp.Or(c.Req.reason, "by order"), maxReason), meant: true})
	}
}

// refuseOrders answers the chaos orders that can not be carried out any more.
func (s *service) refuseOrders(err error) {
	if s.kill != nil {
		s.kill.Fail(err)
	}
	for _, c := range s.queued {
		c.Fail(err)
	}
	s.kill, s.queued = nil, nil
}

// orderRestart ends the incarnation, if there is one, and starts the next
// without delay and with a clean record: the operator takes the blame.
//
// When it comes while one starts, that one is the answer. When it comes while
// one falls and the fall is not in the books yet, it waits for that: else it
// would cause nothing, and the old one's fall would look like the new one's.
func (r *root) orderRestart(s *service, c *Call[order, int64]) {
	if !s.down && !r.serves(s) && s.inc != nil && s.inc.hasStarted() {
		s.early = append(s.early, c)
		return
	}
	s.restart = append(s.restart, c)
	if !s.down && !r.serves(s) || s.due {
		s.record.forgive()
		return // one is on its way
	}
	s.disarm()
	s.record.forgive()
	if !s.down {
		s.restarts++
		s.down = true
		s.cell.down(s.inc)
		r.ctx.Stop(s.pid)
	}
	s.refuseOrders(ErrNotRunning)
	r.ledger.update(s.child.Name, func(st *ServiceStatus) {
		st.State, st.Restarts, st.NextRestart = Starting, s.restarts, time.Time{}
	})
	r.bus.Publish(Event{Topic: r.topic + ".crash", Kind: KindServiceRestarted, Service: s.child.Name, Data: RestartData{
		Reason: clip(cmp.Or(c.Req.reason, "by order"), maxReason), Restarts: s.restarts,
	}})
	r.start(s)
}

// carryOut gives the restarts that have waited for the books their turn.
func (r *root) carryOut(s *service) {
	early := s.early
	s.early = nil
	for _, c := range early {
		r.orderRestart(s, c)
	}
}

func (s *service) answerRestart(err error) {
	for _, c := range s.restart {
		if err != nil {
			c.Fail(err)
		} else {
			c.Reply(s.restarts)
		}
	}
	s.restart = nil
}
