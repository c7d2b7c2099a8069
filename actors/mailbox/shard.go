package mailbox

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"micronode/kernel"
	"micronode/store/mbox"
)

// shard is one queue and who waits at it. It outlives every incarnation of its
// actor: the one that owns it works on it, under the lock.
type shard struct {
	name string
	ref  *kernel.Ref // set once, before the tree starts
	line *line

	journal Journal     // nil: RAM only
	stale   atomic.Bool // the journal has failed: nothing is changed before restore

	mu    sync.Mutex // guards all that follows; never held across a wait
	queue *mbox.Queue
	make  func() *mbox.Queue // an empty one
	owner uint64             // the incarnation that may change the queue
	woken []string           // topics that got a message during this turn
	roomy []*mbox.Holder     // holders that got room during this turn
	died  []mbox.DeadLetter  // messages that died during this turn
}

func newShard(i int, o mbox.Options, j Journal) *shard {
	s := &shard{journal: j, name: ActorName + "-" + strconv.Itoa(i), line: newLine()}
	o.Shard = uint8(i)
	o.OnReady = func(topic string) {
		if n := len(s.woken); n == 0 || s.woken[n-1] != topic {
			s.woken = append(s.woken, topic)
		}
	}
	o.OnRoom = func(h *mbox.Holder) { s.roomy = append(s.roomy, h) }
	o.OnDead = func(d mbox.DeadLetter) { s.died = append(s.died, d) }
	s.make = func() *mbox.Queue { return mbox.New(o) }
	s.queue = s.make()
	return s
}

// restore puts what the journal holds in the place of what is here.
func (s *shard) restore(now mbox.Now, rows []mbox.Row, keys []mbox.KeyRow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue.Abandon()
	s.queue = s.make()
	s.queue.Restore(now, rows, keys)
	s.roomy, s.died = nil, nil
	s.woken = s.line.awaited()
	s.stale.Store(false)
}

// adopt makes an incarnation the owner. A crash may have come between two steps
// of the queue's books: they are made anew where they do not agree, and what was
// wrong is returned.
func (s *shard) adopt(gen uint64, now mbox.Now) (mended error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owner = gen
	if mended = s.queue.Check(); mended != nil {
		s.queue.Rebuild(now)
	}
	s.queue.Advance(now)
	s.woken = append(s.woken, s.line.awaited()...)
	s.serve(now)
	return mended
}

// turn lets the owner work on the queue, then serves who waits. It returns the
// dead letters of the turn and when the queue wants to be looked at again; an
// incarnation that owns the shard no more changes nothing. durable, when there is
// one, is called when all that was changed is on the disk, or cannot be; what
// changed without one is written when it suits.
func (s *shard) turn(gen uint64, now mbox.Now, work func(q *mbox.Queue), durable func(error)) (died []mbox.DeadLetter, due time.Duration, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mine(gen); err != nil {
		if durable != nil {
			durable(err)
		}
		return nil, 0, false
	}
	work(s.queue)
	s.serve(now)
	s.write(now, durable)
	died, s.died = s.died, nil
	due, more = s.queue.NextDue()
	return died, due, more
}

// mine refuses an incarnation that owns the shard no more, and everybody while
// the shard is stale; mu is held.
func (s *shard) mine(gen uint64) error {
	switch {
	case s.owner != gen:
		return kernel.ErrCrashed
	case s.stale.Load():
		return errStale
	}
	return nil
}

// write hands the journal what has changed, in order, because mu is held.
func (s *shard) write(now mbox.Now, durable func(error)) {
	if s.journal == nil {
		if durable != nil {
			durable(nil)
		}
		return
	}
	c := s.queue.Changes(now)
	if durable == nil && c.Empty() {
		return
	}
	s.journal.Append(c, durable == nil, func(err error) {
		if err != nil {
			s.stale.Store(true)
			err = errStale
		}
		if durable != nil {
			durable(err)
		}
	})
}

// serve gives what became ready to who waits for it, first come first served;
// mu is held.
func (s *shard) serve(now mbox.Now) {
	for len(s.woken) > 0 || len(s.roomy) > 0 {
		if n := len(s.roomy); n > 0 {
			if topic, back := s.line.roomy(s.roomy[n-1]); back {
				s.woken = append(s.woken, topic)
			}
			s.roomy = s.roomy[:n-1]
			continue
		}
		topic := s.woken[len(s.woken)-1]
		s.woken = s.woken[:len(s.woken)-1]
		s.serveTopic(now, topic)
	}
}

func (s *shard) serveTopic(now mbox.Now, topic string) {
	for s.queue.Ready(topic) > 0 {
		w := s.line.take(topic)
		if w == nil {
			return
		}
		messages, err := s.queue.Recv(now, w.want)
		if !w.answer(received{messages, err}) { // it has gone away meanwhile: the next one gets them
			giveBack(s.queue, now, messages)
		}
	}
}

// recv leases messages, or puts the waiter in line when there is none; mu is held
// by turn.
func (s *shard) recv(q *mbox.Queue, now mbox.Now, want mbox.Want, w *waiter) ([]mbox.Delivery, error) {
	messages, err := q.Recv(now, want)
	if len(messages) > 0 || err != nil || w == nil {
		return messages, err
	}
	return nil, s.line.join(w)
}

// look lets a reader look at the queue; it must change nothing.
func (s *shard) look(f func(q *mbox.Queue)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.queue)
}

// why is what mine says, for whoever was refused by it.
func (s *shard) why(gen uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mine(gen); err != nil {
		return err
	}
	return errStale // it was, a moment ago
}
