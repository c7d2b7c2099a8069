package oap

import "encoding/binary"

// Figures of the protocol (contract §7).
const (
	HeaderBytes = 38
	MaxFrame    = 1 << 20  // bytes of a frame, header included
	MaxChunk    = 64 << 10 // bytes of a DATA payload
	MaxInflight = 64       // exchanges open on a connection
	MaxVerb     = 2 << 20  // bytes of the payload of a START that is the whole request, inflated
	maxVerb     = 4 << 10  // of any other
	Version     = 1
)

// Flags of a frame.
const (
	FlagReq    uint16 = 0x01
	FlagResp   uint16 = 0x02
	FlagEvent  uint16 = 0x04
	FlagStart  uint16 = 0x08
	FlagEnd    uint16 = 0x10
	FlagAckReq uint16 = 0x20
	FlagComp   uint16 = 0x40 // the payload is zstd
	FlagE2E    uint16 = 0x80 // the payload is opaque to everybody on the way
	flagsKnown uint16 = 0xff
)

// Applications.
const (
	AppHello   uint16 = 0
	AppMailbox uint16 = 0x0201
	AppObjects uint16 = 0x0301
)

// Frame is one frame. Of a decoder's, Cap and Payload are views into its buffer,
// valid until its next call; Payload is inflated.
type Frame struct {
	Flags   uint16
	Code    uint16
	App     uint16
	Tenant  [16]byte
	Corr    uint64
	Cap     []byte
	Payload []byte
}

// Has reports whether all the flags are set.
func (f *Frame) Has(flags uint16) bool { return f.Flags&flags == flags }

// AppendFrame appends a frame as it goes over the wire. The caller keeps to
// MaxFrame, and to Cap on START only.
func AppendFrame(b []byte, f *Frame) []byte {
	b = appendHeader(b, f, len(f.Payload))
	b = append(b, f.Cap...)
	return append(b, f.Payload...)
}

func appendHeader(b []byte, f *Frame, payload int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(HeaderBytes+len(f.Cap)+payload))
	b = binary.BigEndian.AppendUint16(b, Version)
	b = binary.BigEndian.AppendUint16(b, f.Flags)
	b = binary.BigEndian.AppendUint16(b, f.Code)
	b = binary.BigEndian.AppendUint16(b, f.App)
	b = append(b, f.Tenant[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(f.Cap)))
	return binary.BigEndian.AppendUint64(b, f.Corr)
}
