package httpapi

import (
	"math"
	"strings"
)

type rangeVerdict int

const (
	rangeIgnored       rangeVerdict = iota // malformed, another unit, or several: the whole object
	rangeSatisfiable                       // 206
	rangeUnsatisfiable                     // 416
)

// parseRange reads a Range header against an object of size bytes (RFC 9110
// §14.1.2, §14.2). Only single ranges of bytes are served.
func parseRange(header string, size int64) (off, n int64, verdict rangeVerdict) {
	unit, set, ok := strings.Cut(header, "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return 0, 0, rangeIgnored
	}
	spec, ok := onlyElement(set)
	if !ok {
		return 0, 0, rangeIgnored
	}
	from, to, ok := strings.Cut(spec, "-")
	if !ok {
		return 0, 0, rangeIgnored
	}
	if from == "" {
		return suffixRange(to, size)
	}
	first, ok := position(from)
	last := int64(math.MaxInt64)
	if ok && to != "" {
		last, ok = position(to)
	}
	switch {
	case !ok || last < first:
		return 0, 0, rangeIgnored
	case first >= size:
		return 0, 0, rangeUnsatisfiable
	}
	return first, min(last, size-1) - first + 1, rangeSatisfiable
}

// suffixRange is the last count bytes. None at all cannot be expressed as a
// 206, so a suffix of an empty object is the whole of it.
func suffixRange(count string, size int64) (off, n int64, verdict rangeVerdict) {
	length, ok := position(count)
	switch {
	case !ok:
		return 0, 0, rangeIgnored
	case length == 0:
		return 0, 0, rangeUnsatisfiable
	case size == 0:
		return 0, 0, rangeIgnored
	}
	n = min(length, size)
	return size - n, n, rangeSatisfiable
}

// onlyElement returns the one element of a list; empty elements do not count (RFC 9110 §5.6.1.2).
func onlyElement(list string) (element string, ok bool) {
	for part := range strings.SplitSeq(list, ",") {
		part = strings.Trim(part, " \t")
		switch {
		case part == "":
		case element != "":
			return "", false
		default:
			element = part
		}
	}
	return element, element != ""
}

// position reads digits; what does not fit in 63 bits is as far as can be.
func position(digits string) (int64, bool) {
	if digits == "" {
		return 0, false
	}
	var n int64
	for i := range len(digits) {
		c := digits[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		if n > (math.MaxInt64-int64(c-'0'))/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
