package mailbox

import (
	"container/list"
	"sync"
	"sync/atomic"

	"micronode/store/mbox"
)

// waiter is one receiver that waits for a message: a long poll, a stream or a
// consumer. It is answered once: by the shard, or it goes away.
type waiter struct {
	want mbox.Want
	got  chan received // one slot: the answer never blocks the shard
	done atomic.Bool   // answered or gone
	at   *list.Element // its place in the line, nil while stalled; guarded by the line's lock
}

type received struct {
	messages []mbox.Delivery
	err      error
}

func newWaiter(w mbox.Want) *waiter { return &waiter{want: w, got: make(chan received, 1)} }

// answer hands the messages over; false when the receiver has gone away.
func (w *waiter) answer(r received) bool {
	if !w.done.CompareAndSwap(false, true) {
		return false
	}
	w.got <- r
	return true
}

// line is who waits at one shard, by topic, first come first served. A receiver
// whose holder has no room stands aside (stalled) until a lease of it ends.
type line struct {
	mu      sync.Mutex // guards all that follows, and waiter.at
	topics  map[string]*list.List
	stalled map[*mbox.Holder]*waiter
	many    int
	closed  error // what whoever still comes is told
}

func newLine() *line {
	return &line{topics: map[string]*list.List{}, stalled: map[*mbox.Holder]*waiter{}}
}

// join puts a receiver at the end. At the bound it is refused.
func (l *line) join(w *waiter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case w.done.Load(): // it has gone away before it came
		return nil
	case l.closed != nil:
		return l.closed
	case l.many >= maxWaiters:
		return errTooManyWait
	}
	l.many++
	if h := w.want.Holder; h != nil && h.Room() == 0 {
		l.stalled[h] = w
		return nil
	}
	l.enter(w)
	return nil
}

// enter is called with mu held.
func (l *line) enter(w *waiter) {
	q := l.topics[w.want.Topic]
	if q == nil {
		q = list.New()
		l.topics[w.want.Topic] = q
	}
	w.at = q.PushBack(w)
}

// roomy lets a stalled receiver back in, and returns the topic that it waits for.
func (l *line) roomy(h *mbox.Holder) (topic string, back bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.stalled[h]
	if w == nil {
		return "", false
	}
	delete(l.stalled, h)
	l.enter(w)
	return w.want.Topic, true
}

// take removes and returns who is first in line for a topic.
func (l *line) take(topic string) *waiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.topics[topic]
	if q == nil {
		return nil
	}
	w := q.Front().Value.(*waiter)
	l.remove(w)
	return w
}

// leave takes a receiver out that waits no longer. False: it has been answered.
func (l *line) leave(w *waiter) bool {
	if !w.done.CompareAndSwap(false, true) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(w)
	return true
}

// remove is called with mu held; removing twice changes nothing.
func (l *line) remove(w *waiter) {
	if w.at == nil {
		if h := w.want.Holder; h != nil && l.stalled[h] == w {
			delete(l.stalled, h)
			l.many--
		}
		return
	}
	q := l.topics[w.want.Topic]
	q.Remove(w.at)
	w.at = nil
	l.many--
	if q.Len() == 0 {
		delete(l.topics, w.want.Topic)
	}
}

// awaited returns the topics that somebody waits for.
func (l *line) awaited() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]string, 0, len(l.topics))
	for topic := range l.topics {
		all = append(all, topic)
	}
	return all
}

func (l *line) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.many
}

// close answers everybody and lets nobody in any more.
func (l *line) close(err error) {
	l.mu.Lock()
	l.closed = err
	var all []*waiter
	for _, q := range l.topics {
		for e := q.Front(); e != nil; e = e.Next() {
			all = append(all, e.Value.(*waiter))
		}
	}
	for _, w := range l.stalled {
		all = append(all, w)
	}
	for _, w := range all {
		l.remove(w)
	}
	l.mu.Unlock()
	for _, w := range all {
		w.answer(received{err: err})
	}
}
