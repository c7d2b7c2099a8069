package pebble_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"micronode/store"
	"micronode/store/pebble"
)

// script is a short life of a store: it returns what was acknowledged.
func script(s *pebble.Store) (kept [][]byte) {
	for i := range 12 {
		b := bytes.Repeat([]byte(fmt.Sprint(i, ".")), 1+i*20_000)
		if _, _, err := s.Put(timeless, bytes.NewReader(b), store.PutOptions{Size: -1}); err == nil {
			kept = append(kept, b)
		}
		if i == 5 && len(kept) > 0 {
			if s.Delete(timeless, store.Sum(kept[0])) == nil {
				kept = kept[1:]
			} else {
				kept = kept[1:] // unknown outcome
			}
		}
	}
	return kept
}

func holds(t *testing.T, s *pebble.Store, kept [][]byte, when string) {
	t.Helper()
	for _, b := range kept {
		got, err := content(s, store.Sum(b))
		if err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%s: acknowledged object of %d bytes: %v", when, len(b), err)
		}
	}
}

// The n-th operation that changes the disk fails, for every n: nothing that was acknowledged is lost, neither in what a power
// cut would leave nor after Reopen, and the store writes again.
func TestEveryOperationFails(t *testing.T) {
	for _, fault := range []error{syscall.EIO, syscall.ENOSPC} {
		reached, latched := 0, 0
		step := int64(7)
		if *thorough {
			step = 1
		}
		for n := 1 + int64(*crashSeed%uint64(step)); ; n += step {
			var count atomic.Int64
			var armed atomic.Bool
			var where atomic.Value
			mem := vfs.NewCrashableMem()
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if armed.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && count.Add(1) == n {
					where.Store(fmt.Sprint(op.Kind, " ", op.Path))
					return fault
				}
				return nil
			}))
			s, err := pebble.Open(pebble.Options{Dir: "data", FS: fs})
			if err != nil {
				t.Fatal(err)
			}
			armed.Store(true)
			kept := script(s)
			image := mem.CrashClone(vfs.CrashCloneCfg{})
			hit := count.Load() >= n
			holds(t, s, kept, fmt.Sprintf("%v at %d, read on", fault, n))
			if s.Failed() != nil {
				latched++
				why := s.Failed()
				if err := s.Reopen(timeless); err != nil {
					t.Fatalf("%v at %d: Reopen: %v", fault, n, err)
				}
				if s.LeftBy() > 0 {
					t.Logf("%v at %d (%s): a handle does not end: %v", fault, n, where.Load(), why)
				}
			}
			holds(t, s, kept, fmt.Sprintf("%v at %d, reopened", fault, n))
			s.Look()
			b := []byte("afterwards")
			_, _, err = s.Put(timeless, bytes.NewReader(b), store.PutOptions{Size: -1})
			if err != nil { // work behind the scenes met the fault late
				s.Look()
				if err := s.Reopen(timeless); err != nil {
					t.Fatalf("%v at %d: Reopen: %v", fault, n, err)
				}
				_, _, err = s.Put(timeless, bytes.NewReader(b), store.PutOptions{Size: -1})
			}
			if err != nil {
				t.Fatalf("%v at %d: put afterwards: %v", fault, n, err)
			}
			if err := s.Close(); err != nil {
				t.Fatalf("%v at %d: %v", fault, n, err)
			}
			again := open(t, pebble.Options{Dir: "data", FS: image})
			holds(t, again, kept, fmt.Sprintf("%v at %d, after a power cut", fault, n))
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
			if !hit {
				break
			}
			reached++
		}
		t.Logf("%v: %d operations failed in turn, %d latched", fault, reached, latched)
		if reached < 10 || latched < 5 {
			t.Fatalf("void: %d operations reached, %d latched", reached, latched)
		}
	}
}

// A failed fsync: not acknowledged, nothing acknowledged afterwards, reads go on, and only a new handle writes again.
func TestFsyncFails(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var bad atomic.Bool
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if bad.Load() && slices.Contains([]errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo}, op.Kind) {
			return syscall.EIO
		}
		return nil
	}))
	s := open(t, pebble.Options{FS: fs})
	good := []byte("good")
	put(t, s, good)
	bad.Store(true)
	lost := []byte("never promised")
	if _, _, err := s.Put(timeless, bytes.NewReader(lost), store.PutOptions{Size: -1}); !errors.Is(err, store.ErrNotReady) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("put while fsync fails: %v", err)
	}
	bad.Store(false)
	select {
	case <-s.Fallen():
	default:
		t.Fatal("nobody is told")
	}
	if _, _, err := s.Put(timeless, bytes.NewReader(lost), store.PutOptions{Size: -1}); !errors.Is(err, store.ErrNotReady) {
		t.Fatalf("put on the handle that failed: %v", err)
	}
	if err := s.Delete(timeless, store.Sum(good)); !errors.Is(err, store.ErrNotReady) {
		t.Fatalf("delete on the handle that failed: %v", err)
	}
	holds(t, s, [][]byte{good}, "on the failed handle")
	if err := s.Reopen(timeless); err != nil {
		t.Fatal(err)
	}
	if s.Failed() != nil {
		t.Fatal(s.Failed())
	}
	holds(t, s, [][]byte{good}, "reopened")
	put(t, s, lost)
}

