package pebble

import (
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// errFenced is what a handle hears that has failed before: nothing it still has in mind may reach the disk.
var errFenced = errors.New("store: the handle has failed and writes nothing any more")

// fencedPause slows down a handle that tries again and again behind its fence.
const fencedPause = 2 * time.Millisecond

// fence is the file system of one handle: it counts what it writes and syncs, keeps files private, and once shut lets
// nothing through that changes the disk. A handle that reads on is told of errors then, so that it keeps in RAM what it
// could not write. One that nobody reads any more dreams: all it does succeeds and goes nowhere, so that it comes to an end;
// the engine would try for ever.
type fence struct {
	vfs.FS
	down    atomic.Bool
	dreams  atomic.Bool
	stats   *work
	private bool         // new files get mode 0600
	fail    func(error)  // latches
	full    atomic.Int32 // how often in a row there was no room
}

// fullPause bounds the pause between two tries on a full disk: the engine tries again at once, and leaves an empty file each time.
const fullPause = time.Second

// room slows down who found the disk full.
func (f *fence) room(err error) error {
	if err == nil {
		f.full.Store(0)
	} else if isFull(err) {
		time.Sleep(min(fencedPause<<min(f.full.Add(1), 10), fullPause))
	}
	return err
}

// ofLog reports whether a file is of the engine's log. The engine panics, holding locks, where its log fails, so it never
// hears of that: the failure is latched, its writes go nowhere from then on, and whoever waits for a commit is told by the
// latch.
func ofLog(name string) bool { return strings.HasSuffix(name, ".log") }

func (f *fence) logFailed(err error) (vfs.File, error) {
	f.fail(err)
	return nowhere{vfs.NewMemFile(nil)}, nil
}

// nowhere takes everything and keeps nothing.
type nowhere struct{ vfs.File }

// Write implements vfs.File; so do the others below.
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// WriteAt implements vfs.File.
func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// Sync implements vfs.File.
func (nowhere) Sync() error { return nil }

// SyncData implements vfs.File.
func (nowhere) SyncData() error { return nil }

// SyncTo implements vfs.File.
func (nowhere) SyncTo(int64) (bool, error) { return true, nil }

// Preallocate implements vfs.File.
func (nowhere) Preallocate(_, _ int64) error { return nil }

// work counts what a store has asked of its file system.
type work struct {
	Syncs   atomic.Int64 // fsync, fdatasync and directory syncs
	Written atomic.Int64 // bytes
}

func (f *fence) shut() { f.down.Store(true) }

// dream shuts the fence of a handle that nobody reads.
func (f *fence) dream() {
	f.dreams.Store(true)
	f.down.Store(true)
}

func (f *fence) pass() error {
	if !f.down.Load() {
		return nil
	}
	if !f.dreams.Load() {
		time.Sleep(fencedPause)
	}
	return errFenced
}

// change runs what changes the disk, if the fence lets it.
func (f *fence) change(do func() error) error {
	if err := f.pass(); err != nil {
		if f.dreams.Load() {
			return nil
		}
		return err
	}
	return do()
}

func (f *fence) wrap(name string, file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	if fd := file.Fd(); f.private && fd != vfs.InvalidFd {
		if err := chmod(fd); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	return &fencedFile{File: file, of: f, mute: ofLog(name)}, nil
}

// Create implements vfs.FS; so do the others below.
func (f *fence) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.pass(); err != nil {
		if ofLog(name) || f.dreams.Load() {
			return f.logFailed(err)
		}
		return nil, err
	}
	file, err := f.FS.Create(name, c)
	if err != nil && ofLog(name) {
		return f.logFailed(err)
	}
	if err == nil && ofManifest(f.FS, name) {
		file, err = f.mirror(name, file, c)
	}
	return f.wrap(name, file, err)
}

// mirror opens the second copy of a manifest.
func (f *fence) mirror(name string, file vfs.File, c vfs.DiskWriteCategory) (vfs.File, error) {
	second, err := f.FS.Create(name+mirrorSuffix, c)
	if err == nil && f.private && second.Fd() != vfs.InvalidFd {
		err = chmod(second.Fd())
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return mirrored{file, second}, nil
}

// OpenReadWrite implements vfs.FS.
func (f *fence) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	if err := f.pass(); err != nil {
		if f.dreams.Load() {
			return nowhere{vfs.NewMemFile(nil)}, nil
		}
		return nil, err
	}
	file, err := f.FS.OpenReadWrite(name, c, o...)
	return f.wrap(name, file, err)
}

// ReuseForWrite implements vfs.FS.
func (f *fence) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.pass(); err != nil {
		if ofLog(name) || f.dreams.Load() {
			return f.logFailed(err)
		}
		return nil, err
	}
	file, err := f.FS.ReuseForWrite(old, name, c)
	if err != nil && ofLog(name) {
		return f.logFailed(err)
	}
	return f.wrap(name, file, err)
}

