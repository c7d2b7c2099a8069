package kernel

import "time"

// stopAll stops the children one by one, the last started first.
func (r *root) stopAll(m stopAll) {
	if r.leaving() {
		m.done <- nil
		return
	}
	r.stopDone = m.done
	for _, s := range r.services {
		s.disarm()
		s.restart, s.early = append(s.restart, s.early...), nil
		s.answerRestart(ErrStopped)
		s.refuseOrders(ErrStopped)
	}
	r.stopNext()
}

func (r *root) stopNext() {
	r.stopping--
	if r.stopping < 0 {
		r.stopDone <- r.left
		return
	}
	s := r.services[r.stopping]
	s.cell.close()
	if s.pid == nil {
		r.stopped(s)
		return
	}
	r.ledger.update(s.child.Name, func(st *ServiceStatus) { st.State, st.NextRestart = Stopping, time.Time{} })
	if !s.inc.hasStarted() {
		s.inc.end() // still in Start: let it notice
	}
	r.ctx.Stop(s.pid)
	if s.inc.callOff() || r.hard {
		r.press(s)
	}
}

func (r *root) stopped(s *service) {
	r.ledger.update(s.child.Name, func(st *ServiceStatus) { st.State, st.NextRestart = Stopped, time.Time{} })
	r.stopNext()
}

// stopHard: the deadline has passed; nobody is waited for any more.
func (r *root) stopHard() {
	r.hard = true
	if r.leaving() && r.stopping >= 0 && r.stopping < len(r.services) {
		r.press(r.services[r.stopping])
	}
}

// press abandons the child that is being stopped if it is in a turn. If it is
// between two, it ends by itself at once or is in the next turn a moment later.
func (r *root) press(s *service) {
	switch {
	case s.pid == nil:
	case s.inc.abandonAny():
		r.cutLoose(s)
		if s.inc.hangs() { // a drill, which ends now
			r.stopped(s)
			return
		}
		r.leftBehind(s)
	default:
		time.AfterFunc(pressAgain, func() { r.tell(pressed{s.inc}) })
	}
}

// pressAgain is the pause between two looks at a child that must go.
const pressAgain = 10 * time.Millisecond

func (r *root) pressed(m pressed) {
	if s := r.byName[m.inc.cell.name]; s.inc == m.inc {
		r.press(s)
	}
}

func (r *root) leftBehind(s *service) {
	r.left = append(r.left, s.child.Name)
	r.stopped(s)
}
