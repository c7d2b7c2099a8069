package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxFaults bounds the list of one Load: past it, only the number is told.
const maxFaults = 200

// Fault is one thing wrong with the configuration. Its parts are in the order
// in which a person needs them: where, which key, what is wrong, what to do.
type Fault struct {
	File   string `json:"file,omitempty"` // path as it was given
	Line   int    `json:"line,omitempty"` // 1-based; 0 = not known
	Col    int    `json:"col,omitempty"`  // 1-based, in bytes
	Source string `json:"source,omitempty"`
	Key    string `json:"key,omitempty"`
	Value  string `json:"value,omitempty"` // bounded; redacted when the key is secret
	Msg    string `json:"msg"`
	Hint   string `json:"hint,omitempty"` // the next step
}

// Error is one line: "x.toml:12:3: limits.rsp: unknown key; did you mean limits.rps?".
// A fault from elsewhere than a file begins with its Source, as "env RON_LOG".
func (f Fault) Error() string {
	where := f.Source
	if f.File != "" {
		where = position(f.File, f.Line, f.Col)
	}
	var parts []string
	for _, p := range []string{where, f.Key, f.Msg} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	s := strings.Join(parts, ": ")
	if f.Hint != "" {
		s += "; " + f.Hint
	}
	return s
}

// Faults is the error of Load: every fault found, file first and by line,
// then environment, flags and what does not fit together.
type Faults []Fault

// Error is one line for each fault.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

func position(file string, line, col int) string {
	s := printable(file)
	if line > 0 {
		s += fmt.Sprintf(":%d", line)
	}
	if line > 0 && col > 0 {
		s += fmt.Sprintf(":%d", col)
	}
	return s
}

// settle puts faults of the file in the order of its lines and cuts the list.
func (fs Faults) settle() Faults {
	slices.SortStableFunc(fs, func(a, b Fault) int {
		if a.File == "" || b.File == "" {
			return cmp.Compare(b.File, a.File)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	if more := len(fs) - maxFaults; more > 0 {
		fs = append(fs[:maxFaults:maxFaults], Fault{
			Msg: fmt.Sprintf("%d more faults", more), Hint: "mend these first",
		})
	}
	return fs
}

// printable keeps text that came from outside on one line and within bounds.
func printable(s string) string {
	if s = short(s); !clean(s) {
		return strconv.Quote(s)
	}
	return s
}

// quoted is printable in quotes.
func quoted(s string) string {
	if s = short(s); !clean(s) {
		return strconv.Quote(s)
	}
	return `"` + s + `"`
}

func short(s string) string {
	const most = 96
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
