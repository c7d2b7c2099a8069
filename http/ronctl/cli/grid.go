package cli

import (
	"strings"

	"charm.land/lipgloss/v2"
)

// columnGap is the room between columns.
const columnGap = 2

// column is one column of a table.
type column struct {
	head  string
	right bool            // figures
	least int             // may be cut down to this width where room is short; 0: never
	drop  int             // left out where room is short, highest first; 0: never
	style func(int) style // of the cell in a row; nil: plain
}

// grid lays a table out: a line of heads, then the rows, whose cells must be
// safe to show. On a terminal it fits the width: it leaves columns out and cuts
// cells in the order that the columns allow. Elsewhere nothing is cut.
func (s *screen) grid(columns []column, rows [][]string) []string {
	kept := make([]int, len(columns))
	for i := range kept {
		kept[i] = i
	}
	widths := widest(columns, rows)
	room := s.width
	if !s.terminal {
		room = 0
	}
	for room > 0 && leastWidth(columns, kept, widths) > room {
		out := -1
		for at, i := range kept {
			if columns[i].drop > 0 && (out < 0 || columns[i].drop > columns[kept[out]].drop) {
				out = at
			}
		}
		if out < 0 {
			break
		}
		kept = append(kept[:out], kept[out+1:]...)
	}
	for at := len(kept) - 1; room > 0 && at >= 0; at-- {
		over := totalWidth(kept, widths) - room
		if c := columns[kept[at]]; over > 0 && c.least > 0 {
			widths[kept[at]] = max(min(c.least, widths[kept[at]]), widths[kept[at]]-over)
		}
	}
	lines := make([]string, 0, len(rows)+1)
	heads := make([]string, len(columns))
	for i, c := range columns {
		heads[i] = c.head
	}
	lines = append(lines, s.gridLine(columns, kept, widths, heads, -1))
	for row, cells := range rows {
		lines = append(lines, s.gridLine(columns, kept, widths, cells, row))
	}
	return lines
}

// gridLine is one line; row -1 is the heads.
func (s *screen) gridLine(columns []column, kept, widths []int, cells []string, row int) string {
	var line strings.Builder
	blank := 0 // written only before the next text: lines have no blanks at their end
	for _, i := range kept {
		c := columns[i]
		text := clip(cells[i], widths[i])
		pad := widths[i] - lipgloss.Width(text)
		if c.right {
			blank += pad
		}
		if text != "" {
			line.WriteString(strings.Repeat(" ", blank))
			blank = 0
			as := stylePlain
			if row < 0 {
				as = styleDim
			} else if c.style != nil {
				as = c.style(row)
			}
			line.WriteString(s.paint(as, text))
		}
		if !c.right {
			blank += pad
		}
		blank += columnGap
	}
	return line.String()
}

func widest(columns []column, rows [][]string) []int {
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = lipgloss.Width(c.head)
		for _, row := range rows {
			widths[i] = max(widths[i], lipgloss.Width(row[i]))
		}
	}
	return widths
}

func totalWidth(kept, widths []int) int {
	sum := -columnGap
	for _, i := range kept {
		sum += widths[i] + columnGap
	}
	return sum
}

func leastWidth(columns []column, kept, widths []int) int {
	sum := -columnGap
	for _, i := range kept {
		w := widths[i]
		if columns[i].least > 0 {
			w = min(w, columns[i].least)
		}
		sum += w + columnGap
	}
	return sum
}

// clip cuts text to a number of columns, and shows that it did.
func clip(text string, width int) string {
	if lipgloss.Width(text) <= width {
		return text
	}
	var cut strings.Builder
	used := 0
	for _, r := range text {
		w := lipgloss.Width(string(r))
		if used+w > width-1 {
			break
		}
		used += w
		cut.WriteRune(r)
	}
	if width > 0 {
		cut.WriteString("…")
	}
	return cut.String()
}
