package caps

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of a token (contract §8), looked at before anything is parsed.
const (
	MaxToken   = 4096 // bytes of its text
	MaxCaveats = 64
	MaxTTL     = time.Hour
	DefaultTTL = 15 * time.Minute
	Skew       = time.Minute // by which clocks may differ
	MaxWeight  = 1000
)

// Bounds of one caveat's value.
const (
	maxPath   = 1024
	maxTopic  = 128
	maxTenant = 64
	maxList   = 32
)

// Op is a set of operations.
type Op uint32

// Operations. A token without op caveat allows all of them.
const (
	Put Op = 1 << iota
	Get
	List
	Delete
	Send
	Recv
	Ack
	Nack
	Peek   // topics, waiting messages and dead letters, looked at
	Redo   // dead letters put back
	Purge  // messages and dead letters thrown away
	Admin  // /api/v1
	Metric // /metrics
	allOps = 1<<iota - 1
)

var opNames = []string{"put", "get", "list", "delete", "send", "recv", "ack", "nack", "peek", "reprocess", "purge", "admin", "metrics"}

// String lists the names, with commas.
func (o Op) String() string {
	var names []string
	for i, name := range opNames {
		if o&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// ParseOps reads a list as "put,get". Errors: ErrCaveat.
func ParseOps(list string) (Op, error) {
	var all Op
	for name := range strings.SplitSeq(list, ",") {
		i := slices.Index(opNames, name)
		switch {
		case i < 0:
			return 0, fmt.Errorf("%w: there is no operation %.16q; there are %s", ErrCaveat, name, strings.Join(opNames, " "))
		case all&(1<<i) != 0:
			return 0, fmt.Errorf("%w: an operation is named twice", ErrCaveat)
		}
		all |= 1 << i
	}
	return all, nil
}

// ErrCaveat says that a condition is not one of the grammar, or not in its one
// canonical form. A token that holds one allows nothing.
var ErrCaveat = errors.New("caps: caveat not understood")

// Scope is what all caveats of a token together allow. The zero value allows
// everything and never begins nor ends; Check wants an end.
type Scope struct {
	Ops       Op // 0 with Limited: none
	Limited   bool
	Paths     []string // each is a prefix that the request must have
	Topics    []string // nil: any; empty: none
	Nets      []netip.Prefix
	MaxBytes  int64 // of a request's body; -1: no bound
	RPS       int   // of the token and all that were made from it; 0: no bound
	Weight    int   // share in the fair queue, 1 where none was granted
	Tenant    string
	Inline    bool  // objects may be shown by a browser
	NotBefore int64 // unix seconds, the latest; 0: none
	Expires   int64 // unix seconds, the earliest; 0: none
	farthest  int64 // the latest exp: a far one is not mended by a nearer one
	nobody    bool  // two tenants: nobody is both
	lowered   bool  // a weight was named
}

// newScope is what a token without caveats allows.
func newScope() Scope { return Scope{Ops: allOps, MaxBytes: -1, Weight: 1} }

// add narrows the scope by one caveat. Only the minter's part, which ends with
// the first exp, may grant a weight above 1 and inline: holders append, and what
// they append must not widen. Errors: ErrCaveat.
func (s *Scope) add(condition string) error {
	name, value, ok := strings.Cut(condition, "=")
	if !ok || value == "" {
		return fmt.Errorf("%w: %.16q has no value", ErrCaveat, condition)
	}
	switch name {
	case "exp":
		return s.expire(value)
	case "nbf":
		at, err := number(name, value, 1<<40)
		s.NotBefore = max(s.NotBefore, at)
		return err
	case "op":
		ops, err := ParseOps(value)
		s.Ops, s.Limited = s.Ops&ops, true
		return err
	case "path":
		return s.addPath(value)
	case "topic":
		return s.addTopics(value)
	case "max-bytes":
		n, err := number(name, value, 1<<50)
		if s.MaxBytes < 0 || n < s.MaxBytes {
			s.MaxBytes = n
		}
		return err
	case "rps":
		n, err := number(name, value, 1_000_000_000)
		if err == nil && n == 0 {
			err = fmt.Errorf("%w: rps is at least 1", ErrCaveat)
		}
		if s.RPS == 0 || int(n) < s.RPS {
			s.RPS = int(n)
		}
		return err
	case "weight":
		return s.weigh(value)
	case "cidr":
		return s.addNet(value)
	case "tenant":
		if !word(value, maxTenant) {
			return fmt.Errorf("%w: a tenant has 1 to %d of A-Z a-z 0-9 . _ -", ErrCaveat, maxTenant)
		}
		s.nobody = s.nobody || s.Tenant != "" && s.Tenant != value
		s.Tenant = value
		return nil
	case "inline":
		if value != "yes" && value != "no" {
			return fmt.Errorf("%w: inline is yes or no", ErrCaveat)
		}
		s.Inline = value == "yes" && s.Expires == 0 || value == "yes" && s.Inline
		return nil
	default:
		return fmt.Errorf("%w: there is no caveat %.16q", ErrCaveat, name)
	}
}

func (s *Scope) expire(value string) error {
	at, err := number("exp", value, 1<<40)
	if err != nil || at == 0 {
		return fmt.Errorf("%w: exp is a time in unix seconds", ErrCaveat)
	}
	s.farthest = max(s.farthest, at)
	if s.Expires == 0 || at < s.Expires {
		s.Expires = at
	}
	return nil
}

func (s *Scope) weigh(value string) error {
	n, err := number("weight", value, MaxWeight)
	if err != nil || n == 0 {
		return fmt.Errorf("%w: weight is 1 to %d", ErrCaveat, MaxWeight)
	}
	if granted := s.Expires == 0 && !s.lowered; granted || int(n) < s.Weight {
		s.Weight = int(n)
	}
	s.lowered = true
	return nil
}

func (s *Scope) addPath(p string) error {
	if len(p) > maxPath || p[0] != '/' || strings.Contains(p, "//") || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r > '~' || r == '%' || r == '?' || r == '#' }) ||
		strings.Contains(p+"/", "/./") || strings.Contains(p+"/", "/../") {
		return fmt.Errorf("%w: a path is like /o/ and has no dots, escapes or spaces", ErrCaveat)
	}
	s.Paths = append(s.Paths, p)
	return nil
}

