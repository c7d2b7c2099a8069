package pebble_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"micronode/store"
	"micronode/store/mbox"
	"micronode/store/pebble"
)

func TestBackup(t *testing.T) {
	s := open(t, pebble.Options{})
	var all []store.Address
	for i := range 40 {
		all = append(all, put(t, s, bytes.Repeat([]byte{byte(i), 7}, 1+i*4000)))
	}
	row := mbox.Row{ID: mbox.ID{1}, Topic: "t", Payload: []byte("p"), Hash: store.Sum([]byte("p")), Seq: 1}
	kept := make(chan error, 1)
	s.Append(mbox.Changes{Sent: []mbox.Row{row}, Keys: []mbox.KeyRow{{Topic: "t", Key: "k", ID: row.ID}}}, false, func(err error) { kept <- err })
	if err := <-kept; err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "backups", "b1")
	m, err := s.Backup(timeless, dir, nil)
	if err != nil || m.Objects != 40 || m.Messages != 1 || m.Keys != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	if _, err := s.Backup(timeless, dir, nil); !errors.Is(err, pebble.ErrBackup) {
		t.Fatalf("over a backup: %v", err)
	}
	put(t, s, []byte("after the backup"))
	if again, err := pebble.Verify(timeless, dir, nil); err != nil || again != m {
		t.Fatalf("%+v, %v", again, err)
	}
	to := filepath.Join(t.TempDir(), "restored")
	if _, err := pebble.Restore(timeless, dir, to, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := pebble.Restore(timeless, dir, to, nil); !errors.Is(err, pebble.ErrBackup) {
		t.Fatalf("over a directory in use: %v", err)
	}
	r := open(t, pebble.Options{Dir: to})
	for i, a := range all {
		if got, err := content(r, a); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(i), 7}, 1+i*4000)) {
			t.Fatalf("object %d: %v", i, err)
		}
	}
	if mail, err := r.Mail(timeless); err != nil || len(mail.Rows) != 1 || string(mail.Rows[0].Payload) != "p" || len(mail.Keys) != 1 {
		t.Fatalf("%+v, %v", mail, err)
	}
	if _, err := content(r, store.Sum([]byte("after the backup"))); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("what came after the backup: %v", err)
	}
}

// Every file of a backup is damaged in turn, in its middle and by its length: verify sees all that matters, restore refuses.
func TestBackupDamaged(t *testing.T) {
	s := open(t, pebble.Options{})
	for i := range 20 {
		put(t, s, bytes.Repeat([]byte{byte(i), 9}, 1+i*9000))
	}
	dir := filepath.Join(t.TempDir(), "b")
	if _, err := s.Backup(timeless, dir, nil); err != nil {
		t.Fatal(err)
	}
	caught := 0
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		good, err := os.ReadFile(path)
		if err != nil || len(good) == 0 {
			return err
		}
		if err := os.Remove(path); err != nil { // it may be linked to the store's own
			return err
		}
		for name, bad := range map[string][]byte{"cut": good[:len(good)/2], "flipped": flipped(good, len(good)/2)} {
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				return err
			}
			_, err := pebble.Verify(timeless, dir, nil)
			switch {
			case err != nil:
				caught++
			case filepath.Ext(path) == ".txt" || filepath.Ext(path) == ".log" || filepath.Ext(path) == ".sst" || filepath.Ext(path) == ".blob":
				t.Errorf("%s %s is not seen", filepath.Base(path), name)
			}
		}
		return os.WriteFile(path, good, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pebble.Verify(timeless, dir, nil); err != nil || caught < 6 {
		t.Fatalf("%d caught, then %v", caught, err)
	}
}

func flipped(b []byte, at int) []byte {
	c := bytes.Clone(b)
	c[at] ^= 4
	return c
}
