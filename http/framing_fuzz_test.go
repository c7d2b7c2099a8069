package httpapi_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"

	httpapi "micronode/http"
)

// FuzzFraming holds the door's own view of where requests begin against that of
// net/http: where the door finds no fault, both see the same requests; and how the
// bytes are cut into pieces changes nothing.
func FuzzFraming(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"PUT /put HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"PUT /put HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"PUT /put HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"PUT /put HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n1;x\na\n0\n\n",
		"\r\n\r\nGET / HTTP/1.0\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		f.Add([]byte(seed), byte(1))
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece byte) {
		heads, fault := httpapi.Heads(stream)
		if cut := httpapi.Framing(stream, 1+int(piece)); cut != fault {
			t.Fatalf("whole: fault at %d; in pieces of %d: at %d", fault, 1+int(piece), cut)
		}
		if fault != 0 || bytes.HasPrefix(stream, []byte("PRI ")) {
			return
		}
		var read int64
		r := bufio.NewReader(bytes.NewReader(stream))
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				break
			}
			read++
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return // the connection ends with it
			}
		}
		if heads < read {
			t.Fatalf("net/http reads %d requests where framing sees %d", read, heads)
		}
	})
}
