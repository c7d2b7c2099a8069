package admit

import (
	"container/list"
	"time"
)

// Machine is the admission as a pure machine: one caller at a time, and every
// call takes the time, which never goes back.
type Machine struct {
	limits  Limits
	decided func(*Ticket, error) // tells of each that waited: nil, or its refusal
	bucket  tokens
	slots   int // taken
	open    int
	parked  int

	flows  map[string]*flow
	fresh  ring // flows that begin to wait: one turn before the others
	turns  ring // flows that wait, or have had their share
	owing  int  // idle flows that are remembered for their debt or their quota
	queued [classes]int
	again  int // that wait to resume
	ages   [classes]ages
	recent list.List // flows that had to wait lately, the last at the end
	weight int       // of them
	epoch  uint64    // grows when nobody waits any more: then all debts are forgotten
	pace   pace

	granted uint64
	refused map[error]uint64
}

// NewMachine makes a machine. decided is called within other calls, for each
// request that had to wait.
func NewMachine(l Limits, decided func(*Ticket, error)) *Machine {
	m := &Machine{limits: l.withDefaults(), decided: decided, flows: map[string]*flow{}, refused: map[error]uint64{}}
	m.bucket.have = float64(m.limits.Burst)
	return m
}

// Configure puts other limits into force. Who waits is looked at anew.
func (m *Machine) Configure(now time.Duration, l Limits) {
	m.bucket.fill(now, m.limits.RPS, m.limits.Burst)
	m.limits = l.withDefaults()
	m.bucket.have = min(m.bucket.have, float64(m.limits.Burst))
	m.Advance(now)
}

// Advance refuses those whose patience is over and lets in who may work now.
func (m *Machine) Advance(now time.Duration) {
	m.bucket.fill(now, m.limits.RPS, m.limits.Burst)
	m.dispatch(now)
	for c := range m.ages {
		for t := m.ages[c].oldest; t != nil && t.until <= now; t = m.ages[c].oldest {
			m.refuse(now, t)
		}
	}
}

// NextDue is when Advance has something to do, if nothing else happens.
func (m *Machine) NextDue(now time.Duration) (at time.Duration, ok bool) {
	for c := range m.ages {
		if t := m.ages[c].oldest; t != nil && (!ok || t.until < at) {
			at, ok = t.until, true
		}
	}
	if ok && m.slots < m.limits.Inflight && m.short() {
		at = min(at, m.bucket.at+m.bucket.until(m.need(), m.limits.RPS))
	}
	return max(at, now), ok
}

// Begin counts a request as begun.
func (m *Machine) Begin(now time.Duration, t *Ticket, f Flow, c Class) error {
	fl := m.flowOf(now, f)
	if m.open >= m.limits.Open || fl.open >= max(1, m.limits.Open-m.limits.Open/openShare) {
		m.forget(now, fl)
		return m.no(ErrOpen, m.pace.wait(now, 1))
	}
	m.open++
	fl.open++
	*t = Ticket{flow: fl, class: c, state: stateOpen, wake: t.wake}
	return nil
}

// Enter asks for a token and a slot. Nil: the request works now. waits: it stands
// in line, and decided will tell.
func (m *Machine) Enter(now time.Duration, t *Ticket, cost int) (waits bool, err error) {
	if t.state != stateOpen {
		return false, nil
	}
	f := t.flow
	if f.rps > 0 {
		f.quota.fill(now, f.rps, burstOf(f.rps))
		if !f.quota.take() {
			return false, m.no(ErrQuota, f.quota.until(1, f.rps))
		}
	}
	t.cost = max(1, cost)
	m.bucket.fill(now, m.limits.RPS, m.limits.Burst)
	if m.waiting() == 0 && m.slots < m.limits.Inflight && m.token() {
		m.grant(t)
		return false, nil
	}
	if err := m.room(now, t); err != nil {
		m.refund(f)
		return false, err
	}
	t.until = now + m.limits.patience(t.class)
	m.enqueue(now, t)
	m.dispatch(now)
	return t.state == stateQueued, nil
}

