package caps

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// MaxKeys is how many root keys a ring holds: the active one and those that
// still verify.
const MaxKeys = 16

// Sizes of the vault: scratch for one HMAC over the longest token, then keys.
const (
	keyLen   = sha256.Size
	block    = sha256.BlockSize
	scratch  = 2*block + MaxToken
	vaultLen = scratch + MaxKeys*keyLen
)

// ErrClosed says that the keys were zeroed: the node has drained.
var ErrClosed = errors.New("caps: the keys are gone")

// keyGenerator derives the key of the chain from a root key (libmacaroons).
const keyGenerator = "macaroons-key-generator"

// vault is memory outside of the Go heap that is locked, left out of core dumps
// and zeroed at its end. All work with keys is done in it.
type vault struct {
	mu     sync.Mutex
	page   []byte // nil: closed
	locked bool
}

// newVault maps the memory. Where the kernel does not lock it (RLIMIT_MEMLOCK),
// the vault works all the same and says so.
func newVault() (*vault, error) {
	size := (vaultLen + os.Getpagesize() - 1) / os.Getpagesize() * os.Getpagesize()
	page, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, err
	}
	v := &vault{page: page, locked: unix.Mlock(page) == nil}
	_ = unix.Madvise(page, unix.MADV_DONTDUMP)   // an old kernel: RLIMIT_CORE does the same
	_ = unix.Madvise(page, unix.MADV_WIPEONFORK) // the same
	return v, nil
}

func (v *vault) key(slot int) []byte {
	at := scratch + slot*keyLen
	return v.page[at : at+keyLen]
}

// put derives the key of a slot from a root key of any length up to maxRoot. The
// caller zeroes root.
func (v *vault) put(slot int, root []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.page == nil {
		return ErrClosed
	}
	v.derive(slot, root)
	wipeStack()
	return nil
}

//go:noinline
func (v *vault) derive(slot int, root []byte) {
	var gen [keyLen]byte
	copy(gen[:], keyGenerator)
	v.mac(v.key(slot), gen[:], root)
	clear(v.page[:scratch])
}

// wipeStack overwrites what a call left below this frame: SHA-256 keeps its last
// block on the stack.
//
//go:noinline
func wipeStack() {
	var room [16 << 10]byte
	for i := range room {
		room[i] = byte(i)
	}
	sink(&room)
}

//go:noinline
func sink(*[16 << 10]byte) {}

// mac writes HMAC-SHA256(key, msg) into out (RFC 2104). The key has at most a
// block; out may be the key. The lock is held.
func (v *vault) mac(out, key, msg []byte) {
	in, over := v.page[:block+len(msg)], v.page[scratch-block-keyLen:scratch]
	clear(in[:block])
	clear(over[:block])
	copy(in, key)
	copy(over, key)
	for i := range block {
		in[i] ^= 0x36
		over[i] ^= 0x5c
	}
	copy(in[block:], msg)
	inner := sha256.Sum256(in)
	copy(over[block:], inner[:])
	sum := sha256.Sum256(over)
	copy(out, sum[:])
}

// chain is the signature of an identifier and its caveats under a slot's key,
// compared in constant time with sig where sig is given.
func (v *vault) chain(slot int, id []byte, caveats [][]byte, sig []byte) (sum [keyLen]byte, same bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.page == nil {
		return sum, false, ErrClosed
	}
	defer clear(v.page[:scratch])
	v.mac(sum[:], v.key(slot), id)
	for _, c := range caveats {
		v.mac(sum[:], sum[:], c)
	}
	if sig == nil {
		return sum, true, nil
	}
	same = subtle.ConstantTimeCompare(sum[:], sig) == 1
	clear(sum[:]) // of a wider token, perhaps
	return sum, same, nil
}

// drop zeroes a slot.
func (v *vault) drop(slot int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.page != nil {
		clear(v.key(slot))
	}
}

// close zeroes everything and gives the memory back.
func (v *vault) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.page == nil {
		return
	}
	clear(v.page)
	_ = unix.Munmap(v.page) // what was mapped as a whole is unmapped as a whole
	v.page = nil
}
