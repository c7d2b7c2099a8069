package oap

import (
	"slices"
)

// ended takes an exchange out whose answer is complete.
func (s *session) ended(x *Exchange) {
	s.mu.Lock()
	if s.open[x.corr] == x {
		delete(s.open, x.corr)
	}
	if !x.whole {
		s.expectLate(x.corr)
	}
	s.mu.Unlock()
}

// expectLate remembers that the rest of a request may still come; mu is held.
func (s *session) expectLate(corr uint64) {
	if slices.Contains(s.late, corr) {
		return
	}
	if len(s.late) == maxLate {
		s.late = s.late[:copy(s.late, s.late[1:])]
	}
	s.late = append(s.late, corr)
}

// isLate reports whether a frame belongs to a request that was answered before it
// ended; mu is held.
func (s *session) isLate(corr uint64, end bool) bool {
	for _, known := range s.late {
		if known == corr {
			if end {
				s.forgetLate(corr)
			}
			return true
		}
	}
	return false
}

func (s *session) forgetLate(corr uint64) {
	for i, known := range s.late {
		if known == corr {
			s.late = append(s.late[:i], s.late[i+1:]...)
			return
		}
	}
}
