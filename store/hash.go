package store

import (
	"encoding/binary"

	"lukechampine.com/blake3/guts"
)

// GroupSize is the unit of verification: above it an object is checked in groups of this many bytes (contract §2).
const GroupSize = 64 << 10

const (
	chunksPerGroup = GroupSize / guts.ChunkSize
	pieceSize      = guts.MaxSIMD * guts.ChunkSize // what the assembly compresses in one call
	// Up to here, short of two whole chunks, the chunks are compressed one by one: a SIMD call costs as much for one as for sixteen.
	scalarMax = 2*guts.ChunkSize - 1
)

// Sum returns the address of b: its BLAKE3-256 digest. It allocates nothing and starts no goroutine.
func Sum(b []byte) Address {
	if len(b) <= GroupSize {
		return rootAddress(groupNode(b, 0))
	}
	var s spine
	for len(b) > GroupSize {
		s.push(guts.ChainingValue(groupNode(b[:GroupSize], s.count)))
		b = b[GroupSize:]
	}
	return rootAddress(s.join(guts.ChainingValue(groupNode(b, s.count))))
}

// rootAddress finishes the top node of a tree.
func rootAddress(n guts.Node) Address {
	n.Flags |= guts.FlagRoot
	return Address(wordsToCV(guts.ChainingValue(n)))
}

// groupNode is the subtree of one group: up to four pieces, left-balanced. The node is not yet compressed,
// because only its user knows whether it is the root.
func groupNode(p []byte, index uint64) guts.Node {
	var left [GroupSize/pieceSize - 1][8]uint32
	counter := index * chunksPerGroup
	k := 0
	for ; len(p) > pieceSize; k++ {
		left[k] = guts.ChainingValue(pieceNode(p[:pieceSize], counter))
		p = p[pieceSize:]
		counter += guts.MaxSIMD
	}
	last := pieceNode(p, counter)
	switch k {
	case 0:
		return last
	case 1:
		return parent(left[0], last)
	case 2:
		return parent(guts.ChainingValue(guts.ParentNode(left[0], left[1], &guts.IV, 0)), last)
	default:
		return parent(guts.ChainingValue(guts.ParentNode(left[0], left[1], &guts.IV, 0)), parent(left[2], last))
	}
}

func parent(left [8]uint32, right guts.Node) guts.Node {
	return guts.ParentNode(left, guts.ChainingValue(right), &guts.IV, 0)
}

// pieceNode is the subtree of at most sixteen chunks.
func pieceNode(p []byte, counter uint64) guts.Node {
	switch {
	case len(p) <= guts.ChunkSize:
		return guts.CompressChunk(p, &guts.IV, counter, 0)
	case len(p) <= scalarMax:
		left := guts.CompressChunk(p[:guts.ChunkSize], &guts.IV, counter, 0)
		return parent(guts.ChainingValue(left), guts.CompressChunk(p[guts.ChunkSize:], &guts.IV, counter+1, 0))
	case cap(p) >= pieceSize:
		// The assembly reads all sixteen chunks and drops those past the length, so what lies there does not matter.
		return guts.CompressBuffer((*[pieceSize]byte)(p[:pieceSize]), len(p), &guts.IV, counter, 0)
	default:
		return paddedNode(p, counter)
	}
}

// paddedNode lends a short piece the room that the assembly reads. It is a function of its own so that only
// this case pays for the large frame, and it leaves no payload on the stack.
//
//go:noinline
func paddedNode(p []byte, counter uint64) guts.Node {
	var room [pieceSize]byte
	n := guts.CompressBuffer(&room, copy(room[:], p), &guts.IV, counter, 0)
	clear(room[:len(p)])
	return n
}

func wordsToCV(words [8]uint32) (cv CV) {
	for i, w := range words {
		binary.LittleEndian.PutUint32(cv[4*i:], w)
	}
	return cv
}

func cvToWords(cv *CV) (words [8]uint32) {
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(cv[4*i:])
	}
	return words
}