func (s *Scope) addTopics(value string) error {
	topics := strings.Split(value, ",")
	if len(topics) > maxList {
		return fmt.Errorf("%w: a caveat names at most %d topics", ErrCaveat, maxList)
	}
	for i, t := range topics {
		if len(t) == 0 || len(t) > maxTopic || strings.ContainsFunc(t, func(r rune) bool { return !isTopic(r) }) || slices.Contains(topics[:i], t) {
			return fmt.Errorf("%w: topics are named once each, in A-Z a-z 0-9 . _ : / -", ErrCaveat)
		}
	}
	if s.Topics != nil {
		topics = slices.DeleteFunc(topics, func(t string) bool { return !slices.Contains(s.Topics, t) })
	}
	s.Topics = topics
	return nil
}

func isTopic(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._:/-", r)
}

func (s *Scope) addNet(value string) error {
	net, err := netip.ParsePrefix(value)
	if a, single := netip.ParseAddr(value); err != nil && single == nil {
		net, err = netip.PrefixFrom(a, a.BitLen()), nil
		value += "/" + strconv.Itoa(a.BitLen())
	}
	if err != nil || net.Masked().String() != value || net.Addr().Is4In6() {
		return fmt.Errorf("%w: cidr is a network like 10.1.0.0/16, in its shortest form", ErrCaveat)
	}
	s.Nets = append(s.Nets, net)
	return nil
}

// number reads a decimal in its one form.
func number(name, value string, most int64) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 || n > most || strconv.FormatInt(n, 10) != value {
		return 0, fmt.Errorf("%w: %s is a whole number up to %d", ErrCaveat, name, most)
	}
	return n, nil
}

// word reports whether s has 1 to most of A-Z a-z 0-9 . _ -.
func word(s string, most int) bool {
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return !isTopic(r) || r == ':' || r == '/' })
}
