package admit

import "time"

// flowOf finds a flow, or begins to know it.
func (m *Machine) flowOf(now time.Duration, f Flow) *flow {
	fl := m.flows[f.Key]
	if fl == nil {
		fl = &flow{key: f.Key, epoch: m.epoch}
		fl.quota = tokens{have: float64(burstOf(max(f.RPS, m.limits.FlowRPS))), at: now}
		m.flows[f.Key] = fl
	} else if fl.idle() {
		m.owing--
	}
	if w := f.weight(); w != fl.weight {
		if fl.seen {
			m.weight += w - fl.weight
		}
		fl.weight = w
	}
	if fl.rps = f.RPS; fl.rps == 0 {
		fl.rps = m.limits.FlowRPS
	}
	return fl
}

// forget stops to know a flow of which nothing is under way, unless it owes
// something: then it is remembered, as long as there is room.
func (m *Machine) forget(now time.Duration, f *flow) {
	if !f.idle() {
		return
	}
	owes := f.epoch == m.epoch && f.deficit < 0
	if f.rps > 0 && !owes {
		f.quota.fill(now, f.rps, burstOf(f.rps))
		owes = !f.quota.full(burstOf(f.rps))
	}
	if !owes {
		delete(m.flows, f.key)
		return
	}
	m.owing++
	if m.owing > MaxFlows {
		m.sweep(now)
	}
}

// sweep forgets idle flows: those that owe nothing any more, and where that is
// not enough, all.
func (m *Machine) sweep(now time.Duration) {
	for _, all := range []bool{false, true} {
		for key, f := range m.flows {
			if !f.idle() {
				continue
			}
			f.quota.fill(now, max(1, f.rps), burstOf(f.rps))
			debt := f.epoch == m.epoch && f.deficit < 0
			if all || !debt && f.quota.full(burstOf(f.rps)) {
				delete(m.flows, key)
				m.owing--
			}
		}
		if m.owing <= MaxFlows/2 {
			return
		}
	}
}
