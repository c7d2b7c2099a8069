package store

import "time"

// Finding is what an inspection has seen of one object.
type Finding struct {
	Address Address
	Size    int64     // -1: its record cannot be read
	Err     error     // nil: every byte is what the address says; else ErrCorrupt, wrapped
	Found   time.Time // of damage: when it was seen first
	Detail  string    // of damage
}
