// Package redact takes secrets out of text before it leaves the node: lines of
// the log, events, reasons of crashes. It is the last line of defence, for what
// callers, panics and libraries say; the node's own words hold no secrets.
//
// It knows secrets by their shape: capabilities, root keys, private keys in PEM,
// values behind words like password, and credentials in URLs and headers. What
// looks like nothing cannot be told from any other text.
package redact

import (
	"bytes"
	"regexp"
)

// Mark stands where a secret was.
const Mark = "[redacted]"

// Lengths by which secrets are told from names.
const (
	minToken = 40 // of a capability; a macaroon's header alone is longer
	hexKey   = 64
)

var (
	pem    = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|$)`)
	header = regexp.MustCompile(`(?i)\b(authorization|proxy-authorization|cookie|set-cookie)(\\*["']?\s*[:=]\s*(?:\[\s*)?\\*["']?)[^"'\\\r\n\]]+`)
	scheme = regexp.MustCompile(`(?i)\b(bearer|macro|macaroon|basic)\s+[A-Za-z0-9+/=_.~-]{8,}`)
	named  = regexp.MustCompile(`(?i)\b(password|passwd|passphrase|secret|token|access_token|api_key|apikey|ron_cap|private_key|root_key)(\\*["']?\s*[:=]\s*\\*["']?)[^\s"'\\&,;}\]]+`)
	inURL  = regexp.MustCompile(`(://)[^\s/@:"']+:[^\s/@"']+@`)
	hints  = [][]byte{[]byte("uthorization"), []byte("ookie"), []byte("PRIVATE KEY"), []byte("://")}
)

// Bytes returns text without secrets; text itself where there are none.
func Bytes(text []byte) []byte {
	out := runs(text)
	if suspicious(out) {
		out = pem.ReplaceAll(out, []byte(Mark))
		out = header.ReplaceAll(out, []byte("$1$2"+Mark))
		out = scheme.ReplaceAll(out, []byte("$1 "+Mark))
		out = named.ReplaceAll(out, []byte("$1$2"+Mark))
		out = inURL.ReplaceAll(out, []byte("$1"+Mark+"@"))
	}
	return out
}

// String is Bytes of a string.
func String(text string) string {
	b := []byte(text)
	if out := Bytes(b); !bytes.Equal(out, b) {
		return string(out)
	}
	return text
}

// suspicious spares most lines the expressions.
func suspicious(text []byte) bool {
	for _, h := range hints {
		if bytes.Contains(text, h) {
			return true
		}
	}
	lower := bytes.ToLower(text)
	for _, word := range [...]string{"bearer ", "macro ", "macaroon ", "basic ", "authorization", "cookie", "passw", "passphrase", "secret", "token", "api_key", "apikey", "ron_cap", "private_key", "root_key"} {
		if bytes.Contains(lower, []byte(word)) {
			return true
		}
	}
	return false
}

// runs takes out what is a capability or a key by its letters alone.
func runs(text []byte) []byte {
	var out []byte
	kept := 0
	for i := 0; i < len(text); {
		if !isRun(text[i]) {
			i++
			continue
		}
		end := i
		for end < len(text) && isRun(text[end]) {
			end++
		}
		if secret(text[i:end], text[:i]) {
			out = append(append(out, text[kept:i]...), Mark...)
			kept = end
		}
		i = end
	}
	if kept == 0 {
		return text
	}
	return append(out, text[kept:]...)
}

func isRun(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// secret judges a run of letters by itself and by what stands before it.
func secret(run, before []byte) bool {
	if len(run) >= minToken && bytes.Contains(run, []byte("eyJraWQi")) { // {"kid" in base64, at one of its three places
		return true
	}
	if len(run) >= minToken && run[0] == 'A' && run[1] == 'g' && (run[2] == 'E' || run[2] == 'I') { // version 2, a location or an identifier
		return true
	}
	return len(run) == hexKey && onlyHex(run) && !bytes.HasSuffix(before, []byte("b3:")) && !bytes.HasSuffix(before, []byte(`sha":"`))
}

func onlyHex(run []byte) bool {
	for _, c := range run {
		if ('0' > c || c > '9') && ('a' > c || c > 'f') && ('A' > c || c > 'F') {
			return false
		}
	}
	return true
}
