package pebble_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"micronode/store"
	"micronode/store/mbox"
	"micronode/store/pebble"
)

var (
	crashRuns = flag.Int("crashes", 40, "crash images to look at")
	thorough  = flag.Bool("thorough", false, "damage every place, fail every operation: minutes")
	crashSeed = flag.Uint64("crashseed", uint64(time.Now().UnixNano()), "seed of the crash images")
)

// ledger is what clients know: the oracle. What is under way when the power goes may be there or not.
type ledger struct {
	mu       sync.Mutex
	objects  map[store.Address][]byte   // acknowledged puts
	unsure   map[store.Address]struct{} // puts and deletes under way, or refused
	messages map[mbox.ID]mbox.Row       // accepted
	settled  map[mbox.ID]struct{}       // acknowledged acks
	leaving  map[mbox.ID]struct{}       // acks under way
	keys     map[string]mbox.ID         // accepted under a key
	news     chan struct{}              // one token: something was promised
}

func (l *ledger) tell() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

func newLedger() *ledger {
	return &ledger{
		objects: map[store.Address][]byte{}, unsure: map[store.Address]struct{}{}, messages: map[mbox.ID]mbox.Row{},
		settled: map[mbox.ID]struct{}{}, leaving: map[mbox.ID]struct{}{}, keys: map[string]mbox.ID{}, news: make(chan struct{}, 1),
	}
}

// snapshot is the ledger at this moment: what it promises must be on the disk already.
func (l *ledger) snapshot() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := newLedger()
	for k, v := range l.objects {
		c.objects[k] = v
	}
	for k := range l.unsure {
		c.unsure[k] = struct{}{}
	}
	for k, v := range l.messages {
		c.messages[k] = v
	}
	for k := range l.settled {
		c.settled[k] = struct{}{}
	}
	for k := range l.leaving {
		c.leaving[k] = struct{}{}
	}
	for k, v := range l.keys {
		c.keys[k] = v
	}
	return c
}

// putter puts, deletes and puts again until told to end.
func (l *ledger) putter(s *pebble.Store, seed uint64, end *atomic.Bool) {
	r := rand.New(rand.NewPCG(seed, 1))
	sizes := []int{40, 100, 5000, store.GroupSize, store.GroupSize + 1, 200_000}
	var mine []store.Address
	for i := 0; !end.Load(); i++ {
		if len(mine) > 0 && r.IntN(4) == 0 {
			a := mine[r.IntN(len(mine))]
			l.mu.Lock()
			b := l.objects[a]
			delete(l.objects, a)
			l.unsure[a] = struct{}{}
			l.mu.Unlock()
			if err := s.Delete(context.Background(), a); err == nil && r.IntN(2) == 0 && b != nil {
				if _, _, err := s.Put(context.Background(), bytes.NewReader(b), store.PutOptions{Size: -1}); err == nil {
					l.keep(a, b)
				}
			}
			continue
		}
		n := sizes[r.IntN(len(sizes))]
		if r.IntN(12) == 0 {
			n = 1_300_000 // written as it lands
		}
		b := make([]byte, n)
		for j := 0; j < len(b); j += 97 {
			b[j] = byte(r.Uint32())
		}
		copy(b, fmt.Sprintf("%d %d.", seed, i)) // nobody else puts it
		a := store.Sum(b)
		l.mu.Lock()
		_, known := l.objects[a]
		if !known {
			l.unsure[a] = struct{}{}
		}
		l.mu.Unlock()
		size := int64(len(b))
		if r.IntN(2) == 0 {
			size = -1
		}
		if _, _, err := s.Put(context.Background(), bytes.NewReader(b), store.PutOptions{Size: size}); err == nil {
			l.keep(a, b)
			mine = append(mine, a)
		}
	}
}

func (l *ledger) keep(a store.Address, b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.objects[a] = b
	delete(l.unsure, a)
	l.tell()
}

