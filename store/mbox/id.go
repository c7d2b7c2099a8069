package mbox

import (
	"encoding/base64"
	"fmt"

	"github.com/oklog/ulid/v2"
)

// ID names a message: a ULID (github.com/ulid/spec). Within a shard, ids grow
// in the order of Send.
type ID [16]byte

// String returns 26 characters of Crockford's base 32.
func (id ID) String() string { return ulid.ULID(id).String() }

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return ulid.ULID(id).MarshalText() }

// UnmarshalText implements encoding.TextUnmarshaler. Errors: ErrInvalid.
func (id *ID) UnmarshalText(text []byte) error {
	u, err := ulid.ParseStrict(string(text))
	if err != nil {
		return fmt.Errorf("%w: a message id is a ULID, 26 characters", ErrInvalid)
	}
	*id = ID(u)
	return nil
}

// ParseID reads the text form. Errors: ErrInvalid.
func ParseID(s string) (id ID, err error) { return id, id.UnmarshalText([]byte(s)) }

// receiptSize is the binary form: shard, id, nonce. 33 bytes are 44 characters
// of base64 with nothing left over, so there is one text form of each.
const receiptSize = 1 + 16 + 16

// ReceiptLen is the length of a receipt's text form, in bytes.
const ReceiptLen = receiptSize / 3 * 4

// Receipt is the right to settle one delivery of one message: it names the
// shard and the message, and carries a random secret that was made for this
// attempt and is compared in constant time.
type Receipt struct {
	Shard uint8
	ID    ID
	Nonce [16]byte
}

// String returns the text form: unpadded base64url.
func (r Receipt) String() string { return string(r.AppendTo(make([]byte, 0, ReceiptLen))) }

// AppendTo appends the text form.
func (r Receipt) AppendTo(b []byte) []byte {
	var raw [receiptSize]byte
	raw[0] = r.Shard
	copy(raw[1:], r.ID[:])
	copy(raw[17:], r.Nonce[:])
	return base64.RawURLEncoding.AppendEncode(b, raw[:])
}

// ParseReceipt reads the text form. Errors: ErrBadReceipt.
func ParseReceipt(s string) (r Receipt, err error) {
	if len(s) != ReceiptLen {
		return r, ErrBadReceipt
	}
	var raw [receiptSize]byte
	if n, err := base64.RawURLEncoding.Strict().Decode(raw[:], []byte(s)); err != nil || n != receiptSize {
		return r, ErrBadReceipt // the decoder would skip line breaks: they shorten what it yields
	}
	r.Shard = raw[0]
	copy(r.ID[:], raw[1:])
	copy(r.Nonce[:], raw[17:])
	return r, nil
}
