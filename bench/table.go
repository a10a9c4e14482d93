package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// table prints rows as they come, so that a long run shows where it is.
type table struct {
	out    io.Writer
	widths []int
}

// newTable prints the heads of the columns; the first one is left-aligned.
func newTable(out io.Writer, first int, heads ...string) *table {
	t := &table{out: out}
	for i, head := range heads {
		width := max(utf8.RuneCountInString(head), 7)
		if i == 0 {
			width = first
		}
		t.widths = append(t.widths, width)
	}
	t.row(heads...)
	return t
}

func (t *table) row(cells ...string) {
	var line strings.Builder
	for i, cell := range cells {
		if i == 0 {
			fmt.Fprintf(&line, "%-*s", t.widths[i], cell)
			continue
		}
		fmt.Fprintf(&line, "  %*s", t.widths[i], cell)
	}
	fmt.Fprintln(t.out, strings.TrimRight(line.String(), " "))
}

// whole, two and megabytes format the cells of a table.
func whole[T int | float64](v T) string { return fmt.Sprintf("%.0f", float64(v)) }
func two(v float64) string              { return fmt.Sprintf("%.2f", v) }
func megabytes(bytes int64) string      { return fmt.Sprintf("%.0f", float64(bytes)/mib) }
