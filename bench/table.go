package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// table is rendered for a terminal and for a page.
type table struct {
	head []string
	rows [][]string // as many cells each as the head has
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// text aligns the columns. A cell that repeats the one above it in the first column is left
// blank.
func (t *table) text() string {
	width := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	write := func(row []string) {
		var line strings.Builder
		for i, cell := range row {
			fmt.Fprintf(&line, "%-*s  ", width[i], cell)
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	write(t.head)
	for _, row := range t.once() {
		write(row)
	}
	return out.String()
}

// markdown renders the table for GitHub.
func (t *table) markdown() string {
	var out strings.Builder
	write := func(row []string) { out.WriteString("| " + strings.Join(row, " | ") + " |\n") }
	write(t.head)
	out.WriteString(strings.Repeat("|---", len(t.head)) + "|\n")
	for _, row := range t.once() {
		write(row)
	}
	return out.String()
}

// once returns the rows with repeated first cells left blank.
func (t *table) once() [][]string {
	var all [][]string
	last := ""
	for _, row := range t.rows {
		first := row[0]
		if first == last {
			row = append([]string{""}, row[1:]...)
		}
		last = first
		all = append(all, row)
	}
	return all
}
