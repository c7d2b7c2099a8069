package actors_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"micronode/actors"
	"micronode/config"
	httpapi "micronode/http"
	"micronode/http/caps"
	"micronode/kernel"
	"micronode/store"
	"micronode/store/mbox"
	"micronode/store/pebble"
)

// onDisk gives a node a disk.
func onDisk(t testing.TB, o pebble.Options) setup {
	return func(c *config.Config, opt *actors.Options) {
		if o.Dir == "" {
			o.Dir = "data"
		}
		c.Amnesia, c.Store.Dir = false, o.Dir
		o.MaxBytes = int64(c.Store.MaxBytes)
		s, err := pebble.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		opt.Disk = s
	}
}

// brittle is a disk in RAM whose syncs fail on command, and that can be full.
type brittle struct {
	vfs.FS
	mem   *vfs.MemFS
	bad   atomic.Bool
	slow  atomic.Int64 // nanoseconds that a sync takes
	avail atomic.Uint64
}

func newBrittle() *brittle {
	b := &brittle{mem: vfs.NewCrashableMem()}
	b.avail.Store(1 << 40)
	b.FS = errorfs.Wrap(b.mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !slices.Contains([]errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo}, op.Kind) {
			return nil
		}
		<-time.After(time.Duration(b.slow.Load())) // what a slow disk does
		if b.bad.Load() {
			return syscall.EIO
		}
		return nil
	}))
	return b
}

func (b *brittle) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: b.avail.Load(), TotalBytes: 1 << 41}, nil
}

func (r *rig) send(topic, key string, body []byte) (mbox.Sent, error) {
	r.Helper()
	return r.node.Mailbox().Send(r.ctx(), mbox.Message{Topic: topic, Payload: body, Key: key})
}

func lacks(name string) func(*kernel.Readiness) bool {
	return func(r *kernel.Readiness) bool { return slices.Contains(r.Missing, name) }
}

// A failed fsync: not ready, naming the disk; no write is acknowledged, reads go on; it heals by itself, and what had been
// acknowledged is there, in the mailbox too.
func TestFsyncFails(t *testing.T) {
	t.Parallel()
	disk := newBrittle()
	r := start(t, onDisk(t, pebble.Options{FS: disk}))
	body := bytesOf(1, 100_000)
	r.put(body)
	first, err := r.send("t", "k", []byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	disk.bad.Store(true)
	if _, _, err := r.node.Objects().Put(r.ctx(), bytes.NewReader(bytesOf(2, 10)), store.PutOptions{Size: 10}); !errors.Is(err, store.ErrNotReady) {
		t.Fatalf("put: %v", err)
	}
	r.until("not ready for the disk", func(x *kernel.Readiness) bool { return !x.Ready && lacks("disk")(x) })
	if a := r.ask("GET", "/readyz", nil); a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), `"disk"`) {
		t.Errorf("readyz %d %s", a.status, a.body)
	}
	if a := r.ask("POST", "/put", bytesOf(3, 10)); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("put %d %s", a.status, a.body)
	}
	if _, err := r.send("t", "k2", []byte("x")); !errors.Is(err, store.ErrNotReady) {
		t.Errorf("send: %v", err)
	}
	r.holds(body)
	disk.bad.Store(false)
	r.until("ready again", func(x *kernel.Readiness) bool { return x.Ready })
	r.event("DiskFailed", "storage")
	r.event("DiskReopened", "storage")
	r.holds(body)
	r.put(bytesOf(4, 10))
	again, err := r.send("t", "k", []byte("m"))
	if err != nil || again.ID != first.ID || !again.Duplicate {
		t.Errorf("the same key: %+v, %v; want %v", again, err, first.ID)
	}
	got, err := r.node.Mailbox().Recv(r.ctx(), mbox.Want{Topic: "t", Max: 10}, 0)
	if err != nil || len(got) != 1 || got[0].ID != first.ID {
		t.Errorf("received %d: %v", len(got), err)
	}
}

