package admit

import "time"

// room finds a place in the line for a newcomer, or makes one: a read pushes out
// the newest write, and who has few in line pushes out who has many.
func (m *Machine) room(now time.Duration, t *Ticket) error {
	f, l := t.flow, &m.limits
	if t.class == Write && (f.writes >= places(l.QueuePerFlow, Write) || m.queued[Write] >= places(l.QueueTotal, Write) && !m.push(now, m.longest(Write), f, Write)) {
		return m.denied(now, f, f.waits+1)
	}
	if f.waits >= l.QueuePerFlow && (t.class == Write || !m.push(now, f, nil, Write)) {
		return m.denied(now, f, f.waits+1)
	}
	if m.queued[Read]+m.queued[Write] >= l.QueueTotal {
		if t.class == Read && m.push(now, m.longest(Write), nil, Write) {
			return nil
		}
		if !m.push(now, m.longest(t.class), f, t.class) {
			return m.denied(now, f, f.waits+1)
		}
	}
	return nil
}

// push refuses the newest waiting request of a class of the flow from, which
// makes a place. For another flow it must have at least two more in line.
func (m *Machine) push(now time.Duration, from, by *flow, c Class) bool {
	if from == nil || by != nil && from.waits < by.waits+2 {
		return false
	}
	for t := from.line.last; t != nil && !t.again; t = t.prev {
		if t.class == c {
			m.refuse(now, t)
			return true
		}
	}
	return false
}

// longest is the flow with the most requests of a class in line.
func (m *Machine) longest(c Class) (most *flow) {
	count := func(f *flow) int {
		if c == Write {
			return f.writes
		}
		return f.waits - f.writes
	}
	for _, r := range [...]*ring{&m.fresh, &m.turns} {
		for f := r.first; f != nil; f = f.after {
			if n := count(f); n > 0 && (most == nil || n > count(most)) {
				most = f
			}
		}
	}
	return most
}

// refuse sends one away that waits.
func (m *Machine) refuse(now time.Duration, t *Ticket) {
	err := m.denied(now, t.flow, t.flow.waits)
	m.sendAway(t)
	m.decided(t, err)
	m.calm(now)
}

// sendAway puts a request back to where it was before it waited.
func (m *Machine) sendAway(t *Ticket) {
	m.leaveLine(t)
	if t.again {
		t.state = stateParked
		m.parked++
		return
	}
	t.state = stateOpen
	m.refund(t.flow)
}

// refuseAll sends away all that wait.
func (m *Machine) refuseAll(now time.Duration) {
	for _, r := range [...]*ring{&m.fresh, &m.turns} {
		for f := r.first; f != nil; f = f.after {
			for t := f.line.first; t != nil; t = f.line.first {
				m.sendAway(t)
				m.decided(t, m.no(ErrBusy, time.Second))
			}
		}
	}
	m.calm(now)
}

// denied says what was short, and how long until the flow's next request may
// expect it: its line goes forward at its share of the pace.
func (m *Machine) denied(now time.Duration, f *flow, ahead int) error {
	behind := float64(ahead) * float64(m.rivals(now, f)) / float64(f.weight)
	if m.short() {
		return m.no(ErrRate, m.bucket.until(behind, m.limits.RPS))
	}
	return m.no(ErrBusy, m.pace.wait(now, behind))
}

// pace is how fast slots have come free lately: an average over about a second.
type pace struct {
	rate float64 // a second
	at   time.Duration
	n    float64 // since at
}

const (
	paceWindow = 250 * time.Millisecond
	paceGuess  = 500
)

func (p *pace) ended(now time.Duration) {
	p.roll(now)
	p.n++
}

func (p *pace) roll(now time.Duration) {
	dt := now - p.at
	if dt < paceWindow {
		return
	}
	keep := 0.5
	if dt > 4*paceWindow {
		keep = 0.1
	}
	p.rate = keep*p.rate + (1-keep)*p.n/dt.Seconds()
	p.at, p.n = now, 0
}

// lately is the pace, a guess while nothing has ended yet.
func (p *pace) lately(now time.Duration) float64 {
	if p.roll(now); p.rate > 0 {
		return p.rate
	}
	return paceGuess
}

// wait is how long n slots take to come free.
func (p *pace) wait(now time.Duration, n float64) time.Duration {
	p.roll(now)
	if p.rate <= 0 {
		return time.Second
	}
	return time.Duration(min(n/p.rate, waitMost.Seconds()) * float64(time.Second))
}
