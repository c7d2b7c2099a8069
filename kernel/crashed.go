package kernel

import (
	"cmp"
	"time"
)

// crashed is what follows the death of an incarnation, from top to bottom:
// the queue is shut, the policy decides, the ledger knows, the bus tells, the
// restart is due. Every cause of death comes through here.
func (r *root) crashed(s *service, c *crash) {
	s.cell.down(s.inc)
	s.down = true
	if r.leaving() {
		return // it is being stopped, or will be in its turn
	}
	s.restarts++
	now := r.now()
	v := s.record.crash(r.policy, now, r.jitter)
	r.ledger.update(s.child.Name, func(st *ServiceStatus) {
		st.State, st.Restarts, st.NextRestart = v.state, s.restarts, now.Add(v.delay)
		st.LastReason, st.LastCrash = c.reason, now
	})
	r.publishCrash(s, c, v)
	r.after(s, v.delay)
	if s.kill != nil {
		s.kill.Reply(s.restarts)
		s.kill = nil
	}
	if v.state != Backoff {
		s.refuseOrders(ErrNotRunning)
	}
	s.answerRestart(ErrCrashed)
	r.booted(s)
}

func (r *root) publishCrash(s *service, c *crash, v verdict) {
	topic, name := r.topic+".crash", s.child.Name
	r.bus.Publish(Event{Topic: topic, Kind: KindServiceCrashed, Service: name, Data: CrashData{
		Reason: c.reason, Stack: c.stack, Restarts: s.restarts,
		Recent: v.recent, DelayMS: v.delay.Milliseconds(), State: v.state.String(),
	}})
	if !v.entered || v.state == Backoff {
		return
	}
	kind, next := KindRestartStorm, "find the cause in the crash events before this one; it is restarted once per delay"
	if v.state == Quarantined {
		kind, next = KindQuarantined, "mend the cause, then: ronctl restart "+name+"; one probe is made by itself after the delay"
	}
	r.bus.Publish(Event{Topic: topic, Kind: kind, Service: name, Data: StormData{
		Recent: v.recent, WindowMS: r.policy.Window.Milliseconds(), DelayMS: v.delay.Milliseconds(), Next: next,
	}})
}

// hung replaces an incarnation that is past its limit.
func (r *root) hung(m hung) {
	s := r.byName[m.inc.cell.name]
	if s.inc != m.inc || s.pid == nil || !m.inc.abandon(m.turn) {
		return
	}
	r.cutLoose(s)
	why := "hung: one turn took longer than its watchdog of " + m.limit.String()
	switch {
	case r.leaving() && (r.stopping < 0 || r.services[r.stopping] != s):
		r.left = append(r.left, s.child.Name) // not its turn yet
	case r.leaving():
		r.leftBehind(s)
	case !s.down:
		r.crashed(s, &crash{reason: why})
	default: // it hung on its way out
		r.fault(s.child.Name, &crash{reason: why + " while it stopped"})
		if s.due {
			r.spawn(s)
		}
	}
}

// cutLoose forgets an abandoned incarnation. Its goroutine can not be ended
// from outside: it is cut off, told through its ctx, and stops if it ever
// returns.
func (r *root) cutLoose(s *service) {
	r.stray[s.pid.Id] = s.child.Name
	r.strays.Store(int64(len(r.stray)))
	r.aborted.Add(1)
	r.ctx.Stop(s.pid)
	s.released()
}

// order carries out what an operator asked for.
func (r *root) order(c *Call[order, int64]) {
	s, known := r.byName[c.Req.child]
	switch {
	case !known:
		c.Fail(ErrUnknownChild)
	case r.leaving():
		c.Fail(ErrStopped)
	case c.Req.verb == verbRestart:
		if c.claim() {
			r.orderRestart(s, c)
		}
	case s.record.troubled() && s.down, len(s.queued) == maxQueuedOrders:
		c.Fail(ErrNotRunning)
	default:
		s.queued = append(s.queued, c)
		r.nextOrder(s)
	}
}

// maxQueuedOrders bounds the chaos orders that wait for one child.
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
		s.inc.fall(&crash{reason: clip("killed: "+cmp.Or(c.Req.reason, "by order"), maxReason)})
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
func (r *root) orderRestart(s *service, c *Call[order, int64]) {
	s.restart = append(s.restart, c)
	if !s.down && !r.serves(s) || s.due {
		if !s.inc.hasStarted() || s.due {
			s.record.forgive()
		}
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
