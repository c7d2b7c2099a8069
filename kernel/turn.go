package kernel

import "github.com/asynkron/protoactor-go/actor"

// tick says: look into your cell.
type tick struct{}

// IgnoreDeadLetterLogging: a tick for an actor that is gone means nothing.
func (tick) IgnoreDeadLetterLogging() {}

// Receive is the actor library's entry: the lifecycle and the ticks.
func (i *incarnation) Receive(ctx actor.Context) {
	switch ctx.Message().(type) {
	case *actor.Started:
		i.start(ctx)
	case tick:
		i.step()
	case *actor.Stopping:
		i.stop()
	case *actor.Stopped:
		i.lane.retire()
	}
}

// start runs Actor.Start, then opens the cell.
func (i *incarnation) start(ctx actor.Context) {
	i.begin(i.startLimit, nil)
	i.guarded(func() error {
		i.actor = i.make()
		return i.actor.Start(i.ctx, &Life{i})
	})
	i.done()
	if i.isAbandoned() {
		return
	}
	root, self := ctx.ActorSystem().Root, ctx.Self()
	i.cell.up(i, func() { root.Send(self, tick{}) })
	i.mu.Lock()
	i.begun = true // not before it serves: begun and not serving means that it falls
	i.mu.Unlock()
	i.alarms.begin()
	i.tell(started{i})
	if i.hasFallen() { // one of its goroutines fell before there was a cell to wake
		i.cell.wake(i)
	}
}

// step takes one turn: an order first, else the oldest message.
func (i *incarnation) step() {
	if i.isAbandoned() {
		return
	}
	switch fallen, hang := i.obey(); {
	case fallen != nil:
		i.shut()
		panic(fallen)
	case hang:
		<-i.abandoned // deaf to its ctx, as a real hang is
		return
	}
	msg := i.cell.next(i)
	if msg == nil {
		return
	}
	if c, ok := msg.(claimer); ok && !c.claim() {
		return // its caller gave up: surely not done
	}
	i.begin(i.limit, msg)
	i.guarded(func() error { return i.actor.Receive(i.ctx, msg) })
	i.done()
}

// shut is the first thing that a crash does, still on the actor's goroutine:
// no message is accepted, and readiness says so, before any caller hears of it.
func (i *incarnation) shut() {
	if i.cell.down(i) {
		i.ledger.update(i.cell.name, func(st *ServiceStatus) {
			if st.State == Probing {
				st.State = Storm
			} else {
				st.State = Backoff
			}
		})
	}
}

// guarded runs f; its panic or error goes on as a panic, after the caller
// whose message it was has been answered.
func (i *incarnation) guarded(f func() error) {
	defer func() {
		v := recover()
		if v == nil {
			return // also runtime.Goexit: the turn stays open and the watchdog finds it
		}
		c := crashOf("panic: ", v)
		i.shut()
		fail(i.letGo(), ErrCrashed) // still watched: a foreign Fail may not return
		i.done()
		panic(c)
	}()
	if err := f(); err != nil {
		panic(&crash{reason: clip(err.Error(), maxReason), meant: i.ctx.Err() != nil})
	}
}

// stop ends the goroutines, then runs Actor.Stop. It never panics: the library
// would never finish the stop.
func (i *incarnation) stop() {
	i.cell.down(i)
	i.end()
	i.beginStop()
	returned := false
	defer func() {
		switch v := recover(); {
		case v != nil:
			i.fault(crashOf("panic in Stop: ", v))
		case !returned: // the turn stays open and the watchdog finds it
			i.fault(&crash{reason: "Stop ended by runtime.Goexit"})
			i.neverStops()
			return
		}
		i.done()
	}()
	i.tasks.Wait()
	if i.actor != nil {
		i.actor.Stop()
	}
	returned = true
}

// beginStop begins the last turn.
func (i *incarnation) beginStop() {
	i.mu.Lock()
	i.beginLocked(i.limit, nil)
	i.ending = true
	i.mu.Unlock()
}

// neverStops: its goroutine is gone, there is nobody to wait for.
func (i *incarnation) neverStops() {
	i.mu.Lock()
	i.ending = false
	i.mu.Unlock()
}
