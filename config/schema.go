package config

import "io"

const (
	durationPattern = `^[-+]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`
)

// Schema writes the JSON Schema (draft 2020-12) of the file, for editors and
// checks before a roll-out. What it takes, Load takes, but for the rules that
// span keys; bounds of sizes in text form and of durations are in the
// descriptions.
func Schema(w io.Writer) error {
	root := object()
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "micronode configuration"
	for _, k := range Keys() {
		if k.Reserved != "" && len(k.off) == 0 {
			continue
		}
		section, last := k.split()
		properties := root["properties"].(map[string]any)
		if section != "" {
			if properties[section] == nil {
				properties[section] = object()
			}
			properties = properties[section].(map[string]any)["properties"].(map[string]any)
		}
		properties[last] = k.schema()
	}
	return writeJSON(w, root)
}

func object() map[string]any {
	return map[string]any{"type": "object", "properties": map[string]any{}, "additionalProperties": false}
}

func (k Key) schema() map[string]any {
	s := k.shape()
	s["description"] = k.Doc
	if k.Reserved != "" {
		s["deprecated"] = true
		s["enum"] = k.offValues()
		return s
	}
	s["default"] = plain(k.def)
	if k.Type == typeSize || k.Type == typeDuration {
		s["description"] = k.Doc + "; " + unrank(k.Type, k.Min) + " to " + unrank(k.Type, k.Max)
	}
	if len(k.Choices) > 0 {
		s["enum"] = k.Choices
	}
	return s
}

func (k Key) offValues() (values []any) {
	for _, off := range k.off {
		v, _ := fromText(k.Type, off)
		values = append(values, plain(v))
	}
	return values
}

// shape is the part of the schema that the type decides.
func (k Key) shape() map[string]any {
	number := func() map[string]any {
		n := map[string]any{"type": "integer"}
		if k.Min != 0 || k.Max != 0 {
			n["minimum"], n["maximum"] = k.Min, k.Max
		}
		return n
	}
	list := func(item map[string]any) map[string]any {
		return map[string]any{"type": "array", "items": item, "maxItems": maxList}
	}
	word := map[string]any{"type": "string"}
	switch k.Type {
	case typeBool:
		return map[string]any{"type": "boolean"}
	case typeInt:
		return number()
	case typeSize:
		return map[string]any{"anyOf": []any{number(), map[string]any{"type": "string", "pattern": sizePattern}}}
	case typeDuration:
		return map[string]any{"type": "string", "pattern": durationPattern}
	case typeStrings:
		return list(word)
	case typeInts:
		return list(number())
	case typeTable:
		return map[string]any{"type": "object", "additionalProperties": number(), "maxProperties": maxWeights}
	}
	return map[string]any{"type": "string", "maxLength": maxText}
}
