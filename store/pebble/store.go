package pebble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"micronode/store"
	"micronode/store/mbox"
)

const (
	// DefaultMaxBytes is the bound of a Store whose Options name none (contract §2).
	DefaultMaxBytes = 1 << 30
	// ObjectOverhead is what every object costs against MaxBytes besides its payload: its record and its keys.
	ObjectOverhead = 256
	// lockName is the file that keeps a second process out.
	lockName = "micronode.lock"
)

// Errors of a directory.
var (
	// ErrLocked says that another process, or another node of this one, has the directory open.
	ErrLocked = errors.New("store: the directory is in use by another process; stop that node, or name another store.dir")
	// ErrNewer says that a later version has written the directory.
	ErrNewer = errors.New("store: the directory was written by a newer version")
	// ErrOpen says that the directory cannot be opened, and why.
	ErrOpen = errors.New("store: the directory cannot be opened")
	// ErrLost says that a reopened directory lacks what had been acknowledged.
	ErrLost = errors.New("store: acknowledged writes are gone")
)

// Options set up a Store.
type Options struct {
	Dir        string           // made, with mode 0700, when it is not there
	MaxBytes   int64            // bound on payload plus overhead; <= 0 means DefaultMaxBytes
	Now        func() time.Time // nil: time.Now
	FS         vfs.FS           // nil: the operating system's
	CacheBytes int64            // of tables in RAM; 0: 32 MiB
	ReadOnly   bool             // for looking at a backup: nothing is written, not even a lock
}

// Store is the durable tier. It is a store.Store, Lister, Meter, Sweeper and Flipper. Make it with Open.
type Store struct {
	opt     Options
	fs      vfs.FS
	lock    io.Closer
	work    work
	budget  *mbox.Budget // of MaxBytes
	pins    [pinShards]pins
	ops     chan *op
	quit    chan struct{}
	done    chan struct{} // the committer has ended
	cur     atomic.Pointer[handle]
	full    atomic.Bool   // the disk leaves no reserve
	began   atomic.Int64  // of the commit that is under way, unix nanoseconds; 0: none is
	slowest atomic.Int64  // nanoseconds of the slowest commit since Slowest was asked last
	fallen  chan struct{} // one token: the handle has failed

	compaction compaction

	sums      sync.Mutex // guards all that follows
	live      totals     // as of the latest commit
	acked     uint64     // number of the latest commit that was synced
	closed    bool
	lost      error // ErrLost: final
	rotSeen   map[string]struct{}
	rot       func(error) // nil: rotBefore keeps it
	rotBefore []error
	leftBy    int // handles that did not close
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Lister  = (*Store)(nil)
	_ store.Meter   = (*Store)(nil)
	_ store.Sweeper = (*Store)(nil)
	_ store.Flipper = (*Store)(nil)
)

// Open opens a directory, or makes it. It reads the engine's log and tables of contents, not the objects. Errors: ErrLocked,
// ErrNewer, ErrOpen. The caller must Close.
func Open(opt Options) (*Store, error) {
	if opt.MaxBytes <= 0 {
		opt.MaxBytes = DefaultMaxBytes
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.CacheBytes <= 0 {
		opt.CacheBytes = defaultCache
	}
	s := &Store{
		opt: opt, fs: opt.FS, budget: mbox.NewBudget(opt.MaxBytes), ops: make(chan *op, opsQueued),
		quit: make(chan struct{}), done: make(chan struct{}), fallen: make(chan struct{}, 1), rotSeen: map[string]struct{}{},
	}
	for i := range s.pins {
		s.pins[i] = newPins()
	}
	if s.fs == nil {
		s.fs = vfs.Default
	}
	if err := s.claim(); err != nil {
		return nil, err
	}
	if err := s.attach(); err != nil {
		s.unlock()
		return nil, err
	}
	go s.commit()
	return s, nil
}

// Close ends the committer after what it was given, and closes the directory. Reads and writes are ErrNotReady from then on.
func (s *Store) Close() error {
	s.sums.Lock()
	again := s.closed
	s.closed = true
	s.sums.Unlock()
	if again {
		return nil
	}
	close(s.quit)
	<-s.done
	s.endCompaction()
	err := s.cur.Load().close(closeWithin)
	s.unlock()
	if err != nil {
		return fmt.Errorf("close %s: %w", s.opt.Dir, err)
	}
	return nil
}

// Fallen delivers a token when the handle has failed: call [Store.Reopen].
func (s *Store) Fallen() <-chan struct{} { return s.fallen }

// Failed returns why the store takes no writes until it is reopened; nil when it does.
func (s *Store) Failed() error {
	s.sums.Lock()
	lost := s.lost
	s.sums.Unlock()
	if lost != nil {
		return lost
	}
	return s.cur.Load().failed()
}

// Reopen opens the directory anew after a failure and holds what is there against what was acknowledged. Until it succeeds
// the failed handle goes on reading. Errors: those of Open, and ErrLost, which is final. A store that has not failed is
// left alone.
func (s *Store) Reopen(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.sums.Lock()
	lost, closed := s.lost, s.closed
	s.sums.Unlock()
	switch {
	case lost != nil:
		return lost
	case closed:
		return store.ErrNotReady
	case s.cur.Load().failed() == nil:
		return nil
	}
	return s.attach()
}

// Counts are the syncs and the bytes written since Open.
func (s *Store) Counts() (syncs, written int64) { return s.work.Syncs.Load(), s.work.Written.Load() }

// maxRot bounds the distinct kinds of damage that are told.
const maxRot = 64

// Slowest is how long the slowest commit took since the last call, or has taken so far. A commit is an fsync.
func (s *Store) Slowest() time.Duration {
	slowest := s.slowest.Swap(0)
	if began := s.began.Load(); began != 0 {
		slowest = max(slowest, time.Now().UnixNano()-began)
	}
	return time.Duration(slowest)
}

// OnRot has f told of damage that the engine meets by itself, each distinct error once, from any goroutine; what was met
// before the call is told at once.
func (s *Store) OnRot(f func(error)) {
	s.sums.Lock()
	s.rot = f
	before := s.rotBefore
	s.rotBefore = nil
	s.sums.Unlock()
	for _, err := range before {
		f(err)
	}
}

// rotten tells each distinct error once.
func (s *Store) rotten(err error) {
	s.sums.Lock()
	_, seen := s.rotSeen[err.Error()]
	tell := !seen && len(s.rotSeen) < maxRot
	if tell {
		s.rotSeen[err.Error()] = struct{}{}
	}
	f := s.rot
	if tell && f == nil {
		s.rotBefore = append(s.rotBefore, err)
	}
	s.sums.Unlock()
	if tell && f != nil {
		f(err)
	}
}

// Usage reports what is kept, and the bytes charged.
func (s *Store) Usage() store.Usage {
	s.sums.Lock()
	objects := s.live.objects
	s.sums.Unlock()
	return store.Usage{Objects: objects, Bytes: s.budget.Used(), MaxBytes: s.opt.MaxBytes}
}
