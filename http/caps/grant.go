package caps

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Grant is a token whose signature holds. It is immutable; whether it is in time
// and not revoked was true when [Ring.Check] gave it.
type Grant struct {
	KID, CapID string
	Scope      Scope
}

// Flow names the token and all that were made from it, for admission.
func (g *Grant) Flow() string { return "cap:" + g.CapID }

// Ask is what a request wants, as far as it is known before its body.
type Ask struct {
	Op     Op
	Paths  [2]string // where it is; it is enough that one of them fits
	Client netip.Addr
}

// Permits holds a request against the scope, topic and body aside. Errors: ErrScope.
func (g *Grant) Permits(a *Ask) error {
	s := &g.Scope
	switch {
	case s.nobody:
		return fmt.Errorf("%w: it is for two tenants at once", ErrScope)
	case s.Ops&a.Op == 0:
		return fmt.Errorf("%w: this is %s, and it is for %s", ErrScope, a.Op, s.Ops)
	}
	for _, prefix := range s.Paths {
		if !under(a.Paths[0], prefix) && !under(a.Paths[1], prefix) {
			return fmt.Errorf("%w: it is for paths below %s", ErrScope, prefix)
		}
	}
	for _, net := range s.Nets {
		if !net.Contains(a.Client) {
			return fmt.Errorf("%w: it is for clients in %s", ErrScope, net)
		}
	}
	if s.Topics != nil && a.Op&(Send|Recv|Ack|Nack|Peek|Redo|Purge) == 0 {
		return fmt.Errorf("%w: it is for topics of the mailbox", ErrScope)
	}
	return nil
}

// under reports whether a path is a prefix's or lies below it.
func under(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && path != "" && (rest == "" || rest[0] == '/' || strings.HasSuffix(prefix, "/"))
}

// Topic reports whether the token is for a topic; "" stands for all of them.
func (g *Grant) Topic(name string) error {
	if g.Scope.Topics == nil || name != "" && slices.Contains(g.Scope.Topics, name) {
		return nil
	}
	return fmt.Errorf("%w: it is for other topics", ErrScope)
}

// Body reports whether a body of n bytes is not too long for the token.
func (g *Grant) Body(n int64) error {
	if g.Scope.MaxBytes < 0 || n <= g.Scope.MaxBytes {
		return nil
	}
	return fmt.Errorf("%w: it is for bodies of at most %d bytes", ErrScope, g.Scope.MaxBytes)
}

// current holds the scope against the clock. Errors: ErrExpired, ErrEarly, ErrTooLong.
func (s *Scope) current(now time.Time) error {
	at, skew := now.Unix(), int64(Skew/time.Second)
	switch {
	case s.Expires == 0:
		return fmt.Errorf("%w: it has no exp", ErrExpired)
	case at >= s.Expires+skew:
		return ErrExpired
	case s.NotBefore > at+skew:
		return ErrEarly
	case s.farthest > at+skew+int64(MaxTTL/time.Second):
		return ErrTooLong
	}
	return nil
}
