package pebble

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"micronode/store"
)

// What the engine keeps once and cannot do without is kept twice here: every manifest has a mirror beside it, and the format
// has a file. Files that the engine writes anew at every start are put aside when it cannot read them.
const (
	mirrorSuffix = ".mirror"
	asideSuffix  = ".damaged"
	salvageTries = 4
	formatFile   = "micronode.format"
)

func ofManifest(fs vfs.FS, name string) bool {
	base := fs.PathBase(name)
	return strings.HasPrefix(base, "MANIFEST-") && !strings.Contains(base, ".")
}

// mirrored writes a second copy of a manifest; the copy's failures are the manifest's.
type mirrored struct {
	vfs.File
	copy vfs.File
}

// Write implements vfs.File.
func (m mirrored) Write(p []byte) (int, error) {
	if _, err := m.copy.Write(p); err != nil {
		return 0, err
	}
	return m.File.Write(p)
}

// Sync implements vfs.File.
func (m mirrored) Sync() error { return errors.Join(m.copy.Sync(), m.File.Sync()) }

// SyncData implements vfs.File.
func (m mirrored) SyncData() error { return errors.Join(m.copy.SyncData(), m.File.SyncData()) }

// SyncTo implements vfs.File.
func (m mirrored) SyncTo(n int64) (bool, error) { return m.File.SyncTo(n) }

// Close implements vfs.File.
func (m mirrored) Close() error { return errors.Join(m.copy.Close(), m.File.Close()) }

// salvage mends what can be mended of a directory that does not open, and reports whether it is worth another try.
func (s *Store) salvage(why error) (mended bool) {
	names, err := s.fs.List(s.opt.Dir)
	if err != nil || s.opt.ReadOnly {
		return false
	}
	marked := false
	newest := ""
	for _, name := range names {
		path := s.fs.PathJoin(s.opt.Dir, name)
		manifest := strings.TrimSuffix(name, mirrorSuffix)
		marked = marked || strings.HasPrefix(name, "marker.manifest.")
		switch {
		case strings.HasPrefix(name, "OPTIONS-") && !strings.HasSuffix(name, asideSuffix):
			if s.fs.Rename(path, path+asideSuffix) == nil {
				mended = true
			}
		case name != manifest && ofManifest(s.fs, manifest):
			newest = max(newest, manifest)
			if s.unmirror(strings.TrimSuffix(path, mirrorSuffix)) {
				s.rotten(fmt.Errorf("%s was damaged and is put right from its mirror: %w", manifest, why))
				mended = true
			}
		}
	}
	if !marked && newest != "" {
		mended = s.write(s.fs.PathJoin(s.opt.Dir, "marker.manifest.000001."+newest), nil) == nil || mended
	}
	return s.patch(why.Error()) || mended
}

// The engine refuses a directory in which a table is missing or has another length than it remembers. Filled up with zeros
// it opens, and what the table held is refused block by block, until it is put again.
var (
	wrongLength = regexp.MustCompile(`object size mismatch \(([^)]*)\): \d+ \(disk\) != (\d+) \(MANIFEST\)`)
	missingFile = regexp.MustCompile(`L\d+: (\d+): file \d+ \(type (?:sst|sstable|\w+)\) unknown`)
)

func (s *Store) patch(why string) (patched bool) {
	for _, m := range wrongLength.FindAllStringSubmatch(why, -1) {
		want, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil {
			continue
		}
		path := s.fs.PathJoin(s.opt.Dir, s.fs.PathBase(m[1]))
		have, err := s.contents(path)
		if err != nil {
			continue
		}
		whole := make([]byte, want)
		copy(whole, have)
		if s.write(path, whole) == nil {
			s.rotten(fmt.Errorf("%s was cut short and is filled up, what it held is refused: %w", s.fs.PathBase(path), store.ErrCorrupt))
			patched = true
		}
	}
	for _, m := range missingFile.FindAllStringSubmatch(why, -1) {
		if s.write(s.fs.PathJoin(s.opt.Dir, m[1]+".sst"), nil) == nil {
			s.rotten(fmt.Errorf("%s.sst is missing, what it held is refused: %w", m[1], store.ErrCorrupt))
			patched = true
		}
	}
	return patched
}

