package caps

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"gopkg.in/macaroon.v2"
)

// Why a token is refused.
var (
	ErrMalformed = errors.New("caps: not a token")             // not in the one canonical form, or beyond the bounds
	ErrForged    = errors.New("caps: signature does not hold") // tampered with, or signed by a key that is not here
	ErrRevoked   = errors.New("caps: revoked")                 // by its cap id
	ErrExpired   = errors.New("caps: expired")                 // or without exp
	ErrEarly     = errors.New("caps: not valid yet")           // nbf is to come
	ErrTooLong   = errors.New("caps: lives too long")          // exp is beyond MaxTTL
	ErrScope     = errors.New("caps: out of scope")            // the token is good, and not for this
)

// Bounds of names in an identifier.
const (
	maxKID      = 32
	maxCapID    = 64
	maxLocation = 256
)

var base64url = base64.RawURLEncoding.Strict()

// token is a parsed token whose signature nobody has checked.
type token struct {
	m          macaroon.Macaroon
	kid, capID string
}

// parse reads the one canonical form. Errors: ErrMalformed.
func parse(text string) (*token, error) {
	if text == "" || len(text) > MaxToken {
		return nil, fmt.Errorf("%w: it has 1 to %d characters", ErrMalformed, MaxToken)
	}
	raw, err := base64url.DecodeString(text)
	if err != nil || len(raw) < 2 || raw[0] != 2 || strings.ContainsAny(text, "\r\n") {
		return nil, fmt.Errorf("%w: it is a macaroon of version 2 in unpadded base64url", ErrMalformed)
	}
	var t token
	if err := t.m.UnmarshalBinary(raw); err != nil {
		return nil, fmt.Errorf("%w: its binary form is broken", ErrMalformed)
	}
	if again, err := t.m.MarshalBinary(); err != nil || !bytes.Equal(again, raw) {
		return nil, fmt.Errorf("%w: its binary form is not the canonical one", ErrMalformed)
	}
	if len(t.m.Location()) > maxLocation || len(t.m.Caveats()) > MaxCaveats {
		return nil, fmt.Errorf("%w: it has at most %d caveats", ErrMalformed, MaxCaveats)
	}
	var ok bool
	if t.kid, t.capID, ok = parseID(string(t.m.Id())); !ok {
		return nil, fmt.Errorf("%w: its identifier is no {kid, cap_id}", ErrMalformed)
	}
	return &t, nil
}

// identifier is the canonical identifier of a token.
func identifier(kid, capID string) string { return `{"kid":"` + kid + `","cap_id":"` + capID + `"}` }

func parseID(id string) (kid, capID string, ok bool) {
	rest, ok := strings.CutPrefix(id, `{"kid":"`)
	if !ok {
		return "", "", false
	}
	kid, rest, ok = strings.Cut(rest, `","cap_id":"`)
	capID, tail, end := strings.Cut(rest, `"}`)
	ok = ok && end && tail == "" && word(kid, maxKID) && word(capID, maxCapID)
	return kid, capID, ok
}

// conditions are the caveats as bytes. Errors: ErrCaveat for a third party's.
func (t *token) conditions() ([][]byte, error) {
	all := t.m.Caveats()
	out := make([][]byte, len(all))
	for i, c := range all {
		if len(c.VerificationId) > 0 || c.Location != "" {
			return nil, fmt.Errorf("%w: this node asks no third party", ErrCaveat)
		}
		out[i] = c.Id
	}
	return out, nil
}

// scope is what the caveats allow together. Errors: ErrCaveat.
func (t *token) scope() (Scope, error) {
	s := newScope()
	all, err := t.conditions()
	if err != nil {
		return s, err
	}
	for _, c := range all {
		if err := s.add(string(c)); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (t *token) encode() (string, error) {
	raw, err := t.m.MarshalBinary()
	if err != nil {
		return "", err
	}
	if base64url.EncodedLen(len(raw)) > MaxToken || len(t.m.Caveats()) > MaxCaveats {
		return "", fmt.Errorf("%w: it would have more than %d characters or %d caveats", ErrMalformed, MaxToken, MaxCaveats)
	}
	return base64url.EncodeToString(raw), nil
}

// Attenuate appends caveats to a token, which needs no key and cannot be undone.
// Errors: ErrMalformed, ErrCaveat.
func Attenuate(text string, caveats ...string) (string, error) {
	t, err := parse(text)
	if err != nil {
		return "", err
	}
	s, err := t.scope()
	if err != nil {
		return "", err
	}
	for _, c := range caveats {
		if err := s.add(c); err != nil {
			return "", err
		}
		if err := t.m.AddFirstPartyCaveat([]byte(c)); err != nil {
			return "", fmt.Errorf("%w: %v", ErrCaveat, err)
		}
	}
	return t.encode()
}

// View is what a token says about itself; nobody has checked its signature.
type View struct {
	KID     string   `json:"kid"`
	CapID   string   `json:"cap_id"`
	Caveats []string `json:"caveats"`
	Scope   Scope    `json:"-"`
}

// Inspect reads a token without a key. Errors: ErrMalformed, and ErrCaveat with
// the view, which then has no scope.
func Inspect(text string) (View, error) {
	t, err := parse(text)
	if err != nil {
		return View{}, err
	}
	v := View{KID: t.kid, CapID: t.capID, Caveats: []string{}}
	for _, c := range t.m.Caveats() {
		v.Caveats = append(v.Caveats, string(c.Id))
	}
	v.Scope, err = t.scope()
	return v, err
}
