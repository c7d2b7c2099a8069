package kernel

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Effect is what a Cause does to readiness.
type Effect uint8

// Effects, from mild to grave.
const (
	Warn          Effect = iota // degraded, every plane stays as it is
	PlaneReadOnly               // degraded, Cause.Plane takes no writes
	PlaneClosed                 // degraded, Cause.Plane takes nothing
	NotReady                    // the node is not ready
)

// String returns "warn", "read_only", "closed" or "not_ready".
func (e Effect) String() string {
	return [...]string{"warn", "read_only", "closed", "not_ready"}[e]
}

// Cause is a reason for degradation that is not a child's state: a store near
// its bound, a full disk, a drain.
type Cause struct {
	Name   string // shown in Readiness.Missing
	Detail string // one line for a person
	Effect Effect
	Plane  string // for PlaneReadOnly and PlaneClosed
}

// ServiceStatus is one child as the ledger knows it.
type ServiceStatus struct {
	Name        string
	State       State
	Required    bool
	Vital       bool
	Planes      []string
	Restarts    int64 // crashes and ordered restarts since the tree began
	LastReason  string
	LastCrash   time.Time // zero: never
	Since       time.Time // when State began
	NextRestart time.Time // zero: none is due
	QueueDepth  int
	QueueCap    int
}

// Readiness is the truth at one moment (contract §4). It is immutable.
type Readiness struct {
	Ready    bool
	Degraded bool
	Missing  []string // children that do not run and causes that hold; sorted
	Planes   map[string]Plane
	RetryAt  time.Time // when a retry is sensible; zero when ready and not degraded
}

// entry is one child's line in the ledger.
type entry struct {
	status ServiceStatus
	ran    bool // has run at least once
	cell   *cell
}

// Ledger knows which children run and what else troubles the node. Readiness
// is computed when something changes and read as one atomic pointer: asking
// never waits, and never asks an actor.
type Ledger struct {
	topic string
	bus   *Bus
	now   func() time.Time
	snap  atomic.Pointer[Readiness]

	mu     sync.Mutex
	order  []*entry
	byName map[string]*entry
	causes map[string]Cause
}

func newLedger(topic string, bus *Bus, now func() time.Time) *Ledger {
	l := &Ledger{topic: topic, bus: bus, now: now, byName: map[string]*entry{}, causes: map[string]Cause{}}
	l.snap.Store(&Readiness{Missing: []string{}, Planes: map[string]Plane{}})
	return l
}

func (l *Ledger) add(c Child, cell *cell) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &entry{cell: cell, status: ServiceStatus{
		Name: c.Name, Required: c.Required, Vital: c.Vital, Planes: c.Planes, Since: l.now(), QueueCap: cell.cap,
	}}
	l.order = append(l.order, e)
	l.byName[c.Name] = e
	l.snap.Store(l.compute()) // told when the tree starts
}

// tell publishes the truth at the start, for those who listen from then on.
func (l *Ledger) tell() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.announce(&Readiness{}, l.snap.Load())
}

// Readiness returns the current truth. Do not change it.
func (l *Ledger) Readiness() *Readiness { return l.snap.Load() }

// Plane returns the state of one plane; Closed for a name that no child has.
func (l *Ledger) Plane(name string) Plane { return l.snap.Load().Planes[name] }

// Services returns every child, in order of start.
func (l *Ledger) Services() []ServiceStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]ServiceStatus, len(l.order))
	for i, e := range l.order {
		all[i] = e.status
		all[i].QueueDepth = e.cell.depth()
	}
	return all
}

// Causes returns what troubles the node beside its children, sorted by name.
func (l *Ledger) Causes() []Cause {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Cause, 0, len(l.causes))
	for _, c := range l.causes {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Cause) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}

// Raise enters or updates a cause.
func (l *Ledger) Raise(c Cause) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.causes[c.Name] != c {
		l.causes[c.Name] = c
		l.settle()
	}
}

// Clear removes a cause; an unknown name is no error.
func (l *Ledger) Clear(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, held := l.causes[name]; held {
		delete(l.causes, name)
		l.settle()
	}
}

// update changes one child's line and publishes what follows from it.
func (l *Ledger) update(name string, change func(*ServiceStatus)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.byName[name]
	before := e.status.State
	change(&e.status)
	s := e.status.State
	if s != before {
		e.status.Since = l.now()
	}
	e.ran = e.ran || s.serves()
	l.settle()
	if before.serves() != s.serves() {
		l.publish(".health", KindHealth, name, HealthData{OK: s.serves(), State: s.String()})
	}
}

// settle computes readiness anew and publishes a change. The caller holds mu.
// Not ready is never reached from ready but through degraded (contract §4).
func (l *Ledger) settle() {
	was, is := l.snap.Load(), l.compute()
	if was.Ready && !was.Degraded && !is.Ready {
		between := *is
		between.Ready, between.Degraded = true, true
		l.announce(was, &between)
		was = &between
	}
	l.snap.Store(is)
	l.announce(was, is)
}

func (l *Ledger) compute() *Readiness {
	r := &Readiness{Ready: true, Missing: []string{}, Planes: map[string]Plane{}}
	for _, e := range l.order {
		l.judge(r, e)
	}
	for _, c := range l.causes {
		r.Degraded = true
		r.Missing = append(r.Missing, c.Name)
		switch c.Effect {
		case PlaneReadOnly:
			r.lower(c.Plane, ReadOnly)
		case PlaneClosed:
			r.lower(c.Plane, Closed)
		case NotReady:
			r.Ready = false
		}
	}
	slices.Sort(r.Missing)
	if !r.Degraded {
		return r
	}
	if soon := l.now().Add(time.Second); r.RetryAt.Before(soon) {
		r.RetryAt = soon
	}
	return r
}

// judge enters one child's state into r.
func (l *Ledger) judge(r *Readiness, e *entry) {
	for _, p := range e.status.Planes {
		if _, known := r.Planes[p]; !known {
			r.Planes[p] = Open
		}
	}
	s := e.status.State
	if s == Running {
		return
	}
	r.Degraded = true
	r.Missing = append(r.Missing, e.status.Name)
	for _, p := range e.status.Planes {
		if e.ran && s != Stopped && !e.status.Vital {
			r.lower(p, ReadOnly)
		} else {
			r.lower(p, Closed)
		}
	}
	down := s == Storm || s == Probing || s == Quarantined || s == Stopped || !e.ran
	if e.status.Vital || e.status.Required && down {
		r.Ready = false
	}
	if r.RetryAt.Before(e.status.NextRestart) {
		r.RetryAt = e.status.NextRestart
	}
}

func (r *Readiness) lower(plane string, to Plane) {
	if have, known := r.Planes[plane]; known && to < have {
		r.Planes[plane] = to
	}
}

func (l *Ledger) announce(was, is *Readiness) {
	if was.Ready == is.Ready && was.Degraded == is.Degraded &&
		slices.Equal(was.Missing, is.Missing) && maps.Equal(was.Planes, is.Planes) {
		return
	}
	d := ReadyData{Ready: is.Ready, Degraded: is.Degraded, Missing: is.Missing, Planes: map[string]string{}}
	for name, p := range is.Planes {
		d.Planes[name] = p.String()
	}
	l.publish(".ready", KindReadyChanged, "", d)
}

func (l *Ledger) publish(topic, kind, service string, data any) {
	l.bus.Publish(Event{Topic: l.topic + topic, Kind: kind, Service: service, Data: data})
}
