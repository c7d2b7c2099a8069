package kernel

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// service is one child as the root runs it. Only the root's goroutine touches
// it, except for cell and watched.
type service struct {
	child   Child
	cell    *cell
	watched watched

	record   record
	inc      *incarnation // the current or the last one
	pid      *actor.PID   // nil once that incarnation has ended or was abandoned
	down     bool         // the end of inc is entered in the books
	due      bool         // start the next one as soon as pid is nil
	timer    *time.Timer  // of the next restart, or of forgiveness
	epoch    uint64       // a timer of an older epoch is void
	restarts int64
	ordered  bool                  // this incarnation has a chaos order to follow
	kill     *Call[order, int64]   // the kill that it follows
	queued   []*Call[order, int64] // chaos orders that wait for an incarnation
	restart  []*Call[order, int64] // restarts that wait for the next incarnation to run
	early    []*Call[order, int64] // restarts that wait for a crash to be entered in the books
}

// Messages of the root.
type (
	started struct{ inc *incarnation }
	hung    struct {
		inc   *incarnation
		turn  uint64
		limit time.Duration
	}
	timeUp struct {
		s     *service
		epoch uint64
	}
	stopAll  struct{ done chan<- []string } // gets the names of the abandoned
	stopHard struct{}
	pressed  struct{ inc *incarnation }
)

// root supervises: it is the parent actor of every incarnation and its own
// supervisor strategy, so that all of a child's crashes, restarts and stops
// come from one goroutine in one order, and a late timer can not undo a stop.
type root struct {
	sys    *actor.ActorSystem
	policy Policy
	topic  string
	bus    *Bus
	ledger *Ledger
	now    func() time.Time
	jitter func(time.Duration) time.Duration

	services []*service
	byName   map[string]*service
	self     *actor.PID
	ctx      actor.Context
	booting  int // index of the child whose first start is awaited

	stopping int // index of the child that is being stopped, len(services) before that
	stopDone chan<- []string
	hard     bool
	left     []string                // abandoned by the stop
	stray    map[string]*incarnation // by PID: the abandoned that have not ended yet
	strays   atomic.Int64            // len(stray), for others to read
	aborted  atomic.Int64            // incarnations abandoned in all
	ended    context.Context         // the library has stopped the root
	end      context.CancelCauseFunc
}

// fullJitter draws uniformly from [0, d].
func fullJitter(d time.Duration) time.Duration { return rand.N(d + 1) }

// Receive is the root's table of contents. A panic in it would end the tree,
// so it is published and swallowed.
func (r *root) Receive(ctx actor.Context) {
	defer r.survive()
	switch m := ctx.Message().(type) {
	case *actor.Started:
		r.ctx, r.self, r.stopping = ctx, ctx.Self(), len(r.services)
		r.boot()
	case started:
		r.started(m.inc)
	case hung:
		r.hung(m)
	case timeUp:
		r.timeUp(m)
	case *Call[order, int64]:
		r.order(m)
	case stopAll:
		r.stopAll(m)
	case stopHard:
		r.stopHard()
	case pressed:
		r.pressed(m)
	case *actor.Terminated:
		r.terminated(m.Who)
	case *actor.Stopped:
		r.end(ErrStopped)
	}
}

func (r *root) survive() {
	if v := recover(); v != nil {
		r.fault("", crashOf("the supervisor panicked: ", v))
	}
}

// fault publishes what is no crash. Any goroutine may call it.
func (r *root) fault(service string, c *crash) {
	r.bus.Publish(Event{Topic: r.topic + ".crash", Kind: KindFault, Service: service, Data: FaultData{What: c.reason, Stack: c.stack}})
}

// HandleFailure makes the root its own strategy (actor.SupervisorStrategy).
func (r *root) HandleFailure(_ *actor.ActorSystem, _ actor.Supervisor, who *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	defer r.survive()
	r.ctx.Stop(who) // its incarnation is over whatever comes next
	c := crashOf("panic: ", reason)
	i := slices.IndexFunc(r.services, func(s *service) bool { return s.pid != nil && s.pid.Id == who.Id })
	switch {
	case i >= 0 && !r.services[i].down:
		r.crashed(r.services[i], c)
	case i >= 0: // ended by order before
		r.services[i].inc.trace(c.at(whileStopping))
	case r.stray[who.Id] != nil:
		r.stray[who.Id].trace(c.at(afterAbandoned))
	}
}

// lastResort is the strategy above the root: never reached while the root
// swallows its own panics; it must not escalate, that would end the process.
type lastResort struct{ root *root }

