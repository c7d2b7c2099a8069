package httpapi

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/oklog/ulid/v2"
)

// maxCorrID is the longest correlation id taken from a client (contract §5).
const maxCorrID = 64

// call is what a context carries through the node about one request.
type call struct {
	corrID  string
	traceID string
	uid     int        // of the peer of the operator socket, -1 elsewhere
	auth    *authority // on whose behalf; nil: nobody was asked
}

type callKey struct{}

// CorrID returns the correlation id of the request that ctx belongs to, or "".
func CorrID(ctx context.Context) string {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c.corrID
	}
	return ""
}

// TraceID returns the W3C trace id, 32 hex digits, that came with the request, or "".
func TraceID(ctx context.Context) string {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c.traceID
	}
	return ""
}

// PeerUID returns the uid on the other side of the operator socket, or -1.
func PeerUID(ctx context.Context) int {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c.uid
	}
	return -1
}

// corrIDOf takes the client's correlation id where it is well formed, and makes
// a ULID where not.
func corrIDOf(h http.Header, now time.Time) string {
	for _, name := range [...]string{"X-Corr-Id", "X-Request-Id"} {
		if v := h[name]; len(v) == 1 && validCorrID(v[0]) {
			return v[0]
		}
	}
	return newULID(now)
}

func validCorrID(s string) bool {
	if s == "" || len(s) > maxCorrID {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// newULID makes an id that is unique, not secret: it names a request in logs.
func newULID(now time.Time) string {
	var entropy [10]byte
	binary.LittleEndian.PutUint64(entropy[:], rand.Uint64())
	binary.LittleEndian.PutUint16(entropy[8:], uint16(rand.Uint32()))
	var id ulid.ULID
	if id.SetTime(uint64(now.UnixMilli())) != nil || id.SetEntropy(entropy[:]) != nil {
		return ulid.Make().String() // a clock outside ULID's range
	}
	return id.String()
}
