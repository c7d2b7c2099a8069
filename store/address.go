package store

import (
	"bytes"
	"encoding/hex"
	"fmt"
)

const (
	addressPrefix = "b3:"
	addressLen    = len(addressPrefix) + 2*len(Address{})
)

// Address names an object: the BLAKE3-256 digest of its bytes (contract §2). The zero Address names nothing that exists.
type Address [32]byte

// ParseAddress reads the text form, exactly "b3:" and 64 lowercase hexadecimal digits. Anything else is ErrBadAddress,
// wrapped with what is wrong and where; the text itself is never repeated.
func ParseAddress(s string) (Address, error) { return parseAddress(s) }

func parseAddress[T string | []byte](s T) (Address, error) {
	var a Address
	if len(s) != addressLen {
		return Address{}, fmt.Errorf("%w, got %d bytes instead of %d", ErrBadAddress, len(s), addressLen)
	}
	if string(s[:len(addressPrefix)]) != addressPrefix {
		return Address{}, fmt.Errorf("%w, got another prefix", ErrBadAddress)
	}
	for i := len(addressPrefix); i < addressLen; i++ {
		digit, ok := hexDigit(s[i])
		if !ok {
			return Address{}, fmt.Errorf("%w, byte %d is not such a digit", ErrBadAddress, i)
		}
		at := i - len(addressPrefix)
		a[at/2] = a[at/2]<<4 | digit
	}
	return a, nil
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// String returns the text form that ParseAddress reads.
func (a Address) String() string {
	var text [addressLen]byte
	return string(a.appendText(text[:0]))
}

// MarshalText returns the text form; it never fails.
func (a Address) MarshalText() ([]byte, error) {
	return a.appendText(make([]byte, 0, addressLen)), nil
}

// UnmarshalText is ParseAddress for decoders; on ErrBadAddress the receiver keeps its value.
func (a *Address) UnmarshalText(text []byte) error {
	parsed, err := parseAddress(text)
	if err != nil {
		return err
	}
	*a = parsed
	return nil
}

// Compare orders addresses by their bytes, which is also the order of their text: -1, 0 or +1.
func (a Address) Compare(b Address) int { return bytes.Compare(a[:], b[:]) }

func (a Address) appendText(dst []byte) []byte {
	return hex.AppendEncode(append(dst, addressPrefix...), a[:])
}
