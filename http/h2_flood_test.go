package httpapi_test

import (
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

// Frames of HTTP/2 (RFC 9113 §4.1, §6).
const (
	h2Data         = 0x0
	h2Headers      = 0x1
	h2Priority     = 0x2
	h2Reset        = 0x3
	h2Settings     = 0x4
	h2Ping         = 0x6
	h2Window       = 0x8
	h2Continuation = 0x9
)

func h2Frame(kind, flags byte, stream uint32, payload []byte) []byte {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(b, payload...)
}

// h2Get is the header block of GET / to localhost, in HPACK's static table.
var h2Get = append([]byte{0x82, 0x86, 0x84, 0x41, 9}, "localhost"...)

// Floods of HTTP/2 end with their connection, or do nothing; others are served
// meanwhile, and nothing of them is left.
func TestHTTP2Floods(t *testing.T) {
	const many = 20_000
	for name, flood := range map[string]func(i uint32) []byte{
		"rapid reset": func(i uint32) []byte {
			return append(h2Frame(h2Headers, 0x5, 2*i+1, h2Get), h2Frame(h2Reset, 0, 2*i+1, []byte{0, 0, 0, 8})...)
		},
		"continuation": func(i uint32) []byte {
			if i == 0 {
				return h2Frame(h2Headers, 0x1, 1, h2Get)
			}
			return h2Frame(h2Continuation, 0, 1, append([]byte{0x00, 1, 'x', 100}, make([]byte, 100)...))
		},
		"settings":    func(uint32) []byte { return h2Frame(h2Settings, 0, 0, []byte{0, 3, 0, 0, 0, 1}) },
		"ping":        func(uint32) []byte { return h2Frame(h2Ping, 0, 0, make([]byte, 8)) },
		"priority":    func(i uint32) []byte { return h2Frame(h2Priority, 0, 2*i+1, []byte{0, 0, 0, 0, 1}) },
		"empty data":  func(i uint32) []byte { return emptyData(i) },
		"window":      func(uint32) []byte { return h2Frame(h2Window, 0, 0, []byte{0, 0, 0, 1}) },
		"open, never": func(i uint32) []byte { return h2Frame(h2Headers, 0x4, 2*i+1, h2Get) },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			c, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // a hang would be one
			ended := make(chan struct{})
			go func() { // what a peer would read: resets, acknowledgements, the farewell
				defer close(ended)
				_, _ = io.Copy(io.Discard, c)
			}()
			_, err = io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+string(h2Frame(h2Settings, 0, 0, nil)))
			for i := uint32(0); i < many && err == nil; i++ {
				_, err = c.Write(flood(i))
				if i%5000 == 0 {
					if a := r.ask("GET", "/healthz", nil); a.status != 200 {
						t.Errorf("meanwhile: %d", a.status)
					}
				}
			}
			_ = c.Close()
			<-ended
			for r.door.Inflight() > 0 || r.door.Admission().Open > 0 {
				runtime.Gosched()
			}
			if a := r.ask("GET", "/healthz", nil); a.status != 200 {
				t.Errorf("afterwards: %d", a.status)
			}
		})
	}
}

func emptyData(i uint32) []byte {
	if i == 0 {
		return h2Frame(h2Headers, 0x4, 1, append([]byte{0x83, 0x86, 0x44, 4}, append([]byte("/put"), append([]byte{0x41, 9}, "localhost"...)...)...))
	}
	return h2Frame(h2Data, 0, 1, nil)
}
