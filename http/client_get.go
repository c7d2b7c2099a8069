package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"micronode/store"
)

// Span is a part of an object, in bytes. A negative Off counts from the end
// (-100: the last 100 bytes, N is not used); a negative N means to the end.
type Span struct{ Off, N int64 }

// Get writes an object, or a span of it, to w and returns how many bytes. A
// whole object is hashed on its way: what does not have the address a is
// store.ErrCorrupt, though it has been written then. A span is verified by the
// node alone. A read that breaks off is taken up where it stopped (see [Retry]).
// Errors of w come back as they are.
func (c *Client) Get(ctx context.Context, a store.Address, w io.Writer, span *Span) (int64, error) {
	d := &download{c: c, a: a, w: w, end: -1}
	if span != nil {
		d.span, d.ranged = *span, true
	}
	again := c.retry.begin()
	for {
		err := d.attempt(ctx)
		if err == nil {
			return d.n, d.verify()
		}
		if d.writeErr != nil {
			return d.n, d.writeErr
		}
		if !again.after(ctx, err, true) {
			return d.n, err
		}
	}
}

// download is one Get over all its attempts.
type download struct {
	c        *Client
	a        store.Address
	w        io.Writer
	span     Span
	ranged   bool
	started  bool  // an answer has come: first and end are known
	first    int64 // of the span, absolute
	end      int64 // one past the last byte wanted
	n        int64 // written
	hash     store.Hasher
	writeErr error
}

// attempt asks for what is missing and copies it.
func (d *download) attempt(ctx context.Context) error {
	if d.started && d.first+d.n >= d.end {
		return nil
	}
	cl := wireCall{method: http.MethodGet, path: "/o/" + d.a.String(), once: true}
	if value := d.rangeHeader(); value != "" {
		cl.header = http.Header{"Range": {value}}
	}
	ranged := cl.header != nil
	if d.c.stored {
		if cl.header == nil {
			cl.header = http.Header{}
		}
		cl.header.Set("Cache-Control", onlyStored)
	}
	resp, err := d.c.do(ctx, cl)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := d.accept(resp, ranged); err != nil {
		return err
	}
	n, err := io.Copy(writerOf(d), resp.Body)
	d.n += n
	switch {
	case d.writeErr != nil:
		return d.writeErr
	case err != nil:
		return wireError(ctx, err)
	case d.first+d.n != d.end:
		return fmt.Errorf("%w: %d of %d bytes came", ErrConnLost, d.n, d.end-d.first)
	}
	return nil
}

// rangeHeader is the Range of the next attempt: what was asked for at first,
// what is left of it later.
func (d *download) rangeHeader() string {
	switch {
	case d.started && (d.ranged || d.n > 0):
		return fmt.Sprintf("bytes=%d-%d", d.first+d.n, d.end-1)
	case !d.ranged:
		return ""
	case d.span.Off < 0:
		return fmt.Sprintf("bytes=%d", d.span.Off)
	case d.span.N < 0:
		return fmt.Sprintf("bytes=%d-", d.span.Off)
	}
	return fmt.Sprintf("bytes=%d-%d", d.span.Off, d.span.Off+d.span.N-1)
}

// accept learns where an answer lies in the object and refuses one that is not
// what was asked for.
func (d *download) accept(resp *http.Response, ranged bool) error {
	if !ranged {
		if resp.StatusCode != http.StatusOK || resp.ContentLength < 0 {
			return errors.New("the answer to a whole read is not whole (is this a micronode?)")
		}
		d.started, d.end = true, resp.ContentLength
		return nil
	}
	first, end, err := parseContentRange(resp.Header.Get("Content-Range"))
	if resp.StatusCode != http.StatusPartialContent || err != nil {
		return errors.New("the answer to a range is not one (is this a micronode?)")
	}
	if !d.started {
		d.started, d.first, d.end = true, first, end
		return nil
	}
	if first != d.first+d.n || end != d.end {
		return errors.New("the answer to a range is another range")
	}
	return nil
}

// parseContentRange reads "bytes first-last/size" (RFC 9110 §14.4).
func parseContentRange(s string) (first, end int64, err error) {
	var last, size int64
	if _, err := fmt.Sscanf(s, "bytes %d-%d/%d", &first, &last, &size); err != nil {
		return 0, 0, err
	}
	if first < 0 || last < first || last >= size {
		return 0, 0, errors.New("bad Content-Range")
	}
	return first, last + 1, nil
}

// verify checks a whole read against the address.
func (d *download) verify() error {
	if d.ranged {
		return nil
	}
	if sum := d.hash.Sum(); sum != d.a {
		return fmt.Errorf("%w: what came has the address %v", store.ErrCorrupt, sum)
	}
	return nil
}

// sink writes to the caller's writer, hashing, and keeps its errors apart from
// those of the wire.
type sink struct{ d *download }

func writerOf(d *download) io.Writer { return sink{d} }

// Write implements io.Writer.
func (s sink) Write(p []byte) (int, error) {
	n, err := s.d.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		s.d.writeErr = err
	}
	if !s.d.ranged {
		_, _ = s.d.hash.Write(p[:n]) // never fails
	}
	return n, err
}

// Head describes an object, or says store.ErrNotFound.
func (c *Client) Head(ctx context.Context, a store.Address) (store.Info, error) {
	resp, err := c.do(ctx, wireCall{method: http.MethodHead, path: "/o/" + a.String(), repeat: true})
	if err != nil {
		return store.Info{}, err
	}
	_ = resp.Body.Close()
	if resp.ContentLength < 0 {
		return store.Info{}, errors.New("the answer says no length (is this a micronode?)")
	}
	info := store.Info{Address: a, Size: resp.ContentLength}
	if text := resp.Header.Get("X-Ron-Expires"); text != "" {
		if info.Expires, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return store.Info{}, fmt.Errorf("header X-Ron-Expires: %w", err)
		}
	}
	return info, nil
}

// Delete makes an object unknown, or says store.ErrNotFound: also when a first
// attempt did it and its answer was lost.
func (c *Client) Delete(ctx context.Context, a store.Address) error {
	resp, err := c.do(ctx, wireCall{method: http.MethodDelete, path: "/o/" + a.String(), repeat: true})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
