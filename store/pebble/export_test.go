package pebble

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// Payloads counts the groups that are kept, of objects or not.
func (s *Store) Payloads(t *testing.T) (n int) {
	t.Helper()
	err := s.scan(context.Background(), []byte{prefixChunk}, []byte{prefixChunk + 1}, func(_, _ []byte) bool { n++; return true })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// SetFormat writes another format number.
func (s *Store) SetFormat(t *testing.T, n int) {
	t.Helper()
	b, _ := json.Marshal(formatRecord{Format: n})
	if err := s.cur.Load().db.Set(keyFormat, b, pebble.Sync); err != nil {
		t.Fatal(err)
	}
}

// LeftBy is how many handles did not close.
func (s *Store) LeftBy() int {
	s.sums.Lock()
	defer s.sums.Unlock()
	return s.leftBy
}

// Occupied is how many bytes the engine's files have.
func (s *Store) Occupied(t testing.TB) (n int64) {
	t.Helper()
	names, err := s.fs.List(s.opt.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if st, err := s.fs.Stat(s.fs.PathJoin(s.opt.Dir, name)); err == nil {
			n += st.Size()
		}
	}
	return n
}
