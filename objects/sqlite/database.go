package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/ext/fts5"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// database is an object's database at one instance: a connection of SQLite, opened by the first event that needs one.
// The goroutine that runs the event owns it, except for use.
//
// A transaction of SQLite lasts as long as an event that uses it, and a savepoint as long as a Transact. Between
// events, SQLite's cache has the pages as the last event left them. If these pages do not become the stored state, the
// instance is dropped, and the connection with it.
type database struct {
	mu   sync.Mutex // guards use, and the connection while it is free
	use  use
	last atomic.Int64 // time of the last use, in nanoseconds

	conn  *sqlite3.Conn // nil: closed
	file  file
	inner bool // a statement of this package is being prepared, which may do anything

	tx       *engine.Tx // the event in progress; nil: none has used the database
	deadline deadline   // of tx
	depth    int        // savepoints
	opened   int        // the depth at which this event has opened the connection; -1: it was open before
	lost     bool       // the connection cannot be used any more, and is closed when the event ends
	rowsRead int64      // rows read by tx
	written  int64      // rows that the connection had written when tx began

	own        map[string]*sqlite3.Stmt // this package's statements, by text
	statements map[string]*statement    // the author's statements that are kept
	loose      []*statement             // statements in use that are not kept yet
	turn       int64                    // counts uses of statements

	std *sql.DB // nil: not used yet
}

// use says who uses a database.
type use uint8

const (
	free   use = iota // no event uses it: it may be closed
	busy              // an event uses it
	doomed            // an event uses it, and closes it at its end
	closed            // nobody may use it again
)

// newDatabase makes a database that is not open.
func newDatabase() engine.Part { return new(database) }

// databaseOf returns the database of the event's object, and begins the event's transaction if there is none.
func databaseOf(tx context.Context) *database {
	t, ok := tx.Value(engine.TxKey{}).(*engine.Tx)
	if !ok {
		panic("sqlite: the context is not that of an object's event")
	}
	t.Use()
	d := t.Part(newDatabase).(*database)
	d.join(t)
	return d
}

// join makes the database take part in the event.
func (d *database) join(t *engine.Tx) {
	if d.tx != t {
		d.begin(t)
	}
	for d.depth < t.Depth() {
		d.depth++
		d.mustRun("SAVEPOINT s" + strconv.Itoa(d.depth))
	}
}

// begin begins the event's transaction.
func (d *database) begin(t *engine.Tx) {
	d.mu.Lock()
	if d.use != free {
		d.mu.Unlock()
		panic("sqlite: the database is in use")
	}
	d.use = busy
	d.mu.Unlock()
	now := time.Now()
	d.last.Store(now.UnixNano())
	d.tx, d.file.tx, d.opened, d.rowsRead, d.file.read, d.file.err = t, t, -1, 0, 0, nil
	d.file.most = t.Limits().Writes / pageSize
	d.deadline.at, _ = t.Deadline()
	if d.conn == nil {
		d.opened = t.Depth()
		if err := d.open(); err != nil {
			d.lost = true
			t.Abort(d.fatal(err))
		}
	}
	d.written = d.conn.TotalChanges()
	d.mustRun("BEGIN")
}

// deadline is a context that ends at a time without a timer.
type deadline struct {
	context.Context
	at time.Time
}

func (d *deadline) Err() error {
	if time.Now().Before(d.at) {
		return nil
	}
	return context.DeadlineExceeded
}

// open opens the connection.
func (d *database) open() error {
	if err := d.file.open(); err != nil {
		d.file.err = err
		return err
	}
	makeRoom()
	name := files.put(&d.file)
	defer files.remove(name)
	conn, err := sqlite3.OpenContext(sqlite3.WithMaxMemory(context.Background(), MaxMemory), "file:"+name+"?vfs="+vfsName)
	if err != nil {
		return err
	}
	d.conn, d.lost, d.own, d.statements = conn, false, make(map[string]*sqlite3.Stmt), make(map[string]*statement)
	opened.add(d)
	pages := strconv.Itoa(max(d.tx.Limits().State/pageSize, 1))
	d.inner = true
	defer func() { d.inner = false }()
	if err := conn.Exec(settings + "PRAGMA max_page_count = " + pages); err != nil {
		return err
	}
	if err := fts5.Register(conn); err != nil {
		return err
	}
	if _, err := conn.Config(sqlite3.DBCONFIG_DEFENSIVE, true); err != nil {
		return err
	}
	conn.Limit(sqlite3.LIMIT_LENGTH, MaxValue)
	conn.Limit(sqlite3.LIMIT_SQL_LENGTH, MaxStatement)
	conn.Limit(sqlite3.LIMIT_ATTACHED, 0)
	d.deadline.Context = context.Background()
	conn.SetInterrupt(&d.deadline)
	return conn.SetAuthorizer(d.authorize)
}

// settings: no other process has the file open, and a transaction's old pages are in memory. A negative size is in KiB.
const settings = `PRAGMA page_size = 4096;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = MEMORY;
PRAGMA synchronous = OFF;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -1024;
PRAGMA foreign_keys = ON;
`

