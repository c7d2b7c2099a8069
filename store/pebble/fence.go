package pebble

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// errFenced is what a handle hears that has failed before: nothing it still has in mind may reach the disk.
var errFenced = errors.New("store: the handle has failed and writes nothing any more")

// fencedPause slows down a handle that tries again and again behind its fence.
const fencedPause = 20 * time.Millisecond

// fence is the file system of one handle: it counts what it writes and syncs, keeps files private, and once shut lets
// nothing through that changes the disk.
type fence struct {
	vfs.FS
	down    atomic.Bool
	stats   *Work
	private bool // new files get mode 0600
}

// Work counts what a store has asked of its file system.
type Work struct {
	Syncs   atomic.Int64 // fsync, fdatasync and directory syncs
	Written atomic.Int64 // bytes
}

func (f *fence) shut() { f.down.Store(true) }

func (f *fence) pass() error {
	if !f.down.Load() {
		return nil
	}
	time.Sleep(fencedPause)
	return errFenced
}

func (f *fence) wrap(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	if fd := file.Fd(); f.private && fd != vfs.InvalidFd {
		if err := chmod(fd); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	return &fencedFile{File: file, of: f}, nil
}

// Create implements vfs.FS; so do the others below.
func (f *fence) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.pass(); err != nil {
		return nil, err
	}
	return f.wrap(f.FS.Create(name, c))
}

// OpenReadWrite implements vfs.FS.
func (f *fence) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	if err := f.pass(); err != nil {
		return nil, err
	}
	return f.wrap(f.FS.OpenReadWrite(name, c, o...))
}

// ReuseForWrite implements vfs.FS.
func (f *fence) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.pass(); err != nil {
		return nil, err
	}
	return f.wrap(f.FS.ReuseForWrite(old, name, c))
}

// OpenDir implements vfs.FS.
func (f *fence) OpenDir(name string) (vfs.File, error) {
	d, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &fencedFile{File: d, of: f}, nil
}

// Link implements vfs.FS.
func (f *fence) Link(old, name string) error {
	if err := f.pass(); err != nil {
		return err
	}
	return f.FS.Link(old, name)
}

// Remove implements vfs.FS.
func (f *fence) Remove(name string) error {
	if err := f.pass(); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

// RemoveAll implements vfs.FS.
func (f *fence) RemoveAll(name string) error {
	if err := f.pass(); err != nil {
		return err
	}
	return f.FS.RemoveAll(name)
}

// Rename implements vfs.FS.
func (f *fence) Rename(old, name string) error {
	if err := f.pass(); err != nil {
		return err
	}
	return f.FS.Rename(old, name)
}

// MkdirAll implements vfs.FS. Directories are the owner's alone.
func (f *fence) MkdirAll(dir string, _ os.FileMode) error {
	if err := f.pass(); err != nil {
		return err
	}
	return f.FS.MkdirAll(dir, 0o700)
}

// Unwrap implements vfs.FS.
func (f *fence) Unwrap() vfs.FS { return f.FS }

type fencedFile struct {
	vfs.File
	of *fence
}

// Write implements vfs.File; so do the others below.
func (f *fencedFile) Write(p []byte) (int, error) {
	if err := f.of.pass(); err != nil {
		return 0, err
	}
	n, err := f.File.Write(p)
	f.of.stats.Written.Add(int64(n))
	return n, err
}

// WriteAt implements vfs.File.
func (f *fencedFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.of.pass(); err != nil {
		return 0, err
	}
	n, err := f.File.WriteAt(p, off)
	f.of.stats.Written.Add(int64(n))
	return n, err
}

// Sync implements vfs.File.
func (f *fencedFile) Sync() error {
	if err := f.of.pass(); err != nil {
		return err
	}
	f.of.stats.Syncs.Add(1)
	return f.File.Sync()
}

// SyncData implements vfs.File.
func (f *fencedFile) SyncData() error {
	if err := f.of.pass(); err != nil {
		return err
	}
	f.of.stats.Syncs.Add(1)
	return f.File.SyncData()
}

// SyncTo implements vfs.File.
func (f *fencedFile) SyncTo(length int64) (bool, error) {
	if err := f.of.pass(); err != nil {
		return false, err
	}
	return f.File.SyncTo(length)
}

// Preallocate implements vfs.File.
func (f *fencedFile) Preallocate(off, length int64) error {
	if err := f.of.pass(); err != nil {
		return err
	}
	return f.File.Preallocate(off, length)
}
