package admit

import "time"

// enqueue puts a request into its flow's line, and the flow among those that take
// turns. One that has asked for less than its share lately goes before them: who
// asks for little does not wait behind who asks for much.
func (m *Machine) enqueue(now time.Duration, t *Ticket) {
	f := t.flow
	alone := f.line.first == nil
	m.seen(now, f)
	t.state = stateQueued
	f.line.push(t)
	if t.again {
		m.again++
	} else {
		m.queued[t.class]++
		m.ages[t.class].push(t)
		f.waits++
		if t.class == Write {
			f.writes++
		}
	}
	if !alone {
		return
	}
	list := &m.turns
	if m.accrue(now, f); f.credit > 0 && f.deficit >= 0 {
		list = &m.fresh
	}
	if f.list == list {
		return
	}
	if f.list != nil {
		f.list.remove(f)
	}
	list.push(f)
}

// accrue gives a flow credit for the time that has passed, at its share of the
// pace. Whatever it is served takes from it, so that nobody comes to more than a
// share, and a little, by the credit.
func (m *Machine) accrue(now time.Duration, f *flow) {
	most := float64(credit * f.weight)
	if f.epoch != m.epoch {
		f.epoch, f.deficit, f.credit, f.accrued = m.epoch, 0, most, now
		return
	}
	if dt := now - f.accrued; dt > 0 {
		share := m.pace.lately(now) * float64(f.weight) / float64(m.rivals(now, f))
		f.credit, f.accrued = min(most, f.credit+dt.Seconds()*share), now
	}
}

// rivalFor is how long a flow that had to wait counts as one that shares.
const rivalFor = time.Second

// seen notes that a flow had to wait.
func (m *Machine) seen(now time.Duration, f *flow) {
	if f.seen {
		m.recent.Remove(f.at)
	} else {
		m.weight += f.weight
	}
	f.seen, f.seenAt = true, now
	f.at = m.recent.PushBack(f)
	for m.recent.Len() > MaxFlows {
		m.unsee(now, m.recent.Front().Value.(*flow))
	}
}

func (m *Machine) unsee(now time.Duration, f *flow) {
	m.recent.Remove(f.at)
	m.weight -= f.weight
	f.seen, f.at = false, nil
	m.forget(now, f)
}

// rivals is the weight of all who had to wait lately, and of f.
func (m *Machine) rivals(now time.Duration, f *flow) int {
	for e := m.recent.Front(); e != nil && e.Value.(*flow).seenAt < now-rivalFor; e = m.recent.Front() {
		m.unsee(now, e.Value.(*flow))
	}
	if f.seen {
		return m.weight
	}
	return m.weight + f.weight
}

// leaveLine takes a request out of its line. Its flow stays on its list until its
// turn comes.
func (m *Machine) leaveLine(t *Ticket) {
	f := t.flow
	f.line.remove(t)
	if t.again {
		m.again--
	} else {
		m.queued[t.class]--
		m.ages[t.class].remove(t)
		f.waits--
		if t.class == Write {
			f.writes--
		}
	}
}

// dispatch lets in who may work now, in the order of deficit round robin.
func (m *Machine) dispatch(now time.Duration) {
	for m.waiting() > 0 && m.slots < m.limits.Inflight {
		if m.short() && m.again == 0 {
			return
		}
		f := m.pick(now)
		if f == nil {
			return
		}
		t := f.line.first
		m.leaveLine(t)
		if !t.again {
			m.token()
		}
		m.charge(now, t)
		m.grant(t)
		m.decided(t, nil)
		m.calm(now)
	}
}

// need is how many tokens there must be for the next newcomer to go.
func (m *Machine) need() float64 {
	for f := m.fresh.first; f != nil; f = f.after {
		if f.line.first != nil {
			return 1
		}
	}
	return 1 + m.limits.reserve()
}

// short reports whether newcomers wait for tokens.
func (m *Machine) short() bool { return m.limits.RPS > 0 && !m.bucket.has(m.need()) }

// charge takes what a request costs from its flow, as long as others wait.
func (m *Machine) charge(now time.Duration, t *Ticket) {
	f := t.flow
	if m.waiting() == 0 && f.list == nil {
		return
	}
	m.accrue(now, f)
	f.credit = max(f.credit-float64(t.cost), -float64(credit*f.weight))
	if f.list != &m.fresh {
		f.deficit = max(f.deficit-t.cost, -maxDebt)
	}
}

// maxDebt bounds what a flow may owe: an object of 256 MiB.
const maxDebt = 4096

// calm forgets all debts when nobody waits any more.
func (m *Machine) calm(now time.Duration) {
	if m.waiting() > 0 {
		return
	}
	m.epoch++
	for _, r := range [...]*ring{&m.fresh, &m.turns} {
		for f := r.first; f != nil; f = r.first {
			r.remove(f)
			m.forget(now, f)
		}
	}
}

// pick returns the flow whose turn it is, and whose first request may go: one
// that resumes needs no token.
func (m *Machine) pick(now time.Duration) *flow {
	any := m.limits.RPS < 0 || m.bucket.has(1)
	tokens := m.limits.RPS < 0 || m.bucket.has(1+m.limits.reserve())
	for f := m.fresh.first; f != nil; {
		after := f.after
		switch {
		case f.line.first == nil:
			m.fresh.remove(f)
			m.forget(now, f)
		case f.credit <= 0: // what it had may have cost more: it pays by waiting
			m.fresh.remove(f)
			m.turns.push(f)
		case any || f.line.first.again:
			return f
		}
		f = after
	}
	for passed := 0; m.turns.first != nil; {
		f := m.turns.first
		t := f.line.first
		switch {
		case t == nil:
			m.turns.remove(f)
			m.forget(now, f)
			continue
		case !tokens && !t.again:
		default:
			if !f.turn {
				f.turn = true
				f.deficit += perTurn * f.weight
			}
			if f.deficit >= t.cost {
				return f
			}
		}
		f.turn = false
		m.turns.remove(f)
		m.turns.push(f)
		if passed++; passed > m.turns.n {
			if !m.jump(tokens) {
				return nil
			}
			passed = 0
		}
	}
	return nil
}

// jump gives every flow as many turns at once as it takes until the first may go:
// deep debts cost no long rounds.
func (m *Machine) jump(tokens bool) bool {
	rounds := -1
	m.each(tokens, func(f *flow) {
		gain := perTurn * f.weight
		if need := (f.line.first.cost - f.deficit + gain - 1) / gain; rounds < 0 || need < rounds {
			rounds = need
		}
	})
	m.each(tokens, func(f *flow) { f.deficit += max(rounds-1, 0) * perTurn * f.weight })
	return rounds >= 0
}

// each calls do with the flows on the list of turns whose first request may go.
func (m *Machine) each(tokens bool, do func(*flow)) {
	for f := m.turns.first; f != nil; f = f.after {
		if t := f.line.first; t != nil && (tokens || t.again) {
			do(f)
		}
	}
}
