package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// table is a table in Markdown: the first column to the left, the others to
// the right.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// String gives the table, each column as wide as its widest cell. A row that is
// too short is filled with empty cells.
func (t *table) String() string {
	width := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell), 3)
		}
	}
	var b strings.Builder
	line := func(row []string) {
		for i, w := range width {
			cell := ""
			if i < len(row) {
				cell = row[i]
			}
			pad := strings.Repeat(" ", w-utf8.RuneCountInString(cell))
			if i == 0 {
				cell += pad
			} else {
				cell = pad + cell
			}
			b.WriteString("| " + cell + " ")
		}
		b.WriteString("|\n")
	}
	line(t.head)
	for i, w := range width {
		if i == 0 {
			b.WriteString("| " + strings.Repeat("-", w) + " ")
		} else {
			b.WriteString("| " + strings.Repeat("-", w-1) + ": ")
		}
	}
	b.WriteString("|\n")
	for _, row := range t.rows {
		line(row)
	}
	return b.String()
}

// empty says whether the table has no rows.
func (t *table) empty() bool { return len(t.rows) == 0 }

func mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }

func mb(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func times(v float64) string { return fmt.Sprintf("%.2f", v) }

// verdict is how a goal ended.
func verdict(met bool) string {
	if met {
		return "met"
	}
	return "**missed**"
}
