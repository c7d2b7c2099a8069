package kernel

import (
	"fmt"
	"runtime/debug"
	"unicode/utf8"
)

const (
	maxReason = 1 << 10 // bytes of a reason that are kept
	maxStack  = 8 << 10 // bytes of a stack that are kept
)

// crash is why an incarnation died. It is the value of the panic that carries
// it through the actor library.
type crash struct {
	reason string
	stack  string // empty where there was no panic
	meant  bool   // an order, or the word of one that was told to go: news only if it is the crash
}

// at is c with a word of when it came.
func (c *crash) at(when string) *crash {
	return &crash{reason: clip(when+c.reason, maxReason), stack: c.stack, meant: c.meant}
}

// String keeps the library's own log line short.
func (c *crash) String() string { return c.reason }

// crashOf turns a recovered panic value into a crash, with the stack of the
// panic: call it inside the deferred function.
func crashOf(prefix string, v any) *crash {
	if c, ok := v.(*crash); ok {
		return c
	}
	return &crash{reason: clip(prefix+fmt.Sprint(v), maxReason), stack: clip(string(debug.Stack()), maxStack)}
}

// clip shortens s to at most n bytes at a rune's edge.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const mark = "…"
	n -= len(mark)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + mark
}