// A full disk: writes are refused and say why, reads, acks and deletes go on, and writes come back by themselves.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := newBrittle()
	r := start(t, onDisk(t, pebble.Options{FS: disk}))
	body := bytesOf(1, 1000)
	a := r.put(body)
	if _, err := r.send("t", "", []byte("m")); err != nil {
		t.Fatal(err)
	}
	disk.avail.Store(1000)
	r.until("degraded for room", func(x *kernel.Readiness) bool { return x.Ready && lacks("disk_full")(x) })
	if got := r.ask("POST", "/put", bytesOf(2, 10)); got.status != http.StatusServiceUnavailable {
		t.Errorf("put %d %s", got.status, got.body)
	}
	if _, err := r.send("t", "", []byte("x")); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("send: %v", err)
	}
	r.holds(body)
	got, err := r.node.Mailbox().Recv(r.ctx(), mbox.Want{Topic: "t", Max: 1}, 0)
	if err != nil || len(got) != 1 {
		t.Fatal(len(got), err)
	}
	if _, err := r.node.Mailbox().Settle(r.ctx(), mbox.Settlement{Receipt: got[0].Receipt}); err != nil {
		t.Errorf("ack: %v", err)
	}
	if s, err := r.op.Storage(r.ctx()); err != nil || s.Free != 1000 {
		t.Errorf("%+v, %v", s, err)
	}
	disk.avail.Store(1 << 40)
	r.until("room again", func(x *kernel.Readiness) bool { return !lacks("disk_full")(x) && !lacks("disk_full_mail")(x) })
	r.put(bytesOf(3, 10))
	if err := r.data.Delete(r.ctx(), a); err != nil {
		t.Error(err)
	}
}

// A disk that takes its time is told of, and nothing is lost by it.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	disk := newBrittle()
	r := start(t, onDisk(t, pebble.Options{FS: disk}))
	disk.slow.Store(int64(400 * time.Millisecond))
	body := bytesOf(1, 100)
	r.put(body)
	r.until("degraded for a slow disk", func(x *kernel.Readiness) bool { return x.Ready && lacks("disk_slow")(x) })
	disk.slow.Store(0)
	r.until("well again", func(x *kernel.Readiness) bool { return !lacks("disk_slow")(x) })
	r.holds(body)
}

