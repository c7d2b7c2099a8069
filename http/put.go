package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"micronode/http/inflate"
	"micronode/store"
)

// put stores the body: POST and PUT /put (contract §2).
func (s *server) put(ctx context.Context, w *reply, r *http.Request) error {
	opt, coding, err := s.putOptions(r)
	if err != nil {
		return err
	}
	body := newSlicedBody(w, r, s.limits().RequestTimeout).asking(&s.unread, opt.Size < 0) // what has no length is charged as it comes
	defer body.close()
	info, created, err := s.putPlain(ctx, body, coding, opt)
	w.unread = !body.whole
	switch {
	case err != nil && body.err != nil: // says it better than what was made of it
		return body.err
	case err != nil:
		return s.putError(err, opt)
	}
	body.finish()
	w.unread = false
	w.writeStored(info, created)
	return nil
}

// putPlain stores a body, inflated under both bounds where it is compressed.
func (s *server) putPlain(ctx context.Context, body io.Reader, coding string, opt store.PutOptions) (store.Info, bool, error) {
	if coding == "" {
		return s.ports.Objects.Put(ctx, body, opt)
	}
	l := s.limits()
	plain, err := s.inflate.NewReader(ctx, body, coding, inflate.Bounds{Ratio: l.InflateRatio, MaxBytes: l.InflateBytes})
	if err != nil {
		return store.Info{}, false, inflateError(err)
	}
	defer plain.Close()
	info, created, err := s.ports.Objects.Put(ctx, plain, opt)
	return info, created, inflateError(err)
}

// inflateError puts the guard's errors into the door's words.
func inflateError(err error) error {
	switch {
	case errors.Is(err, inflate.ErrBound):
		return ErrInflated
	case errors.Is(err, inflate.ErrCorrupt):
		return refuse(ErrBadRequest, "The body is not what its Content-Encoding says, or ends too early, or goes on behind its end; nothing was stored.")
	case errors.Is(err, inflate.ErrCoding):
		return ErrEncoding
	case errors.Is(err, inflate.ErrBusy):
		return ErrInflating
	}
	return err
}

// putOptions checks all that can be checked before the first byte of the body.
func (s *server) putOptions(r *http.Request) (opt store.PutOptions, coding string, err error) {
	l := s.limits()
	opt = store.PutOptions{Size: r.ContentLength, MaxSize: l.MaxBodyBytes}
	if coding, err = inflate.Coding(r.Header["Content-Encoding"]); err != nil {
		return opt, "", inflateError(err)
	}
	if opt.Expect, err = expectedAddress(r.Header); err != nil {
		return opt, "", err
	}
	if opt.TTL, err = timeToLive(r.Header, l.MaxTTL); err != nil {
		return opt, "", err
	}
	switch {
	case r.ContentLength < 0:
		opt.MaxSize = l.MaxObjectBytes
	case r.ContentLength > l.MaxBodyBytes:
		return opt, "", refuse(store.ErrTooLarge, fmt.Sprintf("A body with Content-Length may have %d bytes, this one announces %d. "+
			"Send it with Transfer-Encoding: chunked, which takes up to %d.", l.MaxBodyBytes, r.ContentLength, l.MaxObjectBytes))
	case r.ContentLength == 0 && r.ProtoMajor == 1 && len(r.TransferEncoding) == 0 && len(r.Header["Content-Length"]) == 0:
		return opt, "", ErrLengthRequired
	}
	if coding != "" {
		opt.Size, opt.MaxSize = -1, min(l.InflateBytes, l.MaxObjectBytes)
	}
	return opt, coding, nil
}

func (s *server) putError(err error, opt store.PutOptions) error {
	if kindOf(err).err == store.ErrTooLarge {
		return refuse(err, fmt.Sprintf("The body is longer than the %d bytes that it may have; nothing was stored. "+
			"Split it, or raise limits.max_object_bytes.", opt.MaxSize))
	}
	return err
}

// writeStored answers a put: 201, or 200 when the bytes were there already.
func (w *reply) writeStored(info store.Info, created bool) {
	addr := info.Address.String()
	body := append(appendStored(make([]byte, 0, 128), addr, info.Size), '\n')

	values := [...]string{"/o/" + addr, `"` + addr + `"`, strconv.Itoa(len(body))}
	h := w.Header()
	h["Location"], h["Etag"], h["Content-Length"] = values[0:1:1], values[1:2:2], values[2:3:3]
	h["Content-Type"] = headerJSON
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that left is seen in the exchange
}

// appendStored appends a [Stored].
func appendStored(b []byte, addr string, size int64) []byte {
	b = append(b, `{"address":"`...)
	b = append(b, addr...)
	b = append(b, `","size":`...)
	return append(strconv.AppendInt(b, size, 10), '}')
}

// checkEncoding refuses what would have to be inflated first.
func checkEncoding(h http.Header) error {
	for _, v := range h["Content-Encoding"] {
		if v != "" && !strings.EqualFold(v, "identity") { // codings are case-insensitive (RFC 9110 §8.4.1)
			return ErrEncoding
		}
	}
	return nil
}

// single returns the value of a header that may come once.
func single(h http.Header, name string) (value string, present bool, err error) {
	v := h[http.CanonicalHeaderKey(name)]
	switch len(v) {
	case 0:
		return "", false, nil
	case 1:
		return v[0], true, nil
	default:
		return "", false, refuse(ErrBadRequest, "The header "+name+" came more than once. Send it once.")
	}
}

func expectedAddress(h http.Header) (*store.Address, error) {
	v, present, err := single(h, "X-Content-B3")
	if err != nil || !present {
		return nil, err
	}
	a, err := store.ParseAddress(v)
	if err != nil {
		return nil, refuse(err, "X-Content-B3 is not an address: it is b3: and 64 lowercase hex digits. Correct it or leave it out.")
	}
	return &a, nil
}

func timeToLive(h http.Header, longest time.Duration) (time.Duration, error) {
	v, present, err := single(h, "X-Ron-Ttl")
	if err != nil || !present {
		return 0, err
	}
	ttl, err := time.ParseDuration(v)
	switch {
	case err != nil:
		return 0, refuse(ErrBadRequest, "X-Ron-Ttl is not a duration. Write it like 90s, 15m or 24h, or leave it out.")
	case ttl <= 0:
		return 0, refuse(ErrBadRequest, "X-Ron-Ttl must be longer than zero. To keep the object until it is deleted, leave it out.")
	case longest > 0 && ttl > longest:
		return 0, refuse(ErrBadRequest, "X-Ron-Ttl is longer than store.max_ttl, which is "+longest.String()+". Ask for less.")
	}
	return ttl, nil
}
