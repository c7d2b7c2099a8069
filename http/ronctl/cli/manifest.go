package cli

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"micronode/store"
)

// maxManifestLine bounds one line of a manifest, in bytes.
const maxManifestLine = 64 << 10

// field writes a path so that it fits on one line: as it is, or quoted as Go
// does when it holds what would break the line.
func field(path string) string {
	if !utf8.ValidString(path) || strings.HasPrefix(path, `"`) || strings.ContainsFunc(path, unicode.IsControl) {
		return strconv.Quote(path)
	}
	return path
}

// unfield reads what field wrote.
func unfield(text string) (string, error) {
	if !strings.HasPrefix(text, `"`) {
		return text, nil
	}
	return strconv.Unquote(text)
}

// manifestLine is one object of a manifest: address, tab, path.
func manifestLine(a store.Address, path string) string { return a.String() + "\t" + field(path) }

// entry is one line of a manifest, read.
type entry struct {
	addr store.Address
	path string
}

// readManifest reads all lines. An error names the line.
func readManifest(r io.Reader) ([]entry, error) {
	var entries []entry
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxManifestLine)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSuffix(lines.Text(), "\r")
		if text == "" {
			continue
		}
		head, tail, found := strings.Cut(text, "\t")
		addr, err := store.ParseAddress(head)
		if err != nil || !found {
			return nil, fmt.Errorf("line %d: want an address, a tab and a path", n)
		}
		path, err := unfield(tail)
		if err != nil || path == "" {
			return nil, fmt.Errorf("line %d: bad path", n)
		}
		entries = append(entries, entry{addr, path})
	}
	return entries, lines.Err()
}
