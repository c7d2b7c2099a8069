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
)

// upload is a body on its way in: its groups so far, hashed, and what is charged for them.
type upload struct {
	store   *Store
	body    store.Body
	opt     store.PutOptions
	groups  [][]byte
	reading []byte // the buffer being filled
	charged int64
	gone    bool // there was nothing to heal
	hash    store.TreeHasher
	only    [1][]byte // room for groups while there is one
}

func (s *Store) newUpload(src io.Reader, opt store.PutOptions) *upload {
	u := &upload{store: s, body: store.NewBody(src, opt), opt: opt}
	u.groups = u.only[:0]
	return u
}

// charges says whether groups are charged as they land.
func (u *upload) charges() bool { return !u.body.Declared() || u.opt.Size > SmallBody }

// admit refuses before the first byte what cannot be stored whatever it is.
func (u *upload) admit() error {
	size := u.opt.Size
	switch {
	case u.opt.TTL < 0:
		return fmt.Errorf("time to live %v is negative", u.opt.TTL)
	case u.opt.TTL > 0 && u.store.now == nil:
		return errors.New("a time to live needs a clock, and this store was made without one")
	case !u.body.Declared():
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

// read takes the body to its end, group by group.
func (u *upload) read(ctx context.Context) error {
	for u.body.Room() > 0 {
		if err := u.readGroup(ctx); err != nil {
			return err
		}
	}
	return u.body.End(ctx)
}

// readGroup fills one buffer and, unless nothing came, hashes, charges and keeps it.
func (u *upload) readGroup(ctx context.Context) error {
	u.reading = u.store.buffers.get(u.body.Room())
	n, err := u.body.Next(ctx, u.reading)
	if n == 0 || err != nil {
		return err
	}
	u.hash.Add(u.reading[:n])
	return u.keep(n)
}

// keep charges the n bytes just read and adds them to the groups, the short end of a stream in a buffer of its own size.
func (u *upload) keep(n int) error {
	if u.charges() {
		if err := u.store.charge(int64(n)); err != nil {
			return fmt.Errorf("after %d bytes: %w", u.body.Total(), err)
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
