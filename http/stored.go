package httpapi

import (
	"context"
	"net/http"
	"strings"
)

// onlyStored is the directive of RFC 9111 §5.2.1.7 by which a node asks a peer for
// what that one has itself, so that two damaged nodes do not ask each other in
// circles.
const onlyStored = "only-if-cached"

type storedKey struct{}

// storedOnly marks a request that is not to be answered from elsewhere.
func storedOnly(ctx context.Context, h http.Header) context.Context {
	for _, v := range h["Cache-Control"] {
		if strings.Contains(strings.ToLower(v), onlyStored) {
			return context.WithValue(ctx, storedKey{}, true)
		}
	}
	return ctx
}

// StoredOnly reports whether a read is to be answered with what the node has
// itself, and nothing fetched from a peer.
func StoredOnly(ctx context.Context) bool { return ctx.Value(storedKey{}) != nil }
