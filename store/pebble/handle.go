package pebble

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"golang.org/x/sys/unix"
)

// Figures of the engine.
const (
	memTable       = 16 << 20 // bytes of recent writes in RAM, of which there are at most memTables; so long is the log that a start replays
	memTables      = 4
	memTableLeast  = 1 << 20
	memTableShare  = 64      // of a small disk
	separateAbove  = 8 << 10 // values from here on are written once, beside the tables that compactions rewrite
	garbageRatio   = 0.20    // of separated values, before their file is rewritten
	rewriteAge     = 5 * time.Second
	closeWithin    = 3 * time.Second // a handle that does not close by then is left behind its fence
	defaultCache   = 32 << 20
	maxTableFiles  = 512
	referenceDepth = 10
	engineFormat   = pebble.FormatValueSeparation
	blockSize      = 1 << 10
	indexBlockSize = 4 << 10
)

// handle is the directory opened once.
type handle struct {
	db       *pebble.DB
	fence    *fence
	readOnly bool
	refs     atomic.Int64 // readers inside, and one while it is current
	closed   chan struct{}
	once     sync.Once
	memTable uint64
	unread   atomic.Bool // nobody reads it yet, or any more
	sick     atomic.Pointer[error]
	fell     func(error) // told once, of the first failure
	rot      func(error) // told of damage that a read or a compaction has met
	space    func()      // told when the disk was found full
}

// latch makes the first failure final for this handle.
func (h *handle) latch(err error) {
	if h.sick.CompareAndSwap(nil, &err) {
		if h.unread.Load() {
			h.fence.dream()
		}
		h.fence.shut()
		h.fell(err)
	}
}

// failed returns the failure that the handle fell by.
func (h *handle) failed() error {
	if e := h.sick.Load(); e != nil {
		return *e
	}
	return nil
}

// enter keeps the handle open for a reader; false: it is closing.
func (h *handle) enter() bool {
	for {
		n := h.refs.Load()
		if n == 0 {
			return false
		}
		if h.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (h *handle) leave() {
	if h.refs.Add(-1) == 0 {
		h.once.Do(func() { close(h.closed) })
	}
}

// apply commits a batch; every way in which that can fail ends in the latch.
func (h *handle) apply(b *pebble.Batch, sync *pebble.WriteOptions) (err error) {
	defer func() {
		if v := recover(); v != nil { // the engine panics where its log fails
			h.latch(fmt.Errorf("the engine gave up: %v", v))
		}
		if sick := h.failed(); sick != nil {
			err = sick
		}
	}()
	if err := h.failed(); err != nil {
		return err
	}
	if err := h.db.Apply(b, sync); err != nil {
		h.latch(err)
	}
	return nil
}

// flush has the engine move its log into tables, behind the scenes.
func (h *handle) flush() {
	defer func() {
		if v := recover(); v != nil {
			h.latch(fmt.Errorf("the engine gave up: %v", v))
		}
	}()
	if h.failed() == nil {
		_, _ = h.db.AsyncFlush() // what goes wrong is told to background
	}
}

// close waits for readers and background work, but not for ever: a failed engine may never end. The fence holds it off
// the disk then.
func (h *handle) close(within time.Duration) error {
	h.leave()
	patience := time.NewTimer(within)
	defer patience.Stop()
	select {
	case <-h.closed:
	case <-patience.C:
		h.fence.shut()
		go func() { // ends with the last of them: an upload that was under way, or a read
			<-h.closed
			h.fence.dream()
			_ = h.end()
		}()
		return fmt.Errorf("readers are still inside after %v", within)
	}
	h.unread.Store(true)
	if h.failed() != nil {
		h.fence.dream()
	}
	done := make(chan error, 1)
	go func() { done <- h.end() }() // ends with the engine; abandoned where that never does
	select {
	case err := <-done:
		h.fence.shut()
		return err
	case <-patience.C:
		h.fence.dream()
		return fmt.Errorf("the engine has not ended after %v", within)
	}
}

// end closes the engine, its log moved into tables where it is well.
func (h *handle) end() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the engine gave up: %v", v)
		}
	}()
	if h.failed() == nil && !h.readOnly && !h.fence.down.Load() {
		_ = h.db.Flush() // nothing depends on it: the next start would replay the log
	}
	return h.db.Close()
}

// Infof implements pebble.Logger: the engine's chatter is nobody's business.
func (h *handle) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (h *handle) Errorf(string, ...any) {}

// Fatalf implements pebble.Logger. The engine wants the process to end; the handle ends instead.
func (h *handle) Fatalf(format string, args ...any) { h.latch(fmt.Errorf(format, args...)) }

// background judges an error that no caller hears of.
func (h *handle) background(err error) {
	switch {
	case h.failed() != nil, errors.Is(err, pebble.ErrCancelledCompaction):
	case isFull(err):
		h.space()
	case pebble.IsCorruptionError(err):
		h.rot(err)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM):
	default:
		h.latch(err)
	}
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func chmod(fd uintptr) error { return unix.Fchmod(int(fd), 0o600) }

// engine is how the directory is opened.
func (h *handle) engine(cacheBytes int64, readOnly bool) *pebble.Options {
	o := &pebble.Options{
		FS: h.fence, Logger: h, ReadOnly: readOnly, FormatMajorVersion: engineFormat,
		CacheSize: cacheBytes, MemTableSize: h.memTable, MemTableStopWritesThreshold: memTables, MaxOpenFiles: maxTableFiles,
		L0CompactionThreshold: 4, L0StopWritesThreshold: 24, BytesPerSync: 1 << 20,
		EventListener: &pebble.EventListener{
			BackgroundError: h.background,
			DataCorruption:  func(i pebble.DataCorruptionInfo) { h.rot(i.Details) },
		},
	}
	for i := range o.Levels { // small blocks: a damaged one takes few objects with it
		o.Levels[i].BlockSize, o.Levels[i].IndexBlockSize = blockSize, indexBlockSize
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].FilterType = pebble.TableFilter
	}
	o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled: true, MinimumSize: separateAbove, MaxBlobReferenceDepth: referenceDepth,
			RewriteMinimumAge: rewriteAge, TargetGarbageRatio: garbageRatio,
		}
	}
	return o
}