// mailer runs a queue on the journal: what Append has called durable is promised.
func (l *ledger) mailer(s *pebble.Store, q *mbox.Queue, seed uint64, end *atomic.Bool) {
	r := rand.New(rand.NewPCG(seed, 2))
	now := func() mbox.Now { return mbox.Now{Mono: time.Hour, Wall: time.Unix(2_000_000_000, 0)} }
	var pending sync.WaitGroup
	defer pending.Wait()
	for i := 0; !end.Load(); i++ {
		pending.Add(1)
		switch r.IntN(3) {
		case 0, 1:
			key := ""
			if r.IntN(2) == 0 {
				key = fmt.Sprint("k", seed, i)
			}
			body := []byte(fmt.Sprint("message ", seed, i))
			sent, err := q.Send(now(), mbox.Message{Topic: "t", Payload: body, Hash: store.Sum(body), Key: key, Attrs: map[string]string{"a": "b"}})
			s.Append(q.Changes(now()), false, func(failed error) {
				if err == nil && failed == nil {
					l.mu.Lock()
					l.messages[sent.ID] = mbox.Row{Payload: body}
					if key != "" {
						l.keys[key] = sent.ID
					}
					l.mu.Unlock()
				}
				pending.Done()
			})
		default:
			got, _ := q.Recv(now(), mbox.Want{Topic: "t", Max: 1, Visibility: time.Hour})
			s.Append(q.Changes(now()), true, func(error) {})
			if len(got) == 0 {
				pending.Done()
				continue
			}
			id := got[0].ID
			l.mu.Lock()
			l.leaving[id] = struct{}{}
			l.mu.Unlock()
			_, err := q.Settle(now(), mbox.Settlement{Receipt: got[0].Receipt})
			s.Append(q.Changes(now()), false, func(failed error) {
				if err == nil && failed == nil {
					l.mu.Lock()
					l.settled[id] = struct{}{}
					l.mu.Unlock()
					l.tell()
				}
				pending.Done()
			})
		}
	}
}

// check holds a store against what had been promised.
func (l *ledger) check(s *pebble.Store) error {
	var bad []error
	for a, want := range l.objects {
		got, err := content(s, a)
		if err != nil || !bytes.Equal(got, want) {
			bad = append(bad, fmt.Errorf("acknowledged object of %d bytes: %w", len(want), err))
		}
	}
	for a := range l.unsure {
		if _, err := content(s, a); err != nil && !errors.Is(err, store.ErrNotFound) {
			bad = append(bad, fmt.Errorf("an object that may be there is torn: %w", err))
		}
	}
	mail, err := s.Mail(context.Background())
	bad = append(bad, err)
	bad = append(bad, mail.Damaged...)
	there := map[mbox.ID]mbox.Row{}
	for _, r := range mail.Rows {
		there[r.ID] = r
	}
	for id, want := range l.messages {
		got, ok := there[id]
		_, settled := l.settled[id]
		_, leaving := l.leaving[id]
		switch {
		case ok && settled:
			bad = append(bad, fmt.Errorf("message %v is back after its ack", id))
		case !ok && !settled && !leaving:
			bad = append(bad, fmt.Errorf("accepted message %v is lost", id))
		case ok && !bytes.Equal(got.Payload, want.Payload):
			bad = append(bad, fmt.Errorf("message %v is altered", id))
		}
	}
	keys := map[string]mbox.ID{}
	for _, k := range mail.Keys {
		keys[k.Key] = k.ID
	}
	for k, id := range l.keys {
		if keys[k] != id {
			bad = append(bad, fmt.Errorf("key %s led to %v, now to %v", k, id, keys[k]))
		}
	}
	u := s.Usage()
	infos, err := s.List(context.Background(), store.Address{}, 0)
	bad = append(bad, err)
	sum := int64(0)
	for _, i := range infos {
		sum += i.Size + pebble.ObjectOverhead
	}
	if len(infos) < store.MaxPage && (u.Objects != int64(len(infos)) || u.Bytes != sum) {
		bad = append(bad, fmt.Errorf("usage says %+v, there are %d objects of %d bytes", u, len(infos), sum))
	}
	return errors.Join(bad...)
}

func content(s *pebble.Store, a store.Address) ([]byte, error) {
	b, err := s.Open(context.Background(), a)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	var out bytes.Buffer
	_, err = b.WriteRange(context.Background(), &out, 0, b.Info().Size)
	return out.Bytes(), err
}

