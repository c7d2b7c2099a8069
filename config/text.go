package config

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// text is the form of flags, the environment and messages.
func text(v any) string {
	switch x := v.(type) {
	case time.Duration:
		return duration(x)
	case []string:
		return strings.Join(x, ",")
	case Weights:
		return x.String()
	case []int:
		return strings.Trim(strings.ReplaceAll(fmt.Sprint(x), " ", ","), "[]")
	}
	return fmt.Sprint(v)
}

// duration prints 5s, 1m, 720h where the standard library says 720h0m0s.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// plain is v as JSON and TOML carry it: text for sizes and durations, arrays for lists.
func plain(v any) any {
	switch x := v.(type) {
	case Size:
		return x.String()
	case time.Duration:
		return duration(x)
	case []string:
		return append([]string{}, x...)
	case []int:
		return append([]int{}, x...)
	case Weights:
		return x.Map()
	}
	return v
}

// literal is v as a TOML value. JSON's strings, numbers and one-line arrays
// are TOML's too, and clean has kept out what they escape differently.
func literal(v any) string {
	if list, ok := v.([]string); ok {
		quoted := make([]string, len(list))
		for i, s := range list {
			quoted[i] = literal(s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	if w, ok := v.(Weights); ok {
		return w.literal()
	}
	if list, ok := v.([]int); ok {
		return "[" + strings.ReplaceAll(text(list), ",", ", ") + "]"
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(plain(v)); err != nil {
		return strconv.Quote(fmt.Sprint(v))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// rank puts a number, a size or a duration on one scale for Min and Max.
func rank(v any) (int64, bool) {
	switch x := v.(type) {
	case int:
		return int64(x), true
	case Size:
		return int64(x), true
	case time.Duration:
		return int64(x), true
	}
	return 0, false
}

// unrank is the inverse of rank for a type, in text.
func unrank(typ string, n int64) string {
	switch typ {
	case typeSize:
		return Size(n).String()
	case typeDuration:
		return duration(time.Duration(n))
	}
	return strconv.FormatInt(n, 10)
}
