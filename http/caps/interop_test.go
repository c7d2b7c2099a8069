package caps

import (
	"encoding/hex"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// python is a Python that has pymacaroons (Debian's python3-pymacaroons), or "".
func python() string {
	for _, p := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(p, "-c", "import pymacaroons").Run() == nil {
			return p
		}
	}
	return ""
}

const peer = `
import sys, binascii
from pymacaroons import Macaroon, Verifier, MACAROON_V2
key = binascii.unhexlify(sys.argv[2])
if sys.argv[1] == "mint":
    m = Macaroon(location="peer", identifier=sys.argv[3], key=key, version=MACAROON_V2)
    for c in sys.argv[4:]:
        m.add_first_party_caveat(c)
    print(m.serialize())
elif sys.argv[1] == "narrow":
    m = Macaroon.deserialize(sys.argv[3])
    for c in sys.argv[4:]:
        m.add_first_party_caveat(c)
    print(m.serialize())
else:
    m = Macaroon.deserialize(sys.argv[3])
    v = Verifier()
    seen = []
    def take(c):
        seen.append(c)
        return True
    v.satisfy_general(take)
    print(v.verify(m, key), len(seen))
`

// TestInterop mints, narrows and verifies across pymacaroons and this package.
func TestInterop(t *testing.T) {
	py := python()
	if py == "" {
		t.Skip("NOT CHECKED: pymacaroons is not installed (apt-get install python3-pymacaroons)")
	}
	c := newClock()
	r, root := known(t, c)
	key := hex.EncodeToString(root)
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(py, append([]string{"-c", peer}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	exp := fmt.Sprintf("exp=%d", c.at.Add(time.Minute).Unix())
	theirs := run("mint", key, identifier(r.Keys()[0].KID, "peer-1"), exp, "op=get", "path=/o/")
	g, err := r.Check(theirs)
	if err != nil || g.CapID != "peer-1" || g.Scope.Ops != Get {
		t.Fatalf("theirs: %+v %v", g, err)
	}
	ours := mint(t, r, Spec{Ops: Get | Put})
	if got := run("verify", key, ours); got != "True 2" {
		t.Errorf("they say of ours: %s", got)
	}
	narrow := run("narrow", key, ours, "op=get", "max-bytes=7")
	if g, err = r.Check(narrow); err != nil || g.Scope.Ops != Get || g.Scope.MaxBytes != 7 {
		t.Errorf("ours, narrowed by them: %+v %v", g, err)
	}
	back, err := Attenuate(theirs, "rps=5")
	if err != nil {
		t.Fatal(err)
	}
	if got := run("verify", key, back); got != "True 4" {
		t.Errorf("they say of theirs, narrowed by us: %s", got)
	}
	if _, err := r.Check(run("mint", hex.EncodeToString(make([]byte, 32)), identifier(r.Keys()[0].KID, "peer-2"), exp)); err == nil {
		t.Error("minted by them under another key, and taken")
	}
}
