package pebble

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"micronode/store"
)

// Format is the version of the keys and records below. It is kept in the store under keyFormat.
//
//	c <id 16> <group u32>    64 KiB of a payload
//	d <address 32>           damage that was found and not mended: JSON
//	g <id 16>                payload that no object refers to: number of groups
//	k <topic> 0 <key>        idempotency key: keyRecord
//	l <message id 16>        what changes about a message
//	n <name>                 a note: small bytes that others keep here
//	o <address 32>           an object: meta
//	q <message id 16>        what does not change about a message
//	s <name>                 the store's own state
//	x <expiry u64> <address> objects that expire, the next one first
const Format = 1

const (
	prefixChunk   = 'c'
	prefixDamage  = 'd'
	prefixGarbage = 'g'
	prefixDedup   = 'k'
	prefixLife    = 'l'
	prefixNote    = 'n'
	prefixObject  = 'o'
	prefixBody    = 'q'
	prefixState   = 's'
	prefixExpiry  = 'x'
)

var (
	keyFormat = []byte("sformat") // JSON: formatRecord
	keyTotals = []byte("stotals") // totals
)

// blobID names the payload of one upload. It is never used again, so a damaged record can not lead to another's payload.
type blobID [16]byte

func newBlobID(now time.Time) blobID {
	return blobID(ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()))
}

func chunkKey(id blobID, group uint32) []byte {
	k := make([]byte, 0, 21)
	return binary.BigEndian.AppendUint32(append(append(k, prefixChunk), id[:]...), group)
}

func objectKey(a store.Address) []byte { return append([]byte{prefixObject}, a[:]...) }
func damageKey(a store.Address) []byte { return append([]byte{prefixDamage}, a[:]...) }
func garbageKey(id blobID) []byte      { return append([]byte{prefixGarbage}, id[:]...) }

func expiryKey(at int64, a store.Address) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{prefixExpiry}, uint64(at)), a[:]...)
}

// meta is the record of one object: all that is needed to read and verify its payload.
type meta struct {
	size    int64
	id      blobID
	expires int64 // unix nanoseconds; 0: never
	cvs     []store.CV
}

const metaFixed = 1 + 8 + 16 + 8 // and 32 for each chaining value, and checkLen

// checkLen is the length of the checksum over a record and its key: the tree is held against the address, the rest is not.
const checkLen = 8

func (m *meta) encode(a store.Address) []byte {
	b := make([]byte, 0, metaFixed+32*len(m.cvs)+checkLen+len(a))
	b = append(b, 1)
	b = binary.BigEndian.AppendUint64(b, uint64(m.size))
	b = append(b, m.id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(m.expires))
	for i := range m.cvs {
		b = append(b, m.cvs[i][:]...)
	}
	return seal(b, a[:])
}

// seal appends the checksum of a record under its key.
func seal(record, key []byte) []byte {
	sum := store.Sum(append(record, key...))
	return append(record[:len(record):len(record)], sum[:checkLen]...)
}

// unseal returns the record without its checksum; false when it does not fit.
func unseal(b, key []byte) ([]byte, bool) {
	if len(b) < checkLen {
		return nil, false
	}
	record := b[:len(b)-checkLen]
	sum := store.Sum(append(append(make([]byte, 0, len(record)+len(key)), record...), key...))
	return record, string(sum[:checkLen]) == string(b[len(record):])
}

// decodeMeta reads a record. ErrCorrupt when it is not what encode has written for this address.
func decodeMeta(a store.Address, b []byte) (*meta, error) {
	r, ok := unseal(b, a[:])
	if !ok || len(r) < metaFixed || r[0] != 1 || (len(r)-metaFixed)%32 != 0 {
		return nil, fmt.Errorf("the record of %v: %w", a, store.ErrCorrupt)
	}
	m := &meta{size: int64(binary.BigEndian.Uint64(r[1:])), id: blobID(r[9:25]), expires: int64(binary.BigEndian.Uint64(r[25:]))}
	if r = r[metaFixed:]; len(r) > 0 {
		m.cvs = make([]store.CV, len(r)/32)
		for i := range m.cvs {
			copy(m.cvs[i][:], r[32*i:])
		}
	}
	return m, nil
}

func (m *meta) groups() int64 { return (m.size + store.GroupSize - 1) / store.GroupSize }

func (m *meta) charge() int64 { return m.size + ObjectOverhead }

func (m *meta) expiredAt(now time.Time) bool { return m.expires != 0 && now.UnixNano() >= m.expires }

func (m *meta) info(a store.Address) store.Info {
	info := store.Info{Address: a, Size: m.size}
	if m.expires != 0 {
		info.Expires = time.Unix(0, m.expires)
	}
	return info
}

// totals are the sums that a start must not have to count.
type totals struct {
	objects int64
	bytes   int64  // charged for objects
	commit  uint64 // number of the latest commit
	acked   uint64 // of the latest one that was known to be synced when this was written
}

func (t *totals) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 32+checkLen+len(keyTotals)), uint64(t.objects))
	b = binary.BigEndian.AppendUint64(b, uint64(t.bytes))
	b = binary.BigEndian.AppendUint64(b, t.commit)
	return seal(binary.BigEndian.AppendUint64(b, t.acked), keyTotals)
}

func decodeTotals(b []byte) (totals, error) {
	r, ok := unseal(b, keyTotals)
	if !ok || len(r) != 32 {
		return totals{}, fmt.Errorf("the store's sums: %w", store.ErrCorrupt)
	}
	return totals{
		objects: int64(binary.BigEndian.Uint64(r)), bytes: int64(binary.BigEndian.Uint64(r[8:])),
		commit: binary.BigEndian.Uint64(r[16:]), acked: binary.BigEndian.Uint64(r[24:]),
	}, nil
}