// crash works on a store, cuts the power at a random moment, and holds what is left against the ledger.
func crash(fs *vfs.MemFS, wrap func(vfs.FS) vfs.FS, seed uint64) (image *vfs.MemFS, promised int, err error) {
	r := rand.New(rand.NewPCG(seed, 3))
	s, err := pebble.Open(pebble.Options{Dir: "data", FS: wrap(fs)})
	if err != nil {
		return nil, 0, fmt.Errorf("open: %w", err)
	}
	l, end := newLedger(), new(atomic.Bool)
	var work sync.WaitGroup
	for i := range 3 {
		work.Go(func() { l.putter(s, seed+uint64(i)<<40, end) })
	}
	q := mbox.New(mbox.Options{Journal: true, Capacity: 1 << 20, Seed: [32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}})
	work.Go(func() { l.mailer(s, q, seed, end) })
	enough := 1 + r.IntN(60)
	for { // the moment is counted in promises, so that every run has some
		l.mu.Lock()
		n := len(l.objects) + len(l.messages) + len(l.settled)
		l.mu.Unlock()
		if n >= enough || s.Failed() != nil {
			break
		}
		<-l.news
	}
	before := l.snapshot()
	percent := []int{0, 0, 30, 70, 100}[r.IntN(5)]
	image = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: r})
	end.Store(true)
	work.Wait()
	// what was deleted or acknowledged between snapshot and clone is unsure as well
	after := l.snapshot()
	for a := range before.objects {
		if _, still := after.objects[a]; !still {
			delete(before.objects, a)
			before.unsure[a] = struct{}{}
		}
		if _, touched := after.unsure[a]; touched {
			delete(before.objects, a)
			before.unsure[a] = struct{}{}
		}
	}
	for id := range after.leaving {
		before.leaving[id] = struct{}{}
	}
	_ = s.Close()
	again, err := pebble.Open(pebble.Options{Dir: "data", FS: image})
	if err != nil {
		return nil, 0, fmt.Errorf("seed %d: the image does not open: %w", seed, err)
	}
	err = before.check(again)
	if err != nil {
		err = fmt.Errorf("seed %d, %d %% of what was not synced: %w", seed, percent, err)
	}
	return image, len(before.objects) + len(before.messages), errors.Join(err, again.Close())
}

func asIs(fs vfs.FS) vfs.FS { return fs }

func TestCrashImages(t *testing.T) {
	t.Logf("-crashseed=%d", *crashSeed)
	promised := 0
	for i := range *crashRuns {
		_, n, err := crash(vfs.NewCrashableMem(), asIs, *crashSeed+uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		promised += n
	}
	if promised < *crashRuns {
		t.Fatalf("void: %d promises in %d runs", promised, *crashRuns)
	}
	t.Logf("%d images, %d promises held", *crashRuns, promised)
}

// liar is a file system that says it synced and did not: what an acknowledgement before its fsync comes to.
type liar struct {
	vfs.FS
	files, dirs bool // what it lies about
}

func (l liar) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.Create(name, c)
	return lyingFile{f, l.files}, err
}

func (l liar) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.ReuseForWrite(old, name, c)
	return lyingFile{f, l.files}, err
}

func (l liar) OpenDir(name string) (vfs.File, error) {
	f, err := l.FS.OpenDir(name)
	return lyingFile{f, l.dirs}, err
}

type lyingFile struct {
	vfs.File
	lies bool
}

func (f lyingFile) Sync() error {
	if f.lies {
		return nil
	}
	return f.File.Sync()
}

func (f lyingFile) SyncData() error {
	if f.lies {
		return nil
	}
	return f.File.SyncData()
}

func (f lyingFile) SyncTo(n int64) (bool, error) {
	if f.lies {
		return true, nil
	}
	return f.File.SyncTo(n)
}

// The check sees what it is there to see: a log or a directory that is not synced.
func TestCrashImagesSeeLies(t *testing.T) {
	for name, lie := range map[string]liar{"files": {files: true}, "directories": {dirs: true}} {
		caught := 0
		for i := range 12 {
			if _, _, err := crash(vfs.NewCrashableMem(), func(fs vfs.FS) vfs.FS { lie.FS = fs; return lie }, *crashSeed+uint64(i)); err != nil {
				caught++
			}
		}
		if caught < 3 {
			t.Errorf("%s not synced: caught in %d of 12 images", name, caught)
		}
	}
}
