package mbox

import "sync/atomic"

// Budget is a bound that several shards share. It is safe for concurrent use.
// A nil Budget has no bound.
type Budget struct {
	max  int64
	used atomic.Int64
}

// NewBudget returns a budget of max units, all of them free.
func NewBudget(max int64) *Budget { return &Budget{max: max} }

// Take takes n units, or none when fewer than n are free.
func (b *Budget) Take(n int64) bool {
	if b == nil {
		return true
	}
	for {
		used := b.used.Load()
		if used+n > b.max {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// Give gives n units back.
func (b *Budget) Give(n int64) {
	if b != nil {
		b.used.Add(-n)
	}
}

// Used returns how many units are taken.
func (b *Budget) Used() int64 {
	if b == nil {
		return 0
	}
	return b.used.Load()
}

// Max returns the bound; 0 for a nil Budget, which has none.
func (b *Budget) Max() int64 {
	if b == nil {
		return 0
	}
	return b.max
}

// purse is one queue's part of a budget: it knows what the queue took, so that
// a rebuild can put a wrong sum right.
type purse struct {
	of   *Budget
	held int64
}

func (p *purse) take(n int64) bool {
	if !p.of.Take(n) {
		return false
	}
	p.held += n
	return true
}

func (p *purse) give(n int64) {
	p.held -= n
	p.of.Give(n)
}

// correct makes the purse hold exactly n, past the bound if it must be.
func (p *purse) correct(n int64) { p.give(p.held - n) }