// What a node has acknowledged is there when another one is started on its directory: objects, messages, leases, keys of the
// dedup window, dead letters, revocations and sealed keys.
func TestRestartOnDisk(t *testing.T) {
	t.Parallel()
	dir, secret := t.TempDir(), filepath.Join(t.TempDir(), "pass")
	if err := os.WriteFile(secret, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sealed := func(c *config.Config, _ *actors.Options) {
		c.Keys.PassphraseFile, c.Auth.Mode, c.Mailbox.MaxAttempts = secret, "cap", 1
	}
	body := bytesOf(9, 300_000)
	var keep, revoked caps.Minted
	var kid string
	var lease mbox.Delivery
	var sent mbox.Sent
	run := func(do func(r *rig)) {
		loaded, o := options(t, onDisk(t, pebble.Options{Dir: filepath.Join(dir, "data")}), sealed, func(_ *config.Config, o *actors.Options) { o.NoDoor = true })
		node, err := actors.Start(loaded, o)
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{TB: t, node: node, bus: node.Bus().Subscribe(kernel.Query{Since: time.Unix(0, 1)}), close: func() {}}
		defer r.stop()
		if err := node.AwaitReady(r.ctx()); err != nil {
			t.Fatal(err)
		}
		do(r)
	}
	run(func(r *rig) {
		if _, _, err := r.node.Objects().Put(r.ctx(), bytes.NewReader(body), store.PutOptions{Size: -1}); err != nil {
			t.Fatal(err)
		}
		var err error
		if sent, err = r.send("leased", "key", []byte("one")); err != nil {
			t.Fatal(err)
		}
		got, err := r.node.Mailbox().Recv(r.ctx(), mbox.Want{Topic: "leased", Visibility: time.Hour}, 0)
		if err != nil || len(got) != 1 {
			t.Fatal(len(got), err)
		}
		lease = got[0]
		if _, err := r.send("dead", "", []byte("two")); err != nil {
			t.Fatal(err)
		}
		if got, err = r.node.Mailbox().Recv(r.ctx(), mbox.Want{Topic: "dead"}, 0); err != nil || len(got) != 1 {
			t.Fatal(len(got), err)
		}
		if _, err := r.node.Mailbox().Settle(r.ctx(), mbox.Settlement{Verdict: mbox.Nack, Receipt: got[0].Receipt, Reason: "no"}); err != nil {
			t.Fatal(err)
		}
		ops, _ := caps.ParseOps("get")
		keep, _ = r.node.Ring().Mint(caps.Spec{Ops: ops})
		revoked, _ = r.node.Ring().Mint(caps.Spec{Ops: ops})
		if err := r.node.Ring().RevokeCap(revoked.CapID); err != nil {
			t.Fatal(err)
		}
		if _, err := r.node.Ring().Rotate(); err != nil {
			t.Fatal(err)
		}
		kid = r.node.Ring().Keys()[0].KID
	})
	run(func(r *rig) {
		b, err := r.node.Objects().Open(r.ctx(), store.Sum(body))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if _, err := b.WriteRange(r.ctx(), &out, 0, int64(len(body))); err != nil || !bytes.Equal(out.Bytes(), body) {
			t.Error("object:", err)
		}
		_ = b.Close()
		if again, err := r.send("leased", "key", []byte("one")); err != nil || again.ID != sent.ID || !again.Duplicate {
			t.Errorf("same key: %+v, %v", again, err)
		}
		if got, err := r.node.Mailbox().Recv(r.ctx(), mbox.Want{Topic: "leased"}, 0); err != nil || len(got) != 0 {
			t.Errorf("a message under lease was delivered to somebody else: %d, %v", len(got), err)
		}
		if _, err := r.node.Mailbox().Settle(r.ctx(), mbox.Settlement{Receipt: lease.Receipt}); err != nil {
			t.Errorf("the receipt of before: %v", err)
		}
		dead, err := r.node.Mailbox().Door().Dead("dead", httpapi.DeadQuery{Limit: 10})
		if err != nil || len(dead) != 1 || dead[0].LastError != "no" {
			t.Errorf("dead letters: %+v, %v", dead, err)
		}
		if _, err := r.node.Ring().Check(keep.Token); err != nil {
			t.Errorf("a token of before: %v", err)
		}
		if _, err := r.node.Ring().Check(revoked.Token); !errors.Is(err, caps.ErrRevoked) {
			t.Errorf("a revoked token: %v", err)
		}
		if got := r.node.Ring().Keys()[0].KID; got != kid {
			t.Errorf("active key %s, was %s", got, kid)
		}
	})
	run(func(r *rig) {
		if got, err := r.node.Mailbox().Recv(r.ctx(), mbox.Want{Topic: "leased"}, 0); err != nil || len(got) != 0 {
			t.Errorf("delivered after its ack: %d, %v", len(got), err)
		}
	})
	files, err := filepath.Glob(filepath.Join(dir, "data", "*"))
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && (bytes.Contains(b, []byte(keep.Token)) || bytes.Contains(b, []byte("correct horse"))) {
			t.Errorf("%s holds a secret", f)
		}
	}
	if err := os.WriteFile(secret, []byte("another passphrase\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, o := options(t, onDisk(t, pebble.Options{Dir: filepath.Join(dir, "data")}), sealed)
	if _, err := actors.Start(loaded, o); !errors.Is(err, actors.ErrFile) {
		t.Errorf("started with another passphrase: %v", err)
	}
}

// Two nodes, 200 damaged objects: every one is healed by the read that finds it, and is whole on the disk afterwards. A peer
// that lies changes nothing.
func TestHealFromPeer(t *testing.T) {
	t.Parallel()
	good := start(t, onDisk(t, pebble.Options{FS: vfs.NewMem()}))
	var lies atomic.Int64
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lies.Add(1)
		w.Header().Set("ETag", `"`+strings.TrimPrefix(r.URL.Path, "/o/")+`"`)
		w.Header().Set("Content-Length", "5000")
		_, _ = w.Write(make([]byte, 5000))
	}))
	defer liar.Close()
	var fs vfs.FS = vfs.NewMem()
	var disk *pebble.Store
	bad := start(t, onDisk(t, pebble.Options{FS: fs}), func(c *config.Config, o *actors.Options) {
		c.Peers = []string{liar.URL, good.base}
		disk = o.Disk.(*pebble.Store)
	})
	var all [][]byte
	for i := range 200 {
		b := bytesOf(byte(i), 50+i*1500)
		all = append(all, b)
		good.put(b)
		bad.put(b)
	}
	for i, b := range all {
		if err := disk.FlipBit(store.Sum(b), int64(len(b))*8*int64(i%10)/10); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range all {
		bad.holds(b)
	}
	if n := bad.metric("objects_healed_total"); n != 200 {
		t.Errorf("%v healed, want 200", n)
	}
	if lies.Load() != 200 {
		t.Errorf("void: the liar was asked %d times", lies.Load())
	}
	whole := 0
	err := disk.Inspect(t.Context(), store.Address{}, func(f store.Finding) bool {
		if f.Err != nil {
			t.Errorf("%v: %v", f.Address, f.Err)
		}
		whole++
		return true
	})
	if err != nil || whole != 200 {
		t.Errorf("%d inspected, %v", whole, err)
	}
	s, err := bad.op.Storage(t.Context())
	if err != nil || len(s.Damaged) != 0 {
		t.Errorf("%d in quarantine, %v", len(s.Damaged), err)
	}
}

