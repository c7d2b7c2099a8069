package httpapi

import "strings"

// etagListed reports whether an If-Match or If-None-Match names etag, a strong
// one with its quotes, or is * (RFC 9110 §8.8.3, §13.1). Weak tags count only
// in the weak comparison. What follows a malformed tag is not read.
func etagListed(lines []string, etag string, weak bool) bool {
	for _, line := range lines {
		if strings.Trim(line, " \t") == "*" {
			return true
		}
		for {
			line = strings.TrimLeft(line, " \t,")
			isWeak := strings.HasPrefix(line, "W/")
			line = strings.TrimPrefix(line, "W/")
			tag, rest, ok := cutTag(line)
			if !ok {
				break
			}
			if tag == etag && (weak || !isWeak) {
				return true
			}
			line = rest
		}
	}
	return false
}

// cutTag splits a quoted tag, quotes included, off the start of s.
func cutTag(s string) (tag, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	end := strings.IndexByte(s[1:], '"')
	if end < 0 {
		return "", "", false
	}
	return s[:end+2], s[end+2:], true
}

// ifRangeHolds reports whether a Range still applies: without If-Range, or when
// it is exactly this strong ETag (RFC 9110 §13.1.5). A date never holds: objects have none.
func ifRangeHolds(lines []string, etag string) bool {
	return len(lines) == 0 || len(lines) == 1 && strings.Trim(lines[0], " \t") == etag
}
