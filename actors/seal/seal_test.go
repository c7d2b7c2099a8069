package seal_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"micronode/actors/seal"
)

func file(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBoxes(t *testing.T) {
	classic, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte("the keys of the house")
	var sealed [][]byte
	boxes := map[string]func() (*seal.Box, error){
		"x25519": func() (*seal.Box, error) { return seal.Identity(file(t, "# a comment\n"+classic.String()+"\n", 0o600)) },
		"hybrid": func() (*seal.Box, error) { return seal.Identity(file(t, hybrid.String()+"\n", 0o400)) },
		"both": func() (*seal.Box, error) {
			return seal.Identity(file(t, classic.String()+"\n"+hybrid.String()+"\n", 0o600))
		},
		"passphrase": func() (*seal.Box, error) {
			return seal.Passphrase(file(t, "a long passphrase\r\nsecond line\n", 0o600))
		},
	}
	for name, open := range boxes {
		b, err := open()
		if err != nil {
			t.Fatal(name, err)
		}
		s, err := b.Seal(secret)
		if err != nil || bytes.Contains(s, secret) {
			t.Fatal(name, err)
		}
		sealed = append(sealed, s)
		again, err := open() // another process
		if err != nil {
			t.Fatal(name, err)
		}
		if got, err := again.Open(s); err != nil || !bytes.Equal(got, secret) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		for i := range s {
			bad := bytes.Clone(s)
			bad[i] ^= 1
			if i > len(s)-40 { // the payload: every byte of it is authenticated
				if _, err := again.Open(bad); !errors.Is(err, seal.ErrOpen) {
					t.Fatalf("%s: byte %d changed: %v", name, i, err)
				}
			}
		}
	}
	other, err := seal.Passphrase(file(t, "another passphrase", 0o600))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sealed {
		if _, err := other.Open(s); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("opened with another passphrase: %v", err)
		}
	}
}

func TestRefusedFiles(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		open func(string) (*seal.Box, error)
		path string
		want string
	}{
		"missing":            {seal.Identity, "/nowhere/at/all", "no such file"},
		"others may read":    {seal.Identity, file(t, id.String(), 0o644), "chmod 600"},
		"no identity":        {seal.Identity, file(t, "AGE-SECRET-KEY-1HUNTER2\n", 0o600), "age-keygen"},
		"short passphrase":   {seal.Passphrase, file(t, "hunter2\n", 0o600), "at least 12"},
		"passphrase for all": {seal.Passphrase, file(t, "a long passphrase", 0o604), "chmod 600"},
		"directory":          {seal.Passphrase, t.TempDir(), "regular"},
	} {
		_, err := tt.open(tt.path)
		if !errors.Is(err, seal.ErrFile) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want it to say %q", name, err, tt.want)
		}
		if err != nil && strings.Contains(strings.ToLower(err.Error()), "hunter2") {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
}
