package caps_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"micronode/http/caps"
)

// A ring resumed from what it kept checks the same tokens, refuses the same, and does not take back from a key file what was
// revoked or has retired.
func TestResume(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	path := filepath.Join(t.TempDir(), "root.key")
	if err := os.WriteFile(path, []byte(strings.Repeat("ab", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := caps.Resume(path, caps.Kept{}, caps.Revocations{}, clock)
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	r.OnChange(func() error { kept++; return nil })
	ops, err := caps.ParseOps("get")
	if err != nil {
		t.Fatal(err)
	}
	old, _ := r.Mint(caps.Spec{Ops: ops, TTL: time.Hour})
	if _, err := r.Rotate(); err != nil {
		t.Fatal(err)
	}
	fresh, _ := r.Mint(caps.Spec{Ops: ops, TTL: time.Hour})
	gone, _ := r.Mint(caps.Spec{Ops: ops, TTL: time.Hour})
	if err := r.RevokeCap(gone.CapID); err != nil {
		t.Fatal(err)
	}
	if kept != 2 {
		t.Errorf("%d changes kept, want 2", kept)
	}
	resume := func() *caps.Ring {
		t.Helper()
		again, err := caps.Resume(path, r.Kept(), r.Revocations(), clock)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(again.Close)
		return again
	}
	again := resume()
	if again.Keys()[0].KID != fresh.KID || len(again.Keys()) != 2 {
		t.Errorf("keys %+v, want %s active and the file's verifying", again.Keys(), fresh.KID)
	}
	for token, want := range map[string]error{old.Token: nil, fresh.Token: nil, gone.Token: caps.ErrRevoked} {
		if _, err := again.Check(token); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	if _, err := r.RevokeKey(old.KID); err != nil {
		t.Fatal(err)
	}
	if _, err := resume().Check(old.Token); !errors.Is(err, caps.ErrForged) {
		t.Errorf("a revoked key came back with its file: %v", err)
	}
	r.OnChange(func() error { return errors.New("disk") })
	if err := r.RevokeCap(fresh.CapID); !errors.Is(err, caps.ErrNotKept) {
		t.Errorf("not kept: %v", err)
	}
	if _, err := r.Check(fresh.Token); !errors.Is(err, caps.ErrRevoked) {
		t.Errorf("and yet in force: %v", err)
	}
}
