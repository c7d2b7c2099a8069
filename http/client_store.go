package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"micronode/store"
)

// maxPinned is the largest object that a RemoteStore opens, in bytes: the
// default of limits.max_object_bytes (contract §2).
const maxPinned = 64 << 20

// RemoteStore is a node seen as a store.Store and store.Lister. An open Blob
// holds a verified copy of the whole object, up to 64 MiB, since the wire has
// no other way to pin one: to copy objects, [Client.Get] is cheaper.
type RemoteStore struct{ c *Client }

var (
	_ store.Store  = RemoteStore{}
	_ store.Lister = RemoteStore{}
)

// Store returns the node as a store.Store.
func (c *Client) Store() RemoteStore { return RemoteStore{c} }

// Put implements store.Store; see [Client.Put].
func (s RemoteStore) Put(ctx context.Context, src io.Reader, opt store.PutOptions) (store.Info, bool, error) {
	stored, created, err := s.c.Put(ctx, src, opt)
	if err != nil {
		return store.Info{}, false, err
	}
	addr, err := store.ParseAddress(stored.Address)
	if err != nil {
		return store.Info{}, false, err
	}
	info := store.Info{Address: addr, Size: stored.Size}
	if opt.TTL == 0 && created {
		return info, true, nil
	}
	info, err = s.c.Head(ctx, addr) // the expiry that holds now
	return info, created, err
}

// Open implements store.Store.
func (s RemoteStore) Open(ctx context.Context, a store.Address) (store.Blob, error) {
	info, err := s.c.Head(ctx, a)
	if err != nil {
		return nil, err
	}
	if info.Size > maxPinned {
		return nil, fmt.Errorf("%w: %d bytes, at most %d can be opened", store.ErrTooLarge, info.Size, int64(maxPinned))
	}
	var held bytes.Buffer
	held.Grow(int(info.Size))
	if _, err := s.c.Get(ctx, a, &held, nil); err != nil {
		return nil, err
	}
	return &remoteBlob{info: info, held: held.Bytes()}, nil
}

// Delete implements store.Store.
func (s RemoteStore) Delete(ctx context.Context, a store.Address) error { return s.c.Delete(ctx, a) }

// List implements store.Lister.
func (s RemoteStore) List(ctx context.Context, after store.Address, limit int) ([]store.Info, error) {
	if limit < 1 || limit > store.MaxPage {
		limit = store.MaxPage
	}
	cursor := ""
	if after != (store.Address{}) {
		cursor = after.String()
	}
	page, err := s.c.ListPage(ctx, cursor, limit)
	if err != nil {
		return nil, err
	}
	infos := make([]store.Info, 0, len(page.Objects))
	for _, o := range page.Objects {
		addr, err := store.ParseAddress(o.Address)
		if err != nil {
			return nil, err
		}
		info := store.Info{Address: addr, Size: o.Size}
		if o.Expires != nil {
			info.Expires = *o.Expires
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// remoteBlob is a copy of an object, verified when it was made.
type remoteBlob struct {
	info store.Info
	held []byte
}

func (b *remoteBlob) Info() store.Info { return b.info }

// WriteRange implements store.Blob.
func (b *remoteBlob) WriteRange(ctx context.Context, w io.Writer, off, n int64) (written int64, err error) {
	if size := int64(len(b.held)); off < 0 || n < 0 || off > size || n > size-off {
		return 0, fmt.Errorf("range of %d bytes at %d lies outside an object of %d bytes", n, off, size)
	}
	for rest := b.held[off : off+n]; len(rest) > 0; {
		if err := ctx.Err(); err != nil {
			return written, err
		}
		part := rest[:min(len(rest), store.GroupSize)]
		k, err := w.Write(part)
		written += int64(k)
		if err == nil && k < len(part) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return written, err
		}
		rest = rest[len(part):]
	}
	return written, ctx.Err()
}

func (b *remoteBlob) Close() error {
	b.held = nil
	return nil
}
