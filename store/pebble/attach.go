package pebble

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"micronode/store"
)

// claim makes the directory and locks it.
func (s *Store) claim() error {
	if s.opt.ReadOnly {
		return nil
	}
	if err := s.makeDir(); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrOpen, s.opt.Dir, err)
	}
	lock, err := s.fs.Lock(s.fs.PathJoin(s.opt.Dir, lockName))
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrLocked, s.opt.Dir, err)
	}
	s.lock = lock
	if s.opt.FS == nil {
		return os.Chmod(filepath.Join(s.opt.Dir, lockName), 0o600)
	}
	return nil
}

// makeDir makes the directory, private and lasting: its name is synced too.
func (s *Store) makeDir() error {
	if st, err := s.fs.Stat(s.opt.Dir); err == nil {
		if s.opt.FS == nil && st.Mode().Perm()&0o077 != 0 {
			return os.Chmod(s.opt.Dir, 0o700)
		}
		return nil
	}
	var made []string
	for dir := s.opt.Dir; ; dir = filepath.Dir(dir) {
		if _, err := s.fs.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			made = append(made, dir)
			break
		}
		made = append(made, dir)
	}
	if err := s.fs.MkdirAll(s.opt.Dir, 0o700); err != nil {
		return err
	}
	for _, dir := range made[1:] { // each name is kept by its parent
		d, err := s.fs.OpenDir(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) unlock() {
	if s.lock != nil {
		_ = s.lock.Close() // the process ends, or has nothing to lose
	}
}

// attach opens a new handle, checks it and makes it the current one.
func (s *Store) attach() error {
	h, sums, err := s.openHandle()
	if err != nil {
		return err
	}
	s.sums.Lock()
	if sums.commit < s.acked {
		s.lost = fmt.Errorf("%w: the last commit found is %d, %d had been acknowledged", ErrLost, sums.commit, s.acked)
		err = s.lost
	}
	if s.closed {
		err = store.ErrNotReady
	}
	var old *handle
	if err == nil {
		s.budget.Give(s.live.bytes - sums.bytes)
		s.live = sums
		old = s.cur.Swap(h) // with Close looking on: it closes the one that is current when it begins
	}
	s.sums.Unlock()
	if err != nil {
		_ = h.close(closeWithin)
		return err
	}
	if old != nil {
		if err := old.close(closeWithin); err != nil {
			s.sums.Lock()
			s.leftBy++
			s.sums.Unlock()
		}
	}
	return nil
}

func (s *Store) openHandle() (h *handle, sums totals, err error) {
	h = &handle{
		fence:    &fence{FS: sharedLock{s.fs}, stats: &s.work, private: s.opt.FS == nil},
		readOnly: s.opt.ReadOnly, closed: make(chan struct{}), rot: s.rotten, space: func() { s.full.Store(true) },
	}
	h.fell = func(err error) {
		if isFull(err) {
			s.full.Store(true)
		}
		select {
		case s.fallen <- struct{}{}:
		default:
		}
	}
	h.fence.fail = h.latch
	h.memTable = memTable
	if u, err := s.fs.GetDiskUsage(s.opt.Dir); err == nil {
		h.memTable = min(max(u.TotalBytes/memTableShare, memTableLeast), memTable)
	}
	h.refs.Store(1)
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %s: the engine gave up: %v", ErrOpen, s.opt.Dir, v)
		}
		if err != nil {
			h.fence.dream()
		}
	}()
	h.unread.Store(true)
	err = s.openEngine(h)
	h.unread.Store(false)
	if err != nil {
		return h, sums, fmt.Errorf("%w: %s: %w", ErrOpen, s.opt.Dir, err)
	}
	sums, err = s.inspect(h)
	if failed := h.failed(); failed != nil {
		err = errors.Join(err, fmt.Errorf("%w: %s: %w", ErrOpen, s.opt.Dir, failed))
	}
	if err != nil {
		err = errors.Join(err, h.close(closeWithin))
	}
	return h, sums, err
}

// openEngine opens the engine, after mending what can be mended.
func (s *Store) openEngine(h *handle) error {
	if err := s.marked(); err != nil {
		return err
	}
	logs, paths, err := s.readLogs()
	if err != nil && !s.opt.ReadOnly {
		return err
	}
	if !s.opt.ReadOnly && proven(logs) { // the engine would drop what is behind the damage, and say nothing
		return s.openWithoutLogs(h, logs, paths)
	}
	h.db, err = pebble.Open(s.opt.Dir, h.engine(s.opt.CacheBytes, s.opt.ReadOnly))
	for try := 0; err != nil && try < salvageTries && h.failed() == nil && s.salvage(err); try++ {
		h.db, err = pebble.Open(s.opt.Dir, h.engine(s.opt.CacheBytes, s.opt.ReadOnly))
	}
	if err != nil && h.failed() == nil && !s.opt.ReadOnly && damagedLog(err) {
		return s.openWithoutLogs(h, logs, paths)
	}
	return err
}