// A disk that loses what it called synced is found out by Reopen, and never trusted again.
func TestReopenFindsLoss(t *testing.T) {
	mem := vfs.NewCrashableMem()
	swap := &swappable{FS: mem}
	var bad atomic.Bool
	fs := errorfs.Wrap(swap, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if bad.Load() && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
			return syscall.EIO
		}
		return nil
	}))
	s := open(t, pebble.Options{FS: fs})
	put(t, s, []byte("one"))
	old := mem.CrashClone(vfs.CrashCloneCfg{})
	put(t, s, []byte("two"))
	bad.Store(true)
	_, _, _ = s.Put(timeless, bytes.NewReader([]byte("three")), store.PutOptions{Size: -1})
	bad.Store(false)
	swap.FS = old
	if err := s.Reopen(timeless); !errors.Is(err, pebble.ErrLost) {
		t.Fatalf("Reopen: %v, want ErrLost", err)
	}
	if err := s.Failed(); !errors.Is(err, pebble.ErrLost) {
		t.Fatalf("Failed: %v", err)
	}
	if _, _, err := s.Put(timeless, bytes.NewReader([]byte("four")), store.PutOptions{Size: -1}); !errors.Is(err, store.ErrNotReady) {
		t.Fatalf("put: %v", err)
	}
}

type swappable struct{ vfs.FS }

func put(t *testing.T, s *pebble.Store, b []byte) store.Address {
	t.Helper()
	info, _, err := s.Put(timeless, bytes.NewReader(b), store.PutOptions{Size: int64(len(b))})
	if err != nil {
		t.Fatal(err)
	}
	return info.Address
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir() + "/a/b"
	s := open(t, pebble.Options{Dir: dir})
	if _, err := pebble.Open(pebble.Options{Dir: dir}); !errors.Is(err, pebble.ErrLocked) {
		t.Fatalf("a second process: %v", err)
	}
	put(t, s, []byte("x"))
	names, err := vfs.Default.List(dir)
	if err != nil || len(names) < 4 {
		t.Fatal(names, err)
	}
	for _, n := range append(names, "") {
		st, err := vfs.Default.Stat(dir + "/" + n)
		if err != nil || st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%q has mode %v (%v)", n, st.Mode(), err)
		}
	}
}

// What an upload leaves that ends in the middle, by error or by crash, is gone.
func TestNothingLeftBehind(t *testing.T) {
	mem := vfs.NewCrashableMem()
	s := open(t, pebble.Options{FS: mem})
	src := io.MultiReader(bytes.NewReader(make([]byte, 3<<20)), failing{})
	if _, _, err := s.Put(timeless, src, store.PutOptions{Size: -1}); !errors.Is(err, errSource) {
		t.Fatal(err)
	}
	put(t, s, []byte("behind it in the queue"))
	if n := s.Payloads(t); n != 1 {
		t.Fatalf("%d groups after an upload that failed, want 1", n)
	}
	half := make(chan *vfs.MemFS, 1)
	src = io.MultiReader(bytes.NewReader(make([]byte, 3<<20)), readerFunc(func([]byte) (int, error) {
		half <- mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: testRNG()})
		return 0, io.EOF
	}))
	if _, _, err := s.Put(timeless, src, store.PutOptions{Size: -1}); err != nil {
		t.Fatal(err)
	}
	again := open(t, pebble.Options{FS: <-half})
	if n := again.Payloads(t); n != 1 {
		t.Fatalf("%d groups after a crash in the middle of an upload, want 1", n)
	}
	whole := open(t, pebble.Options{FS: mem.CrashClone(vfs.CrashCloneCfg{})})
	if got, err := content(whole, store.Sum(make([]byte, 3<<20))); err != nil || len(got) != 3<<20 {
		t.Fatalf("an upload that ended well, after a crash: %d bytes, %v", len(got), err)
	}
	held, err := s.Open(timeless, store.Sum(make([]byte, 3<<20)))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(timeless, held.Info().Address); err != nil {
		t.Fatal(err)
	}
	image := mem.CrashClone(vfs.CrashCloneCfg{})
	if n, err := held.WriteRange(timeless, io.Discard, 0, 3<<20); n != 3<<20 || err != nil {
		t.Fatal(n, err)
	}
	_ = held.Close()
	put(t, s, []byte("behind that"))
	if n := s.Payloads(t); n != 2 {
		t.Fatalf("%d groups after the last reader, want 2", n)
	}
	if n := open(t, pebble.Options{FS: image}).Payloads(t); n != 1 {
		t.Fatalf("%d groups after a crash under a reader of what was deleted, want 1", n)
	}
}

