package kernel

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// lane is the dispatcher of one incarnation: one goroutine that runs all its
// turns. The library's own starts a goroutine whenever a message finds the actor
// idle, which costs three times as much.
//
// The library schedules anew only when what it scheduled before is about to
// return, so there is room for what comes and Schedule never blocks.
type lane struct {
	work chan func() // cap 1
	ran  sync.WaitGroup

	mu      sync.Mutex
	running bool
	retired bool
}

var _ actor.Dispatcher = (*lane)(nil)

func newLane() *lane { return &lane{work: make(chan func(), 1)} }

// Schedule implements actor.Dispatcher. Its first call starts the goroutine.
func (l *lane) Schedule(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.retired {
		go fn() // a straggler for an actor that has ended: the library drops it
		return
	}
	if !l.running {
		l.running = true
		l.ran.Go(l.run)
	}
	l.work <- fn
}

// Throughput implements actor.Dispatcher: messages in a row before others may
// run, as many as the library's own dispatcher takes.
func (*lane) Throughput() int { return 300 }

func (l *lane) run() {
	for fn := range l.work {
		fn()
	}
}

// wait waits for the goroutine. After the actor's last word it is about to end
// and waits for nobody.
func (l *lane) wait() { l.ran.Wait() }

// retire ends the goroutine after what it does now. Only the actor's own last
// turn calls it.
func (l *lane) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retired = true
	close(l.work)
}
