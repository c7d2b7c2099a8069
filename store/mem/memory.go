package mem

import (
	"sync/atomic"

	"micronode/store"
)

// FreeGroups is how many zeroed 64 KiB buffers are kept for reuse at most: 8 MiB of slack beside MaxBytes, which spare the
// page faults of fresh memory.
const FreeGroups = 128

// ledger counts charged bytes and never lets them pass max.
type ledger struct {
	used atomic.Int64
	max  int64
}

// take charges n bytes, all or none.
func (l *ledger) take(n int64) bool {
	for {
		used := l.used.Load()
		if n > l.max-used {
			return false
		}
		if l.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (l *ledger) give(n int64) { l.used.Add(-n) }

// fits says whether n bytes could be charged now.
func (l *ledger) fits(n int64) bool { return n <= l.max-l.used.Load() }

// buffers hands out memory for payloads and takes it back zeroed.
type buffers struct{ groups chan []byte }

func newBuffers() buffers { return buffers{groups: make(chan []byte, FreeGroups)} }

// get returns n zero bytes, n at most a group. Whole groups are reused.
func (b buffers) get(n int64) []byte {
	if n < store.GroupSize {
		return make([]byte, n)
	}
	select {
	case p := <-b.groups:
		return p
	default:
		return make([]byte, store.GroupSize)
	}
}

// put zeroes p, whose bytes past its length are zero already, and keeps it if it is a whole group and there is room.
func (b buffers) put(p []byte) {
	clear(p)
	if cap(p) != store.GroupSize {
		return
	}
	select {
	case b.groups <- p[:store.GroupSize]:
	default:
	}
}
