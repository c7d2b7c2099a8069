package actors

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"micronode/kernel"
	"micronode/store"
	"micronode/store/mem"
)

// Reads stay open, writes fail closed; nothing passes before the first start
// and after the stop.
func TestGate(t *testing.T) {
	ctx, body := t.Context(), []byte("kept")
	kept := store.Sum(body)
	for _, tt := range []struct {
		name        string
		plane       kernel.Plane
		lent        bool
		read, write error
	}{
		{"never lent", kernel.Open, false, store.ErrNotReady, store.ErrNotReady},
		{"closed", kernel.Closed, true, store.ErrNotReady, store.ErrNotReady},
		{"read only", kernel.ReadOnly, true, nil, store.ErrReadOnly},
		{"open", kernel.Open, true, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := mem.New(mem.Options{})
			if _, _, err := s.Put(ctx, bytes.NewReader(body), store.PutOptions{Size: -1}); err != nil {
				t.Fatal(err)
			}
			g := &Gate{plane: func() kernel.Plane { return tt.plane }, now: time.Now}
			if tt.lent {
				g.lend(s)
			}
			if _, _, err := g.Put(ctx, bytes.NewReader([]byte("new")), store.PutOptions{Size: -1}); !errors.Is(err, tt.write) {
				t.Errorf("put: %v, want %v", err, tt.write)
			}
			b, err := g.Open(ctx, kept)
			if !errors.Is(err, tt.read) {
				t.Errorf("open: %v, want %v", err, tt.read)
			}
			if err == nil {
				var got bytes.Buffer
				if _, err := b.WriteRange(ctx, &got, 0, 4); err != nil || got.String() != "kept" || b.Info().Address != kept {
					t.Errorf("read %q, %v", got.String(), err)
				}
				_ = b.Close()
			}
			if _, err := g.List(ctx, store.Address{}, 10); !errors.Is(err, tt.read) {
				t.Errorf("list: %v, want %v", err, tt.read)
			}
			if err := g.Delete(ctx, kept); !errors.Is(err, tt.write) {
				t.Errorf("delete: %v, want %v", err, tt.write)
			}
			if got := g.Usage().Objects; (got > 0) != tt.lent {
				t.Errorf("usage: %d objects", got)
			}
			g.shut()
			if _, err := g.Open(ctx, kept); !errors.Is(err, store.ErrNotReady) {
				t.Errorf("open after the end: %v", err)
			}
		})
	}
}

// plain is a tier without optional powers.
type plain struct{ store.Store }

func TestGateOfAPlainTier(t *testing.T) {
	g := &Gate{plane: func() kernel.Plane { return kernel.Open }, now: time.Now}
	g.lend(plain{mem.New(mem.Options{})})
	if _, err := g.List(t.Context(), store.Address{}, 1); !errors.Is(err, errNoList) {
		t.Errorf("list: %v", err)
	}
	if u := g.Usage(); u != (store.Usage{}) {
		t.Errorf("usage %+v", u)
	}
}

// slowly lets time pass with each call of its reader or writer.
type slowly struct {
	clock *time.Time
	r     io.Reader
	w     io.Writer
}

func (s slowly) Read(p []byte) (int, error) {
	*s.clock = s.clock.Add(time.Hour)
	return s.r.Read(p)
}

func (s slowly) Write(p []byte) (int, error) {
	*s.clock = s.clock.Add(time.Hour)
	return s.w.Write(p)
}

// busy is a store that takes a second for a put.
type busy struct {
	store.Store
	clock *time.Time
}

func (b busy) Put(ctx context.Context, src io.Reader, o store.PutOptions) (store.Info, bool, error) {
	*b.clock = b.clock.Add(time.Second)
	return b.Store.Put(ctx, src, o)
}

// What is measured is the store's own time, not the client's.
func TestGateMeasuresTheStore(t *testing.T) {
	clock := time.Unix(1, 0)
	var puts, gets []time.Duration
	var corrupt []store.Address
	g := &Gate{plane: func() kernel.Plane { return kernel.Open }, now: func() time.Time { return clock }, watch: gateWatch{
		put:     func(d time.Duration) { puts = append(puts, d) },
		get:     func(d time.Duration) { gets = append(gets, d) },
		corrupt: func(_ context.Context, a store.Address, _ error) { corrupt = append(corrupt, a) },
	}}
	s := mem.New(mem.Options{})
	g.lend(busy{s, &clock})
	body := bytes.Repeat([]byte("x"), 200_000)
	a := store.Sum(body)
	if _, _, err := g.Put(t.Context(), slowly{clock: &clock, r: bytes.NewReader(body)}, store.PutOptions{Size: -1}); err != nil {
		t.Fatal(err)
	}
	send := func() error {
		b, err := g.Open(t.Context(), a)
		if err != nil {
			return err
		}
		defer func() { _ = b.Close() }()
		_, err = b.WriteRange(t.Context(), slowly{clock: &clock, w: io.Discard}, 0, 200_000)
		return err
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	if len(puts) != 1 || puts[0] != time.Second || len(gets) != 1 || gets[0] != 0 {
		t.Errorf("puts took %v, gets %v", puts, gets)
	}
	if err := s.FlipBit(a, 1); err != nil {
		t.Fatal(err)
	}
	if err := send(); !errors.Is(err, store.ErrCorrupt) || len(corrupt) != 1 || corrupt[0] != a || len(gets) != 1 {
		t.Errorf("%v, told of %v, gets %v", err, corrupt, gets)
	}
	if _, _, err := g.Put(t.Context(), bytes.NewReader(body), store.PutOptions{Size: 5}); err == nil || len(puts) != 1 {
		t.Errorf("a put that failed: %v, counted %v", err, puts)
	}
}
