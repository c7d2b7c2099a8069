package kernel

import (
	"sync"
	"time"
)

// alarms are the one-shot timers of one incarnation. They end with it: after
// end nothing rings and nothing can be set.
type alarms struct {
	inc *incarnation

	mu    sync.Mutex
	set   map[*alarm]struct{}
	early []any // rung before Actor.Start returned; at most one queue full
	open  bool  // Actor.Start has returned, messages reach the cell
	over  bool  // the incarnation has ended
}

type alarm struct {
	of    *alarms
	timer *time.Timer
	msg   any
}

// after arranges that msg is queued after d.
func (as *alarms) after(d time.Duration, msg any) (cancel func()) {
	a := &alarm{of: as, msg: msg}
	if d <= 0 {
		as.deliver(msg)
		return func() {}
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.over {
		return func() {}
	}
	if as.set == nil {
		as.set = map[*alarm]struct{}{}
	}
	as.inc.tasks.Add(1) // the stop waits for an alarm that is just ringing
	as.set[a] = struct{}{}
	a.timer = time.AfterFunc(d, a.ring)
	return a.cancel
}

func (a *alarm) ring() {
	defer a.of.inc.tasks.Done()
	a.of.mu.Lock()
	_, set := a.of.set[a]
	delete(a.of.set, a)
	a.of.mu.Unlock()
	if set {
		a.of.deliver(a.msg)
	}
}

func (a *alarm) cancel() {
	a.of.mu.Lock()
	defer a.of.mu.Unlock()
	if _, set := a.of.set[a]; set {
		delete(a.of.set, a)
		a.quiet()
	}
}

// quiet stops the timer. One that is just ringing finds that it is not set.
func (a *alarm) quiet() {
	if a.timer.Stop() {
		a.of.inc.tasks.Done()
	}
}

// deliver queues msg, or keeps it until there is a cell to queue it in.
func (as *alarms) deliver(msg any) {
	as.mu.Lock()
	if !as.open && !as.over {
		if len(as.early) < as.inc.cell.cap {
			as.early = append(as.early, msg)
		}
		as.mu.Unlock()
		return
	}
	as.mu.Unlock()
	_ = as.inc.cell.send(msg, as.inc) // refused only when full or going down
}

// begin delivers what rang during Actor.Start. The cell is up.
func (as *alarms) begin() {
	as.mu.Lock()
	early := as.early
	as.early, as.open = nil, true
	as.mu.Unlock()
	for _, msg := range early {
		_ = as.inc.cell.send(msg, as.inc)
	}
}

func (as *alarms) end() {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.over, as.early = true, nil
	for a := range as.set {
		a.quiet()
	}
	clear(as.set)
}
