package pebble

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"micronode/store"
)

// Names in a backup's directory.
const (
	backupData     = "data"          // a directory that a node can be started on
	backupList     = "addresses.txt" // one object a line: address, size
	backupManifest = "backup.json"   // store.Manifest; written last, so a backup without one is not whole
)

// ErrBackup says that a backup cannot be made, or is not what its manifest says.
var ErrBackup = errors.New("store: backup")

// Backup writes a copy of the store, as of one moment, into a directory that must not be there yet, and reads it back whole
// before it calls it a backup. Files of the same file system are linked, not copied: keep backups on another disk. progress
// hears of every object that was read back; may be nil.
func (s *Store) Backup(ctx context.Context, dir string, progress func(bytes int64)) (m store.Manifest, err error) {
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		return m, fmt.Errorf("%w: %s is there already, and nothing is overwritten", ErrBackup, dir)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return m, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return m, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir)) // made by this call
		}
	}()
	h, err := s.reader()
	if err != nil {
		return m, err
	}
	err = h.db.Checkpoint(filepath.Join(dir, backupData), pebble.WithFlushedWAL())
	h.leave()
	if err != nil {
		return m, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	copied, err := Open(Options{Dir: filepath.Join(dir, backupData), MaxBytes: s.opt.MaxBytes, Now: s.opt.Now, ReadOnly: true})
	if err != nil {
		return m, fmt.Errorf("%w: what was written does not open: %w", ErrBackup, err)
	}
	defer func() { err = errors.Join(err, copied.Close()) }()
	return copied.describe(ctx, dir, progress)
}

