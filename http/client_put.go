package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"micronode/store"
)

// errSpent says that a source cannot be read a second time.
var errSpent = errors.New("the source cannot be read again")

// Put stores what src holds, from where it stands to its end. created is false
// when the node had the bytes already. A body of known length up to 1 MiB is
// sent with it, any other as a stream. The bytes are hashed on their way out,
// and an answer with another address is store.ErrMismatch.
//
// A put may always be repeated; the client does so (see [Retry]) when src is an
// io.Seeker or nothing of it has been read yet. Then src is not used any more
// when Put returns; else one Read may still be under way.
//
// Errors of src, and what [store.PutOptions] rules out on this side
// (io.ErrUnexpectedEOF, store.ErrTooLarge), come back as they are.
func (c *Client) Put(ctx context.Context, src io.Reader, opt store.PutOptions) (stored Stored, created bool, err error) {
	if opt.TTL < 0 {
		return Stored{}, false, errors.New("negative TTL")
	}
	from := &source{src: src, opt: opt, ended: func() error { return context.Cause(ctx) }}
	if err := from.mark(); err != nil {
		return Stored{}, false, err
	}
	resp, err := c.do(ctx, wireCall{
		method: http.MethodPost, path: "/put", header: putHeader(opt), repeat: true, body: from.open, spent: from.spent,
	})
	if fault := from.end(err == nil); fault != nil {
		if resp != nil {
			_ = resp.Body.Close()
		}
		return Stored{}, false, fault
	}
	if err != nil {
		return Stored{}, false, err
	}
	created = resp.StatusCode == http.StatusCreated
	if err := readJSON(ctx, resp, &stored); err != nil {
		return Stored{}, false, err
	}
	return stored, created, from.confirm(stored)
}

func putHeader(opt store.PutOptions) http.Header {
	h := http.Header{"Content-Type": {TypeOctets}}
	if opt.Expect != nil {
		h.Set("X-Content-B3", opt.Expect.String())
	}
	if opt.TTL > 0 {
		h.Set("X-Ron-Ttl", opt.TTL.String())
	}
	if opt.Size < 0 || opt.Size > expectAbove {
		h.Set("Expect", "100-continue") // a refusal then costs no body
	}
	return h
}

// source gives out the body of each attempt of one put.
type source struct {
	src   io.Reader
	opt   store.PutOptions
	ended func() error // why the call is over, or nil
	start int64
	seeks bool
	last  *upload
}

// mark remembers where a seekable source stands.
func (s *source) mark() error {
	seeker, ok := s.src.(io.Seeker)
	if !ok {
		return nil
	}
	at, err := seeker.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil // a pipe behind an *os.File
	}
	s.start, s.seeks = at, true
	return nil
}

// open returns the body of the next attempt.
func (s *source) open() (io.ReadCloser, int64, error) {
	if s.last != nil && s.last.begun.Load() {
		s.last.settle()
		if _, err := s.src.(io.Seeker).Seek(s.start, io.SeekStart); err != nil {
			return nil, 0, err
		}
	}
	s.last = &upload{src: s.src, opt: s.opt, ended: s.ended, turn: make(chan struct{}, 1)}
	if s.opt.Size == 0 { // net/http takes a body of length 0 for one of unknown length
		if _, err := s.last.Read(make([]byte, 1)); err != io.EOF {
			return nil, 0, err
		}
		return http.NoBody, 0, nil
	}
	if s.opt.Size > maxDeclaredBody {
		return s.last, -1, nil
	}
	return s.last, s.opt.Size, nil
}

// spent tells that there cannot be another attempt.
func (s *source) spent() bool {
	return s.last != nil && s.last.begun.Load() && (!s.seeks || s.last.fault() != nil)
}

// end waits until the transport has let go of the source, where that cannot
// take long, and returns what the source itself did wrong.
func (s *source) end(ok bool) error {
	if s.last == nil {
		return nil
	}
	if ok || s.seeks {
		s.last.settle()
	}
	s.last.closed.Store(true)
	return s.last.fault()
}

// confirm compares the node's answer with what was sent.
func (s *source) confirm(stored Stored) error {
	sum := s.last.hash.Sum()
	if stored.Address != sum.String() || stored.Size != s.last.n {
		return fmt.Errorf("%w: sent %d bytes with address %v, the node answers %d bytes with address %.80q",
			store.ErrMismatch, s.last.n, sum, stored.Size, stored.Address)
	}
	return nil
}

// upload is the body of one attempt. The transport reads and closes it from
// goroutines of its own, maybe after the answer has come; turn lets one Read
// through at a time and tells settle that none is under way.
type upload struct {
	src    io.Reader
	opt    store.PutOptions
	ended  func() error
	turn   chan struct{}
	begun  atomic.Bool
	closed atomic.Bool
	failed atomic.Pointer[error]
	n      int64 // n and hash belong to whoever has the turn
	hash   store.Hasher
}

// Read implements io.Reader. What is wrong, with the source or the call, shows
// before the last bytes go out, so that the node never gets a body that is whole
// by chance.
func (u *upload) Read(p []byte) (int, error) {
	u.turn <- struct{}{}
	defer func() { <-u.turn }()
	if u.closed.Load() {
		return 0, errSpent
	}
	u.begun.Store(true)
	n, err := u.src.Read(p)
	u.n += int64(n)
	_, _ = u.hash.Write(p[:n]) // never fails
	if err == nil && u.n == u.opt.Size {
		err = u.atEnd()
	}
	if fault := u.judge(err); fault != nil {
		u.failed.CompareAndSwap(nil, &fault)
		return 0, fault
	}
	return n, err
}

// atEnd reads on where the declared length is reached: io.EOF when all is well.
func (u *upload) atEnd() error {
	var more [1]byte
	for {
		n, err := u.src.Read(more[:])
		u.n += int64(n)
		if n > 0 || err != nil {
			return err
		}
		if fault := u.ended(); fault != nil {
			return fault
		}
	}
}

// judge returns what is wrong with the source after a read that ended in err.
func (u *upload) judge(err error) error {
	switch size, most := u.opt.Size, u.opt.MaxSize; {
	case u.ended() != nil:
		return u.ended()
	case most > 0 && u.n > most:
		return fmt.Errorf("%w: more than %d bytes", store.ErrTooLarge, most)
	case size >= 0 && u.n > size:
		return fmt.Errorf("%w: more than the declared %d bytes", store.ErrTooLarge, size)
	case err == io.EOF && u.n < size:
		return fmt.Errorf("%w: %d of %d declared bytes", io.ErrUnexpectedEOF, u.n, size)
	case err != nil && err != io.EOF:
		return err
	}
	return nil
}

// Close implements io.Closer. It does not wait for a Read.
func (u *upload) Close() error {
	u.closed.Store(true)
	return nil
}

// settle waits for a Read under way; no other reaches the source.
func (u *upload) settle() {
	u.closed.Store(true)
	u.turn <- struct{}{}
	<-u.turn
}

func (u *upload) fault() error {
	if err := u.failed.Load(); err != nil {
		return *err
	}
	return nil
}
