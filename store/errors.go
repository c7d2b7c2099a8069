package store

import "errors"

// The kinds of refusal a Store knows. They come wrapped with what happened; match them with errors.Is.
var (
	// ErrNotFound says that no object is kept under the address: never stored, deleted, or expired.
	ErrNotFound = errors.New("object not found")
	// ErrBadAddress says that a text is not an address (contract §2).
	ErrBadAddress = errors.New(`bad address: want "b3:" and 64 lowercase hexadecimal digits`)
	// ErrFull says that the store's byte bound leaves no room; nothing is evicted to make some.
	ErrFull = errors.New("store is full: delete objects or raise store.max_bytes")
	// ErrTooLarge says that a body is longer than its bound, or than the length declared for it.
	ErrTooLarge = errors.New("object is too large")
	// ErrMismatch says that a body does not have the address its sender expected.
	ErrMismatch = errors.New("content does not match the expected address")
	// ErrCorrupt says that stored bytes no longer match their address; putting the right bytes again heals the object.
	ErrCorrupt = errors.New("stored bytes do not match their address")
	// ErrNotReady says that the store is not attached, or is closing; trying again later may succeed.
	ErrNotReady = errors.New("store is not ready")
	// ErrReadOnly says that reads are served and writes are refused for now.
	ErrReadOnly = errors.New("store is read-only")
)
