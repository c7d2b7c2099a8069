// Package seal keeps small secrets at rest: it encrypts them to age identities or under a passphrase (age-encryption.org/v1).
// It is not a key store, and it does not decide what is kept.
//
// Its one invariant: what Seal returns can be opened only with the file that it was made from.
package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
)

const (
	maxFile = 64 << 10 // bytes of an identity or passphrase file
	maxOpen = 1 << 20  // bytes of what was sealed
	// workFactor of scrypt is 2^15, about 50 ms: the passphrase is a file's, not a person's, and a start must not take a second.
	workFactor    = 15
	minPassphrase = 12
)

// ErrFile says that a file to seal with cannot be used, and why.
var ErrFile = errors.New("seal: the file cannot be used")

// ErrOpen says that something was sealed with another identity or passphrase, or was changed.
var ErrOpen = errors.New("seal: cannot be opened with this identity or passphrase")

// Box seals and opens.
type Box struct {
	to   []age.Recipient
	from []age.Identity
}

// Identity makes a box of a file of age identities, as age-keygen writes it; of several, all open and the last one seals.
// Errors: ErrFile.
func Identity(path string) (*Box, error) {
	text, err := private(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFile, path, err)
	}
	defer clear(text)
	ids, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: it holds no age identity (make one: age-keygen -o FILE)", ErrFile, path) // the parser's words may show a line
	}
	b := &Box{from: ids}
	switch last := ids[len(ids)-1].(type) {
	case *age.X25519Identity:
		b.to = []age.Recipient{last.Recipient()}
	case *age.HybridIdentity:
		b.to = []age.Recipient{last.Recipient()}
	default:
		return nil, fmt.Errorf("%w: %s: its last identity is of a kind that cannot seal", ErrFile, path)
	}
	return b, nil
}

// Passphrase makes a box of the first line of a file. Errors: ErrFile.
func Passphrase(path string) (*Box, error) {
	text, err := private(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFile, path, err)
	}
	defer clear(text)
	line, _, _ := strings.Cut(string(text), "\n")
	line = strings.TrimRight(line, "\r")
	if len(line) < minPassphrase {
		return nil, fmt.Errorf("%w: %s: a passphrase has at least %d characters (make one: openssl rand -base64 24)", ErrFile, path, minPassphrase)
	}
	to, err := age.NewScryptRecipient(line)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFile, path, err)
	}
	to.SetWorkFactor(workFactor)
	from, err := age.NewScryptIdentity(line)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFile, path, err)
	}
	return &Box{to: []age.Recipient{to}, from: []age.Identity{from}}, nil
}

// private reads a file that is its owner's alone.
func private(path string) ([]byte, error) {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, errors.New("it is no regular file")
	case st.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("others may read it (mode %04o): chmod 600 it", st.Mode().Perm())
	case st.Size() > maxFile:
		return nil, fmt.Errorf("it is longer than %d bytes", maxFile)
	}
	return os.ReadFile(path)
}

// Seal encrypts.
func (b *Box) Seal(secret []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, b.to...)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if _, err = w.Write(secret); err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return out.Bytes(), nil
}

// Open decrypts. The caller clears the result. Errors: ErrOpen.
func (b *Box) Open(sealed []byte) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), b.from...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOpen, err)
	}
	secret, err := io.ReadAll(io.LimitReader(r, maxOpen))
	if err != nil {
		clear(secret)
		return nil, fmt.Errorf("%w: %w", ErrOpen, err)
	}
	return secret, nil
}
