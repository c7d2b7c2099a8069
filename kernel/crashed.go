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
	for _, k := range s.kills {
		k.Reply(s.restarts)
	}
	s.kills = nil
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
		r.orderRestart(s, c)
	case !r.serves(s) || s.ordered:
		c.Fail(ErrNotRunning)
	case c.Req.verb == verbKill:
		s.ordered = true
		s.kills = append(s.kills, c)
		s.inc.fall(&crash{reason: clip("killed: "+cmp.Or(c.Req.reason, "by order"), maxReason)})
	default:
		s.ordered = true
		s.inc.hangNext()
		c.Reply(s.restarts)
	}
}

// orderRestart ends the incarnation, if there is one, and starts the next
// without delay and with a clean record: the operator takes the blame.
func (r *root) orderRestart(s *service, c *Call[order, int64]) {
	s.restart = append(s.restart, c)
	if !s.down && !r.serves(s) || s.due {
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
	for _, k := range s.kills {
		k.Fail(ErrNotRunning)
	}
	s.kills = nil
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