// Park gives a slot back while its request waits for its client.
func (m *Machine) Park(now time.Duration, t *Ticket) {
	if t.state != stateHeld {
		return
	}
	t.state = stateParked
	m.parked++
	m.release(now)
}

// Resume asks for a slot again, as Enter does, ahead of its flow's newcomers.
func (m *Machine) Resume(now time.Duration, t *Ticket, cost int) (waits bool) {
	if t.state != stateParked {
		return false
	}
	m.parked--
	t.cost, t.again = max(1, cost), true
	if m.again == 0 && m.slots < m.limits.Inflight && (m.waiting() == 0 || m.starved(now)) {
		m.charge(now, t)
		m.grant(t)
		return false
	}
	m.enqueue(now, t)
	m.dispatch(now)
	return t.state == stateQueued
}

// starved reports whether those who wait do so for tokens: then a free slot is
// anybody's who needs none.
func (m *Machine) starved(now time.Duration) bool {
	m.bucket.fill(now, m.limits.RPS, m.limits.Burst)
	return m.short()
}

// Withdraw takes a request out of its line whose caller gave up. It reports false
// when it has been decided before.
func (m *Machine) Withdraw(now time.Duration, t *Ticket) bool {
	if t.state != stateQueued {
		return false
	}
	m.sendAway(t)
	m.calm(now)
	m.dispatch(now)
	return true
}

// End gives back all that the request holds.
func (m *Machine) End(now time.Duration, t *Ticket) {
	f := t.flow
	if f == nil {
		return
	}
	if t.state == stateQueued {
		m.Withdraw(now, t)
	}
	was := t.state
	*t = Ticket{}
	m.open--
	f.open--
	switch was {
	case stateHeld:
		m.release(now)
	case stateParked:
		m.parked--
	}
	m.forget(now, f)
}

func (m *Machine) release(now time.Duration) {
	m.slots--
	m.pace.ended(now)
	if m.waiting() > 0 {
		m.bucket.fill(now, m.limits.RPS, m.limits.Burst)
		m.dispatch(now)
	}
}

// easy reports whether a request that comes now need not wait.
func (m *Machine) easy(now time.Duration) bool {
	m.bucket.fill(now, m.limits.RPS, m.limits.Burst)
	return m.waiting() == 0 && m.slots < m.limits.Inflight && (m.limits.RPS < 0 || m.bucket.has(1))
}

func (m *Machine) token() bool { return m.limits.RPS < 0 || m.bucket.take() }

func (m *Machine) waiting() int { return m.queued[Read] + m.queued[Write] + m.again }

func (m *Machine) grant(t *Ticket) {
	t.state = stateHeld
	m.slots++
	m.granted++
}

// refund gives a quota's token back that bought nothing.
func (m *Machine) refund(f *flow) {
	if f.rps > 0 {
		f.quota.have = min(f.quota.have+1, float64(burstOf(f.rps)))
	}
}

// no counts a refusal.
func (m *Machine) no(kind error, after time.Duration) error {
	m.refused[kind]++
	return &Refusal{Kind: kind, After: min(max(after, waitLeast), waitMost)}
}

// Stats are the figures of a moment.
type Stats struct {
	Inflight     int // slots taken
	Open         int // begun and not ended
	Parked       int // of them, those that wait for their client after work
	Queued       int // that wait, all
	QueuedWrites int
	Flows        int
	Granted      uint64
	Refused      Refusals
	Limits       Limits // in force
}

// Refusals count by kind.
type Refusals struct{ Rate, Quota, Busy, Open uint64 }

// Shed is how many were refused because the node as a whole was short.
func (s Stats) Shed() uint64 { return s.Refused.Rate + s.Refused.Busy + s.Refused.Open }

// Stats returns the figures.
func (m *Machine) Stats() Stats {
	return Stats{
		Inflight: m.slots, Open: m.open, Parked: m.parked, Queued: m.waiting(), QueuedWrites: m.queued[Write], Flows: len(m.flows), Granted: m.granted,
		Refused: Refusals{m.refused[ErrRate], m.refused[ErrQuota], m.refused[ErrBusy], m.refused[ErrOpen]}, Limits: m.limits,
	}
}
