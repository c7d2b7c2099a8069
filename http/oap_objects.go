package httpapi

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"micronode/store"
)

const (
	shapePut = `{"size":5,"obj":"b3:…"}`
	shapeObj = `{"obj":"b3:…"}`
	shapeGet = `{"obj":"b3:…","offset":0,"length":65536}`
)

// oapObject is what a verb says of an object.
type oapObject struct {
	addr   store.Address
	named  bool
	size   int64 // -1: not said
	off, n int64 // n -1: to the end
	part   bool  // off or n was said
}

// readObject reads a verb about objects; must: it has to name one.
func readObject(known string, must bool) func(r *reader) (judged[oapObject], error) {
	return func(r *reader) (judged[oapObject], error) {
		o := oapObject{size: -1, n: -1}
		takes := strings.Fields(known)
		err := r.object(known, func(name string) (_ bool, err error) {
			if !slices.Contains(takes, name) {
				return false, nil
			}
			switch name {
			case "obj":
				var text string
				if text, err = r.text(name); err == nil {
					o.named = true
					if o.addr, err = store.ParseAddress(text); err != nil {
						r.flaw(store.ErrBadAddress, "obj is not an address: it is b3: and 64 lowercase hex digits.")
						err = nil
					}
				}
			case "size":
				o.size, err = r.whole(name, 0, math.MaxInt64)
			case "offset":
				o.part = true
				o.off, err = r.whole(name, 0, math.MaxInt64)
			case "length":
				o.part = true
				o.n, err = r.whole(name, 1, math.MaxInt64)
			}
			return true, err
		})
		return judge(r, &o, func() error {
			if must && !o.named {
				return refuse(ErrBadRequest, "obj is missing: the address of the object.")
			}
			return nil
		}), err
	}
}

// smallBody is the longest body of declared size that the store charges only when it
// is whole (mem.SmallBody).
const smallBody = 1 << 20

// oapPut stores the DATA of an exchange (contract §2, §7).
func (s *server) oapPut(ctx context.Context, e *exchange) error {
	asked, err := readVerb(e.Verb(), shapePut, readObject("size obj", false))
	if err != nil {
		return err
	}
	o, limit := asked.value, s.limits().MaxObjectBytes
	opt := store.PutOptions{Size: o.size, MaxSize: limit}
	if o.named {
		opt.Expect = &o.addr
	}
	if o.size > limit {
		return refuse(store.ErrTooLarge, "An object may have "+strconv.FormatInt(limit, 10)+" bytes, this one announces "+strconv.FormatInt(o.size, 10)+". Split it, or raise limits.max_object_bytes.")
	}
	if most := e.mayBody(); most >= 0 && o.size > most {
		return errBodyScope(most)
	}
	body := &oapBody{e: e, size: o.size, intake: intake{ctx: ctx, place: &e.place, unread: &s.unread, charged: o.size < 0 || o.size > smallBody}}
	defer body.close()
	info, _, err := s.ports.Objects.Put(ctx, body, opt)
	switch {
	case body.err != nil:
		return body.err
	case err != nil:
		return s.putError(body.or(err), opt)
	}
	return e.end(storedOf(info))
}

// oapBody reads DATA frames; how they ended badly is kept in err.
type oapBody struct {
	intake
	e    *exchange
	size int64 // announced; -1: not
	err  error
}

// Read implements io.Reader.
func (b *oapBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.left == 0 {
		if b.err = b.next(); b.err != nil {
			return 0, b.err
		}
	}
	n, err := b.e.Read(p[:min(len(p), b.left)])
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = oapError(err)
		return n, b.err
	}
	if b.err = b.e.tooLong(b.read + int64(n)); b.err != nil {
		return 0, b.err
	}
	if err != nil || b.left == n {
		if b.err = b.e.auth.still(); b.err != nil { // it may have been revoked while the body came
			return 0, b.err
		}
	}
	if b.err = b.took(n, err != nil); b.err != nil {
		return 0, b.err
	}
	return n, err
}

