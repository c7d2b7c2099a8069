package httpapi_test

import (
	"context"
	"io"

	"micronode/store"
)

// failing is a store that answers everything with one error.
type failing struct{ err error }

func (f failing) Put(context.Context, io.Reader, store.PutOptions) (store.Info, bool, error) {
	return store.Info{}, false, f.err
}
func (f failing) Open(context.Context, store.Address) (store.Blob, error) { return nil, f.err }
func (f failing) Delete(context.Context, store.Address) error             { return f.err }

// panicking is a store with a bug.
type panicking struct{ store.Store }

func (panicking) Open(context.Context, store.Address) (store.Blob, error) { panic("bug") }
func (panicking) Put(context.Context, io.Reader, store.PutOptions) (store.Info, bool, error) {
	panic("bug")
}

// holding is a store whose Open waits until it is let go, and whose Put of
// five bytes does so once it has stored them.
type holding struct {
	store.Store
	entered chan struct{}
	release chan struct{}
}

func newHolding(s store.Store) *holding {
	return &holding{s, make(chan struct{}, 1024), make(chan struct{})}
}

func (h *holding) Open(ctx context.Context, a store.Address) (store.Blob, error) {
	h.entered <- struct{}{}
	select {
	case <-h.release:
		return h.Store.Open(ctx, a)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (h *holding) Put(ctx context.Context, src io.Reader, opt store.PutOptions) (store.Info, bool, error) {
	info, created, err := h.Store.Put(ctx, src, opt)
	if err != nil || opt.Size != 5 {
		return info, created, err
	}
	h.entered <- struct{}{}
	select {
	case <-h.release:
		return info, created, nil
	case <-ctx.Done():
		return info, created, ctx.Err()
	}
}
