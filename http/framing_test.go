package httpapi_test

import (
	"strconv"
	"strings"
	"testing"

	httpapi "micronode/http"
)

const (
	plainHead   = "POST /put HTTP/1.1\r\nHost: localhost\r\n"
	chunkedHead = plainHead + "Transfer-Encoding: chunked\r\n"
)

// A request whose length can be read in two ways is refused with a problem, and
// nothing behind it on the connection is taken for a request (RFC 9112 §6.1).
func TestSmuggling(t *testing.T) {
	const hidden = "GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for name, tt := range map[string]string{
		"length and encoding":     chunkedHead + "Content-Length: 5\r\n\r\n0\r\n\r\n" + hidden,
		"encoding after length":   plainHead + "content-length:5\r\nTRANSFER-ENCODING:chunked\r\n\r\n0\r\n\r\n" + hidden,
		"on a path without body":  "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"behind a sound one":      askHealth + chunkedHead + "Content-Length: 5\r\n\r\n0\r\n\r\n" + hidden,
		"behind a body":           plainHead + "Content-Length: 5\r\n\r\nappleGET /o HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"behind a chunked body":   chunkedHead + "\r\n5;x=y\r\napple\r\n0\r\nTrailer: x\r\n\r\n" + chunkedHead + "Content-Length: 5\r\n\r\n0\r\n\r\n" + hidden,
		"encoding with HTTP/1.0":  "POST /put HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"bare LF in a chunk line": chunkedHead + "\r\n5\napple\r\n0\r\n\r\n" + hidden,
		"bare LF behind a chunk":  chunkedHead + "\r\n5\r\napple\n0\r\n\r\n" + hidden,
		"bare LF at the end":      chunkedHead + "\r\n5\r\napple\r\n0\r\n\n" + hidden,
		"bare LF in a trailer":    chunkedHead + "\r\n5\r\napple\r\n0\r\nTrailer: x\n\r\n" + hidden,
	} {
		t.Run(name, func(t *testing.T) {
			for _, piece := range []int{1, 7, len(tt)} {
				r := start(t)
				w := r.dial()
				for rest := tt; rest != ""; rest = rest[min(piece, len(rest)):] {
					if _, err := w.Write([]byte(rest[:min(piece, len(rest))])); err != nil {
						break // refused already
					}
				}
				out := w.closed()
				if strings.Contains(out, `"service"`) {
					t.Errorf("the hidden request was answered: %q", out)
				}
				_, refused, found := strings.Cut(out, " 400 Bad Request")
				if strings.Contains(refused, "\nHTTP/1.") || found && !strings.Contains(refused, "Connection: close") {
					t.Errorf("in pieces of %d: %q", piece, out)
				} else if !strings.Contains(refused, "in two ways") && !strings.HasPrefix(name, "bare LF") {
					t.Errorf("in pieces of %d not refused: %q", piece, out)
				}
			}
		})
	}
}

// Framing is followed as net/http does it, however the bytes are cut.
func TestFraming(t *testing.T) {
	both := plainHead + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
	long := strings.Repeat("x", 5000)
	for stream, want := range map[string]int64{
		"":                           0,
		askHealth + askHealth + both: 3,
		plainHead + "Content-Length: 5\r\n\r\nappl\n" + both:                                                2,
		plainHead + "Content-Length: 5\r\nContent-Length: 05\r\n\r\n\r\n\r\n\n" + both:                      2,
		plainHead + "Content-Length: 5\r\n\r\nap\r\n\r" + "\r\n\n" + both:                                   2,
		plainHead + "Content-Length: " + strconv.Itoa(len(both)) + "\r\n\r\n" + both:                        0,
		chunkedHead + "\r\n1\r\na\r\nF;q=1;" + long + "\r\n" + long[:15] + "\r\n0\r\n\r\n" + both:           2,
		chunkedHead + "\r\n0\r\nA: " + long + "\r\nB: c\r\n\r\n" + both:                                     2,
		chunkedHead + "\r\n" + strconv.FormatInt(int64(len(both)), 16) + "\r\n" + both + "\r\n0\r\n\r\n":    0,
		"GET /" + long + " HTTP/1.1\nHost: localhost\n\n" + both:                                            2,
		"POST /put HTTP/1.1\r\nContent-Length-X: 5\r\nX: Content-Length: 6\r\n" + chunkedHead[20:] + "\r\n": 0,
		plainHead + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n":                                        1,
		plainHead + "Content-Length:\r\n\r\n":                                                               1,
		plainHead + "Content-Length: -1\r\n\r\n":                                                            1,
		plainHead + "Content-Length: 5, 5\r\n\r\n":                                                          1,
		plainHead + "Content-Length: 99999999999999999999\r\n\r\n":                                          1,
		plainHead + "Content-Length:" + strings.Repeat(" ", 300) + "5\r\n\r\n":                              1,
		askHealth + chunkedHead + "\r\n\r\n":                                                                2,
		chunkedHead + "\r\n0x5\r\n":                                                                         1,
		chunkedHead + "\r\n5 ;x\r\n":                                                                        1,
		chunkedHead + "\r\n5 \r\napple\r\n0\r\n\r\n":                                                        0,
		chunkedHead + "\r\nfffffffffffffffff\r\n":                                                           1,
		chunkedHead + "\r\n5\r\napplepie\r\n":                                                               1,
	} {
		for _, piece := range []int{1, 2, 3, 16, 127, 128, 129, 4096, 1 << 20} {
			got := httpapi.Framing([]byte(stream), piece)
			if piece < len(stream) && strings.Contains(stream, "Content-Length:   ") && got == 0 {
				t.Errorf("%.80q in pieces of %d is trusted", stream, piece)
			} else if got != want && !strings.Contains(stream, "Content-Length:   ") {
				t.Errorf("%.80q in pieces of %d: fault at %d, want %d", stream, piece, got, want)
			}
		}
	}
}

// What is sound goes on working on one connection.
func TestSoundFraming(t *testing.T) {
	r := start(t)
	w := r.dial()
	for i := range 20 {
		body := text(1 + i*997)
		w.say(chunkedHead + "\r\n" + strconv.FormatInt(int64(len(body)), 16) + "\r\n" + body + "\r\n0\r\n\r\n" + plainHead + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
		for _, want := range []int{201, 200} {
			if a := w.hear("POST"); a.status != want {
				t.Fatalf("%d bytes: %d %v %s", len(body), a.status, a.err, a.body)
			}
		}
	}
}

// Who asks and which message it is can be said once.
func TestDoubledHeaders(t *testing.T) {
	r := start(t)
	for _, name := range []string{"Authorization", "Idempotency-Key"} {
		if a := r.ask("GET", "/healthz", nil, name, "a"); a.status != 200 {
			t.Errorf("one %s: %d", name, a.status)
		}
		a := r.ask("GET", "/healthz", nil, name, "a", name, "a")
		if p := a.problem(t); a.status != 400 || p.Code != "bad_request" || !strings.Contains(p.Detail, name) {
			t.Errorf("two %s: %d %+v", name, a.status, p)
		}
	}
}

// What it costs to follow a request of usual size.
func BenchmarkFraming(b *testing.B) {
	head := "GET /o/" + helloText + " HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\nX-Corr-ID: 01M85MXMODE\r\n\r\n"
	const many = 1000
	stream := []byte(strings.Repeat(head, many))
	b.ReportAllocs()
	for b.Loop() {
		if httpapi.Framing(stream, len(head)) != 0 {
			b.Fatal("a fault")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/many, "ns/request")
}