// unmirror puts a mirror in the place of a manifest that differs from it.
func (s *Store) unmirror(path string) bool {
	good, err := s.contents(path + mirrorSuffix)
	if err != nil || len(good) == 0 {
		return false
	}
	bad, err := s.contents(path)
	if err == nil && bytes.Equal(good, bad) {
		return false
	}
	return s.write(path, good) == nil
}

func (s *Store) contents(path string) ([]byte, error) {
	f, err := s.fs.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	return b, errors.Join(err, f.Close())
}

// write replaces a file, synced.
func (s *Store) write(path string, b []byte) error {
	fresh := path + ".new"
	f, err := s.fs.Create(fresh, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if s.opt.FS == nil {
		if err := os.Chmod(fresh, 0o600); err != nil {
			return err
		}
	}
	if err := s.fs.Rename(fresh, path); err != nil {
		return err
	}
	d, err := s.fs.OpenDir(s.opt.Dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// format reads who wrote the directory: from the engine, else from the file.
func (s *Store) format(h *handle) (f formatRecord, err error) {
	b, err := h.get(keyFormat)
	if errors.Is(err, store.ErrCorrupt) {
		s.rotten(fmt.Errorf("the record of the format: %w", err))
		b, err = s.contents(s.fs.PathJoin(s.opt.Dir, formatFile))
	}
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(b, &f)
}

// keepFormat makes sure that the file says what the engine says.
func (s *Store) keepFormat(f formatRecord) error {
	want, err := json.Marshal(f)
	if err != nil || s.opt.ReadOnly {
		return err
	}
	path := s.fs.PathJoin(s.opt.Dir, formatFile)
	if have, err := s.contents(path); err == nil && bytes.Equal(have, want) {
		return nil
	}
	return s.write(path, want)
}

// count sums the objects up anew: only where the sums themselves are damaged. What cannot be read is not counted.
func (s *Store) count(h *handle) (t totals, err error) {
	after := store.Address{}
	for {
		from := objectKey(after)
		if after != (store.Address{}) {
			from = append(from, 0)
		}
		err := h.scan(context.Background(), from, []byte{prefixObject + 1}, func(k, v []byte) bool {
			if len(k) == 33 {
				after = store.Address(k[1:])
				t.objects++
				if m, err := decodeMeta(after, v); err == nil {
					t.bytes += m.charge()
				}
			}
			return true
		})
		if !errors.Is(err, store.ErrCorrupt) {
			return t, err
		}
		var more bool
		if after, more = behind(context.Background(), h, after); !more {
			return t, nil
		}
	}
}

// marked makes sure that the engine does not take a directory in use for an empty one: it would, and would then delete what
// it does not know, where the files are gone that mark the manifest and the format.
func (s *Store) marked() error {
	names, err := s.fs.List(s.opt.Dir)
	if err != nil || s.opt.ReadOnly {
		return nil // Open tells
	}
	founded, manifest, format := false, false, false
	for _, name := range names {
		founded = founded || name == formatFile || strings.HasSuffix(name, ".sst")
		manifest = manifest || strings.HasPrefix(name, "marker.manifest.")
		format = format || strings.HasPrefix(name, "marker.format-version.")
	}
	if !founded || manifest && format {
		return nil
	}
	if !format {
		name := fmt.Sprintf("marker.format-version.000001.%03d", engineFormat)
		if err := s.write(s.fs.PathJoin(s.opt.Dir, name), nil); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrOpen, s.opt.Dir, err)
		}
	}
	if !manifest && !s.salvage(errors.New("the manifest's marker is missing")) {
		return fmt.Errorf("%w: %s: no manifest is left; restore a backup", ErrOpen, s.opt.Dir)
	}
	return nil
}
