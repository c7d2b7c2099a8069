package caps

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopkg.in/macaroon.v2"
)

// clock is a wall clock that tests move.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newClock() *clock { return &clock{time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)} }

func ring(t testing.TB, c *clock) *Ring {
	t.Helper()
	r, err := NewRing(c.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func mint(t testing.TB, r *Ring, s Spec) string {
	t.Helper()
	if s.Ops == 0 {
		s.Ops = AllOps
	}
	m, err := r.Mint(s)
	if err != nil {
		t.Fatal(err)
	}
	return m.Token
}

// foreign mints by the library alone, under a root key that the test knows.
func foreign(t testing.TB, root []byte, id string, caveats ...string) string {
	t.Helper()
	m, err := macaroon.New(root, []byte(id), "elsewhere", macaroon.V2)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range caveats {
		if err := m.AddFirstPartyCaveat([]byte(c)); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := m.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// known is a ring whose root key the test knows.
func known(t testing.TB, c *clock) (r *Ring, root []byte) {
	t.Helper()
	root = bytes.Repeat([]byte{7, 41, 99, 3}, 8)
	path := filepath.Join(t.TempDir(), "root.key")
	if err := os.WriteFile(path, []byte(hex.EncodeToString(root)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path, c.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, root
}

func TestMintCheckPermit(t *testing.T) {
	c := newClock()
	r := ring(t, c)
	text := mint(t, r, Spec{Ops: Get | Send, Paths: []string{"/o/"}, CIDRs: []string{"127.0.0.0/8"}, MaxBytes: 10, RPS: 4, Weight: 3, Tenant: "acme"})
	g, err := r.Check(text)
	if err != nil {
		t.Fatal(err)
	}
	local := netip.MustParseAddr("127.0.0.1")
	for _, tc := range []struct {
		name string
		ask  Ask
		ok   bool
	}{
		{"fits", Ask{Op: Get, Paths: [2]string{"/o/b3:1"}, Client: local}, true},
		{"second path fits", Ask{Op: Get, Paths: [2]string{"/put", "/o/"}, Client: local}, true},
		{"other op", Ask{Op: Put, Paths: [2]string{"/o/b3:1"}, Client: local}, false},
		{"other path", Ask{Op: Get, Paths: [2]string{"/other"}, Client: local}, false},
		{"not at a boundary", Ask{Op: Get, Paths: [2]string{"/o"}, Client: local}, false},
		{"other client", Ask{Op: Get, Paths: [2]string{"/o/b3:1"}, Client: netip.MustParseAddr("10.0.0.1")}, false},
		{"no client", Ask{Op: Get, Paths: [2]string{"/o/b3:1"}}, false},
	} {
		if err := g.Permits(&tc.ask); (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrScope) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if g.Body(10) != nil || g.Body(11) == nil || g.Scope.RPS != 4 || g.Scope.Weight != 3 || g.Scope.Tenant != "acme" {
		t.Errorf("scope: %+v", g.Scope)
	}
}

func TestPrefixAtBoundary(t *testing.T) {
	for _, tc := range []struct {
		path, prefix string
		ok           bool
	}{
		{"/o/b3:ab", "/o/", true}, {"/o/b3:ab", "/o", true}, {"/o/b3:ab", "/o/b3:ab", true}, {"/o/b3:ab", "/o/b3:a", false},
		{"/o", "/o", true}, {"/o", "/o/", false}, {"/other", "/o", false}, {"", "/", false}, {"/x", "/", true},
	} {
		if under(tc.path, tc.prefix) != tc.ok {
			t.Errorf("under(%q, %q) is not %v", tc.path, tc.prefix, tc.ok)
		}
	}
}

func TestTime(t *testing.T) {
	c := newClock()
	r, root := known(t, c)
	id := identifier(r.Keys()[0].KID, "one")
	at := func(d time.Duration) string { return fmt.Sprint(c.at.Add(d).Unix()) }
	for _, tc := range []struct {
		name    string
		caveats []string
		want    error
	}{
		{"good", []string{"exp=" + at(time.Minute)}, nil},
		{"over, within the skew", []string{"exp=" + at(-59*time.Second)}, nil},
		{"over", []string{"exp=" + at(-60*time.Second)}, ErrExpired},
		{"no exp", []string{"op=get"}, ErrExpired},
		{"no caveat", nil, ErrExpired},
		{"longest", []string{"exp=" + at(time.Hour)}, nil},
		{"too long", []string{"exp=" + at(time.Hour+2*time.Minute)}, ErrTooLong},
		{"too long, not mended by a nearer one", []string{"exp=" + at(time.Hour+2*time.Minute), "exp=" + at(time.Minute)}, ErrTooLong},
		{"early, within the skew", []string{"exp=" + at(time.Minute), "nbf=" + at(60*time.Second)}, nil},
		{"early", []string{"exp=" + at(time.Minute), "nbf=" + at(61*time.Second)}, ErrEarly},
		{"the nearest counts", []string{"exp=" + at(time.Minute), "exp=" + at(-time.Hour)}, ErrExpired},
	} {
		if _, err := r.Check(foreign(t, root, id, tc.caveats...)); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	text := mint(t, r, Spec{TTL: time.Minute})
	if _, err := r.Check(text); err != nil {
		t.Fatal(err)
	}
	c.at = c.at.Add(2 * time.Minute) // a remembered token ends like any other
	if _, err := r.Check(text); !errors.Is(err, ErrExpired) {
		t.Errorf("a remembered token after its end: %v", err)
	}
}

func TestUnknownCaveatDenies(t *testing.T) {
	c := newClock()
	r, root := known(t, c)
	id, exp := identifier(r.Keys()[0].KID, "one"), fmt.Sprintf("exp=%d", c.at.Add(time.Minute).Unix())
	for _, bad := range []string{
		"", "x", "x=1", "op=", "op=fly", "op=put,put", "op=PUT", "op=put, get", "op=put,", "path=o", "path=/o/../x", "path=//o", "path=/%6f", "path=/ o",
		"topic=", "topic=a,a", "topic=a b", "topic=*", "max-bytes=-1", "max-bytes=01", "max-bytes=1e3", "max-bytes=+1", "rps=0", "rps=x", "weight=0", "weight=1001",
		"cidr=10.1.2.3/8", "cidr=10.0.0.0/33", "cidr=x", "cidr=::ffff:10.0.0.0/104", "tenant=a b", "exp=0", "exp=00", "exp=-1", "nbf=x", "inline=true",
		"OP=put", "op =put", " op=put", "exp=9999999999999999999999", "tenant=" + strings.Repeat("a", 65),
	} {
		if _, err := r.Check(foreign(t, root, id, exp, bad)); !errors.Is(err, ErrCaveat) {
			t.Errorf("%q: %v", bad, err)
		}
		if bad == "" {
			continue
		}
		if _, err := Attenuate(mint(t, r, Spec{}), bad); !errors.Is(err, ErrCaveat) {
			t.Errorf("attenuate by %q: %v", bad, err)
		}
	}
	third, _ := macaroon.New(root, []byte(id), "", macaroon.V2)
	_ = third.AddFirstPartyCaveat([]byte(exp))
	_ = third.AddThirdPartyCaveat(root, []byte("op=get"), "")
	raw, _ := third.MarshalBinary()
	if _, err := r.Check(base64.RawURLEncoding.EncodeToString(raw)); !errors.Is(err, ErrCaveat) {
		t.Errorf("third party: %v", err)
	}
}

func TestCanonicalOnly(t *testing.T) {
	c := newClock()
	r := ring(t, c)
	good := mint(t, r, Spec{})
	raw, _ := base64.RawURLEncoding.DecodeString(good)
	std := base64.StdEncoding.EncodeToString(raw)
	longVarint := append([]byte{2, 1, 0x89, 0x00}, raw[3:]...) // the length of the location in two bytes
	for name, bad := range map[string]string{
		"empty": "", "padded": base64.URLEncoding.EncodeToString(append(raw, 0)), "standard alphabet": std + "+/", "newline": good[:8] + "\n" + good[8:],
		"tail": base64.RawURLEncoding.EncodeToString(append(bytes.Clone(raw), 0)), "version 1": base64.RawURLEncoding.EncodeToString([]byte("0017location")),
		"json": base64.RawURLEncoding.EncodeToString([]byte(`{"v":2}`)), "longer varint": base64.RawURLEncoding.EncodeToString(longVarint),
		"too long": strings.Repeat("A", MaxToken+1), "space": " " + good,
	} {
		if _, err := r.Check(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, id := range []string{"", "x", `{"kid":"a","cap_id":"b"} `, `{"cap_id":"b","kid":"a"}`, `{"kid":"a", "cap_id":"b"}`, `{"kid":"","cap_id":"b"}`, `{"kid":"a","cap_id":"b","x":1}`, `{"kid":"a\"","cap_id":"b"}`} {
		if _, err := r.Check(foreign(t, []byte("0123456789abcdef"), id, "exp=1")); !errors.Is(err, ErrMalformed) {
			t.Errorf("identifier %q: %v", id, err)
		}
	}
	if _, err := r.Check(foreign(t, []byte("k"), identifier("a", "b"), make([]string, MaxCaveats+1)...)); !errors.Is(err, ErrMalformed) {
		t.Errorf("too many caveats: %v", err)
	}
}

// TestForgeries changes good tokens in every way there is; none is accepted.
func TestForgeries(t *testing.T) {
	c := newClock()
	r := ring(t, c)
	rng := rand.New(rand.NewPCG(1, 2))
	tokens := []string{mint(t, r, Spec{Ops: Get, Paths: []string{"/o/"}}), mint(t, r, Spec{Ops: Put, MaxBytes: 5, Weight: 2}), mint(t, r, Spec{})}
	accepted, tried := 0, 0
	for tried < 10_000 {
		good := tokens[rng.IntN(len(tokens))]
		raw, _ := base64.RawURLEncoding.DecodeString(good)
		switch rng.IntN(6) {
		case 0: // a bit of what is signed, or of the signature; the location in front is not signed
			at := 2 + 1 + len(Location) + rng.IntN(len(raw)-3-len(Location))
			raw[at] ^= 1 << rng.IntN(8)
		case 1: // cut a caveat out: the signature of the longer one stays
			var m macaroon.Macaroon
			if m.UnmarshalBinary(raw) != nil {
				t.Fatal("own token does not parse")
			}
			all := m.Caveats()
			drop := rng.IntN(len(all))
			short, _ := macaroon.New([]byte("guess"), m.Id(), Location, macaroon.V2)
			for i, cav := range all {
				if i != drop {
					_ = short.AddFirstPartyCaveat(cav.Id)
				}
			}
			raw, _ = short.MarshalBinary()
			copy(raw[len(raw)-32:], m.Signature())
		case 2: // another key
			var root [32]byte
			for i := range root {
				root[i] = byte(rng.Uint32())
			}
			text := foreign(t, root[:], identifier(r.Keys()[0].KID, "x"), fmt.Sprintf("exp=%d", c.at.Add(time.Minute).Unix()))
			raw, _ = base64.RawURLEncoding.DecodeString(text)
		case 3: // a random signature
			for i := range 32 {
				raw[len(raw)-1-i] = byte(rng.Uint32())
			}
		case 4: // cut
			raw = raw[:rng.IntN(len(raw))]
		case 5: // signature of another token
			other, _ := base64.RawURLEncoding.DecodeString(tokens[rng.IntN(len(tokens))])
			if bytes.Equal(other, raw) {
				continue
			}
			copy(raw[len(raw)-32:], other[len(other)-32:])
		}
		tried++
		if _, err := r.Check(base64.RawURLEncoding.EncodeToString(raw)); err == nil {
			accepted++
			t.Errorf("accepted %x", raw)
		}
	}
	t.Logf("%d forgeries, %d accepted", tried, accepted)
	for _, good := range tokens {
		if _, err := r.Check(good); err != nil {
			t.Errorf("a good token after all this: %v", err)
		}
	}
}

func randomCaveat(rng *rand.Rand, now time.Time) string {
	pick := func(all ...string) string { return all[rng.IntN(len(all))] }
	switch rng.IntN(11) {
	case 0:
		return fmt.Sprintf("exp=%d", now.Unix()+int64(rng.IntN(5000))-600)
	case 1:
		return fmt.Sprintf("nbf=%d", now.Unix()+int64(rng.IntN(300))-200)
	case 2:
		var ops Op
		for range 1 + rng.IntN(6) {
			ops |= 1 << rng.IntN(len(opNames))
		}
		return "op=" + ops.String()
	case 3:
		return "path=" + pick("/", "/o", "/o/", "/o/b3:aa", "/mbox/", "/api/v1", "/put")
	case 4:
		return "topic=" + pick("a", "b", "a,b", "b,c", "a,b,c")
	case 5:
		return fmt.Sprintf("max-bytes=%d", rng.IntN(100))
	case 6:
		return fmt.Sprintf("rps=%d", 1+rng.IntN(100))
	case 7:
		return fmt.Sprintf("weight=%d", 1+rng.IntN(10))
	case 8:
		return "cidr=" + pick("127.0.0.0/8", "10.0.0.0/8", "::1", "0.0.0.0/0", "127.0.0.1/32")
	case 9:
		return "tenant=" + pick("acme", "beta")
	default:
		return "inline=" + pick("yes", "no")
	}
}

// allowed is everything a token can be good for, in the eyes of a request.
func allowed(g *Grant, err error, a *Ask, topic string, body int64) bool {
	return err == nil && g.Permits(a) == nil && (a.Op&(Send|Recv) == 0 || g.Topic(topic) == nil) && g.Body(body) == nil
}

// TestNoWidening narrows tokens at random, step by step: what a longer one allows,
// each shorter one did.
func TestNoWidening(t *testing.T) {
	c := newClock()
	r := ring(t, c)
	rng := rand.New(rand.NewPCG(3, 4))
	chains := 100_000
	if testing.Short() {
		chains = 5_000
	}
	clients := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("::1")}
	paths := [][2]string{{"/o/b3:aa", "/o/b3:aa"}, {"/put", "/o/"}, {"/mbox/send"}, {"/api/v1/status"}, {"/o", "/o/"}}
	yes := 0
	for range chains {
		spec := Spec{Ops: AllOps, TTL: time.Hour, Weight: rng.IntN(4), Inline: rng.IntN(2) == 0}
		text := mint(t, r, spec)
		g, err := r.Check(text)
		a := Ask{Op: 1 << rng.IntN(len(opNames)), Paths: paths[rng.IntN(len(paths))], Client: clients[rng.IntN(len(clients))]}
		topic, body := string(rune('a'+rng.IntN(3))), int64(rng.IntN(100))
		before := allowed(g, err, &a, topic, body)
		for range 1 + rng.IntN(3) {
			cav := randomCaveat(rng, c.at)
			next, aerr := Attenuate(text, cav)
			if aerr != nil {
				t.Fatalf("%q: %v", cav, aerr)
			}
			h, herr := r.Check(next)
			after := allowed(h, herr, &a, topic, body)
			if after && !before {
				t.Fatalf("%q widens %+v to %+v for %+v", cav, g, h, a)
			}
			if herr == nil && err == nil && (h.Scope.Weight > g.Scope.Weight || h.Scope.Inline && !g.Scope.Inline || g.Scope.RPS > 0 && (h.Scope.RPS == 0 || h.Scope.RPS > g.Scope.RPS) || h.CapID != g.CapID) {
				t.Fatalf("%q grants more: %+v after %+v", cav, h.Scope, g.Scope)
			}
			text, g, err, before = next, h, herr, after
		}
		if before {
			yes++
		}
	}
	if yes < chains/50 {
		t.Fatalf("only %d of %d chains allowed anything at their end: the test looks at nothing", yes, chains)
	}
}

func TestRotateAndRevoke(t *testing.T) {
	c := newClock()
	r := ring(t, c)
	first := mint(t, r, Spec{TTL: time.Hour})
	old := r.Keys()[0]
	fresh, err := r.Rotate()
	if err != nil || fresh.KID == old.KID {
		t.Fatalf("rotate: %+v %v", fresh, err)
	}
	if _, err := r.Check(first); err != nil {
		t.Fatalf("a rotation ends no token: %v", err)
	}
	view, _ := Inspect(first)
	child, _ := Attenuate(first, "op=get")
	if err := r.RevokeCap(view.CapID); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{first, child} {
		if _, err := r.Check(text); !errors.Is(err, ErrRevoked) {
			t.Errorf("revoked: %v", err)
		}
	}
	second := mint(t, r, Spec{})
	if _, err := r.Check(second); err != nil {
		t.Fatal(err)
	}
	active, err := r.RevokeKey(fresh.KID)
	if err != nil || active.KID == fresh.KID {
		t.Fatalf("revoke the active key: %+v %v", active, err)
	}
	if _, err := r.Check(second); !errors.Is(err, ErrForged) {
		t.Errorf("a token of a revoked key: %v", err)
	}
	if _, err := r.RevokeKey("nobody"); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("an unknown kid: %v", err)
	}
	if _, err := r.Check(mint(t, r, Spec{})); err != nil {
		t.Errorf("after the revocation: %v", err)
	}
	for range 3 * MaxKeys {
		if _, err := r.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.Keys()); n != MaxKeys {
		t.Errorf("%d keys", n)
	}
	c.at = c.at.Add(2 * time.Hour)
	if _, err := r.Rotate(); err != nil || len(r.Keys()) != 2 || r.Revoked() != 0 {
		t.Errorf("what no token needs is kept: %d keys, %d revoked, %v", len(r.Keys()), r.Revoked(), err)
	}
	last := mint(t, r, Spec{})
	r.Close()
	r.Close()
	if _, err := r.Check(last); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := r.Mint(Spec{Ops: Get}); !errors.Is(err, ErrClosed) {
		t.Errorf("mint after the end: %v", err)
	}
}

func TestKeyFile(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	a, b := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	for _, tc := range []struct {
		name, text string
		mode       os.FileMode
		ok         bool
	}{
		{"hex", a + "\n", 0o600, true}, {"no newline", a, 0o400, true}, {"two and a comment", "# old\n" + a + "\n\n" + b + "\r\n", 0o600, true},
		{"raw", strings.Repeat("\x01", 32), 0o600, true}, {"readable by others", a, 0o640, false}, {"short", "abcd", 0o600, false},
		{"no hex", strings.Repeat("zz", 32), 0o600, false}, {"empty", "", 0o600, false}, {"long", strings.Repeat(a+"\n", 80), 0o600, false},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(tc.name, " ", "-"))
		if err := os.WriteFile(path, []byte(tc.text), tc.mode); err != nil {
			t.Fatal(err)
		}
		r, err := Open(path, c.now)
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
		if err != nil && strings.Contains(err.Error(), a) {
			t.Errorf("%s: the error shows the key", tc.name)
		}
		if r != nil {
			r.Close()
		}
	}
	if _, err := Open(filepath.Join(dir, "missing"), c.now); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := Open(dir, c.now); err == nil {
		t.Error("a directory is no key")
	}
	one, _ := Open(filepath.Join(dir, "hex"), c.now)
	two, _ := Open(filepath.Join(dir, "two-and-a-comment"), c.now)
	defer one.Close()
	defer two.Close()
	if _, err := two.Check(mint(t, one, Spec{})); err != nil {
		t.Errorf("a token of the older key of the file: %v", err)
	}
	if _, err := one.Check(mint(t, two, Spec{})); !errors.Is(err, ErrForged) {
		t.Errorf("a token of a key that the file lacks: %v", err)
	}
}

// TestSameChainAsLibrary holds our chain against the library's, which reads and
// verifies every token of ours, and whose tokens we take.
func TestSameChainAsLibrary(t *testing.T) {
	c := newClock()
	r, root := known(t, c)
	text := mint(t, r, Spec{Ops: Get | Put, Paths: []string{"/o/"}, RPS: 3})
	raw, _ := base64.RawURLEncoding.DecodeString(text)
	var m macaroon.Macaroon
	if err := m.UnmarshalBinary(raw); err != nil {
		t.Fatal(err)
	}
	seen := 0
	if err := m.Verify(root, func(string) error { seen++; return nil }, nil); err != nil || seen != 4 {
		t.Fatalf("the library does not verify ours: %v, %d caveats", err, seen)
	}
	if _, err := r.Check(foreign(t, root, identifier(r.Keys()[0].KID, "z"), fmt.Sprintf("exp=%d", c.at.Add(time.Minute).Unix()), "op=get")); err != nil {
		t.Fatalf("we do not verify the library's: %v", err)
	}
}

// TestRootKeyLeavesMemory looks for the root key in the memory of this process.
func TestRootKeyLeavesMemory(t *testing.T) {
	var want [32]byte // built in place, so that the test's own copy can be told apart: it is stored inverted
	for i := range want {
		want[i] = ^byte(17*i + 5)
	}
	c := newClock()
	path := filepath.Join(t.TempDir(), "k")
	func() {
		text := make([]byte, 0, 64)
		for _, b := range want {
			text = fmt.Appendf(text, "%02x", ^b)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		clear(text[:cap(text)])
	}()
	r, err := Open(path, c.now)
	if err != nil {
		t.Fatal(err)
	}
	text := mint(t, r, Spec{})
	if _, err := r.Check(text); err != nil {
		t.Fatal(err)
	}
	if n := occurrences(t, want); n != 0 {
		t.Errorf("the root key is in memory %d times after it was read", n)
	}
	planted = make([]byte, 32)
	for i := range planted {
		planted[i] = ^want[i]
	}
	if n := occurrences(t, want); n == 0 {
		t.Error("the search does not find a key that is there")
	}
	clear(planted)
	r.Close()
	if n := occurrences(t, want); n != 0 {
		t.Errorf("the root key is in memory %d times after the end", n)
	}
}

// planted is on the heap, where the search must find it.
var planted []byte

// occurrences counts how often the inverse of key is in this process's memory.
func occurrences(t *testing.T, key [32]byte) (n int) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	buf := make([]byte, 1<<20)
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var perms string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &perms); err != nil || !strings.HasPrefix(perms, "rw") {
			continue
		}
		for at := from; at < to; at += int64(len(buf)) - 64 {
			got, _ := mem.ReadAt(buf[:min(int64(len(buf)), to-at)], at) // what cannot be read holds nothing
			for i := 0; i+32 <= got; i++ {
				same := true
				for j := 0; same && j < 32; j++ {
					same = buf[i+j] == ^key[j]
				}
				if same && !within(buf, at+int64(i)) {
					n++
				}
			}
		}
	}
	clear(buf)
	return n
}

// within reports whether an address is in the search's own buffer.
func within(buf []byte, at int64) bool {
	var begin int64
	_, _ = fmt.Sscanf(fmt.Sprintf("%p", &buf[0]), "0x%x", &begin)
	return at >= begin && at < begin+int64(len(buf))
}

func FuzzCheck(f *testing.F) {
	c := newClock()
	r := ring(f, c)
	good := mint(f, r, Spec{Ops: Get, Paths: []string{"/o/"}})
	f.Add(good)
	f.Add("")
	f.Add(good[:20])
	f.Fuzz(func(t *testing.T, text string) {
		g, err := r.Check(text)
		if err == nil && text != good && g.CapID == "" {
			t.Fatal("granted to nobody")
		}
		if err == nil && !strings.HasPrefix(text, good[:40]) {
			t.Fatalf("accepted %q", text)
		}
		if v, err := Inspect(text); err == nil && v.CapID == "" {
			t.Fatal("a view without a name")
		}
	})
}

func FuzzCaveat(f *testing.F) {
	for _, s := range []string{"op=get", "exp=5", "path=/o/", "cidr=::1", "topic=a,b", "max-bytes=3"} {
		f.Add(s, "rps=3")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		s := newScope()
		if s.add(a) != nil {
			return
		}
		before := s
		if s.add(b) == nil && (s.Ops&^before.Ops != 0 || before.MaxBytes >= 0 && (s.MaxBytes < 0 || s.MaxBytes > before.MaxBytes) || len(s.Paths) < len(before.Paths) || before.Topics != nil && len(s.Topics) > len(before.Topics)) {
			t.Fatalf("%q widens %q", b, a)
		}
	})
}

func BenchmarkCheckKnown(b *testing.B) {
	c := newClock()
	r := ring(b, c)
	text := mint(b, r, Spec{Ops: Get | Put, Paths: []string{"/o/"}, RPS: 1000})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Check(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckFresh(b *testing.B) {
	c := newClock()
	r := ring(b, c)
	text := mint(b, r, Spec{Ops: Get | Put, Paths: []string{"/o/"}, RPS: 1000})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.verify(text); err != nil {
			b.Fatal(err)
		}
	}
}
