package kernel

// crashed is what follows the death of an incarnation, from top to bottom:
// the queue is shut, the policy decides, the ledger knows, the bus tells, the
// restart is due. Every cause of death comes through here.
func (r *root) crashed(s *service, c *crash) {
	s.cell.down(s.inc)
	s.down = true
	if r.leaving() {
		s.inc.trace(c.at(whileStopping)) // it is being stopped, or will be in its turn
		return
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
	r.carryOut(s)
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

// Words for a fall that no crash comes of.
const (
	whileStopping  = "while it stopped: "
	afterAbandoned = "after it was abandoned: "
)

// hung replaces an incarnation that is past its limit.
func (r *root) hung(m hung) {
	s := r.byName[m.inc.cell.name]
	if s.inc != m.inc || s.pid == nil {
		return
	}
	if r.leaving() && m.inc.stops() {
		return // it has until the deadline of the stop
	}
	if !m.inc.abandon(m.turn) {
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
	r.stray[s.pid.Id] = s.inc
	r.strays.Store(int64(len(r.stray)))
	r.aborted.Add(1)
	r.ctx.Stop(s.pid)
	s.released()
}
