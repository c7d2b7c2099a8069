package pebble

// The reserve is what is kept free for the log, deletions and compactions, so that a full disk stays a refusal and never
// becomes a failure: 64 MiB, or an eighth of a smaller disk.
const (
	reserveBytes = 64 << 20
	reserveShare = 8
)

// Space is how much room the disk has.
type Space struct {
	Full    bool  // writes are refused
	Free    int64 // bytes
	Reserve int64 // bytes that are left free; writing begins again a quarter above
}

// Look asks the file system how much room there is. The owner calls it now and then: a full disk takes writes again by the
// first call that finds room.
func (s *Store) Look() Space {
	u, err := s.fs.GetDiskUsage(s.opt.Dir)
	if err != nil { // not every file system tells: then only a failed write does
		s.full.Store(false)
		return Space{Free: -1}
	}
	r := Space{Free: int64(min(u.AvailBytes, 1<<62)), Reserve: min(reserveBytes, int64(min(u.TotalBytes, 1<<62))/reserveShare)}
	need := r.Reserve
	if s.full.Load() {
		need += need / 4
	}
	r.Full = r.Free < need
	s.full.Store(r.Full)
	return r
}
