package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxFile bounds the file, and with it all the work that it can ask for: the
// parser looks for doubled keys in time that grows with the square of them.
const maxFile = 256 << 10

// fileEntries reads the file, if one was named, into entries with positions.
func (j *judge) fileEntries(path string, from Origin, src Source) ([]entry, Faults) {
	if path == "" {
		if src.named {
			if src.alone {
				return nil, Faults{{Msg: "the path is empty", Hint: "name a file"}}
			}
			return nil, Faults{from.fault("", "the path is empty", "name a file or drop the flag")}
		}
		return nil, nil
	}
	read := src.ReadFile
	if read == nil {
		read = readBounded
	}
	data, err := read(path)
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("larger than %s", Size(maxFile))
	}
	if err != nil {
		j.blind = true
		hint := "it was named by " + from.String()
		if src.alone {
			hint = "check the path"
		}
		return nil, Faults{{File: path, Msg: "cannot read the file: " + reason(err), Hint: hint}}
	}
	var tree map[string]any
	if err := toml.Unmarshal(data, &tree); err != nil {
		j.blind = true
		return nil, Faults{syntaxFault(path, err)}
	}
	w := walker{j: j, path: path, tree: tree}
	w.walk(data)
	return w.entries, w.faults
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// syntaxFault carries the parser's position, not its excerpt: the line may
// hold a secret.
func syntaxFault(path string, err error) Fault {
	f := Fault{File: path, Msg: "not TOML: " + printable(strings.TrimPrefix(err.Error(), "toml: "))}
	var de *toml.DecodeError
	if errors.As(err, &de) {
		f.Line, f.Col = de.Position()
	}
	return f
}

// walker goes through the syntax tree for what the decoded one has lost: the
// place of every key.
type walker struct {
	j       *judge
	path    string
	tree    map[string]any
	parser  unstable.Parser
	lines   []int // offset of the first byte of each line
	entries []entry
	faults  Faults
}

func (w *walker) walk(data []byte) {
	w.lines = []int{0}
	for i, b := range data {
		if b == '\n' {
			w.lines = append(w.lines, i+1)
		}
	}
	w.parser.Reset(data)
	var prefix []string
	open := true // a refused section is told of once, not again for each key
	for w.parser.NextExpression() {
		n := w.parser.Expression()
		switch n.Kind {
		case unstable.Table, unstable.ArrayTable:
			keys, at := w.names(n)
			prefix = keys
			open = w.section(keys, at, n.Kind == unstable.ArrayTable)
		case unstable.KeyValue:
			if open {
				w.keyValue(prefix, n)
			}
		}
	}
}

// names are the parts of a (dotted) key and where it begins.
func (w *walker) names(n *unstable.Node) (parts []string, at Origin) {
	for it := n.Key(); it.Next(); {
		k := it.Node()
		if parts == nil {
			at = w.place(int(k.Raw.Offset))
		}
		parts = append(parts, string(k.Data))
	}
	return parts, at
}

func (w *walker) place(offset int) Origin {
	line := sort.SearchInts(w.lines, offset+1)
	return Origin{Source: fromFile, Name: w.path, Line: line, Col: offset - w.lines[line-1] + 1}
}

func (w *walker) keyValue(prefix []string, n *unstable.Node) {
	parts, at := w.names(n)
	full := append(append([]string{}, prefix...), parts...)
	name := dotted(full)
	if _, known := w.j.find(name); known {
		w.entries = append(w.entries, entry{name, w.value(full), at})
		return
	}
	v := n.Value()
	if v.Kind != unstable.InlineTable {
		if _, isSection := w.j.sections[name]; isSection && name != "" {
			w.faults = append(w.faults, at.fault(name, "is a section, not a key", "write ["+name+"] on a line of its own"))
			return
		}
		w.entries = append(w.entries, entry{name, nil, at})
		return
	}
	if w.section(full, at, false) {
		for it := v.Children(); it.Next(); {
			w.keyValue(full, it.Node())
		}
	}
}

// section checks a header and tells whether to look at what stands under it.
func (w *walker) section(parts []string, at Origin, array bool) bool {
	name := dotted(parts)
	_, known := w.j.sections[name]
	k, isKey := w.j.find(name)
	var msg, hint string
	switch {
	case isKey && k.Type == typeTable && !array:
		w.entries = append(w.entries, entry{name, w.value(parts), at})
		return false
	case known && !array:
		return true
	case known:
		msg, hint = "is one section, not a list of them", "write ["+name+"]"
	case isKey:
		section, last := k.split()
		msg, hint = "is a key, not a section", "write "+last+" = … in ["+section+"]"
		if section == "" {
			hint = "write " + last + " = … above the first section"
		}
	default:
		msg, hint = "unknown section", w.sectionHint(name)
	}
	w.faults = append(w.faults, at.fault(name, msg, hint))
	return false
}

func (w *walker) sectionHint(name string) string {
	if len(w.faults) > maxFaults {
		return ""
	}
	var all []string
	for _, k := range Keys() {
		if s, _ := k.split(); s != "" {
			all = append(all, s)
		}
	}
	if n := nearest(name, all); n != "" {
		return "did you mean [" + n + "]?"
	}
	return didYouMean(name, nil)
}

// value looks the decoded value up.
func (w *walker) value(parts []string) any {
	var v any = w.tree
	for _, p := range parts {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

// dotted joins the parts of a key; a part that holds a dot stays in quotes, so
// that "limits.rps" in quotes is not taken for the key of that name.
func dotted(parts []string) string {
	out := make([]string, len(parts))
	for i, p := range parts {
		out[i] = p
		if strings.ContainsRune(p, '.') || p == "" {
			out[i] = `"` + p + `"`
		}
	}
	return strings.Join(out, ".")
}
