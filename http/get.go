package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"micronode/store"
)

// get answers GET and HEAD /o/{addr} (contract §2).
func (s *server) get(ctx context.Context, w *reply, r *http.Request) error {
	a, err := addressOf(r)
	if err != nil {
		return err
	}
	ctx = storedOnly(ctx, r.Header)
	blob, err := s.ports.Objects.Open(ctx, a)
	if err != nil {
		return err
	}
	defer blob.Close()

	v := view{r: r, info: blob.Info()}
	v.etag = `"` + v.info.Address.String() + `"`
	if err := v.choose(); err != nil {
		w.describe(&v)
		w.Header()["Content-Range"] = []string{"bytes */" + strconv.FormatInt(v.info.Size, 10)}
		return err
	}
	w.describe(&v)
	if w.head || v.status == http.StatusNotModified {
		w.WriteHeader(v.status)
		return nil
	}
	return s.sendBlob(ctx, w, blob, &v)
}

// view is the part of an object that a request asks for.
type view struct {
	r      *http.Request
	info   store.Info
	etag   string
	status int
	off, n int64
}

// choose weighs the conditions in the order of RFC 9110 §13.2.2.
func (v *view) choose() error {
	r := v.r
	v.status, v.n = http.StatusOK, v.info.Size
	if match := r.Header["If-Match"]; match != nil && !etagListed(match, v.etag, false) {
		return ErrPrecondition
	}
	if match := r.Header["If-None-Match"]; match != nil && etagListed(match, v.etag, true) {
		v.status = http.StatusNotModified
		return nil
	}
	asked := r.Header["Range"]
	if len(asked) != 1 || r.Method != http.MethodGet || !ifRangeHolds(r.Header["If-Range"], v.etag) {
		return nil
	}
	off, n, verdict := parseRange(asked[0], v.info.Size)
	switch verdict {
	case rangeUnsatisfiable:
		return ErrRange
	case rangeSatisfiable:
		v.status, v.off, v.n = http.StatusPartialContent, off, n
	case rangeIgnored:
	}
	return nil
}

// describe sets the headers of an object's answer.
func (w *reply) describe(v *view) {
	h := w.Header()
	values := make([]string, 3) // one allocation for the three that differ
	values[0] = v.etag
	h["Etag"] = values[0:1:1]
	h["Accept-Ranges"] = headerBytes
	h["Cache-Control"] = headerImmutable
	h["X-Content-Type-Options"] = headerNoSniff
	h["Content-Disposition"] = headerAttachment
	if w.auth != nil && w.auth.grant != nil && w.auth.grant.Scope.Inline {
		h["Content-Disposition"] = headerInline
	}
	if !v.info.Expires.IsZero() {
		h["X-Ron-Expires"] = []string{v.info.Expires.UTC().Format(time.RFC3339Nano)}
	}
	if v.status == http.StatusNotModified {
		return
	}
	h["Content-Type"] = headerOctets
	values[1] = strconv.FormatInt(v.n, 10)
	h["Content-Length"] = values[1:2:2]
	if v.status == http.StatusPartialContent {
		values[2] = contentRange(v.off, v.n, v.info.Size)
		h["Content-Range"] = values[2:3:3]
	}
}

func contentRange(off, n, size int64) string {
	b := make([]byte, 0, 64)
	b = append(b, "bytes "...)
	b = strconv.AppendInt(b, off, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, off+n-1, 10)
	b = append(b, '/')
	return string(strconv.AppendInt(b, size, 10))
}

// lateHeader begins the answer with the first verified bytes, so that damage
// found before them can still be told. While the client takes them it holds no
// slot: one is asked for again to verify the next.
type lateHeader struct {
	r      *http.Request
	w      *reply
	status int
	left   int64
}

// Write implements io.Writer.
func (l *lateHeader) Write(p []byte) (int, error) {
	if l.w.status == 0 {
		l.w.WriteHeader(l.status)
	}
	if l.left -= int64(len(p)); l.left <= 0 {
		l.w.place.leave()
		return l.w.Write(p)
	}
	l.w.place.park()
	n, err := l.w.Write(p)
	if err == nil {
		err = l.w.place.work(l.r.Context(), 1)
	}
	return n, err
}

// sendBlob sends verified bytes. What goes wrong after the first of them cuts
// the connection: an answer is never completed short.
func (s *server) sendBlob(ctx context.Context, w *reply, blob store.Blob, v *view) error {
	sent, err := blob.WriteRange(ctx, &lateHeader{v.r, w, v.status, v.n}, v.off, v.n)
	switch {
	case err != nil && w.status == 0:
		return err
	case err != nil || sent != v.n:
		return http.ErrAbortHandler
	case w.status == 0: // no bytes to send
		w.WriteHeader(v.status)
	}
	return nil
}
