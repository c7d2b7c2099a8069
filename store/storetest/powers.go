package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"micronode/store"
)

func testList(t *testing.T, s store.Store) {
	l, ok := s.(store.Lister)
	if !ok {
		return
	}
	wantPages := func(want []store.Info, limit int) {
		t.Helper()
		got, err := pages(t.Context(), l, limit)
		if err != nil {
			t.Fatalf("List by %d: %v", limit, err)
		}
		if !slices.EqualFunc(got, want, sameInfo) {
			t.Fatalf("List by %d gives %d objects, want these %d in order: got %v", limit, len(got), len(want), got)
		}
	}
	wantPages(nil, 10)
	var want []store.Info
	for i := range 137 {
		want = append(want, put(t, s, content(300, i), store.PutOptions{Size: -1}, true))
	}
	slices.SortFunc(want, func(a, b store.Info) int { return a.Address.Compare(b.Address) })
	for _, limit := range []int{1, 2, 7, 136, 137, 138, store.MaxPage, store.MaxPage + 1, 0, -1} {
		wantPages(want, limit)
	}
	for i := 0; i < len(want); i += 10 {
		tail, err := l.List(t.Context(), want[i].Address, store.MaxPage)
		if err != nil || !slices.EqualFunc(tail, want[i+1:], sameInfo) {
			t.Fatalf("List after object %d of %d: %d objects, %v", i, len(want), len(tail), err)
		}
		between := want[i].Address
		between[31]-- // strictly before, whatever the digit
		tail, err = l.List(t.Context(), between, 1)
		if between[31] != 255 && (err != nil || len(tail) != 1 || !sameInfo(tail[0], want[i])) {
			t.Fatalf("List after an address that is not kept: %v, %v", tail, err)
		}
	}
	for i := 0; i < len(want); i++ {
		if err := s.Delete(t.Context(), want[i].Address); err != nil {
			t.Fatal(err)
		}
		want = slices.Delete(want, i, i+1)
	}
	wantPages(want, 7)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if page, err := l.List(cancelled, store.Address{}, 10); !errors.Is(err, context.Canceled) || page != nil {
		t.Fatalf("cancelled List: %v, %v", page, err)
	}
}

func sameInfo(a, b store.Info) bool {
	return a.Address == b.Address && a.Size == b.Size && a.Expires.Equal(b.Expires)
}

// pages follows List to its end, as a caller does: a short page is the last.
func pages(ctx context.Context, l store.Lister, limit int) (all []store.Info, err error) {
	full := limit
	if limit < 1 || limit > store.MaxPage {
		full = store.MaxPage
	}
	var after store.Address
	for {
		page, err := l.List(ctx, after, limit)
		if err != nil {
			return all, err
		}
		if len(page) > full {
			return all, errors.New("page longer than asked")
		}
		all = append(all, page...)
		if len(page) < full {
			return all, nil
		}
		after = page[len(page)-1].Address
	}
}

