package store

import (
	"fmt"
	"math/bits"
	"slices"

	"lukechampine.com/blake3/guts"
)

// CV is the chaining value of one whole group inside a larger object: what a group is verified against.
type CV [32]byte

// GroupCV hashes one group of an object that has several: its bytes (GroupSize of them, only the last group may be shorter)
// and its place, counted from 0. An object of a single group has no chaining value; its digest is Sum.
func GroupCV(group []byte, index uint64) CV {
	return wordsToCV(guts.ChainingValue(groupNode(group, index)))
}

// Tree verifies the groups of one object. NewTree makes it, so its chaining values are known to fold to the address.
type Tree struct {
	root Address
	size int64
	cvs  []CV // nil for a single group
}

// NewTree checks that the chaining values belong to an object of this address and size, and trusts them from then on: they
// must not change afterwards. An object of at most GroupSize bytes has none. ErrCorrupt when number or fold is wrong.
func NewTree(root Address, size int64, cvs []CV) (Tree, error) {
	want := groupCount(size)
	if want <= 1 {
		want = 0
	}
	if size < 0 || int64(len(cvs)) != want {
		return Tree{}, fmt.Errorf("tree of %d bytes with %d chaining values instead of %d: %w", size, len(cvs), want, ErrCorrupt)
	}
	if want > 0 && foldCVs(cvs) != root {
		return Tree{}, fmt.Errorf("tree does not fold to its address: %w", ErrCorrupt)
	}
	return Tree{root: root, size: size, cvs: cvs}, nil
}

// Verify checks the bytes of the group at index, all of them. ErrCorrupt when they are not those of the object.
func (t *Tree) Verify(index int64, group []byte) error {
	switch {
	case index < 0 || index >= max(1, groupCount(t.size)) || int64(len(group)) != min(GroupSize, t.size-index*GroupSize):
		return fmt.Errorf("group %d has %d bytes: %w", index, len(group), ErrCorrupt)
	case t.cvs == nil && Sum(group) != t.root:
		return ErrCorrupt
	case t.cvs != nil && GroupCV(group, uint64(index)) != t.cvs[index]:
		return fmt.Errorf("group %d: %w", index, ErrCorrupt)
	}
	return nil
}

// groupCount is the number of groups of an object, 0 for an empty one.
func groupCount(size int64) int64 {
	n := size / GroupSize
	if size%GroupSize > 0 {
		n++
	}
	return n
}

// TreeHasher hashes an object group by group, as it lands. The zero value is ready for use.
type TreeHasher struct {
	first guts.Node // the first group's node, compressed once it is known whether it is the root
	count uint64
	cvs   []CV
	short bool
}

// Add takes the next group. All groups but the last have GroupSize bytes; adding after a shorter one, an empty one or an
// oversize one is a mistake of the caller and panics, since the address would be wrong.
func (h *TreeHasher) Add(group []byte) {
	if h.short || len(group) == 0 || len(group) > GroupSize {
		panic(fmt.Sprintf("store: TreeHasher: group %d of %d bytes out of order", h.count, len(group)))
	}
	h.short = len(group) < GroupSize
	switch h.count {
	case 0:
		h.first = groupNode(group, 0)
	case 1:
		h.cvs = append(h.cvs, wordsToCV(guts.ChainingValue(h.first)))
		fallthrough
	default:
		h.cvs = append(h.cvs, GroupCV(group, h.count))
	}
	h.count++
}

// Sum returns the address of all groups added so far, and their chaining values: a copy of exact size, nil when there is at
// most one group. More groups may be added afterwards.
func (h *TreeHasher) Sum() (Address, []CV) {
	switch h.count {
	case 0:
		return Sum(nil), nil
	case 1:
		return rootAddress(h.first), nil
	}
	return foldCVs(h.cvs), slices.Concat(h.cvs)
}

// foldCVs is the address over the chaining values of two or more groups.
func foldCVs(cvs []CV) Address {
	var s spine
	last := len(cvs) - 1
	for i := range cvs[:last] {
		s.push(cvToWords(&cvs[i]))
	}
	return rootAddress(s.join(cvToWords(&cvs[last])))
}

// spine is the left edge of a growing BLAKE3 tree: at most one finished subtree of each height, as the bits of count say.
type spine struct {
	subtrees [48][8]uint32 // 2^47 groups of 64 KiB are 2^63 bytes
	count    uint64
}

// push adds a group that is not the last: every pair of equal height becomes one.
func (s *spine) push(cv [8]uint32) {
	h := 0
	for ; s.count&(1<<h) != 0; h++ {
		cv = guts.ChainingValue(guts.ParentNode(s.subtrees[h], cv, &guts.IV, 0))
	}
	s.subtrees[h] = cv
	s.count++
}

// join closes the tree with its last group, after at least one push, and returns the top node, not yet compressed.
func (s *spine) join(cv [8]uint32) guts.Node {
	h := bits.TrailingZeros64(s.count)
	top := guts.ParentNode(s.subtrees[h], cv, &guts.IV, 0)
	for h++; h < bits.Len64(s.count); h++ {
		if s.count&(1<<h) != 0 {
			top = parent(s.subtrees[h], top)
		}
	}
	return top
}
