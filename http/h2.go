package httpapi

import (
	"net/http"
	"time"
)

// Bounds of HTTP/2 that no configuration loosens. What a connection may make the
// node keep is its receive buffer: 1024 of them are 128 MiB.
const (
	h2Streams      = 100
	h2FrameBytes   = 16 << 10
	h2ConnBuffer   = 128 << 10
	h2StreamBuffer = 64 << 10
	h2Ping         = 15 * time.Second // of silence, before the peer is asked whether it lives
	h2PingWait     = 5 * time.Second
)

// http2 are the bounds of HTTP/2. Floods of resets, settings, pings and
// continuations are net/http's to cut off, and it does.
func (s *server) http2() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams: h2Streams, MaxReadFrameSize: h2FrameBytes,
		MaxReceiveBufferPerConnection: h2ConnBuffer, MaxReceiveBufferPerStream: h2StreamBuffer,
		SendPingTimeout: h2Ping, PingTimeout: h2PingWait, WriteByteTimeout: s.limits().RequestTimeout,
	}
}

// become moves the request's connection to a state. With HTTP/2 many requests
// share it: it works as long as one of them does.
func (w *reply) become(state int32) {
	if !w.h2 {
		w.conn.become(state)
		return
	}
	works := state == connWorking
	switch {
	case works == w.works:
	case works:
		w.conn.busy.Add(1)
		w.conn.become(connWorking)
	case w.conn.busy.Add(-1) == 0:
		w.conn.become(state)
	}
	w.works = works
}

// done ends the request's part in the state of its connection; net/http says when
// the last of them is over.
func (w *reply) done() {
	if w.h2 {
		w.become(connBody)
	}
}

// mayWrite bounds the next write of an HTTP/2 stream, whose peer may hold it up by
// its window while the connection goes on.
func (w *reply) mayWrite() {
	if w.h2 {
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(w.conn.set.now().Add(w.conn.set.patience())) // a broken stream shows at the write
	}
}
