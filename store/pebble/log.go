package pebble

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"

	"micronode/store"
)

// The engine refuses a log with damage in its middle. What follows takes the records that can be read out of the logs, puts
// the logs aside, and commits the records anew: what was in a damaged one is lost, and that is told.

// logBlock is the unit of the engine's log: after damage, reading begins again at the next one.
const logBlock = 32 << 10

// damagedLog reports whether a failure to open is about the log.
func damagedLog(why error) bool { return strings.Contains(why.Error(), "replaying WAL") }

// piece is a record of the logs, or a stretch of them that cannot be read.
type piece struct {
	repr []byte // nil: cannot be read
	sums totals // of a commit; commit 0: the record is none
}

// readLogs reads what can be read of all logs, in order.
func (s *Store) readLogs() (all []piece, paths []string, err error) {
	names, err := s.fs.List(s.opt.Dir)
	if err != nil {
		return nil, nil, err
	}
	var numbers []uint64
	for _, name := range names {
		if n, err := strconv.ParseUint(strings.TrimSuffix(name, ".log"), 10, 64); err == nil && ofLog(name) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		path := s.fs.PathJoin(s.opt.Dir, fmt.Sprintf("%06d.log", n))
		b, err := s.contents(path)
		if err != nil {
			all = append(all, piece{}) // a bad sector: as much as came
		}
		all, paths = append(all, readLog(b, n)...), append(paths, path)
	}
	return all, paths, nil
}

// readLog takes one log apart.
func readLog(b []byte, number uint64) (all []piece) {
	for from := 0; from < len(b); {
		r := newLogReader(record.NewReader, bytes.NewReader(b[from:]), number)
		at := from // behind the last record that could be read
		for {
			rec, err := r.Next()
			var repr []byte
			if err == nil {
				repr, err = io.ReadAll(rec)
			}
			if err == io.EOF {
				return all
			}
			if err != nil {
				break
			}
			if p := (piece{repr: repr}); p.read() {
				all = append(all, p)
			}
			at = from + int(r.Offset())
		}
		if !bytes.ContainsFunc(b[min(at, len(b)):], func(r rune) bool { return r != 0 }) {
			return all // room that was set aside and never written
		}
		if len(all) == 0 || all[len(all)-1].repr != nil {
			all = append(all, piece{})
		}
		from = (at/logBlock + 1) * logBlock
	}
	return all
}

// proven reports whether a stretch that cannot be read was ever promised: a record behind it says that a commit in it had
// been synced. Without one it is what a power cut leaves of what was being written, and the engine drops it.
func proven(all []piece) bool {
	var before uint64 // the latest commit ahead of the first stretch
	torn := false
	for _, p := range all {
		switch {
		case p.repr == nil:
			torn = true
		case p.sums.commit == 0:
		case torn && p.sums.acked > before:
			return true
		case !torn:
			before = p.sums.commit
		}
	}
	return false
}

// newLogReader names the engine's type of file numbers, which has no name outside of it.
func newLogReader[N ~uint64](make func(io.Reader, N) *record.Reader, r io.Reader, number uint64) *record.Reader {
	return make(r, N(number))
}

// replay commits the records that the tables do not have yet, and counts the stretches among them that are lost.
func (s *Store) replay(h *handle, all []piece) (replayed, lost int, err error) {
	begun, err := s.totals(h)
	if err != nil && !errors.Is(err, store.ErrNotFound) { // all may have been in the log still
		return 0, 0, err
	}
	missing, torn := false, 0
	for _, p := range all {
		switch {
		case p.repr == nil:
			torn++
			continue
		case p.sums.commit > begun.commit:
			missing = true
		case p.sums.commit > 0:
			missing, torn = false, 0 // the tables have what was in the stretches before
		}
		if !missing {
			continue // what belongs to no commit goes with the one before
		}
		b := h.db.NewBatch()
		if err := b.SetRepr(p.repr); err != nil {
			return replayed, lost, err
		}
		if err := h.apply(b, pebble.NoSync); err != nil {
			return replayed, lost, err
		}
		replayed++
	}
	return replayed, torn, s.recount(h)
}

// recount writes sums that fit what is there, and the format where it was lost.
func (s *Store) recount(h *handle) error {
	sums, err := s.count(h)
	if err != nil {
		return err
	}
	last, err := s.totals(h)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	sums.commit, sums.acked = last.commit, last.acked
	b := h.db.NewBatch()
	_ = b.Set(keyTotals, sums.encode(), nil)
	if _, err := h.get(keyFormat); errors.Is(err, store.ErrNotFound) {
		record, err := s.contents(s.fs.PathJoin(s.opt.Dir, formatFile))
		if err != nil {
			return err
		}
		_ = b.Set(keyFormat, record, nil)
	}
	return h.apply(b, pebble.Sync)
}

// read looks into a record: false: it is none.
func (p *piece) read() bool {
	if len(p.repr) < 12 {
		return false
	}
	var b pebble.Batch
	if b.SetRepr(p.repr) != nil {
		return false
	}
	for r := b.Reader(); ; {
		_, k, v, more, err := r.Next()
		if err != nil {
			return false
		}
		if !more {
			return true
		}
		if bytes.Equal(k, keyTotals) {
			if t, err := decodeTotals(v); err == nil {
				p.sums = t
			}
		}
	}
}

// openWithoutLogs opens a directory whose log is damaged.
func (s *Store) openWithoutLogs(h *handle, all []piece, paths []string) error {
	for _, path := range paths {
		if err := s.fs.Rename(path, path+asideSuffix); err != nil {
			return err
		}
	}
	db, err := pebble.Open(s.opt.Dir, h.engine(s.opt.CacheBytes, false))
	if err != nil {
		return err
	}
	h.db = db
	replayed, lost, err := s.replay(h, all)
	if err != nil {
		return err
	}
	s.rotten(fmt.Errorf("the log is damaged: %d of its records were read and kept, %d stretches could not be, and what was acknowledged in them is lost; it is kept aside as *.log%s: %w",
		replayed, lost, asideSuffix, store.ErrCorrupt))
	return nil
}
