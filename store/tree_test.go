package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"lukechampine.com/blake3"
	"lukechampine.com/blake3/bao"

	"micronode/store"
)

// goldens are those of contract §2.
func goldens() map[string][]byte {
	return map[string][]byte{
		"b3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262": nil,
		"b3:d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24": []byte("hello world"),
		"b3:3bdeaf8f8e98780b318106aafdc3ca257f73df123d97b69112b26044c91a7d56": make([]byte, 65536),
		"b3:01779fe4dd4c044195009648d5b24ba30a63f3b7c4958529e423a7da3766baf9": make([]byte, 65537),
		"b3:488de202f73bd976de4e7048f4e1f39a776d86d582b7348ff53bf432b987fca8": make([]byte, 1<<20),
	}
}

// sizes lie at the borders of blocks, chunks, pieces and groups, and run over odd numbers of groups.
func sizes() []int {
	all := []int{0, 1, 63, 64, 65, 127, 128, 129, 4096, 5000, 10000, 40000, 1<<20 - 1, 1 << 20, 1<<20 + 1}
	for chunks := range 20 {
		for d := -1; d <= 1; d++ {
			all = append(all, (chunks+1)*1024+d)
		}
	}
	for _, pieces := range []int{1, 2, 3, 4, 5} {
		for d := -1; d <= 1; d++ {
			all = append(all, pieces*16384+d)
		}
	}
	for _, groups := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 16, 17, 31, 32, 33} {
		for _, d := range []int{-1025, -1024, -1, 0, 1, 1024, 1025, 3 * 1024, 20000} {
			all = append(all, groups*store.GroupSize+d)
		}
	}
	return all
}

func randomBytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

// groups cuts b and gives every group a capacity of exactly its length.
func groups(b []byte) (all [][]byte) {
	for len(b) > 0 {
		n := min(len(b), store.GroupSize)
		all = append(all, b[:n:n])
		b = b[n:]
	}
	return all
}

func TestGoldens(t *testing.T) {
	for text, content := range goldens() {
		var h store.Hasher
		_, _ = h.Write(content)
		if got := store.Sum(content).String(); got != text {
			t.Errorf("Sum of %d bytes = %s, want %s", len(content), got, text)
		}
		if got := h.Sum().String(); got != text {
			t.Errorf("Hasher over %d bytes = %s, want %s", len(content), got, text)
		}
	}
}

func TestSumAndTreeAgreeWithPeer(t *testing.T) {
	for _, size := range sizes() {
		content := randomBytes(uint64(size), size)
		want := store.Address(blake3.Sum256(content))
		if got := store.Sum(content); got != want {
			t.Fatalf("Sum of %d bytes = %v, want %v", size, got, want)
		}
		if got := store.Sum(content[:size:size]); got != want {
			t.Fatalf("Sum of %d bytes without spare capacity = %v, want %v", size, got, want)
		}
		var h store.TreeHasher
		for i, g := range groups(content) {
			h.Add(g)
			if part, _ := h.Sum(); part != store.Address(blake3.Sum256(content[:min(size, (i+1)*store.GroupSize)])) {
				t.Fatalf("TreeHasher after %d groups of %d bytes is wrong", i+1, size)
			}
		}
		got, cvs := h.Sum()
		if got != want {
			t.Fatalf("TreeHasher over %d bytes = %v, want %v", size, got, want)
		}
		tree, err := store.NewTree(want, int64(size), cvs)
		if err != nil {
			t.Fatalf("NewTree of %d bytes: %v", size, err)
		}
		for i, g := range groups(content) {
			if err := tree.Verify(int64(i), g); err != nil {
				t.Fatalf("Verify group %d of %d bytes: %v", i, size, err)
			}
		}
	}
}

// The chaining values are the leaves of a bao outboard encoding with groups of 2^6 chunks, and its root is the address.
func TestTreeAgreesWithBao(t *testing.T) {
	for _, size := range []int{65537, 131072, 131073, 3*65536 + 5, 5 * 65536, 7*65536 - 1, 17*65536 + 1, 1 << 20} {
		content := randomBytes(uint64(size), size)
		outboard, root := bao.EncodeBuf(content, 6, true)
		var h store.TreeHasher
		for _, g := range groups(content) {
			h.Add(g)
		}
		got, cvs := h.Sum()
		if got != store.Address(root) {
			t.Fatalf("%d bytes: %v, bao says %v", size, got, store.Address(root))
		}
		for i := range cvs {
			if !bytes.Contains(outboard, cvs[i][:]) {
				t.Fatalf("%d bytes: chaining value %d is not in the bao encoding", size, i)
			}
		}
		if !bao.VerifyBuf(content, outboard, 6, got) {
			t.Fatalf("%d bytes: bao refuses our root", size)
		}
	}
}