// describe reads a copy whole, and writes its list and manifest.
func (s *Store) describe(ctx context.Context, dir string, progress func(int64)) (m store.Manifest, err error) {
	m = store.Manifest{Format: Format, Created: s.opt.Now().UTC()}
	var list bytes.Buffer
	err = s.Inspect(ctx, store.Address{}, func(f store.Finding) bool {
		if f.Err != nil {
			m.Damaged++
			return true
		}
		m.Objects++
		m.Bytes += f.Size
		fmt.Fprintf(&list, "%v %d\n", f.Address, f.Size)
		if progress != nil {
			progress(f.Size)
		}
		return true
	})
	if err != nil {
		return m, fmt.Errorf("%w: reading it back: %w", ErrBackup, err)
	}
	mail, err := s.Mail(ctx)
	if err != nil {
		return m, fmt.Errorf("%w: reading it back: %w", ErrBackup, err)
	}
	m.Messages, m.Keys, m.Damaged = len(mail.Rows), len(mail.Keys), m.Damaged+len(mail.Damaged)
	m.List = store.Sum(list.Bytes())
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return m, err
	}
	if err := writeSynced(filepath.Join(dir, backupList), list.Bytes()); err != nil {
		return m, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	if err := writeSynced(filepath.Join(dir, backupManifest), append(text, '\n')); err != nil {
		return m, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	return m, syncDirs(dir, filepath.Dir(dir))
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDirs(dirs ...string) error {
	for _, dir := range dirs {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Verify reads a backup whole and holds it against its manifest. It writes nothing. Errors: ErrBackup with the first thing
// that does not agree, and how many there are.
func Verify(ctx context.Context, dir string, progress func(bytes int64)) (m store.Manifest, err error) {
	m, want, err := readManifest(dir)
	if err != nil {
		return m, err
	}
	s, err := Open(Options{Dir: filepath.Join(dir, backupData), MaxBytes: 1 << 62, ReadOnly: true})
	if err != nil {
		return m, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	wrong := 0
	var first error
	blame := func(err error) {
		wrong++
		if first == nil {
			first = err
		}
	}
	err = s.Inspect(ctx, store.Address{}, func(f store.Finding) bool {
		size, listed := want[f.Address]
		switch {
		case f.Err != nil && !listed: // known when the backup was made, or a part of the index
			if f.Address == (store.Address{}) {
				blame(f.Err)
			}
			return true
		case f.Err != nil:
			blame(fmt.Errorf("%v: %w", f.Address, f.Err))
		case !listed || size != f.Size:
			blame(fmt.Errorf("%v of %d bytes is not in the list", f.Address, f.Size))
		}
		delete(want, f.Address)
		if progress != nil {
			progress(f.Size)
		}
		return true
	})
	if err != nil {
		return m, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	for a := range want {
		blame(fmt.Errorf("%v is missing", a))
	}
	mail, err := s.Mail(ctx)
	if err != nil {
		blame(err)
	}
	if len(mail.Rows) != m.Messages || len(mail.Keys) != m.Keys {
		blame(fmt.Errorf("%d messages and %d keys instead of %d and %d", len(mail.Rows), len(mail.Keys), m.Messages, m.Keys))
	}
	if wrong > 0 {
		return m, fmt.Errorf("%w: %s is not whole, %d faults, the first: %w", ErrBackup, dir, wrong, first)
	}
	return m, nil
}

// About reads what a backup says about itself. Errors: ErrBackup.
func About(dir string) (store.Manifest, error) {
	m, _, err := readManifest(dir)
	return m, err
}

func readManifest(dir string) (m store.Manifest, want map[store.Address]int64, err error) {
	text, err := os.ReadFile(filepath.Join(dir, backupManifest))
	if err != nil {
		return m, nil, fmt.Errorf("%w: no manifest, so it was never finished, or this is none: %w", ErrBackup, err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, nil, fmt.Errorf("%w: %s: %w", ErrBackup, backupManifest, err)
	}
	if m.Format > Format {
		return m, nil, fmt.Errorf("%w: it was made by a newer version (format %d, this one knows up to %d)", ErrBackup, m.Format, Format)
	}
	list, err := os.ReadFile(filepath.Join(dir, backupList))
	if err != nil {
		return m, nil, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	if store.Sum(list) != m.List {
		return m, nil, fmt.Errorf("%w: %s is not the one that the manifest names", ErrBackup, backupList)
	}
	want = make(map[store.Address]int64, m.Objects)
	for lines := bufio.NewScanner(bytes.NewReader(list)); lines.Scan(); {
		name, size, _ := strings.Cut(lines.Text(), " ")
		a, err := store.ParseAddress(name)
		n, err2 := strconv.ParseInt(size, 10, 64)
		if err := errors.Join(err, err2); err != nil {
			return m, nil, fmt.Errorf("%w: %s: %w", ErrBackup, backupList, err)
		}
		want[a] = n
	}
	return m, want, nil
}

// Restore verifies a backup and copies it to where a node will be started. The directory must not be there, or be empty.
// What is under way is to.partial, renamed when all of it is synced, so an interrupted restore leaves nothing that starts.
func Restore(ctx context.Context, dir, to string, progress func(bytes int64)) (m store.Manifest, err error) {
	if err := Vacant(to); err != nil {
		return m, err
	}
	if m, err = Verify(ctx, dir, progress); err != nil {
		return m, err
	}
	partial := strings.TrimRight(to, "/") + ".partial"
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return m, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	if err := os.Mkdir(partial, 0o700); err != nil {
		return m, fmt.Errorf("%w: %w (left by a restore that was interrupted? remove it)", ErrBackup, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(partial)) // made by this call
		}
	}()
	if err := copyFiles(ctx, filepath.Join(dir, backupData), partial); err != nil {
		return m, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) { // an empty directory
		return m, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	if err := os.Rename(partial, to); err != nil {
		return m, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	return m, syncDirs(to, filepath.Dir(to))
}

// Vacant says whether a directory may be restored to. Errors: ErrBackup.
func Vacant(dir string) error {
	names, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w", ErrBackup, err)
	case len(names) > 0:
		return fmt.Errorf("%w: %s is not empty, and nothing is overwritten; name another directory, or move this one away", ErrBackup, dir)
	}
	return nil
}

// copyFiles copies the files of a flat directory, synced.
func copyFiles(ctx context.Context, from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !e.Type().IsRegular() {
			return fmt.Errorf("%s is no regular file", e.Name())
		}
		if err := copyFile(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return syncDirs(to)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
