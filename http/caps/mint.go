package caps

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"gopkg.in/macaroon.v2"
)

// Location is what minted tokens say of where they are for; nobody relies on it.
const Location = "micronode"

// ErrSpec says that a token was asked for that cannot be had.
var ErrSpec = errors.New("caps: no such token")

// Spec is a token to be minted. Empty fields set no bound.
type Spec struct {
	Ops       Op            // required: name all to allow all
	TTL       time.Duration // 0: DefaultTTL; at most MaxTTL
	NotBefore time.Time
	Paths     []string
	Topics    []string
	MaxBytes  int64 // 0: no bound
	RPS       int
	Weight    int
	CIDRs     []string
	Tenant    string
	Inline    bool
}

// AllOps is every operation there is.
const AllOps Op = allOps

// Minted is a fresh token and its names.
type Minted struct {
	Token   string    `json:"token"`
	KID     string    `json:"kid"`
	CapID   string    `json:"cap_id"`
	Expires time.Time `json:"expires"`
	Caveats []string  `json:"caveats"`
}

// caveats puts a spec into the grammar, what grants before exp.
func (s Spec) caveats(now time.Time) (all []string, exp time.Time, err error) {
	ttl := s.TTL
	if ttl == 0 {
		ttl = DefaultTTL
	}
	switch {
	case s.Ops == 0:
		return nil, exp, fmt.Errorf("%w: name its operations", ErrSpec)
	case ttl < time.Second || ttl > MaxTTL:
		return nil, exp, fmt.Errorf("%w: its life is from 1s to %v", ErrSpec, MaxTTL)
	case s.MaxBytes < 0 || s.RPS < 0 || s.Weight < 0:
		return nil, exp, fmt.Errorf("%w: a bound is below 0", ErrSpec)
	}
	add := func(name, value string) { all = append(all, name+"="+value) }
	if s.Weight > 0 {
		add("weight", strconv.Itoa(s.Weight))
	}
	if s.Inline {
		add("inline", "yes")
	}
	exp = now.Add(ttl).Truncate(time.Second).UTC()
	add("exp", strconv.FormatInt(exp.Unix(), 10))
	if s.Ops != AllOps {
		add("op", s.Ops.String())
	}
	if !s.NotBefore.IsZero() {
		add("nbf", strconv.FormatInt(s.NotBefore.Unix(), 10))
	}
	for _, p := range s.Paths {
		add("path", p)
	}
	if len(s.Topics) > 0 {
		add("topic", strings.Join(s.Topics, ","))
	}
	if s.MaxBytes > 0 {
		add("max-bytes", strconv.FormatInt(s.MaxBytes, 10))
	}
	if s.RPS > 0 {
		add("rps", strconv.Itoa(s.RPS))
	}
	for _, c := range s.CIDRs {
		if net, err := netip.ParsePrefix(c); err == nil {
			c = net.Masked().String()
		}
		add("cidr", c)
	}
	if s.Tenant != "" {
		add("tenant", s.Tenant)
	}
	scope := newScope()
	for _, c := range all {
		if err := scope.add(c); err != nil {
			return nil, exp, err
		}
	}
	return all, exp, nil
}

// Mint makes a token under the active key. Errors: ErrSpec, ErrCaveat, ErrClosed.
func (r *Ring) Mint(s Spec) (Minted, error) {
	now := r.now()
	caveats, exp, err := s.caveats(now)
	if err != nil {
		return Minted{}, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.keys) == 0 {
		return Minted{}, ErrClosed
	}
	active := r.keys[0]
	m := Minted{KID: active.info.KID, CapID: newCapID(now), Expires: exp, Caveats: caveats}
	m.Token, err = r.sign(active.slot, identifier(m.KID, m.CapID), caveats)
	return m, err
}

func newCapID(now time.Time) string {
	return ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()).String()
}

// sign works the chain out to the identifier in the vault, and lets the library
// append the caveats, which needs no key.
func (r *Ring) sign(slot int, id string, caveats []string) (string, error) {
	sig, _, err := r.vault.chain(slot, []byte(id), nil, nil)
	if err != nil {
		return "", err
	}
	m, err := seed(id, sig[:])
	if err != nil {
		return "", err
	}
	for _, c := range caveats {
		if err := m.AddFirstPartyCaveat([]byte(c)); err != nil {
			return "", err
		}
	}
	return (&token{m: *m}).encode()
}

// seed is a macaroon without caveats and with this signature: the library has no
// other way to take one but its binary form.
func seed(id string, sig []byte) (*macaroon.Macaroon, error) {
	m, err := macaroon.New(make([]byte, keyLen), []byte(id), Location, macaroon.V2)
	if err != nil {
		return nil, err
	}
	raw, err := m.MarshalBinary()
	if err != nil {
		return nil, err
	}
	copy(raw[len(raw)-len(sig):], sig) // the signature is what ends it
	defer clear(raw)
	var signed macaroon.Macaroon
	return &signed, signed.UnmarshalBinary(raw)
}
