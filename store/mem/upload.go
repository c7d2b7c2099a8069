package mem

import (
	"context"
	"errors"
	"fmt"
	"io"

	"micronode/store"
)

const (
	// SmallBody is the longest body that, when its length is declared, is charged only once it is known to be new.
	SmallBody = 1 << 20
	// idleReads is how often in a row a source may return nothing before it is given up.
	idleReads = 100
)

var errBadRead = errors.New("source returned an impossible count")

// upload is a body on its way in: its groups so far, hashed, and what is charged for them.
type upload struct {
	store    *Store
	src      io.Reader
	opt      store.PutOptions
	groups   [][]byte
	reading  []byte // the buffer being filled
	total    int64
	charged  int64
	ended    bool // src said io.EOF
	hash     store.TreeHasher
	only     [1][]byte // room for groups while there is one
	overread [1]byte
}

func (s *Store) newUpload(src io.Reader, opt store.PutOptions) *upload {
	u := &upload{store: s, src: src, opt: opt}
	u.groups = u.only[:0]
	return u
}

func (u *upload) declared() bool { return u.opt.Size >= 0 }

// charges says whether groups are charged as they land.
func (u *upload) charges() bool { return !u.declared() || u.opt.Size > SmallBody }

// admit refuses before the first byte what cannot be stored whatever it is.
func (u *upload) admit() error {
	size := u.opt.Size
	switch {
	case u.opt.TTL < 0:
		return fmt.Errorf("time to live %v is negative", u.opt.TTL)
	case u.opt.TTL > 0 && u.store.now == nil:
		return errors.New("a time to live needs a clock, and this store was made without one")
	case !u.declared():
		return nil
	case u.opt.MaxSize > 0 && size > u.opt.MaxSize:
		return fmt.Errorf("%d bytes declared, at most %d allowed: %w", size, u.opt.MaxSize, store.ErrTooLarge)
	case size > u.store.ledger.max-ObjectOverhead:
		return fmt.Errorf("%d bytes declared, more than the whole store: %w", size, store.ErrFull)
	case u.charges():
		for !u.store.ledger.fits(size + ObjectOverhead) {
			if !u.store.reclaim() {
				return fmt.Errorf("%d bytes declared: %w", size, store.ErrFull)
			}
		}
	}
	return nil
}

// read takes src to its end, group by group.
func (u *upload) read(ctx context.Context) error {
	for !u.ended {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("after %d bytes: %w", u.total, err)
		}
		if u.declared() && u.total == u.opt.Size {
			return u.expectEnd()
		}
		if err := u.readGroup(); err != nil {
			return err
		}
	}
	if u.declared() && u.total < u.opt.Size {
		return fmt.Errorf("ended after %d of %d declared bytes: %w", u.total, u.opt.Size, io.ErrUnexpectedEOF)
	}
	return nil
}

// readGroup fills one buffer and, unless nothing came, hashes, charges and keeps it.
func (u *upload) readGroup() error {
	want := int64(store.GroupSize)
	if u.declared() {
		want = min(want, u.opt.Size-u.total)
	}
	u.reading = u.store.buffers.get(want)
	room := u.reading
	if left := u.opt.MaxSize - u.total; u.opt.MaxSize > 0 && left < int64(len(room)) {
		room = room[:left+1] // one byte more than allowed is enough to know
	}
	n, err := u.fill(room)
	u.total += int64(n)
	switch {
	case err != nil:
		return fmt.Errorf("source failed after %d bytes: %w", u.total, err)
	case u.opt.MaxSize > 0 && u.total > u.opt.MaxSize:
		return fmt.Errorf("more than %d bytes: %w", u.opt.MaxSize, store.ErrTooLarge)
	case n == 0:
		return nil
	}
	u.hash.Add(u.reading[:n])
	return u.keep(n)
}

// keep charges the n bytes just read and adds them to the groups, the short end of a stream in a buffer of its own size.
func (u *upload) keep(n int) error {
	if u.charges() {
		if err := u.store.charge(int64(n)); err != nil {
			return fmt.Errorf("after %d bytes: %w", u.total, err)
		}
		u.charged += int64(n)
	}
	if n == len(u.reading) {
		u.groups, u.reading = append(u.groups, u.reading), nil
		return nil
	}
	u.groups = append(u.groups, append(make([]byte, 0, n), u.reading[:n]...))
	u.giveBack()
	return nil
}

// expectEnd makes sure that a body ends where it was declared to.
func (u *upload) expectEnd() error {
	n, err := u.fill(u.overread[:])
	switch {
	case err != nil:
		return fmt.Errorf("source failed after %d bytes: %w", u.total, err)
	case n > 0:
		return fmt.Errorf("more than the %d declared bytes: %w", u.opt.Size, store.ErrTooLarge)
	}
	return nil
}

// fill reads until p is full or src ends. Unlike io.ReadFull it keeps apart a clean end and an io.ErrUnexpectedEOF of src,
// and lets no error pass that came with the last byte.
func (u *upload) fill(p []byte) (n int, err error) {
	for idle := 0; n < len(p) && !u.ended; {
		m, err := u.src.Read(p[n:])
		if m < 0 || m > len(p)-n {
			return n, errBadRead
		}
		n += m
		switch {
		case err == io.EOF:
			u.ended = true
		case err != nil:
			return n, err
		case m > 0:
			idle = 0
		default:
			if idle++; idle == idleReads {
				return n, io.ErrNoProgress
			}
		}
	}
	return n, nil
}

// giveBack returns the buffer being filled. All of it is zeroed: a reader may use all of what it is lent.
func (u *upload) giveBack() {
	u.store.buffers.put(u.reading)
	u.reading = nil
}

// drop zeroes and gives back whatever the upload still holds.
func (u *upload) drop() {
	if u.reading != nil {
		u.giveBack()
	}
	for _, g := range u.groups {
		u.store.buffers.put(g)
	}
	u.store.ledger.give(u.charged)
	*u = upload{}
}
