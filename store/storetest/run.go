package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"micronode/store"
)

// Run tests a Store against the contract. newStore returns an empty one of at least 64 MiB, and cleans up by t.Cleanup.
func Run(t *testing.T, newStore func(t *testing.T) store.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"goldens", testGoldens},
		{"sizes, declared and streamed", testSizes},
		{"readers of every habit", testReaderHabits},
		{"the same bytes again", testSameAgain},
		{"expected address", testExpect},
		{"too large", testTooLarge},
		{"declared length is kept to", testDeclaredLength},
		{"source fails at every byte", testSourceFails},
		{"cancelled put", testCancelledPut},
		{"ranges", testRanges},
		{"writer fails", testWriterFails},
		{"cancelled read", testCancelledRead},
		{"delete", testDelete},
		{"open across delete", testOpenAcrossDelete},
		{"same bytes at the same time", testSameAtOnce},
		{"readers during deletes", testReadersDuringDeletes},
		{"list", testList},
		{"usage", testUsage},
		{"corruption", testCorruption},
		{"healing", testHealing},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newStore(t)) })
	}
}

// content is n bytes that depend on seed and n alone.
func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	for i := range 8 {
		key[i], key[8+i] = byte(seed>>(8*i)), byte(n>>(8*i))
	}
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

// plain hides every method of a reader but Read.
type plain struct{ io.Reader }

func stream(b []byte) io.Reader { return plain{bytes.NewReader(b)} }

// mustPut stores b as a stream and checks the answer.
func mustPut(t *testing.T, s store.Store, b []byte) store.Address {
	t.Helper()
	put(t, s, b, store.PutOptions{Size: -1}, true)
	return store.Sum(b)
}

// put stores b and checks the whole answer.
func put(t *testing.T, s store.Store, b []byte, opt store.PutOptions, wantCreated bool) store.Info {
	t.Helper()
	info, created, err := s.Put(t.Context(), stream(b), opt)
	if err != nil {
		t.Fatalf("Put of %d bytes: %v", len(b), err)
	}
	if info.Address != store.Sum(b) || info.Size != int64(len(b)) {
		t.Fatalf("Put of %d bytes answers %v, %d bytes; want %v", len(b), info.Address, info.Size, store.Sum(b))
	}
	if created != wantCreated {
		t.Fatalf("Put of %d bytes: created %v, want %v", len(b), created, wantCreated)
	}
	return info
}

// mustOpen opens a blob that is closed when the test ends, unless it was closed before.
func mustOpen(t *testing.T, s store.Store, a store.Address) store.Blob {
	t.Helper()
	b, err := s.Open(t.Context(), a)
	if err != nil {
		t.Fatalf("Open %v: %v", a, err)
	}
	return b
}

func mustClose(t *testing.T, b store.Blob) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// readAll opens, reads all and closes.
func readAll(ctx context.Context, s store.Store, a store.Address) ([]byte, error) {
	b, err := s.Open(ctx, a)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	size := b.Info().Size
	n, err := b.WriteRange(ctx, &out, 0, size)
	if err == nil && (n != size || n != int64(out.Len())) {
		err = errors.New("WriteRange counts wrong")
	}
	return out.Bytes(), errors.Join(err, b.Close())
}

func wantContent(t *testing.T, s store.Store, want []byte) {
	t.Helper()
	got, err := readAll(t.Context(), s, store.Sum(want))
	if err != nil {
		t.Fatalf("reading %d bytes: %v", len(want), err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes that are not the %d put", len(got), len(want))
	}
}

func wantAbsent(t *testing.T, s store.Store, b []byte) {
	t.Helper()
	blob, err := s.Open(t.Context(), store.Sum(b))
	if err == nil {
		_ = blob.Close()
	}
	if !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("Open of %d bytes that are not kept: %v, want ErrNotFound", len(b), err)
	}
}

// wantRefused puts b, wants the error, and wants nothing to be left of it.
func wantRefused(t *testing.T, s store.Store, src io.Reader, opt store.PutOptions, want error) {
	t.Helper()
	before := usage(s)
	info, created, err := s.Put(t.Context(), src, opt)
	if !errors.Is(err, want) {
		t.Fatalf("Put: %v, want %v", err, want)
	}
	if created || info != (store.Info{}) {
		t.Fatalf("refused Put answers %+v, created %v", info, created)
	}
	if after := usage(s); after != before {
		t.Fatalf("refused Put leaves usage %+v, was %+v", after, before)
	}
}

// usage is what the Store says, or nothing.
func usage(s store.Store) store.Usage {
	if m, ok := s.(store.Meter); ok {
		return m.Usage()
	}
	return store.Usage{}
}
