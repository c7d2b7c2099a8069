package cli

import (
	"encoding/json"
	"io"
	"strings"
	"sync"
	"unicode"

	"charm.land/lipgloss/v2"
)

// screen is one output: lines, maybe with colour, and on a terminal a last
// line that is painted over. It may be used from many goroutines.
type screen struct {
	terminal bool
	colour   bool
	width    int

	mu  sync.Mutex // guards the fields below; a terminal's writes are one at a time
	w   io.Writer
	bar bool  // a bar stands on the last line
	err error // the first write that failed
}

func newScreen(sys System, w io.Writer) *screen {
	s := &screen{w: w}
	if sys.Terminal != nil {
		s.width, s.terminal = sys.Terminal(w)
	}
	s.colour = s.terminal && sys.Getenv("NO_COLOR") == "" && sys.Getenv("TERM") != "dumb"
	return s
}

const eraseLine = "\r\x1b[K"

// line prints text and a newline, above the bar if there is one.
func (s *screen) line(text string) { s.write(text + "\n") }

func (s *screen) write(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bar {
		text, s.bar = eraseLine+text, false
	}
	s.put(text)
}

// paintBar draws the last line anew; "" takes it away. Only for terminals.
func (s *screen) paintBar(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text == "" && !s.bar {
		return
	}
	s.bar = text != ""
	s.put(eraseLine + text)
}

func (s *screen) put(text string) {
	if s.err == nil {
		_, s.err = io.WriteString(s.w, text)
	}
}

// failed returns the first write error.
func (s *screen) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Write implements io.Writer for encoders.
func (s *screen) Write(p []byte) (int, error) {
	s.write(string(p))
	return len(p), s.failed()
}

// encode prints one JSON value, indented.
func (s *screen) encode(v any) error {
	e := json.NewEncoder(s)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// style is what a colour means, not which it is.
type style int

const (
	stylePlain style = iota
	styleGood
	styleWarn
	styleBad
	styleDim
	styleHead
)

// paint colours text on a terminal that shows colours, and else leaves it.
func (s *screen) paint(as style, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return as.lipgloss().Render(text)
}

func (as style) lipgloss() lipgloss.Style {
	base := lipgloss.NewStyle()
	switch as {
	case styleGood:
		return base.Foreground(lipgloss.Green)
	case styleWarn:
		return base.Foreground(lipgloss.Yellow)
	case styleBad:
		return base.Foreground(lipgloss.Red)
	case styleDim:
		return base.Faint(true)
	case styleHead:
		return base.Bold(true)
	}
	return base
}

// clean makes text that came from outside safe to show: no control characters,
// no escape sequences, no characters that turn the writing direction.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return '\uFFFD'
		}
		return r
	}, s)
}
