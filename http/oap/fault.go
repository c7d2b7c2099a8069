package oap

// Fault is what is wrong with a frame or an exchange.
type Fault struct {
	Name   string // as other implementations call it
	Code   uint16 // of the ERROR frame: 400, 413, 429 or 500
	Reason string // finer than the code: "decompress", or empty
	Detail string // what, why, what next
}

// Error implements error.
func (f *Fault) Error() string { return "oap: " + f.Name }

func fault(name string, code uint16, reason, detail string) *Fault {
	return &Fault{name, code, reason, detail}
}

// Faults of framing: the connection ends with each.
var (
	ErrFrameTooLarge   = fault("FrameTooLarge", 413, "", "A frame has from 38 to 1048576 bytes, its header included. Send more in more frames.")
	ErrBadFlags        = fault("BadFlags", 400, "", "The frame has flags that OAP/1 does not know. Is the peer speaking OAP/1 at all?")
	ErrBadVersion      = fault("BadVersion", 400, "", "The frame is not of version 1. HELLO says which versions are spoken.")
	ErrTruncatedHeader = fault("TruncatedHeader", 400, "", "The frame's length is less than that of its header; len counts the whole frame.")
	ErrCapOnNonStart   = fault("CapOnNonStart", 400, "", "A capability goes with START, and with no other frame.")
	ErrCapOutOfBounds  = fault("CapOutOfBounds", 400, "", "cap_len reaches beyond the frame.")
	ErrInflate         = fault("Io", 400, "", "The payload is marked COMP, and is not one whole zstd stream.")
	ErrInflateBound    = fault("DecompressBoundExceeded", 413, "decompress", "The payload inflates beyond limits.decompress_ratio times its size, or beyond limits.decompress_max_bytes. Send it plain.")
	ErrFrameSlow       = fault("FrameTimeout", 408, "", "The rest of a frame that had begun did not come in time.")
)

// Faults of one exchange: the connection lives on.
var (
	ErrNotRequest     = fault("NotARequest", 400, "", "A client sends frames with REQ, and neither RESP nor EVENT.")
	ErrDuplicateStart = fault("DuplicateStart", 400, "", "An exchange with this corr_id is open already; it has been ended. Use each corr_id once at a time.")
	ErrNoStart        = fault("NoStart", 400, "", "No exchange with this corr_id is open. Begin one with START.")
	ErrAfterEnd       = fault("AfterEnd", 400, "", "The request of this exchange has ended, and more came; the exchange has been ended.")
	ErrTooManyStreams = fault("TooManyStreams", 429, "streams", "As many exchanges as HELLO's max_inflight allows are open on this connection.")
	ErrChunkTooLarge  = fault("ChunkTooLarge", 413, "", "ChunkTooLarge: a DATA frame carries at most 65536 bytes. Send more frames.")
	ErrTooManyFrames  = fault("TooManyFrames", 413, "", "A stream may have 4096 frames. Send larger ones, up to 65536 bytes each.")
	ErrVerbTooLarge   = fault("VerbTooLarge", 413, "", "The payload of START may have 4096 bytes, or 2 MiB where it is the whole request (START and END). Send an object's bytes as DATA.")
	ErrNoMemory       = fault("NoMemory", 503, "", "The requests that are on their way fill the memory that there is for them. Send again later.")
	ErrBadHello       = fault("BadHello", 400, "", "HELLO has no payload, or a JSON object.")
	ErrHandler        = fault("Internal", 500, "", "The node failed in a way it did not foresee.")
)
