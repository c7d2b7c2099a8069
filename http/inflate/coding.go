package inflate

import (
	"errors"
	"strings"
)

// What is wrong with a body.
var (
	ErrBound   = errors.New("inflate: the body inflates beyond its bounds")
	ErrCorrupt = errors.New("inflate: the body is not what its coding says")
	ErrCoding  = errors.New("inflate: unknown or stacked content coding")
	ErrBusy    = errors.New("inflate: too many large bodies are being inflated")
)

// The codings.
const (
	Gzip    = "gzip"
	Deflate = "deflate"
	Zstd    = "zstd"
)

// Coding reads the values of Content-Encoding: "" for none or identity, else one
// of the names above. Errors: [ErrCoding].
func Coding(values []string) (string, error) {
	coding, named := "", false
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			name := strings.ToLower(strings.Trim(part, " \t"))
			switch name {
			case "":
				continue
			case "identity":
				name = ""
			case "x-gzip": // RFC 9110 §8.4.1.3
				name = Gzip
			case Gzip, Deflate, Zstd:
			default:
				return "", ErrCoding
			}
			if named {
				return "", ErrCoding
			}
			coding, named = name, true
		}
	}
	return coding, nil
}
