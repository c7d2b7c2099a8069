package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// net/http refuses what it cannot read in plain text, straight to the connection
// and outside of any handler. plain says the same as everything else here does, and
// counts it.

// ownRefusal reports whether p is such a refusal: nobody answers a request, and
// it has the status of a refusal.
func (c *conn) ownRefusal(p []byte) (status int, said string, ok bool) {
	const proto = "HTTP/1.1 "
	if c.set.plain == nil || c.framing.h2.Load() {
		return 0, "", false
	}
	if state := c.state.Load(); state != connBegun && state != connQuiet {
		return 0, "", false
	}
	if len(p) < len(proto)+4 || string(p[:len(proto)]) != proto || p[len(proto)] != '4' && p[len(proto)] != '5' {
		return 0, "", false
	}
	status, err := strconv.Atoi(string(p[len(proto) : len(proto)+3]))
	_, body, _ := bytes.Cut(p, []byte("\r\n\r\n"))
	_, said, _ = strings.Cut(string(body), ": ")
	return status, said, err == nil
}

// plain words a refusal of net/http's as a whole answer, the last on its
// connection.
func (f *face) plain(status int, said string, c *conn) []byte {
	now := f.ports.Now()
	id := newULID(now)
	p, k := problemOf(plainError(status, said), id)
	p.Status = status
	f.rejected(k)
	if f.ports.Observe.Request != nil {
		f.ports.Observe.Request(Exchange{
			Route: unmatched, Method: labelOf(""), Status: status, CorrID: id, Reason: p.Reason, Remote: c.RemoteAddr().String(), Plane: f.plane,
			Duration: max(0, now.Sub(time.Unix(0, c.since.Load()))),
		})
	}
	body, _ := json.Marshal(p) // strings and numbers: cannot fail
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nX-Corr-Id: %s\r\n"+
		"Connection: close\r\nContent-Length: %d\r\n\r\n%s\n", status, http.StatusText(status), TypeProblem, id, len(body)+1, body)
}

func plainError(status int, said string) error {
	switch status {
	case http.StatusRequestHeaderFieldsTooLarge:
		return ErrHeaderTooLarge
	case http.StatusNotImplemented:
		return refuse(ErrBadRequest, "The only Transfer-Encoding is chunked, alone.")
	case http.StatusHTTPVersionNotSupported:
		return refuse(ErrBadRequest, "This is neither HTTP/1 nor, on a loopback address, HTTP/2.")
	case http.StatusExpectationFailed:
		return refuse(ErrBadRequest, "The only expectation is 100-continue.")
	}
	if said == "" {
		said = "it could not be read"
	}
	return refuse(ErrBadRequest, "The head of this request is malformed: "+said+".")
}
