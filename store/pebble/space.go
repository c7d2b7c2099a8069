package pebble

import "micronode/store"

// The reserve is what is kept free for the log, deletions and compactions, so that a full disk stays a refusal and never
// becomes a failure: 64 MiB, or an eighth of a smaller disk.
const (
	reserveBytes = 64 << 20
	reserveShare = 8
)

// lookAfter is after how many bytes the committer looks by itself: a fraction of the reserve that the smallest disk leaves.
const lookAfter = 1 << 20

// Look asks the file system how much room there is. The owner calls it now and then: a full disk takes writes again by the
// first call that finds room.
func (s *Store) Look() store.Space {
	u, err := s.fs.GetDiskUsage(s.opt.Dir)
	if err != nil { // not every file system tells: then only a failed write does
		s.full.Store(false)
		return store.Space{Free: -1}
	}
	r := store.Space{Free: int64(min(u.AvailBytes, 1<<62)), Reserve: min(reserveBytes, int64(min(u.TotalBytes, 1<<62))/reserveShare)}
	need := r.Reserve
	if s.full.Load() {
		need += need / 4
	}
	r.Full = r.Free < need
	s.full.Store(r.Full)
	return r
}
