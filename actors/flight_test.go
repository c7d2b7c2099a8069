package actors_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"micronode/actors"
	"micronode/config"
	httpapi "micronode/http"
	"micronode/store"
	"micronode/store/mem"
)

// toldStore tells when a put has begun.
type toldStore struct {
	*mem.Store
	begun chan struct{}
}

func (s *toldStore) Put(ctx context.Context, src io.Reader, o store.PutOptions) (store.Info, bool, error) {
	s.begun <- struct{}{}
	return s.Store.Put(ctx, src, o)
}

// busyStore is slow to open what it holds: that is work, and takes a slot.
type busyStore struct {
	*mem.Store
	begun, goOn chan struct{}
	busy        atomic.Bool
}

func newBusyStore() *busyStore {
	return &busyStore{Store: mem.New(mem.Options{}), begun: make(chan struct{}, 16), goOn: make(chan struct{})}
}

func (s *busyStore) Open(ctx context.Context, a store.Address) (store.Blob, error) {
	if s.busy.Load() {
		s.begun <- struct{}{}
		<-s.goOn
	}
	return s.Store.Open(ctx, a)
}

// hold has so many requests work until the returned function is called.
func (r *rig) hold(objects *busyStore, many int) (end func()) {
	r.Helper()
	_, _, err := objects.Put(r.ctx(), strings.NewReader("held"), store.PutOptions{Size: 4})
	if err != nil {
		r.Fatal(err)
	}
	objects.busy.Store(true)
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			if a := r.ask("GET", "/o/"+store.Sum([]byte("held")).String(), nil); a.status != http.StatusOK {
				r.Errorf("held: %d", a.status)
			}
		})
	}
	for range many {
		<-objects.begun
	}
	return func() {
		objects.busy.Store(false)
		close(objects.goOn)
		all.Wait()
	}
}

func told(s *toldStore) setup {
	return func(_ *config.Config, o *actors.Options) {
		s.Store, s.begun = mem.New(mem.Options{}), make(chan struct{}, 16)
		o.Objects = s
	}
}

// An upload and a download are under way while every actor is killed, and end
// whole while every actor is down.
func TestNothingBegunIsCut(t *testing.T) {
	t.Parallel()
	objects := &toldStore{}
	r := start(t, staysDown, told(objects))
	large, up := bytesOf(1, 24<<20), bytesOf(2, 3<<20)
	if _, _, err := objects.Store.Put(r.ctx(), bytes.NewReader(large), store.PutOptions{Size: -1}); err != nil {
		t.Fatal(err)
	}
	body, send := io.Pipe()
	type stored struct {
		httpapi.Stored
		created bool
		err     error
	}
	uploaded := make(chan stored, 1)
	go func() {
		s, created, err := r.data.Put(r.ctx(), body, store.PutOptions{Size: -1})
		uploaded <- stored{s, created, err}
	}()
	if _, err := send.Write(up[:1<<20]); err != nil {
		t.Fatal(err)
	}
	<-objects.begun

	req, err := http.NewRequestWithContext(r.ctx(), http.MethodGet, r.base+"/o/"+store.Sum(large).String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	down := make([]byte, 1000)
	if _, err := io.ReadFull(res.Body, down); err != nil {
		t.Fatal(err)
	}

	for _, actor := range calmActors {
		if _, err := r.op.Kill(r.ctx(), httpapi.Order{Service: actor}); err != nil {
			t.Fatalf("%s: %v", actor, err)
		}
		if a := r.ask("GET", "/healthz", nil); a.status != http.StatusOK {
			t.Errorf("%s down: healthz %d", actor, a.status)
		}
	}
	if is := r.node.Readiness(); !is.Ready || len(is.Missing) != len(calmActors) {
		t.Fatalf("not all are down: %+v", is)
	}
	if _, _, err := r.data.Put(r.ctx(), bytes.NewReader(up[:10]), store.PutOptions{Size: 10}); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("a put that begins now: %v", err)
	}
	if _, err := send.Write(up[1<<20:]); err != nil {
		t.Fatal(err)
	}
	_ = send.Close()
	if s := <-uploaded; s.err != nil || !s.created || s.Address != store.Sum(up).String() || s.Size != int64(len(up)) {
		t.Errorf("upload: %+v", s)
	}
	rest, err := io.ReadAll(res.Body)
	if err != nil || !bytes.Equal(append(down, rest...), large) {
		t.Errorf("download: %d of %d bytes, %v", len(down)+len(rest), len(large), err)
	}
	r.holds(up)
}
