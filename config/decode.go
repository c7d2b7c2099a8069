package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of one value, whatever its key.
const (
	maxText = 4096 // bytes
	maxList = 64   // elements
)

// decode turns an entry into the value of its key, or tells why it is none.
func (k Key) decode(e entry) (any, *Fault) {
	var v any
	var ok bool
	if e.from.Source == fromFile {
		v, ok = fromTOML(k.Type, e.raw)
	} else {
		v, ok = fromText(k.Type, e.raw.(string))
	}
	refuse := func(msg, hint string) (any, *Fault) {
		f := e.from.fault(k.Name, k.shown(e.raw)+" "+msg, hint)
		f.Value = k.shown(e.raw)
		return nil, &f
	}
	if !ok {
		kind, example := wanted(k.Type)
		return refuse("is not "+kind, "write "+example)
	}
	if s, isText := v.(string); isText && len(s) > maxText {
		return refuse("is too long", fmt.Sprintf("at most %d bytes", maxText))
	}
	if msg, hint := k.check(v); msg != "" {
		return refuse(msg, hint)
	}
	return v, nil
}

// check holds a value against the choices, the bounds and the length of a list.
func (k Key) check(v any) (msg, hint string) {
	switch x := v.(type) {
	case string:
		if len(k.Choices) > 0 && !slices.Contains(k.Choices, x) {
			hint := "one of " + strings.Join(k.Choices, ", ")
			if n := nearest(x, k.Choices); n != "" {
				hint = "did you mean " + n + "? " + hint
			}
			return "is not a choice", hint
		}
	case []string:
		if len(x) > maxList {
			return fmt.Sprintf("has %d elements", len(x)), fmt.Sprintf("at most %d", maxList)
		}
	case Weights:
		return k.checkWeights(x)
	case []int:
		if len(x) > maxList {
			return fmt.Sprintf("has %d elements", len(x)), fmt.Sprintf("at most %d", maxList)
		}
		for _, n := range x {
			if msg, hint := k.check(n); msg != "" {
				return "holds " + strconv.Itoa(n) + ", which " + msg, hint
			}
		}
	}
	n, measurable := rank(v)
	if !measurable || k.Min == 0 && k.Max == 0 {
		return "", ""
	}
	allowed := "use " + unrank(k.Type, k.Min) + " to " + unrank(k.Type, k.Max)
	if n < k.Min {
		return "is too small", allowed
	}
	if n > k.Max {
		return "is too large", allowed
	}
	return "", ""
}

// shown is a raw value fit for a message: on one line, short, and nothing at
// all of a secret.
func (k Key) shown(raw any) string {
	if k.Secret {
		return "[redacted]"
	}
	switch x := raw.(type) {
	case string:
		return quoted(x)
	case []any:
		return "the list"
	case map[string]any:
		return "a table"
	case time.Time:
		return "a date"
	}
	return printable(fmt.Sprint(raw))
}

// wanted describes a type and how to write it.
func wanted(typ string) (kind, example string) {
	switch typ {
	case typeBool:
		return "a boolean", "true or false"
	case typeInt:
		return "a whole number", "it without unit or quotes, as 500"
	case typeSize:
		return "a size", `bytes or a unit, as 65536 or "64KiB"`
	case typeDuration:
		return "a duration", `a number and a unit, as "5s" or "250ms"`
	case typeStrings:
		return "a list of texts", `["a", "b"] in a file, a,b elsewhere`
	case typeInts:
		return "a list of whole numbers", `[1000, 1001] in a file, 1000,1001 elsewhere`
	case typeTable:
		return "a table of weights", `"10.0.0.7" = 2 below [fairness.weights] in a file, 10.0.0.7=2,10.1.0.0/16=1 elsewhere`
	}
	return "a text", `it in quotes, on one line, as "info"`
}
