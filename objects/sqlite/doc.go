// Package sqlite gives an object a database: SQLite, whose pages are part of what the object stores.
//
//	var Objects = objects.Implement(Rooms, open, objects.On(Post, (*Room).post))
//
//	func open(tx *objects.Tx) *Room {
//		sqlite.Migrate(tx, `CREATE TABLE message (id INTEGER PRIMARY KEY, who TEXT NOT NULL, text TEXT NOT NULL)`)
//		return new(Room)
//	}
//
//	func (*Room) post(tx *objects.Tx, m Message) (objects.None, error) {
//		_, err := sqlite.Exec(tx, `INSERT INTO message (who, text) VALUES (?, ?)`, m.Who, m.Text)
//		return nil, err
//	}
//
// # One transaction
//
// The changes of an event's statements are part of the event, as its keys are: they commit with the event, and are
// rolled back with it. So there is no BEGIN and no COMMIT. A part that may fail by itself is a Transact of the Tx,
// which rolls back SQL too. An event that runs again after a refused commit finds the rows of the last committed event.
//
// # Errors
//
// A statement that fails returns its error and changes nothing, and the event goes on: constraints are for the author
// to handle. A failure that leaves no transaction aborts the event, as a failed read of storage does: the event's time,
// which interrupts a statement; the limits of memory, of bytes read and written, and of the object's size; a database
// that cannot be read; a foreign key that is violated when the event ends; ON CONFLICT ROLLBACK.
//
// # Limits
//
// The limits are MaxStatement, MaxValue, MaxRead and MaxMemory, and those of the object's storage. ErrForbidden is the
// error for ATTACH, DETACH, statements that begin or end transactions, temporary tables, virtual tables other than
// FTS5's, and most PRAGMAs.
//
// Only programs that import this package carry SQLite.
package sqlite

import (
	"holdfast/objects"
)

// Limits of a database.
const (
	MaxStatement = 100_000   // bytes of a text with statements, as at Cloudflare; TooLarge beyond
	MaxValue     = 4 << 20   // bytes of a value, and of a row; TooLarge beyond
	MaxRead      = 1 << 30   // bytes of pages that an event reads from storage; more abort it as TooLarge
	MaxMemory    = 128 << 20 // bytes of SQLite's memory for one object while an event runs; more abort it as TooLarge
)

// Usage is the size of a database, and the work of the event so far.
type Usage struct {
	Size        int64 // bytes of all pages; storage has less
	RowsRead    int64 // by the event: rows of tables that were scanned from end to end, and otherwise rows that were returned
	RowsWritten int64 // by the event: rows inserted, updated and deleted, those of triggers too; indexes do not count
}

// UsageOf returns the usage of the event's database so far (as Cloudflare's databaseSize, rowsRead and rowsWritten).
func UsageOf(tx *objects.Tx) Usage {
	d := databaseOf(tx)
	return Usage{
		Size:        int64(d.mustTell("PRAGMA page_count")) * pageSize,
		RowsRead:    d.rowsRead,
		RowsWritten: d.conn.TotalChanges() - d.written,
	}
}
