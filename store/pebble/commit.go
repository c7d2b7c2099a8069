package pebble

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"micronode/store"
)

// Bounds of a commit.
const (
	opsQueued  = 4096
	groupOps   = 1024
	groupBytes = 4 << 20
	// What was written moves from the log into tables when nothing has come for flushIdle, and after flushLatest at the
	// latest: a table says which of its blocks is damaged, a log can only say that it is.
	flushIdle   = time.Second
	flushLatest = 5 * time.Second
)

// op is one change that waits for its commit.
type op struct {
	bytes int             // about how much it writes
	h     *handle         // that was current when it was submitted
	lazy  bool            // nobody waits for its fsync
	write func(*tx) error // runs on the committer; an error means that nothing was written. nil: only waits its turn
	done  func(error)     // called once, on the committer: must not wait
}

// errNextGroup: the op touches an object that this group has touched; it begins the next one.
var errNextGroup = errors.New("store: not in this group")

// errReopened: the directory was opened anew since the op was submitted.
var errReopened = errors.New("store: it was opened anew meanwhile")

// tx is the group that is being put together.
type tx struct {
	s       *Store
	h       *handle
	b       *pebble.Batch
	now     time.Time
	sums    totals
	touched map[store.Address]struct{}
	after   []func(err error) // run when the commit has ended
}

// touch notes that an op changes an object. errNextGroup when another one of this group does.
func (t *tx) touch(a store.Address) error {
	if _, twice := t.touched[a]; twice {
		return errNextGroup
	}
	t.touched[a] = struct{}{}
	return nil
}

// broken words a failure for whoever asked for a write.
func broken(err error) error {
	return fmt.Errorf("%w: the disk has failed, nothing was acknowledged: %w", store.ErrNotReady, err)
}

// submit queues an op. It waits while the queue is full.
func (s *Store) submit(o *op) {
	o.h = s.cur.Load()
	select {
	case s.ops <- o:
	case <-s.done:
		o.done(store.ErrNotReady)
	}
}

// do runs an op and waits for its commit. It has an outcome, whatever becomes of the caller.
func (s *Store) do(o *op) error {
	answer := make(chan error, 1)
	o.done = func(err error) { answer <- err }
	s.submit(o)
	select {
	case err := <-answer:
		return err
	case <-s.done:
	}
	select { // it may have been the last one
	case err := <-answer:
		return err
	default:
		return store.ErrNotReady
	}
}

// commit is the committer: one group after the other until Close.
func (s *Store) commit() {
	defer close(s.done)
	var held *op
	unseen := 0         // bytes since the last look at the disk
	var dirty time.Time // since when there is something in the log; zero: nothing
	idle := time.NewTimer(flushIdle)
	defer idle.Stop()
	for {
		first := held
		held = nil
		if first == nil {
			select {
			case first = <-s.ops:
			case <-idle.C:
				s.compactIfDue()
				if !dirty.IsZero() || s.compaction.nudges > 0 {
					s.cur.Load().flush()
					dirty = time.Time{}
				}
				if s.compaction.nudges > 0 {
					s.compaction.nudges--
					idle.Reset(nudgeEvery)
				}
				continue
			case <-s.quit:
				select {
				case first = <-s.ops:
				default:
					return
				}
			}
		}
		var bytes int
		held, bytes = s.group(first)
		if unseen += bytes; unseen >= lookAfter {
			unseen = 0
			s.Look()
		}
		s.compactIfDue()
		idle.Reset(flushIdle)
		switch now := time.Now(); {
		case dirty.IsZero():
			dirty = now
		case now.Sub(dirty) >= flushLatest:
			s.cur.Load().flush()
			dirty = time.Time{}
		}
	}
}

// group commits first and what waits behind it, and returns the op that has to wait for the next group, and how many bytes
// it wrote.
func (s *Store) group(first *op) (held *op, written int) {
	h := s.cur.Load()
	s.sums.Lock()
	t := &tx{s: s, h: h, now: s.opt.Now(), sums: s.live, touched: map[store.Address]struct{}{}}
	s.sums.Unlock()
	if err := s.refusal(h); err != nil {
		first.done(broken(err))
		return nil, 0
	}
	t.b = h.db.NewBatch()
	lazy, bytes := true, 0
	var in []*op
	for o := first; ; {
		var err error
		switch {
		case o.h != h:
			err = broken(errReopened)
		case o.write != nil:
			err = o.write(t)
		}
		switch {
		case errors.Is(err, errNextGroup) && o != first:
			held = o
		case err != nil:
			o.done(err)
		default:
			in = append(in, o)
			lazy = lazy && o.lazy
			bytes += o.bytes
		}
		if held != nil || len(in) >= groupOps || bytes >= groupBytes {
			break
		}
		select {
		case o = <-s.ops:
			continue
		default:
		}
		break
	}
	size := t.b.Len()
	err := s.seal(t, lazy)
	for _, f := range t.after {
		f(err)
	}
	for _, o := range in {
		o.done(err)
	}
	return held, size
}

// refusal says why nothing can be committed.
func (s *Store) refusal(h *handle) error {
	s.sums.Lock()
	lost := s.lost
	s.sums.Unlock()
	if lost != nil {
		return lost
	}
	if s.opt.ReadOnly {
		return store.ErrReadOnly
	}
	return h.failed()
}

// seal numbers and applies the batch; what it says is durable when it returns nil, unless it is lazy.
func (s *Store) seal(t *tx, lazy bool) error {
	if t.b.Empty() {
		return nil
	}
	t.sums.commit++
	s.sums.Lock()
	t.sums.acked = s.acked
	s.sums.Unlock()
	_ = t.b.Set(keyTotals, t.sums.encode(), nil) // a batch in memory cannot fail
	mode := pebble.Sync
	if lazy {
		mode = pebble.NoSync
	}
	began := time.Now().UnixNano()
	s.began.Store(began)
	err := t.h.apply(t.b, mode)
	s.began.Store(0)
	s.slowest.Store(max(s.slowest.Load(), time.Now().UnixNano()-began))
	if err != nil {
		return broken(err)
	}
	_ = t.b.Close()
	s.sums.Lock()
	s.live = t.sums
	if !lazy { // what is lazy is not promised: a reopened store may lack it
		s.acked = t.sums.commit
	}
	s.sums.Unlock()
	return nil
}
