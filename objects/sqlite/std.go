package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"strings"

	"holdfast/objects"
)

// Conn is the database of an event for code that was written for package database/sql: sqlc's DBTX. Its statements are
// part of the event as Exec's are, and there is no other transaction. Only the event's goroutine may use it, while the
// event runs. The contexts of its methods are ignored: the event's time interrupts a statement.
type Conn struct {
	tx *objects.Tx
}

// ConnOf returns the database of the event.
func ConnOf(tx *objects.Tx) Conn { return Conn{tx} }

// std returns a pool of the standard library, whose connections are all the event's.
func (c Conn) std() *sql.DB {
	d := databaseOf(c.tx)
	if d.std == nil {
		d.std = sql.OpenDB(connector{d})
	}
	return d.std
}

// ExecContext is Exec.
func (c Conn) ExecContext(_ context.Context, query string, args ...any) (sql.Result, error) {
	r, err := databaseOf(c.tx).execute(query, args)
	if err != nil {
		return nil, err
	}
	return result(r), nil
}

// QueryContext returns the rows of a statement. Close them before the event ends.
func (c Conn) QueryContext(_ context.Context, query string, args ...any) (*sql.Rows, error) {
	return c.std().QueryContext(context.Background(), query, args...)
}

// QueryRowContext returns the first row of a statement.
func (c Conn) QueryRowContext(_ context.Context, query string, args ...any) *sql.Row {
	return c.std().QueryRowContext(context.Background(), query, args...)
}

// PrepareContext returns a statement. Close it before the event ends.
func (c Conn) PrepareContext(_ context.Context, query string) (*sql.Stmt, error) {
	return c.std().PrepareContext(context.Background(), query)
}

// result is a Result for package database/sql.
type result Result

func (r result) LastInsertId() (int64, error) { return r.LastInsertID, nil }
func (r result) RowsAffected() (int64, error) { return r.Changed, nil }

var errNoEvent = errors.New("sqlite: no event of the object is at work on its database")

// connector returns the event's connection to package database/sql.
type connector struct{ d *database }

func (c connector) Connect(context.Context) (driver.Conn, error) { return stdConn(c), nil }
func (c connector) Driver() driver.Driver                        { return nil }

// stdConn is a connection of package database/sql.
type stdConn struct{ d *database }

func (c stdConn) Close() error { return nil }

func (c stdConn) Begin() (driver.Tx, error) {
	return nil, errors.New("sqlite: the event is the transaction; a part of it that may fail is a Transact")
}

func (c stdConn) Prepare(query string) (driver.Stmt, error) { return stdStmt{c.d, query}, nil }

// CheckNamedValue leaves values unchanged: bind handles them.
func (c stdConn) CheckNamedValue(*driver.NamedValue) error { return nil }

func (c stdConn) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if c.d.tx == nil {
		return nil, errNoEvent
	}
	s, err := c.d.start(query, plainArgs(args))
	if err != nil {
		return nil, err
	}
	return &stdRows{d: c.d, s: s}, nil
}

func plainArgs(args []driver.NamedValue) []any {
	plain := make([]any, len(args))
	for i, a := range args {
		if plain[i] = a.Value; a.Name != "" {
			plain[i] = sql.Named(a.Name, a.Value)
		}
	}
	return plain
}

// stdStmt is a statement of package database/sql. The connection keeps what was prepared.
type stdStmt struct {
	d     *database
	query string
}

func (s stdStmt) Close() error                               { return nil }
func (s stdStmt) NumInput() int                              { return -1 }
func (s stdStmt) CheckNamedValue(*driver.NamedValue) error   { return nil }
func (s stdStmt) Exec([]driver.Value) (driver.Result, error) { return nil, driver.ErrSkip }
func (s stdStmt) Query([]driver.Value) (driver.Rows, error)  { return nil, driver.ErrSkip }

func (s stdStmt) ExecContext(_ context.Context, args []driver.NamedValue) (driver.Result, error) {
	if s.d.tx == nil {
		return nil, errNoEvent
	}
	r, err := s.d.execute(s.query, plainArgs(args))
	return result(r), err
}

func (s stdStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return stdConn{s.d}.QueryContext(ctx, s.query, args)
}

// stdRows are rows of package database/sql.
type stdRows struct {
	d        *database
	s        *statement // nil: there was no statement
	times    []bool     // which columns have times, by their declared types
	returned int64
}

func (r *stdRows) Columns() []string {
	if r.s == nil || !r.d.mine(r.s) {
		return nil
	}
	return r.s.names()
}

func (r *stdRows) Close() error {
	if r.s != nil && r.d.mine(r.s) {
		r.d.count(r.s, r.returned)
		r.d.give(r.s)
	}
	r.s = nil
	return nil
}

func (r *stdRows) Next(to []driver.Value) error {
	if r.s == nil {
		return io.EOF
	}
	if !r.d.mine(r.s) {
		return errNoEvent
	}
	row, err := r.d.step(r.s)
	switch {
	case err != nil:
		return r.d.refused(err)
	case !row:
		return io.EOF
	}
	r.returned++
	if r.times == nil {
		r.times = make([]bool, len(to))
		for i := range to {
			r.times[i] = slices.Contains(timeTypes, strings.ToUpper(r.s.ColumnDeclType(i)))
		}
	}
	for i := range to {
		to[i] = r.s.value(i, r.s.ColumnType(i))
		if at, ok := timeOf(to[i]); ok && r.times[i] {
			to[i] = at
		}
	}
	return nil
}

// timeTypes are the declared types of columns with times. SQLite itself ignores them.
var timeTypes = []string{"DATE", "DATETIME", "TIMESTAMP"}

var (
	_ driver.QueryerContext    = stdConn{}
	_ driver.NamedValueChecker = stdConn{}
	_ driver.NamedValueChecker = stdStmt{}
	_ driver.StmtExecContext   = stdStmt{}
	_ driver.StmtQueryContext  = stdStmt{}
)
