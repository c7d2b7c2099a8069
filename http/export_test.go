package httpapi

import (
	"net/netip"

	"micronode/store/mbox"
)

// For fuzzing: the verdicts of parseRange are 0 ignored, 1 satisfiable, 2 unsatisfiable.
func ParseRange(header string, size int64) (off, n int64, verdict int) {
	off, n, v := parseRange(header, size)
	return off, n, int(v)
}

var (
	ParseTraceparent = parseTraceparent
	ValidCorrID      = validCorrID
	SentinelFor      = sentinelFor
)

// CloseListener breaks the data listener as a fault of the system would.
func (d *Door) CloseListener() {
	d.mu.Lock()
	ln := d.data.ln
	d.mu.Unlock()
	_ = ln.Listener.Close()
}

// CloseListeners breaks every listener at once.
func (d *Door) CloseListeners() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.planes {
		_ = p.ln.Listener.Close()
	}
}

// Framing reports at which request of a stream of bytes, cut into pieces of n, the
// door's own view of framing finds a fault; 0 is none.
func Framing(stream []byte, n int) int64 {
	var f framing
	for len(stream) > 0 {
		part := stream[:min(n, len(stream))]
		f.feed(part)
		stream = stream[len(part):]
	}
	return f.fault.Load()
}

// Row is one line of the table of problems.
type Row struct {
	Err          error
	Status       int
	Code, Reason string
}

// Table is the table of problems.
func Table() []Row {
	var rows []Row
	for _, k := range kinds {
		rows = append(rows, Row{k.err, k.status, k.code, k.reason})
	}
	return rows
}

// IgnoreHandshakes does what a drain does first.
func (d *Door) IgnoreHandshakes() {
	d.mu.Lock()
	ln := d.data.ln
	d.mu.Unlock()
	refuseHandshakes(ln.Listener)
}

// LimitParked bounds the long polls that wait on each plane.
func (d *Door) LimitParked(n int64) { d.server.maxParked = n }

// LimitStreams bounds the streams of messages on each plane.
func (d *Door) LimitStreams(n int) { d.server.streams.max = n }

// The encoders of messages.
var (
	AppendEnvelope = appendEnvelope
	AppendDead     = appendDead
	AppendWaiting  = appendWaiting
)

// DecodeSend reads the body of a send: the messages, what is wrong with each, or
// what is wrong with the whole.
func DecodeSend(raw []byte) ([]mbox.Message, []error, error) {
	items, _, err := readItems(raw, shapeSend, true, readSend)
	return split(items, err)
}

// DecodeSettle reads the body of a settlement as DecodeSend does.
func DecodeSettle(v mbox.Verdict, raw []byte) ([]mbox.Settlement, []error, error) {
	items, _, err := readItems(raw, shapeSettle, v == mbox.Ack, readSettle(v))
	return split(items, err)
}

func split[T any](items []judged[T], err error) (values []T, faults []error, _ error) {
	for _, item := range items {
		values, faults = append(values, item.value), append(faults, item.err)
	}
	return values, faults, err
}

// Heads is how many requests the door's own view of framing sees begin in a stream
// of bytes, and at which it finds a fault; 0 is none.
func Heads(stream []byte) (heads, fault int64) {
	var f framing
	f.feed(stream)
	return f.heads, f.fault.Load()
}

// Unread is how many bytes bodies on their way keep.
func (d *Door) Unread() int64 { return d.server.unread.Load() }

// WeightOf is the weight of an address.
func WeightOf(f Fairness, addr string) (int, error) {
	all, err := newFlows(f)
	if err != nil {
		return 0, err
	}
	return all.flow(netip.MustParseAddr(addr)).Weight, nil
}