// A scrub finds what nobody reads, quarantines it, and repair heals it once there is a peer that has it.
func TestScrubAndRepair(t *testing.T) {
	t.Parallel()
	good := start(t, onDisk(t, pebble.Options{FS: vfs.NewMem()}))
	var disk *pebble.Store
	bad := start(t, onDisk(t, pebble.Options{FS: vfs.NewMem()}), func(c *config.Config, o *actors.Options) {
		c.Peers = []string{good.base}
		disk = o.Disk.(*pebble.Store)
	})
	var all []store.Address
	for i := range 20 {
		all = append(all, bad.put(bytesOf(byte(i), 1000+i)))
	}
	for _, a := range all[:3] {
		if err := disk.FlipBit(a, 77); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := bad.op.Scrub(t.Context(), httpapi.Order{}); err != nil {
		t.Fatal(err)
	}
	bad.event("ScrubFinished", "storage")
	s, err := bad.op.Storage(t.Context())
	if err != nil || len(s.Damaged) != 3 || s.Scrub.Objects != 20 || s.Scrub.Damaged != 3 || s.Scrub.Healed != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	if r, err := bad.op.Repair(t.Context(), httpapi.RepairOrder{}); err != nil || r.Tried != 3 || r.Healed != 0 || len(r.Failed) != 3 {
		t.Fatalf("nobody has it: %+v, %v", r, err)
	}
	for i := range 20 {
		good.put(bytesOf(byte(i), 1000+i))
	}
	if r, err := bad.op.Repair(t.Context(), httpapi.RepairOrder{}); err != nil || r.Healed != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	if s, err = bad.op.Storage(t.Context()); err != nil || len(s.Damaged) != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	dir := filepath.Join(t.TempDir(), "b")
	if _, err := bad.op.Backup(t.Context(), httpapi.BackupOrder{Dir: dir}); err == nil { // its files are in RAM
		t.Error("a backup of a disk in RAM")
	}
	if _, err := bad.op.Backup(t.Context(), httpapi.BackupOrder{Dir: "relative"}); !errors.Is(err, httpapi.ErrBadRequest) {
		t.Errorf("a relative path: %v", err)
	}
}

// The storage actor and the shards are killed again and again under durable traffic: what was acknowledged is there.
func TestKilledOnDisk(t *testing.T) {
	t.Parallel()
	r := start(t, lenient, onDisk(t, pebble.Options{FS: vfs.NewMem()}))
	kept := map[string]bool{}
	for i := range 60 {
		actor := []string{"storage", "mailbox-3", "mailbox"}[i%3]
		if _, err := r.op.Kill(t.Context(), httpapi.Order{Service: actor}); err != nil && !errors.Is(err, httpapi.ErrConflict) {
			t.Fatal(err)
		}
		b := bytesOf(byte(i), 500+i)
		if _, _, err := r.node.Objects().Put(r.ctx(), bytes.NewReader(b), store.PutOptions{Size: -1}); err == nil {
			kept[string(b)] = true
		}
		_, _ = r.send(fmt.Sprint("t", i), "", b)
	}
	r.healthy()
	for b := range kept {
		r.holds([]byte(b))
	}
	if len(kept) == 0 {
		t.Error("void: nothing was acknowledged")
	}
}

// shy is a disk whose journal can not be read at once after it was opened anew.
type shy struct {
	*pebble.Store
	refuse atomic.Int32
}

func (s *shy) Mail(ctx context.Context) (mbox.Mail, error) {
	if s.refuse.Add(-1) >= 0 {
		return mbox.Mail{}, store.ErrNotReady
	}
	return s.Store.Mail(ctx)
}

// A mailbox that could not be restored at once is restored later, and takes nothing before.
func TestRestoreIsTriedAgain(t *testing.T) {
	t.Parallel()
	disk, wrapped := newBrittle(), &shy{}
	r := start(t, onDisk(t, pebble.Options{FS: disk}), func(_ *config.Config, o *actors.Options) {
		wrapped.Store = o.Disk.(*pebble.Store)
		o.Disk = wrapped
	})
	first, err := r.send("t", "k", []byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	wrapped.refuse.Store(2)
	disk.bad.Store(true)
	_, _ = r.send("t", "", []byte("not promised"))
	disk.bad.Store(false)
	r.event("DiskReopenFailed", "storage")
	r.event("DiskReopened", "storage")
	if again, err := r.send("t", "k", []byte("m")); err != nil || again.ID != first.ID {
		t.Errorf("%+v, %v; want %v", again, err, first.ID)
	}
	if wrapped.refuse.Load() >= 0 {
		t.Error("void: it was not refused")
	}
}

// A scrub that a stop has interrupted goes on where it was.
func TestScrubResumes(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	s, err := pebble.Open(pebble.Options{Dir: "data", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	var all []store.Address
	for i := range 30 {
		info, _, err := s.Put(t.Context(), bytes.NewReader(bytesOf(byte(i), 100)), store.PutOptions{Size: 100})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, info.Address)
	}
	slices.SortFunc(all, store.Address.Compare)
	note := fmt.Sprintf(`{"running":true,"started":"2026-01-01T00:00:00Z","after":%q,"objects":20}`, all[19])
	if err := errors.Join(s.SetNote("scrub", []byte(note)), s.Close()); err != nil {
		t.Fatal(err)
	}
	r := start(t, onDisk(t, pebble.Options{FS: fs}))
	r.event("ScrubFinished", "storage")
	if got, err := r.op.Storage(t.Context()); err != nil || got.Scrub.Objects != 30 || got.Scrub.Bytes != 1000 {
		t.Errorf("%+v, %v; want 30 objects, the last 10 of them read now", got.Scrub, err)
	}
}

// Where capabilities are asked for, nodes with the same root key heal each other, and others do not.
func TestHealWithCapability(t *testing.T) {
	t.Parallel()
	key := func(digit string) string {
		path := filepath.Join(t.TempDir(), "root.key")
		if err := os.WriteFile(path, []byte(strings.Repeat(digit, 64)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	shared, other := key("a"), key("b")
	with := func(root string, peers ...string) setup {
		return func(c *config.Config, _ *actors.Options) { c.Auth.Mode, c.Keys.RootFile, c.Peers = "cap", root, peers }
	}
	body := bytesOf(1, 5000)
	keep := func(r *rig) {
		t.Helper()
		if _, _, err := r.node.Objects().Put(r.ctx(), bytes.NewReader(body), store.PutOptions{Size: -1}); err != nil {
			t.Fatal(err)
		}
	}
	good := start(t, with(shared))
	keep(good)
	for root, want := range map[string]error{shared: nil, other: store.ErrCorrupt} {
		var disk *pebble.Store
		bad := start(t, onDisk(t, pebble.Options{FS: vfs.NewMem()}), with(root, good.base), func(_ *config.Config, o *actors.Options) { disk = o.Disk.(*pebble.Store) })
		keep(bad)
		if err := disk.FlipBit(store.Sum(body), 9); err != nil {
			t.Fatal(err)
		}
		b, err := bad.node.Objects().Open(bad.ctx(), store.Sum(body))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if _, err := b.WriteRange(bad.ctx(), &out, 0, 5000); !errors.Is(err, want) || want == nil && !bytes.Equal(out.Bytes(), body) {
			t.Errorf("%d bytes, %v; want %v", out.Len(), err, want)
		}
		_ = b.Close()
	}
}
