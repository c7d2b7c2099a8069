package pebble

import (
	"context"
	"sync/atomic"
)

// Deleted payload stays on the disk until its tables are rewritten, which the engine does when there are enough of them. With
// payload kept apart from keys they stay few for long, so the store asks for it: when what was erased since the last time is a
// fifth of what is there, or when the disk is full.
const (
	eraseShare     = 5
	eraseLeast     = 8 << 20
	eraseLeastFull = 1 << 20
	// The engine looks for payload files that are worth rewriting when it flushes: for so many idle looks after a compaction it
	// is made to.
	nudges     = 12
	nudgeEvery = rewriteAge
)

// compaction is one that runs behind the scenes, at most one at a time.
type compaction struct {
	erased  atomic.Int64 // bytes of payload since the last one began
	running atomic.Bool
	nudges  int           // that are left. Of the committer alone
	done    chan struct{} // closed when the latest one has ended; nil: there was none. Of the committer alone
	cancel  context.CancelFunc
}

// compactIfDue begins a compaction of payload when it is worth it. It is called by the committer.
func (s *Store) compactIfDue() {
	erased := s.compaction.erased.Load()
	s.sums.Lock()
	due := max(s.live.bytes/eraseShare, eraseLeast)
	s.sums.Unlock()
	if s.full.Load() {
		due = eraseLeastFull
	}
	if erased < due || !s.compaction.running.CompareAndSwap(false, true) {
		return
	}
	s.compaction.erased.Add(-erased)
	h, err := s.reader()
	if err != nil {
		s.compaction.running.Store(false)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.compaction.done, s.compaction.cancel, s.compaction.nudges = done, cancel, nudges
	go func() { // ends by itself, or with Close
		defer close(done)
		defer s.compaction.running.Store(false)
		defer h.leave()
		defer cancel()
		defer func() { _ = recover() }() // the handle has failed, and says so elsewhere
		_ = h.db.Compact(ctx, []byte{prefixChunk}, []byte{prefixChunk + 1}, false)
	}()
}

// endCompaction waits for one that runs. It is called when the committer has ended.
func (s *Store) endCompaction() {
	if s.compaction.done != nil {
		s.compaction.cancel()
		<-s.compaction.done
	}
}
