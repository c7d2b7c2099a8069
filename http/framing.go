package httpapi

import (
	"bytes"
	"math"
	"net/http"
	"sync/atomic"
)

// heldBytes is how much of a line that comes in pieces is kept: the longest that
// framing has to read is a field name with a number.
const heldBytes = 128

// What framing expects next.
const (
	frameStart    = iota // a request line
	frameHead            // a field, or the empty line that ends the head
	frameChunk           // the size of a chunk
	frameChunkEnd        // the line end behind a chunk's data
	frameTrailer         // a trailer field, or the empty line that ends the body
	frameLost            // nothing: the connection ends with the request at fault
)

// prefaceHTTP2 is the first line of a connection that speaks HTTP/2 (RFC 9113 §3.4).
const prefaceHTTP2 = "PRI * HTTP/2.0"

// methodPreface is how that line looks to net/http where HTTP/2 is not spoken.
const methodPreface = "PRI"

// framing watches the bytes that a client sends for requests whose length can be
// read in two ways (RFC 9112 §6.1, §11.2). net/http takes requests apart by
// itself and drops a Content-Length beside a Transfer-Encoding without a word;
// framing sees the head as it was sent. It is fed by whoever reads the
// connection, one goroutine at a time, copies nothing but lines that come in
// pieces, and where it would have to guess it calls the request a fault.
type framing struct {
	next         int
	heads        int64 // that have ended
	left         int64 // bytes of a body or a chunk until the next line
	length       int64 // of the head being read; -1: not said
	chunked, old bool  // it says Transfer-Encoding; it is not HTTP/1.1
	n            int   // bytes in held
	held         [heldBytes]byte
	fault        atomic.Int64 // number of the first request that cannot be trusted; 0: none
	h2           atomic.Bool  // the connection began with HTTP/2's preface: nothing here is for framing
}

// feed takes the next bytes of the connection.
func (f *framing) feed(p []byte) {
	for len(p) > 0 && f.next != frameLost {
		if f.left > 0 {
			n := min(f.left, int64(len(p)))
			f.left -= n
			p = p[n:]
			continue
		}
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			f.hold(p)
			return
		}
		line, whole := p[:end], true
		if f.n > 0 {
			f.hold(line)
			line, whole = f.held[:f.n], f.n < heldBytes
			f.n = 0
		}
		p = p[end+1:]
		f.line(line, whole)
	}
}

func (f *framing) hold(p []byte) { f.n += copy(f.held[f.n:], p) }

// line takes one line without its LF; whole is false when its end is not known.
func (f *framing) line(line []byte, whole bool) {
	text, crlf := bytes.CutSuffix(line, []byte{'\r'})
	switch f.next {
	case frameStart:
		if f.heads == 0 && whole && string(text) == prefaceHTTP2 {
			f.h2.Store(true)
			f.next = frameLost
			return
		}
		if len(text) > 0 { // before a request, net/http passes over empty lines
			f.next, f.length, f.chunked = frameHead, -1, false
			f.old = !whole || !bytes.HasSuffix(text, []byte(" HTTP/1.1"))
		}
	case frameHead:
		if len(text) > 0 {
			f.field(text, whole)
			return
		}
		f.endHead()
	case frameChunk:
		size, ok := chunkSize(text)
		switch f.left = size; {
		case !ok || whole && !crlf:
			f.lose(f.heads)
		case size == 0:
			f.next = frameTrailer
		default:
			f.next = frameChunkEnd
		}
	case frameChunkEnd:
		if f.next = frameChunk; len(text) > 0 || !crlf {
			f.lose(f.heads)
		}
	case frameTrailer:
		switch {
		case whole && !crlf:
			f.lose(f.heads)
		case len(text) == 0:
			f.next = frameStart
		}
	}
}

// Names of the fields that frame a body.
const (
	fieldLength   = "Content-Length"
	fieldEncoding = "Transfer-Encoding"
)

// field looks at one field line of a head.
func (f *framing) field(text []byte, whole bool) {
	switch {
	case named(text, fieldEncoding):
		f.chunked = true
	case named(text, fieldLength):
		n, ok := decimal(bytes.Trim(text[len(fieldLength)+1:], " \t"))
		if !ok || !whole || f.length >= 0 && f.length != n {
			f.lose(f.heads + 1)
			return
		}
		f.length = n
	}
}

func named(line []byte, name string) bool {
	return len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name))
}

// endHead decides how the body is framed.
func (f *framing) endHead() {
	f.heads++
	switch {
	case f.chunked && (f.length >= 0 || f.old):
		f.lose(f.heads)
	case f.chunked:
		f.next = frameChunk
	default:
		f.next, f.left = frameStart, max(0, f.length)
	}
}

func (f *framing) lose(request int64) {
	f.next, f.left = frameLost, 0
	f.fault.Store(request)
}

// chunkSize reads a chunk's size as net/http does: hex digits, maybe an
// extension behind a semicolon.
func chunkSize(text []byte) (n int64, ok bool) {
	digits, _, extended := bytes.Cut(text, []byte{';'})
	if !extended {
		digits = bytes.TrimRight(digits, " \t")
	}
	for _, c := range digits {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		if n > math.MaxInt64>>4 {
			return 0, false
		}
		n = n<<4 | int64(c)
	}
	return n, len(digits) > 0
}

// decimal reads a Content-Length.
func decimal(text []byte) (n int64, ok bool) {
	for _, c := range text {
		if c < '0' || c > '9' || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, len(text) > 0
}

// checkFraming refuses a request whose length or sender can be read in two ways
// (contract §6), and ends the connection where the next request's beginning
// hangs on it.
func checkFraming(w *reply, r *http.Request) error {
	if !w.conn.trusted() {
		w.lastOnConnection()
		return refuse(ErrBadRequest, "The length of this request can be read in two ways. Send Content-Length, or Transfer-Encoding: chunked with HTTP/1.1 and lines that end with CR LF, never both.")
	}
	if r.Method == methodPreface {
		w.lastOnConnection() // what follows was not watched
		return refuse(ErrBadRequest, "HTTP/2 is not spoken here. Use HTTP/1.1.")
	}
	for _, name := range [...]string{"Authorization", "Idempotency-Key"} {
		if _, _, err := single(r.Header, name); err != nil {
			return err
		}
	}
	return nil
}
