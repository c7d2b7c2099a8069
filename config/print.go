package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// PrintOptions choose the form of Print.
type PrintOptions struct {
	Origin bool // tell where each value came from
	JSON   bool // a JSON object instead of TOML
}

// Print writes the effective configuration: every honoured key, secrets
// redacted. The TOML form is a valid file that loads to the same values; with
// Origin each line ends in a comment such as "# env RON_LOG". The JSON form has
// the shape of the file, with Origin {"config": …, "origins": {key: …}}.
func Print(w io.Writer, l Loaded, o PrintOptions) error {
	if o.JSON {
		return printJSON(w, l, o.Origin)
	}
	var lines, origins []string
	section := ""
	for _, k := range honoured() {
		s, last := k.split()
		if s != section {
			section = s
			lines, origins = append(lines, "", "["+s+"]"), append(origins, "", "")
		}
		lines = append(lines, last+" = "+literal(k.printed(&l.Config)))
		origins = append(origins, "# "+l.Origins[k.Name].String())
	}
	var b bytes.Buffer
	width := widest(lines)
	for i, line := range lines {
		if o.Origin && origins[i] != "" {
			line = fmt.Sprintf("%-*s  %s", width, line, origins[i])
		}
		b.WriteString(line + "\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}

// widest is the column of the comments: that of the longest line, within reason.
func widest(lines []string) int {
	const most = 48
	n := 0
	for _, l := range lines {
		n = max(n, min(len(l), most))
	}
	return n
}

func honoured() (keys []Key) {
	for _, k := range Keys() {
		if k.Reserved == "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// printed is the value of the key, or nothing of it when it is secret.
func (k Key) printed(c *Config) any {
	if k.Secret {
		return ""
	}
	return k.get(c)
}

func printJSON(w io.Writer, l Loaded, origin bool) error {
	doc := map[string]any{}
	for _, k := range honoured() {
		section, last := k.split()
		below(doc, section)[last] = plain(k.printed(&l.Config))
	}
	if origin {
		doc = map[string]any{"config": doc, "origins": l.Origins}
	}
	return writeJSON(w, doc)
}

// below is the object of a section in doc, made when it is not there.
func below(doc map[string]any, section string) map[string]any {
	if section == "" {
		return doc
	}
	m, ok := doc[section].(map[string]any)
	if !ok {
		m = map[string]any{}
		doc[section] = m
	}
	return m
}

func writeJSON(w io.Writer, v any) error {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}
