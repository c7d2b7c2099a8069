package actors

import (
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"

	"micronode/actors/redact"
)

// printable takes secrets out, and keeps what clients, crashes and hosts say from forging lines of the
// log or steering the terminal that shows it: whatever is not to be seen is
// written as \uXXXX, which in JSON is the same string.
type printable struct{ zapcore.Encoder }

// Clone implements zapcore.Encoder.
func (p printable) Clone() zapcore.Encoder { return printable{p.Encoder.Clone()} }

// EncodeEntry implements zapcore.Encoder.
func (p printable) EncodeEntry(e zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	b, err := p.Encoder.EncodeEntry(e, fields)
	if err != nil {
		return nil, err
	}
	if line := b.Bytes(); len(line) > 0 {
		if safe := redact.Bytes(line); len(safe) != len(line) || &safe[0] != &line[0] {
			safe = append([]byte(nil), safe...)
			b.Reset()
			b.AppendBytes(safe)
		}
	}
	line := b.Bytes()
	if n := len(line) - 1; n >= 0 && line[n] == '\n' && !onlyASCII(line[:n]) {
		clean := append(escape(nil, line[:n]), '\n')
		b.Reset()
		b.AppendBytes(clean)
	}
	return b, nil
}

// onlyASCII reports a line of printable ASCII.
func onlyASCII(line []byte) bool {
	for _, c := range line {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// escape appends line to dst with controls, marks of direction and other
// characters without a glyph, and what is no UTF-8, in a visible form.
func escape(dst, line []byte) []byte {
	for len(line) > 0 {
		r, n := utf8.DecodeRune(line)
		switch {
		case r == utf8.RuneError && n == 1:
			dst = append(dst, `\ufffd`...)
		case r == ' ' || unicode.IsGraphic(r):
			dst = append(dst, line[:n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			dst = escapeUnit(escapeUnit(dst, high), low)
		default:
			dst = escapeUnit(dst, r)
		}
		line = line[n:]
	}
	return dst
}

func escapeUnit(dst []byte, u rune) []byte {
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15])
}
