package acceptance

import (
	"fmt"
	"strings"

	"holdfast/objects"
	"holdfast/objects/sqlite"
)

// book is an object with a database: lines, an index of them, and a key that counts them.
type book struct{}

const bookClass objects.Class = "book"

var (
	lines     = objects.NewKey[int]("lines")
	lineCall  = objects.NewCall[int, int](bookClass, "write")
	proofCall = objects.NewCall[objects.None, int](bookClass, "check")

	books = objects.Implement(bookClass, func(tx *objects.Tx) *book {
		sqlite.Migrate(tx, `CREATE TABLE line (id INTEGER PRIMARY KEY, text TEXT NOT NULL)`, `CREATE INDEX line_text ON line (text)`)
		return new(book)
	}, objects.On(lineCall, (*book).write), objects.On(proofCall, (*book).check))
)

// write writes some lines, and returns how many there are.
func (*book) write(tx *objects.Tx, some int) (int, error) {
	n := lines.Get(tx)
	for range some {
		n++
		if _, err := sqlite.Exec(tx, `INSERT INTO line VALUES (?, ?)`, n, fmt.Sprint(n, strings.Repeat("-", 100))); err != nil {
			return 0, err
		}
	}
	lines.Set(tx, n)
	return n, nil
}

// check looks at the whole database, and returns how many lines there are.
func (*book) check(tx *objects.Tx, _ objects.None) (int, error) {
	type found struct {
		Lines, Last int
		Sound       string
	}
	f, err := sqlite.One[found](tx, `SELECT count(*) AS lines, coalesce(max(id), 0) AS last, (SELECT * FROM pragma_integrity_check) AS sound FROM line`)
	if err != nil {
		return 0, err
	}
	if n := lines.Get(tx); f != (found{n, n, "ok"}) {
		return 0, objects.Errorf("lost", "the key says that there are %d lines, the database %+v", n, f)
	}
	return f.Lines, nil
}