func TestTreeRefuses(t *testing.T) {
	const size = 3*store.GroupSize + 100
	content := randomBytes(1, size)
	var h store.TreeHasher
	for _, g := range groups(content) {
		h.Add(g)
	}
	root, cvs := h.Sum()
	corrupt := func(t *testing.T, err error) {
		t.Helper()
		if !errors.Is(err, store.ErrCorrupt) {
			t.Fatalf("got %v, want ErrCorrupt", err)
		}
	}
	t.Run("a changed chaining value", func(t *testing.T) {
		for i := range cvs {
			bad := append([]store.CV(nil), cvs...)
			bad[i][7] ^= 1
			_, err := store.NewTree(root, size, bad)
			corrupt(t, err)
		}
	})
	t.Run("a wrong number", func(t *testing.T) {
		for _, list := range [][]store.CV{nil, {}, cvs[:3], append(cvs[:4:4], store.CV{})} {
			_, err := store.NewTree(root, size, list)
			corrupt(t, err)
		}
		_, err := store.NewTree(root, -1, nil)
		corrupt(t, err)
		_, err = store.NewTree(root, 100, cvs[:1])
		corrupt(t, err)
	})
	tree, err := store.NewTree(root, size, cvs)
	if err != nil {
		t.Fatal(err)
	}
	all := groups(content)
	t.Run("a changed group", func(t *testing.T) {
		for i, g := range all {
			bad := bytes.Clone(g)
			bad[len(bad)/2] ^= 0x10
			corrupt(t, tree.Verify(int64(i), bad))
		}
	})
	t.Run("a group out of place or length", func(t *testing.T) {
		corrupt(t, tree.Verify(1, all[0]))
		corrupt(t, tree.Verify(-1, all[0]))
		corrupt(t, tree.Verify(4, nil))
		corrupt(t, tree.Verify(3, all[3][:99]))
		corrupt(t, tree.Verify(3, all[0]))
	})
	t.Run("a single group", func(t *testing.T) {
		one, err := store.NewTree(store.Sum([]byte("x")), 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		corrupt(t, one.Verify(0, []byte("y")))
		corrupt(t, one.Verify(0, nil))
	})
}

func TestTreeHasherRefusesDisorder(t *testing.T) {
	for name, add := range map[string][]int{"empty": {0}, "oversize": {store.GroupSize + 1}, "after a short one": {10, 10}} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Fatal("no panic")
				}
			}()
			var h store.TreeHasher
			for _, n := range add {
				h.Add(make([]byte, n))
			}
		})
	}
}

func TestHashingDoesNotAllocate(t *testing.T) {
	for _, size := range []int{100, 1024, 4096, 40000, store.GroupSize} {
		content := randomBytes(2, size)
		if n := testing.AllocsPerRun(20, func() { store.Sum(content) }); n > 0 {
			t.Errorf("Sum of %d bytes allocates %v times", size, n)
		}
		if n := testing.AllocsPerRun(20, func() { store.GroupCV(content, 3) }); n > 0 {
			t.Errorf("GroupCV of %d bytes allocates %v times", size, n)
		}
	}
}

// FuzzTree writes content in random splits and compares every way of hashing with the peer.
func FuzzTree(f *testing.F) {
	f.Add(uint32(0), uint64(1))
	f.Add(uint32(65537), uint64(2))
	f.Add(uint32(5*65536+77), uint64(3))
	f.Fuzz(func(t *testing.T, size uint32, seed uint64) {
		content := randomBytes(seed, int(size%(20*store.GroupSize)))
		want := store.Address(blake3.Sum256(content))
		rng := rand.New(rand.NewPCG(seed, uint64(size)))
		var h store.Hasher
		for rest := content; len(rest) > 0; {
			n := min(len(rest), 1+rng.IntN(1<<(1+rng.IntN(18))))
			_, _ = h.Write(rest[:n])
			rest = rest[n:]
			if rng.IntN(8) == 0 && h.Sum() != store.Sum(content[:len(content)-len(rest)]) {
				t.Fatalf("sum after %d of %d bytes is wrong", len(content)-len(rest), len(content))
			}
		}
		if got := h.Sum(); got != want {
			t.Fatalf("Hasher over %d bytes = %v, want %v", len(content), got, want)
		}
		if got := store.Sum(content); got != want {
			t.Fatalf("Sum of %d bytes = %v, want %v", len(content), got, want)
		}
	})
}

func BenchmarkSum(b *testing.B) {
	for _, size := range []int{1 << 10, 2 << 10, 3 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20} {
		content := randomBytes(9, size)
		content = content[:size:size]
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				store.Sum(content)
			}
		})
	}
}

func ExampleHasher() {
	var h store.Hasher
	fmt.Fprint(&h, "hello ")
	fmt.Fprint(&h, "world")
	fmt.Println(h.Sum())
	// Output: b3:d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24
}