// Commit stores the event's changes as entries.
func (d *database) Commit(t *engine.Tx) error {
	if d.tx != t {
		return nil
	}
	if d.lost {
		return errLost
	}
	d.reset()
	if err := d.run("COMMIT"); err != nil {
		return fmt.Errorf("the event cannot be committed: %w", wrap(err))
	}
	if err := d.file.flush(); err != nil {
		return err
	}
	d.end()
	return nil
}

// errLost is the error of an event that went on after its database was lost.
var errLost = errors.New("the database's transaction was lost")

// Rollback undoes the event's changes since the Transact at the depth began.
func (d *database) Rollback(t *engine.Tx, depth int) {
	switch {
	case d.tx != t:
	case depth == 0:
		defer d.end()
		if d.conn == nil || d.lost {
			return
		}
		d.reset()
		if !d.conn.GetAutocommit() {
			if err := d.run("ROLLBACK"); err != nil {
				d.lost = true
			}
		}
		d.file.forget()
	case d.lost || depth > d.depth:
	case depth <= d.opened: // it may have been opened on pages that are undone
		d.lost = true
		d.Rollback(t, 0)
	default:
		point := strconv.Itoa(depth)
		d.depth = depth - 1
		d.mustRun("ROLLBACK TO s" + point)
		d.mustRun("RELEASE s" + point)
	}
}

// Fold makes the changes since the Transact at the depth part of the enclosing transaction.
func (d *database) Fold(t *engine.Tx, depth int) {
	if d.tx != t || d.lost || depth > d.depth {
		return
	}
	d.depth = depth - 1
	d.mustRun("RELEASE s" + strconv.Itoa(depth))
}

// DeleteAll closes the connection: the event continues with an empty database.
func (d *database) DeleteAll(t *engine.Tx) {
	switch {
	case d.tx != t:
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.use == free {
			d.shut()
		}
	case t.Depth() > 0:
		t.Abort(objects.Errorf(objects.Invalid, "an event that has used its database cannot delete everything within Transact"))
	default:
		d.lost = true
		d.Rollback(t, 0)
	}
}

// end ends the database's part in the event.
func (d *database) end() {
	d.tx, d.file.tx, d.depth = nil, nil, 0
	d.mu.Lock()
	defer d.mu.Unlock()
	switch d.use {
	case busy:
		d.use = free
		if d.lost {
			d.shut()
		}
	case doomed:
		d.use = closed
		d.shut()
	}
}

// Close closes the database, at once or when the event in progress has ended.
func (d *database) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch d.use {
	case free:
		d.use = closed
		d.shut()
	case busy:
		d.use = doomed
	}
}

// shut closes the connection.
func (d *database) shut() {
	if d.conn == nil {
		return
	}
	if d.std != nil {
		_ = d.std.Close()
		d.std = nil
	}
	func() {
		defer func() { _ = recover() }() // a lost connection may fail in any way
		d.finalize()
		_ = d.conn.Close()
	}()
	d.conn, d.own, d.statements, d.file.changed = nil, nil, nil, nil
	opened.remove(d)
}

// run runs a statement of this package.
func (d *database) run(text string) error {
	s, err := d.statement(text)
	if err != nil {
		return err
	}
	d.conn.SetInterrupt(context.Background()) // an event that is late can still be rolled back
	d.inner = true                            // SQLite may prepare it again
	defer func() {
		d.conn.SetInterrupt(&d.deadline)
		d.inner = false
	}()
	return d.exec(s)
}

// statement returns a prepared statement of this package, which may do anything.
func (d *database) statement(text string) (*sqlite3.Stmt, error) {
	if s := d.own[text]; s != nil {
		return s, nil
	}
	d.inner = true
	defer func() { d.inner = false }()
	s, _, err := d.conn.Prepare(text)
	if err == nil {
		d.own[text] = s
	}
	return s, err
}

// mustTell returns the number that a statement of this package returns.
func (d *database) mustTell(text string) int {
	s, err := d.statement(text)
	d.inner = true
	defer func() { d.inner = false }()
	if err == nil && !s.Step() {
		err = s.Err()
	}
	if err != nil {
		d.lost = true
		d.tx.Abort(d.fatal(err))
	}
	n := s.ColumnInt(0)
	_ = s.Reset()
	return n
}

// mustRun is run that aborts the event.
func (d *database) mustRun(text string) {
	if err := d.run(text); err != nil {
		d.lost = true
		d.tx.Abort(d.fatal(err))
	}
}

// openDatabases are the databases that have a connection: at most maxOpen, if enough of them are free.
type openDatabases struct {
	mu  sync.Mutex // guards all
	all map[*database]struct{}
}

var opened = openDatabases{all: make(map[*database]struct{})}

// maxOpen bounds the memory of all connections of a process: about 300 KiB each at first, and 1 MiB of pages.
const maxOpen = 512

func (o *openDatabases) add(d *database) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all[d] = struct{}{}
}

func (o *openDatabases) remove(d *database) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.all, d)
}

// oldest returns the database that has not been used for the longest time, if there are too many.
func (o *openDatabases) oldest(most int) *database {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.all) < most {
		return nil
	}
	var oldest *database
	for d := range o.all {
		if oldest == nil || d.last.Load() < oldest.last.Load() {
			oldest = d
		}
	}
	return oldest
}

// makeRoom closes a connection if there are too many. Its database opens another when it needs one.
func makeRoom() {
	d := opened.oldest(maxOpen)
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.use == free {
		d.shut()
	}
}
