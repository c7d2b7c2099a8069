package httpapi

import "net/http"

// Layout of a version 00 traceparent (W3C Trace Context §3.2):
// 2 version, 32 trace id, 16 parent id, 2 flags, dashes between.
const (
	traceparentLen = 55
	traceIDStart   = 3
	traceIDEnd     = traceIDStart + 32
	parentIDEnd    = traceIDEnd + 1 + 16
)

func traceIDOf(h http.Header) string {
	v := h["Traceparent"]
	if len(v) != 1 {
		return ""
	}
	id, _ := parseTraceparent(v[0])
	return id
}

// parseTraceparent reads the trace id. It is strict: lowercase hex, no zero ids,
// version ff forbidden; a later version may only add fields after a dash.
func parseTraceparent(s string) (traceID string, ok bool) {
	switch {
	case len(s) < traceparentLen,
		s[2] != '-', s[traceIDEnd] != '-', s[parentIDEnd] != '-',
		!lowerHex(s[:2]), !lowerHex(s[traceIDStart:traceIDEnd]),
		!lowerHex(s[traceIDEnd+1 : parentIDEnd]), !lowerHex(s[parentIDEnd+1 : traceparentLen]),
		allZero(s[traceIDStart:traceIDEnd]), allZero(s[traceIDEnd+1 : parentIDEnd]),
		s[:2] == "ff",
		s[:2] == "00" && len(s) != traceparentLen,
		len(s) > traceparentLen && s[traceparentLen] != '-':
		return "", false
	}
	return s[traceIDStart:traceIDEnd], true
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func allZero(s string) bool {
	for i := range len(s) {
		if s[i] != '0' {
			return false
		}
	}
	return true
}