func TestNewerFormat(t *testing.T) {
	mem := vfs.NewMem()
	s, err := pebble.Open(pebble.Options{Dir: "data", FS: mem})
	if err != nil {
		t.Fatal(err)
	}
	s.SetFormat(t, pebble.Format+1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := pebble.Open(pebble.Options{Dir: "data", FS: mem}); !errors.Is(err, pebble.ErrNewer) {
		t.Fatalf("a newer format: %v", err)
	}
}

func TestFullDisk(t *testing.T) {
	swap := &capped{FS: vfs.NewMem()}
	swap.avail.Store(1 << 30)
	s := open(t, pebble.Options{FS: swap})
	a := put(t, s, []byte("before"))
	swap.avail.Store(1 << 20)
	if room := s.Look(); room.Full != true {
		t.Fatal("1 MiB is no reserve")
	}
	if _, _, err := s.Put(timeless, bytes.NewReader([]byte("x")), store.PutOptions{Size: 1}); !errors.Is(err, store.ErrReadOnly) {
		t.Fatalf("put on a full disk: %v", err)
	}
	if _, err := content(s, a); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(timeless, a); err != nil {
		t.Fatalf("delete on a full disk: %v", err)
	}
	swap.avail.Store(1 << 30)
	if s.Look().Full {
		t.Fatal("still full")
	}
	put(t, s, []byte("x"))
}

type capped struct {
	vfs.FS
	avail atomic.Uint64
}

func (c *capped) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: c.avail.Load(), TotalBytes: 1 << 40, UsedBytes: 1 << 39}, nil
}

// A disk that has become read-only, and a process without file descriptors: nothing is acknowledged, reads go on where they
// can, and all is well when the trouble is over.
func TestReadOnlyAndEMFILE(t *testing.T) {
	var fault atomic.Pointer[syscall.Errno]
	var reads atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		e := fault.Load()
		switch {
		case e == nil:
			return nil
		case op.Kind.ReadOrWrite() == errorfs.OpIsWrite, reads.Load() && op.Kind == errorfs.OpOpen:
			return *e
		}
		return nil
	}))
	for _, e := range []syscall.Errno{syscall.EROFS, syscall.EMFILE} {
		s, err := pebble.Open(pebble.Options{Dir: "data" + e.Error(), FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		kept := [][]byte{bytes.Repeat([]byte("a"), 100), bytes.Repeat([]byte("b"), 300_000)}
		for _, b := range kept {
			put(t, s, b)
		}
		fault.Store(&e)
		if _, _, err := s.Put(timeless, bytes.NewReader([]byte("x")), store.PutOptions{Size: 1}); !errors.Is(err, store.ErrNotReady) {
			t.Errorf("%v: put: %v", e, err)
		}
		holds(t, s, kept, e.Error())
		if err := s.Reopen(timeless); err == nil {
			t.Errorf("%v: reopened", e)
		}
		holds(t, s, kept, e.Error()+", after a try to reopen")
		fault.Store(nil)
		if err := s.Reopen(timeless); err != nil {
			t.Errorf("%v: %v", e, err)
		}
		put(t, s, []byte("x"))
		holds(t, s, kept, e.Error()+", over")
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if e != syscall.EMFILE {
			continue
		}
		reads.Store(true)
		if s, err = pebble.Open(pebble.Options{Dir: "data" + e.Error(), FS: fs}); err != nil {
			t.Fatal(err)
		}
		fault.Store(&e)
		for _, b := range kept {
			if _, err := content(s, store.Sum(b)); err != nil && !errors.Is(err, store.ErrNotReady) {
				t.Errorf("read without file descriptors: %v", err)
			}
		}
		fault.Store(nil)
		_ = s.Reopen(timeless)
		holds(t, s, kept, "file descriptors again")
		_ = s.Close()
	}
}