func testUsage(t *testing.T, s store.Store) {
	m, ok := s.(store.Meter)
	if !ok {
		return
	}
	empty := m.Usage()
	if empty.Objects != 0 || empty.Bytes != 0 || empty.MaxBytes <= 0 {
		t.Fatalf("an empty store says %+v", empty)
	}
	var payload int64
	var all []store.Address
	for i, size := range []int{0, 1, 1000, group, 2*group + 1, 1 << 20} {
		all = append(all, mustPut(t, s, content(uint64(320+i), size)))
		payload += int64(size)
		u := m.Usage()
		if u.Objects != int64(i+1) || u.Bytes < payload || u.Bytes > payload+int64(i+1)*4096 || u.MaxBytes != empty.MaxBytes {
			t.Fatalf("%d objects of %d bytes in all: %+v", i+1, payload, u)
		}
	}
	held := mustOpen(t, s, all[3])
	for _, a := range all {
		if err := s.Delete(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if u := m.Usage(); u.Objects != 0 {
		t.Fatalf("all deleted: %+v", u)
	}
	mustClose(t, held)
	if u := m.Usage(); u != empty {
		t.Fatalf("all deleted and closed: %+v, want %+v", u, empty)
	}
}

func testCorruption(t *testing.T, s store.Store) {
	f, ok := s.(store.Flipper)
	if !ok {
		return
	}
	for i, size := range []int{1, 1000, group - 1, group, group + 1, 2 * group, 200000, 1<<20 + 5} {
		bits := int64(size) * 8
		for j, bit := range []int64{0, bits / 2, bits - 1, 9 * bits / 10} {
			b := content(uint64(400+10*i+j), size)
			held := mustOpen(t, s, mustPut(t, s, b))
			if err := f.FlipBit(store.Sum(b), bit); err != nil {
				t.Fatalf("FlipBit %d of %d bytes: %v", bit, size, err)
			}
			checkDamaged(t, s, b, int(bit/8)/group*group)
			var out bytes.Buffer // opened before: the good bytes, or a refusal
			if n, err := held.WriteRange(t.Context(), &out, 0, int64(size)); (err != nil && !errors.Is(err, store.ErrCorrupt)) ||
				(err == nil && n != int64(size)) || !bytes.HasPrefix(b, out.Bytes()) {
				t.Fatalf("blob opened before the damage: %d written, %v", n, err)
			}
			mustClose(t, held)
			if err := f.FlipBit(store.Sum(b), bit); err != nil {
				t.Fatal(err)
			}
			wantContent(t, s, b)
			put(t, s, b, store.PutOptions{Size: -1}, false)
		}
		for _, bit := range []int64{-1, bits, bits + 1, 1 << 62} {
			if err := f.FlipBit(store.Sum(content(uint64(400+10*i), size)), bit); err == nil || errors.Is(err, store.ErrNotFound) {
				t.Fatalf("FlipBit %d of %d bytes: %v", bit, size, err)
			}
		}
	}
	mustPut(t, s, nil)
	if err := f.FlipBit(store.Sum(nil), 0); err == nil {
		t.Fatal("FlipBit of an empty object succeeds")
	}
	if err := f.FlipBit(store.Sum([]byte("absent")), 0); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("FlipBit of what is not there: %v, want ErrNotFound", err)
	}
}

// checkDamaged wants everything of b but the group at bad, and not a byte of that.
func checkDamaged(t *testing.T, s store.Store, b []byte, bad int) {
	t.Helper()
	blob := mustOpen(t, s, store.Sum(b))
	end := min(bad+group, len(b))
	for _, r := range []struct{ from, to, good int }{
		{0, len(b), bad},
		{bad, end, 0},
		{bad, bad + 1, 0},
		{end - 1, end, 0},
		{0, bad, bad},
		{end, len(b), len(b) - end},
	} {
		var out bytes.Buffer
		n, err := blob.WriteRange(t.Context(), &out, int64(r.from), int64(r.to-r.from))
		if whole := r.good == r.to-r.from; whole != (err == nil) || !whole && !errors.Is(err, store.ErrCorrupt) {
			t.Fatalf("[%d, %d) of %d damaged in group at %d: %v", r.from, r.to, len(b), bad, err)
		}
		if n != int64(r.good) || !bytes.Equal(out.Bytes(), b[r.from:r.from+r.good]) {
			t.Fatalf("[%d, %d) of %d damaged in group at %d: %d written, want %d", r.from, r.to, len(b), bad, n, r.good)
		}
	}
	mustClose(t, blob)
}

func testHealing(t *testing.T, s store.Store) {
	f, ok := s.(store.Flipper)
	if !ok {
		return
	}
	for i, size := range []int{1, group, 3*group + 1} {
		for _, declared := range []int64{-1, int64(size)} {
			b := content(uint64(500+i)+uint64(declared+1), size)
			mustPut(t, s, b)
			before := usage(s)
			if err := f.FlipBit(store.Sum(b), int64(size)*8-1); err != nil {
				t.Fatal(err)
			}
			wantRefused(t, s, &failing{b: b, err: errSource, together: true}, store.PutOptions{Size: declared}, errSource)
			blob := mustOpen(t, s, store.Sum(b))
			if _, err := blob.WriteRange(t.Context(), io.Discard, int64(size-1), 1); !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("damaged and not healed: %v", err)
			}
			mustClose(t, blob)
			put(t, s, b, store.PutOptions{Size: declared}, true)
			wantContent(t, s, b)
			put(t, s, b, store.PutOptions{Size: declared}, false)
			if after := usage(s); after != before {
				t.Fatalf("healed: usage %+v, was %+v", after, before)
			}
		}
	}
}
