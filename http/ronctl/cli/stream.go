package cli

import (
	"encoding/json"
	"strings"
)

// stream prints one JSON document whose array is too long to hold.
type stream struct {
	screen *screen
	begun  bool
	name   string
}

func newStream(s *screen, name string) *stream { return &stream{screen: s, name: name} }

// add prints one more element.
func (s *stream) add(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	sep := ",\n    "
	if !s.begun {
		sep = "{\n  \"" + s.name + "\": [\n    "
		s.begun = true
	}
	s.screen.write(sep + string(text))
	return s.screen.failed()
}

// end closes the array and prints the members that follow it.
func (s *stream) end(rest map[string]any) error {
	text, err := json.MarshalIndent(rest, "", "  ")
	if err != nil {
		return err
	}
	head := "\n  ],\n"
	if !s.begun {
		head = "{\n  \"" + s.name + "\": [],\n"
	}
	s.screen.line(head + strings.TrimPrefix(string(text), "{\n"))
	return s.screen.failed()
}
