package config

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The types of keys, as Key.Type names them.
const (
	typeString   = "string"
	typeBool     = "bool"
	typeInt      = "int"
	typeSize     = "size"
	typeDuration = "duration"
	typeStrings  = "strings"
	typeInts     = "ints"
	typeTable    = "table"
)

func parseBool(s string) (v, ok bool) {
	switch strings.ToLower(s) {
	case "true", "1", "on", "yes":
		return true, true
	case "false", "0", "off", "no":
		return false, true
	}
	return false, false
}

func typeOf(v any) string {
	switch v.(type) {
	case string:
		return typeString
	case bool:
		return typeBool
	case int:
		return typeInt
	case Size:
		return typeSize
	case time.Duration:
		return typeDuration
	case []string:
		return typeStrings
	case Weights:
		return typeTable
	}
	return typeInts
}

// fromText reads the form of flags and the environment; lists are separated by
// commas and the empty text is the empty list.
func fromText(typ, s string) (any, bool) {
	switch typ {
	case typeString:
		return s, clean(s)
	case typeTable:
		return weightsFromText(s)
	case typeBool:
		return parseBool(s)
	case typeInt:
		n, err := strconv.Atoi(s)
		return n, err == nil
	case typeSize:
		return parseSize(s)
	case typeDuration:
		d, err := time.ParseDuration(s)
		return d, err == nil
	case typeStrings:
		return splitList(s), clean(s)
	}
	var out []int
	for _, part := range splitList(s) {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, false
		}
		out = append(out, n)
	}
	return out, true
}

// clean tells whether s is UTF-8 without control characters: what can be
// printed, logged and written back to a file as it is.
func clean(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func splitList(s string) []string {
	if strings.TrimSpace(s) == "" {
		return nil
	}
	parts := strings.Split(s, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// fromTOML reads a decoded TOML value. Numbers are never read from strings,
// but a size and a duration are strings in TOML.
func fromTOML(typ string, v any) (any, bool) {
	switch x := v.(type) {
	case string:
		if typ == typeString || typ == typeSize || typ == typeDuration {
			return fromText(typ, x)
		}
	case bool:
		return x, typ == typeBool
	case int64:
		if typ == typeSize {
			return Size(x), true
		}
		return int(x), typ == typeInt
	case []any:
		return listFromTOML(typ, x)
	case map[string]any:
		if typ == typeTable {
			return weightsFromTOML(x)
		}
	}
	return nil, false
}

func listFromTOML(typ string, list []any) (any, bool) {
	var texts []string
	var ints []int
	for _, item := range list {
		switch x := item.(type) {
		case string:
			if !clean(x) {
				return nil, false
			}
			texts = append(texts, x)
		case int64:
			ints = append(ints, int(x))
		default:
			return nil, false
		}
	}
	if typ == typeStrings {
		return texts, len(ints) == 0
	}
	return ints, typ == typeInts && len(texts) == 0
}