// HandleFailure implements actor.SupervisorStrategy.
func (l *lastResort) HandleFailure(_ *actor.ActorSystem, sv actor.Supervisor, who *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	defer func() { _ = recover() }()
	l.root.fault("", crashOf("the supervisor fell: ", reason))
	sv.ResumeChildren(who)
}

// boot starts the next child for the first time. The one after it follows when
// this one runs or has failed once: a broken child must not hide the others.
func (r *root) boot() {
	if r.booting < len(r.services) && !r.leaving() {
		r.spawn(r.services[r.booting])
	}
}

func (r *root) booted(s *service) {
	if r.booting < len(r.services) && r.services[r.booting] == s {
		r.booting++
		r.boot()
	}
}

func (r *root) leaving() bool { return r.stopDone != nil }

// spawn starts an incarnation.
func (r *root) spawn(s *service) {
	inc := newIncarnation(r, s)
	s.inc, s.down, s.due, s.ordered = inc, false, false, false
	s.watched.Store(inc)
	if !s.record.troubled() {
		r.ledger.update(s.child.Name, func(st *ServiceStatus) { st.State, st.NextRestart = Starting, time.Time{} })
	}
	props := actor.PropsFromProducer(func() actor.Actor { return inc }, actor.WithDispatcher(inc.lane))
	pid, err := r.ctx.SpawnNamed(props, inc.name())
	if err != nil { // the name is new each time, so this is a fault of the library
		s.pid = nil
		r.crashed(s, &crash{reason: "spawn: " + err.Error()})
		return
	}
	s.pid = pid
}

// started opens the child for messages and, later, forgives.
func (r *root) started(inc *incarnation) {
	s := r.byName[inc.cell.name]
	if s.inc != inc || s.pid == nil || s.down || r.leaving() {
		return
	}
	state := Running
	if s.record.troubled() {
		state = Probing
	}
	var until time.Time
	if s.record.dirty() {
		until = r.now().Add(r.policy.ForgiveAfter)
		r.after(s, r.policy.ForgiveAfter)
	}
	r.ledger.update(s.child.Name, func(st *ServiceStatus) {
		if !s.cell.serves(inc) {
			return
		}
		st.State, st.NextRestart = state, time.Time{}
		if state == Probing {
			st.NextRestart = until // a retry is sensible when trust is back
		}
	})
	s.answerRestart(nil)
	r.nextOrder(s)
	r.booted(s)
}

// after arms the child's one timer.
func (r *root) after(s *service, d time.Duration) {
	s.disarm()
	m := timeUp{s, s.epoch}
	s.timer = time.AfterFunc(d, func() { r.tell(m) })
}

func (s *service) disarm() {
	s.epoch++
	if s.timer != nil {
		s.timer.Stop()
	}
}

func (r *root) tell(msg any) { r.sys.Root.Send(r.self, msg) }

// timeUp restarts a child that is down and forgives one that runs.
func (r *root) timeUp(m timeUp) {
	s := m.s
	switch {
	case m.epoch != s.epoch || r.leaving():
	case s.down:
		r.start(s)
	default:
		r.forgive(s)
	}
}

// start spawns at once, or as soon as the previous incarnation has ended.
func (r *root) start(s *service) {
	s.due = true
	if s.pid == nil {
		r.spawn(s)
	}
}

func (r *root) serves(s *service) bool {
	return s.pid != nil && s.inc.cell.serves(s.inc)
}

func (r *root) forgive(s *service) {
	if !r.serves(s) {
		return // it fell a moment ago
	}
	s.record.forgive()
	r.ledger.update(s.child.Name, func(st *ServiceStatus) { st.State, st.NextRestart = Running, time.Time{} })
	r.bus.Publish(Event{Topic: r.topic + ".crash", Kind: KindForgiven, Service: s.child.Name})
}

// released: the incarnation no longer stands in the way of the next.
func (s *service) released() {
	s.pid = nil
	s.watched.Store(nil)
}

// terminated notes that an incarnation has ended and goes on with what waited
// for it.
func (r *root) terminated(who *actor.PID) {
	if inc := r.stray[who.Id]; inc != nil {
		inc.lane.wait()
		delete(r.stray, who.Id)
		r.strays.Store(int64(len(r.stray)))
	}
	for i, s := range r.services {
		if s.pid == nil || s.pid.Id != who.Id {
			continue
		}
		s.inc.lane.wait()
		s.released()
		switch {
		case r.leaving():
			if i == r.stopping {
				r.stopped(s)
			}
		case s.due:
			r.spawn(s)
		}
	}
}
