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
// What the statements of an event change is part of the event, as its keys are: it commits with the event, and is rolled back
// with it. So there is no BEGIN and no COMMIT; what may fail for itself is a Transact of the Tx, which takes back SQL too. An
// event that runs again after a refused commit finds the rows as the last event that was committed has left them.
//
// # Errors
//
// A statement that fails returns its error, changes nothing, and the event goes on: constraints are an author's business.
// What leaves no transaction to go on with aborts the event, as what cannot be read from storage does: the event's time, which
// interrupts a statement; the limits of memory, of bytes read and written, and of the object's size; a database that cannot be
// read; a foreign key that is not kept when the event ends; ON CONFLICT ROLLBACK.
//
// # Limits
//
// MaxStatement, MaxValue, MaxRead and MaxMemory, and those of the object's storage. ATTACH, DETACH, statements that begin or
// end transactions, temporary tables, virtual tables other than FTS5's, and most PRAGMAs are ErrForbidden.
//
// Only programs that import this package carry SQLite.
package sqlite

import (
	"holdfast/objects"
)

// Limits of a database.
const (
	MaxStatement = 100_000   // bytes of a text with statements, as Cloudflare's; TooLarge beyond
	MaxValue     = 4 << 20   // bytes of a value, and of a row; TooLarge beyond
	MaxRead      = 1 << 30   // bytes of pages that an event reads from the object's storage; more abort it as TooLarge
	MaxMemory    = 128 << 20 // bytes that SQLite takes for one object while an event runs; more abort it as TooLarge
)

// Usage is what a database takes, and what an event has done with it.
type Usage struct {
	Size        int64 // bytes of all pages; what is stored of them is less
	RowsRead    int64 // by the event: rows of tables that were read from end to end, and else those that were returned
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
