package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// listWidth is how wide a table is that is not asked for in full, in characters.
	listWidth = 100
	// leastWidth is what is left at least of a cell that is cut.
	leastWidth = 10
	ellipsis   = "…"
)

// fit cuts cells so that the table gets no wider than width, if that is enough: first
// those of the first group of columns, then those of the next, and in a group always the
// widest.
func fit(rows [][]string, width int, groups ...[]int) {
	if len(rows) == 0 {
		return
	}
	widths := make([]int, len(rows[0]))
	total := tableGap * (len(widths) - 1)
	for i := range widths {
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
		total += widths[i]
	}
	for _, group := range groups {
		for total > width {
			widest := slices.MaxFunc(group, func(a, b int) int { return widths[a] - widths[b] })
			if widths[widest] <= leastWidth {
				break
			}
			widths[widest]--
			total--
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			if utf8.RuneCountInString(cell) > widths[i] {
				row[i] = string([]rune(cell)[:widths[i]-1]) + ellipsis
			}
		}
	}
}

// printRows prints a table of cells.
func printRows(w io.Writer, rows [][]string) error {
	return table(w, func(w io.Writer) {
		for _, row := range rows {
			fmt.Fprintln(w, strings.Join(row, "\t"))
		}
	})
}