// sharedLock leaves locking to the Store, which holds the directory over all handles.
type sharedLock struct{ vfs.FS }

// Lock implements vfs.FS.
func (sharedLock) Lock(string) (io.Closer, error) { return nopCloser{}, nil }

type nopCloser struct{}

func (nopCloser) Close() error { return nil }

// formatRecord says who wrote the directory.
type formatRecord struct {
	Format  int       `json:"format"`
	Created time.Time `json:"created"`
}

// inspect looks at a directory just opened: its format, its sums, and what an interrupted run has left. Of damage there is
// told, and it goes on with what can be read.
func (s *Store) inspect(h *handle) (totals, error) {
	f, err := s.format(h)
	switch {
	case errors.Is(err, store.ErrNotFound) && !s.opt.ReadOnly:
		return totals{}, s.found(h)
	case err != nil:
		return totals{}, fmt.Errorf("%w: %s: its format: %w", ErrOpen, s.opt.Dir, err)
	case f.Format > Format:
		return totals{}, fmt.Errorf("%w: %s has format %d, this one knows up to %d; run the version that wrote it, or restore a backup of before the upgrade",
			ErrNewer, s.opt.Dir, f.Format, Format)
	}
	if f, err = s.migrate(h, f, Format, migrations); err != nil {
		return totals{}, fmt.Errorf("%w: %s: %w", ErrOpen, s.opt.Dir, err)
	}
	if err := s.keepFormat(f); err != nil {
		return totals{}, fmt.Errorf("%w: %s: %w", ErrOpen, s.opt.Dir, err)
	}
	sums, err := s.totals(h)
	if err != nil {
		return sums, fmt.Errorf("%w: %s: its sums: %w", ErrOpen, s.opt.Dir, err)
	}
	if s.opt.ReadOnly {
		return sums, nil
	}
	if err := s.clean(h); errors.Is(err, store.ErrCorrupt) {
		s.rotten(fmt.Errorf("the list of what is to be deleted: %w", err))
	} else if err != nil {
		return sums, fmt.Errorf("%w: %s: %w", ErrOpen, s.opt.Dir, err)
	}
	return sums, nil
}

// totals reads the sums, or counts anew where they are damaged.
func (s *Store) totals(h *handle) (totals, error) {
	b, err := h.get(keyTotals)
	var t totals
	if err == nil {
		t, err = decodeTotals(b)
	}
	if !errors.Is(err, store.ErrCorrupt) {
		return t, err
	}
	s.rotten(fmt.Errorf("the sums of objects and bytes, which are counted anew: %w", err))
	t, err = s.count(h)
	s.sums.Lock()
	t.commit = s.acked // unknown: what this process had acknowledged is all that can be asked for
	s.sums.Unlock()
	return t, err
}

// found writes the first record of a new directory.
func (s *Store) found(h *handle) error {
	if it, err := h.db.NewIter(nil); err == nil {
		some := it.First()
		if err := errors.Join(it.Error(), it.Close()); some || err != nil {
			return errors.Join(fmt.Errorf("%w: %s holds data that is not this program's", ErrOpen, s.opt.Dir), err)
		}
	}
	f := formatRecord{Format: Format, Created: s.opt.Now().UTC()}
	record, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := s.keepFormat(f); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrOpen, s.opt.Dir, err)
	}
	b := h.db.NewBatch()
	_ = b.Set(keyFormat, record, nil) // a batch in memory cannot fail
	_ = b.Set(keyTotals, (&totals{}).encode(), nil)
	if err := h.apply(b, pebble.Sync); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrOpen, s.opt.Dir, err)
	}
	return nil
}

// migration leads from one format to the next. It writes into a batch, which also raises the format.
type migration func(h *handle, b *pebble.Batch) error

// migrations are those from format 1 on, in order.
var migrations []migration

// migrate brings an older directory to a format, one step and one synced batch at a time: what is interrupted goes on at the
// next start.
func (s *Store) migrate(h *handle, f formatRecord, to int, steps []migration) (formatRecord, error) {
	for f.Format < to {
		if s.opt.ReadOnly {
			return f, fmt.Errorf("it has the older format %d; start a node on it once to bring it to %d", f.Format, to)
		}
		if f.Format < 1 || f.Format > len(steps) {
			return f, fmt.Errorf("there is no way from format %d to %d", f.Format, f.Format+1)
		}
		next := formatRecord{Format: f.Format + 1, Created: f.Created}
		record, err := json.Marshal(next)
		if err != nil {
			return f, err
		}
		b := h.db.NewBatch()
		if err := steps[f.Format-1](h, b); err != nil {
			return f, fmt.Errorf("from format %d: %w", f.Format, err)
		}
		_ = b.Set(keyFormat, record, nil)
		if err := h.apply(b, pebble.Sync); err != nil {
			return f, fmt.Errorf("from format %d: %w", f.Format, err)
		}
		f = next
	}
	return f, nil
}