// or says it where the body was not as long as announced.
func (b *oapBody) or(err error) error {
	if size := b.size; size >= 0 && (b.read != size || errors.Is(err, io.ErrUnexpectedEOF)) && kindOf(err).err != store.ErrFull {
		return refuse(errBodyCut, "The body is not as long as size announced; nothing was stored. Correct size, or leave it out.")
	}
	return err
}

func storedOf(info store.Info) []byte {
	return appendStored(make([]byte, 0, 160), info.Address.String(), info.Size)
}

// oapHead answers with an object's size.
func (s *server) oapHead(ctx context.Context, e *exchange) error {
	asked, err := readVerb(e.Verb(), shapeObj, readObject("obj", true))
	if err != nil {
		return err
	}
	blob, err := s.ports.Objects.Open(ctx, asked.value.addr)
	if err != nil {
		return err
	}
	defer blob.Close()
	return e.end(storedOf(blob.Info()))
}

// oapHas says whether an object is there.
func (s *server) oapHas(ctx context.Context, e *exchange) error {
	asked, err := readVerb(e.Verb(), shapeObj, readObject("obj", true))
	if err != nil {
		return err
	}
	blob, err := s.ports.Objects.Open(ctx, asked.value.addr)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	has := err == nil
	if has {
		blob.Close()
	}
	return e.end(append(strconv.AppendBool([]byte(`{"has":`), has), '}'))
}

// oapGet sends an object, or a part of it: START with what comes, the bytes, END.
// Damage that is found on the way ends it with a code of its own.
func (s *server) oapGet(ctx context.Context, e *exchange) error {
	asked, err := readVerb(e.Verb(), shapeGet, readObject("obj offset length", true))
	if err != nil {
		return err
	}
	o := asked.value
	blob, err := s.ports.Objects.Open(ctx, o.addr)
	if err != nil {
		return err
	}
	defer blob.Close()
	info := blob.Info()
	if o.part && o.off >= info.Size {
		return refuse(ErrRange, "offset lies outside the object, which has "+strconv.FormatInt(info.Size, 10)+" bytes.")
	}
	n := info.Size - o.off
	if o.n >= 0 {
		n = min(n, o.n)
	}
	out := &oapWriter{ctx: ctx, e: e, info: info, off: o.off, n: n, left: n}
	sent, err := blob.WriteRange(ctx, out, o.off, n)
	switch {
	case err != nil:
		return err
	case sent != n:
		return errShort
	}
	if err := out.start(); err != nil {
		return err
	}
	return e.end(nil)
}

// errShort says that the store broke its word: all the bytes, or an error.
var errShort = errors.New("the store sent fewer bytes than it was asked for, and no error")

// oapWriter begins the answer with the first verified bytes. It holds no slot
// while the client takes them.
type oapWriter struct {
	ctx          context.Context // of the exchange
	e            *exchange
	info         store.Info
	off, n, left int64
}

// start sends what comes, once.
func (o *oapWriter) start() error {
	if o.e.begun {
		return nil
	}
	o.e.begun = true
	meta := storedOf(o.info)
	meta = append(meta[:len(meta)-1], `,"offset":`...)
	meta = strconv.AppendInt(meta, o.off, 10)
	meta = append(meta, `,"length":`...)
	meta = strconv.AppendInt(meta, o.n, 10)
	return o.e.Start(append(meta, '}'))
}

// Write implements io.Writer.
func (o *oapWriter) Write(p []byte) (n int, err error) {
	if o.left -= int64(len(p)); o.left > 0 {
		o.e.place.park()
	} else {
		o.e.place.leave()
	}
	if err = o.start(); err == nil {
		n, err = o.e.Write(p)
	}
	o.e.out += int64(n)
	if err == nil {
		err = o.e.place.work(o.ctx, 1)
	}
	return n, err
}
