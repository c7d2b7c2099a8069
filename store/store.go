package store

import (
	"context"
	"io"
	"time"
)

// MaxPage is the most that one List returns.
const MaxPage = 1000

// Info describes a stored object.
type Info struct {
	Address Address
	Size    int64     // bytes
	Expires time.Time // zero: kept until deleted
}

// PutOptions tells Put what is known about a body, and what it must satisfy. The zero value declares an empty body: set Size.
type PutOptions struct {
	Size    int64         // declared length in bytes; -1: unknown (a stream)
	MaxSize int64         // when > 0: a longer body is ErrTooLarge
	Expect  *Address      // when not nil: any other content is ErrMismatch
	TTL     time.Duration // 0: keep until deleted
	Heal    bool          // only replace a damaged copy, whose life stays as it is; ErrNotFound when there is none to replace or keep
}

// Store keeps immutable objects by address. All methods may be called concurrently.
type Store interface {
	// Put reads src to its end, hashing as it lands, and keeps the bytes. created is false when they were already there: then
	// nothing is kept twice, and of two lives the longer wins. A copy found damaged is replaced, with created true. Refused
	// are a body longer than MaxSize or Size (ErrTooLarge), a shorter one than Size (io.ErrUnexpectedEOF), other content than
	// Expect (ErrMismatch), lack of room (ErrFull), a negative TTL, and a cancelled ctx (checked between groups). Errors of
	// src stay matchable. Whatever is refused leaves nothing behind.
	Put(ctx context.Context, src io.Reader, opt PutOptions) (info Info, created bool, err error)
	// Open pins an object for reading, or says ErrNotFound. The caller closes the Blob.
	Open(ctx context.Context, a Address) (Blob, error)
	// Delete makes an object unknown at once, or says ErrNotFound. Blobs already open stay readable to their end.
	Delete(ctx context.Context, a Address) error
}

// Blob is a pinned, verified view of one object, for one goroutine at a time. Its bytes stay until Close.
type Blob interface {
	// Info describes the object as it was when opened, its expiry as it is now.
	Info() Info
	// WriteRange writes the bytes [off, off+n) to w and returns how many were written. Every group is verified before any of
	// its bytes reaches w: ErrCorrupt means that nothing of the bad group was written. ctx is checked before each group; a
	// range outside the object is an error, and writes nothing.
	WriteRange(ctx context.Context, w io.Writer, off, n int64) (int64, error)
	// Close gives the pin back. Call it exactly once.
	Close() error
}

// Lister is a Store that can enumerate.
type Lister interface {
	// List returns what is kept strictly after an address (the zero Address: from the start), in ascending order. A limit
	// outside 1..MaxPage means MaxPage. A page shorter than the limit is the last. An object that is there all the
	// while is listed exactly once; one that comes or goes meanwhile may be missed.
	List(ctx context.Context, after Address, limit int) ([]Info, error)
}

// Usage is how full a Store is.
type Usage struct {
	Objects  int64 // kept, expired ones included until they are swept
	Bytes    int64 // what counts against MaxBytes: payload, the tier's fixed cost per object, and streams under way
	MaxBytes int64 // the bound; Bytes never exceeds it
}

// Meter is a Store that knows how full it is.
type Meter interface {
	// Usage is cheap and never waits.
	Usage() Usage
}

// Sweeper is a Store whose expired objects are freed by its owner, now and then.
type Sweeper interface {
	// Sweep frees objects that have expired by now and returns how many. It does a bounded amount of work:
	// while it returns more than 0 there may be more to do.
	Sweep(now time.Time) (expired int)
}

// Space is how much room the disk under a durable Store has.
type Space struct {
	Full    bool  // writes are refused
	Free    int64 // bytes; -1: nobody can tell
	Reserve int64 // bytes that are left free
}

// Flipper is a Store that can damage itself, for fault injection only.
type Flipper interface {
	// FlipBit inverts one bit of a stored payload, counted from the lowest bit of the first byte, and leaves address and tree
	// as they were, so that reads opened from now on find ErrCorrupt. ErrNotFound, or an error for a bit outside the object.
	FlipBit(a Address, bit int64) error
}
