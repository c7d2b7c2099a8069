package mem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"micronode/store"
)

var errClosed = errors.New("blob is closed")

// blob is a pinned object. It reads the bytes as they were when it was opened, whatever is deleted, healed or damaged later.
type blob struct {
	store   *Store
	obj     *object
	tree    store.Tree
	trusted bool // tree is made
	closed  atomic.Bool
}

func (b *blob) Info() store.Info { return b.obj.info() }

// WriteRange verifies each touched group on every call, and the tree on the first; a group is one Write.
func (b *blob) WriteRange(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	size := b.obj.size()
	switch {
	case b.closed.Load():
		return 0, fmt.Errorf("read %v: %w", b.obj.addr, errClosed)
	case off < 0 || n < 0 || off > size || n > size-off:
		return 0, fmt.Errorf("read %v: %d bytes from %d are outside the object of %d bytes", b.obj.addr, n, off, size)
	}
	var written int64
	for written < n {
		m, err := b.writeGroup(ctx, w, off+written, n-written)
		written += m
		if err != nil {
			return written, fmt.Errorf("read %v: %w", b.obj.addr, err)
		}
	}
	return written, nil
}

// writeGroup writes what [off, off+n) has in the group of off.
func (b *blob) writeGroup(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if !b.trusted {
		tree, err := b.obj.tree()
		if err != nil {
			return 0, err
		}
		b.tree, b.trusted = tree, true
	}
	i := off / store.GroupSize
	group := b.obj.group(i)
	if err := b.tree.Verify(i, group); err != nil {
		return 0, err
	}
	part := group[off%store.GroupSize:]
	part = part[:min(int64(len(part)), n)]
	m, err := w.Write(part)
	if err == nil && m != len(part) {
		err = io.ErrShortWrite
	}
	return int64(m), err
}

// Close unpins; calls after the first do nothing.
func (b *blob) Close() error {
	if !b.closed.Swap(true) {
		b.store.unpin(b.obj)
	}
	return nil
}
