package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync/atomic"
)

// Header values that never change, shared by all answers: nobody appends to them.
var (
	headerProblem    = []string{TypeProblem}
	headerJSON       = []string{TypeJSON}
	headerOctets     = []string{TypeOctets}
	headerNoStore    = []string{"no-store"}
	headerNoSniff    = []string{"nosniff"}
	headerImmutable  = []string{"public, max-age=31536000, immutable"}
	headerBytes      = []string{"bytes"}
	headerAttachment = []string{"attachment"}
	headerInline     = []string{"inline"}
	headerClose      = []string{"close"}
	headerAuthScheme = []string{authScheme}
	headerDegraded   = []string{"degraded"}
)

// reply is the answer to one request and what will be told about it.
type reply struct {
	http.ResponseWriter
	call
	conn    *conn
	plane   string
	head    bool            // a HEAD: bodies are announced, not sent
	status  int             // 0: not begun
	in, out int64           // bytes of the bodies
	reason  string          // of the problem, if it was one
	unread  bool            // part of the request's body was left unread
	last    *atomic.Bool    // every answer of the plane is the last on its connection
	owed    *atomic.Int64   // counts this request, until nil: then its end cuts nothing
	ending  context.Context // ends when the plane drains
	place   place
	h2      bool // the connection is shared with other requests
	works   bool // h2: as far as the connection knows
}

// unowe says that a drain may end this request at any time, as it does a tail.
func (w *reply) unowe() {
	if w.owed != nil {
		w.owed.Add(-1)
		w.owed = nil
	}
}

// WriteHeader begins the answer. While the plane drains it is the last on its connection.
func (w *reply) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	if w.last.Load() {
		w.Header()["Connection"] = headerClose
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write sends part of the body, after a 200 if nothing was begun.
func (w *reply) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.mayWrite()
	n, err := w.ResponseWriter.Write(p)
	if !w.head {
		w.out += int64(n)
	}
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *reply) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// lastOnConnection closes the connection after this answer. A stream of HTTP/2 ends
// by itself.
func (w *reply) lastOnConnection() {
	if !w.h2 {
		w.Header()["Connection"] = headerClose
	}
}

// writeJSON answers with one value that is about now and must not be kept.
func (w *reply) writeJSON(status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h := w.Header()
	h["Content-Type"] = headerJSON
	h["Cache-Control"] = headerNoStore
	h["Content-Length"] = []string{strconv.Itoa(len(body) + 1)}
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that left is seen in the exchange
	return nil
}