// OpenDir implements vfs.FS.
func (f *fence) OpenDir(name string) (vfs.File, error) {
	d, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &fencedFile{File: d, of: f, mute: true}, nil // a log that is made syncs its directory
}

// Link implements vfs.FS.
func (f *fence) Link(old, name string) error {
	return f.change(func() error { return f.FS.Link(old, name) })
}

// Remove implements vfs.FS.
func (f *fence) Remove(name string) error {
	return f.change(func() error {
		if ofManifest(f.FS, name) {
			if err := f.FS.Remove(name + mirrorSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return f.FS.Remove(name)
	})
}

// RemoveAll implements vfs.FS.
func (f *fence) RemoveAll(name string) error {
	return f.change(func() error { return f.FS.RemoveAll(name) })
}

// Rename implements vfs.FS.
func (f *fence) Rename(old, name string) error {
	return f.change(func() error { return f.FS.Rename(old, name) })
}

// MkdirAll implements vfs.FS. Directories are the owner's alone.
func (f *fence) MkdirAll(dir string, _ os.FileMode) error {
	return f.change(func() error { return f.FS.MkdirAll(dir, 0o700) })
}

// Unwrap implements vfs.FS.
func (f *fence) Unwrap() vfs.FS { return f.FS }

type fencedFile struct {
	vfs.File
	of   *fence
	mute bool // failures are latched and not told
}

// told is what the engine hears of an error.
func (f *fencedFile) told(err error) error {
	if f.of.dreams.Load() {
		return nil
	}
	if err != nil && f.mute {
		f.of.fail(err)
		return nil
	}
	return err
}

// Write implements vfs.File; so do the others below.
func (f *fencedFile) Write(p []byte) (int, error) {
	err := f.of.pass()
	if err == nil {
		_, err = f.File.Write(p)
		err = f.of.room(err)
		f.of.stats.Written.Add(int64(len(p)))
	}
	if err = f.told(err); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteAt implements vfs.File.
func (f *fencedFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.of.pass()
	if err == nil {
		_, err = f.File.WriteAt(p, off)
		f.of.stats.Written.Add(int64(len(p)))
	}
	if err = f.told(err); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Sync implements vfs.File.
func (f *fencedFile) Sync() error {
	err := f.of.pass()
	if err == nil {
		f.of.stats.Syncs.Add(1)
		err = f.File.Sync()
	}
	return f.told(err)
}

// SyncData implements vfs.File.
func (f *fencedFile) SyncData() error {
	err := f.of.pass()
	if err == nil {
		f.of.stats.Syncs.Add(1)
		err = f.File.SyncData()
	}
	return f.told(err)
}

// SyncTo implements vfs.File.
func (f *fencedFile) SyncTo(length int64) (full bool, err error) {
	if err = f.of.pass(); err == nil {
		full, err = f.File.SyncTo(length)
	}
	return full, f.told(err)
}

// Preallocate implements vfs.File.
func (f *fencedFile) Preallocate(off, length int64) error {
	err := f.of.pass()
	if err == nil {
		err = f.File.Preallocate(off, length)
	}
	return f.told(err)
}

// Close implements vfs.File.
func (f *fencedFile) Close() error { return f.told(f.File.Close()) }
