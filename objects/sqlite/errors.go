package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/ncruces/go-sqlite3"

	"holdfast/objects"
)

// Error is SQLite's refusal of a statement. The statement has changed nothing, and the event goes on. Returned from a
// handler unchanged, it is a fault. To refuse, wrap it: objects.Errorf(objects.Conflict, "the name is taken: %w", err).
type Error struct {
	Code    int    // SQLite's extended result code
	Message string // in SQLite's words
	SQL     string // the statement from the wrong place on, if it does not parse

	kind error
}

// The kinds of an Error, for errors.Is.
var (
	ErrConstraint = errors.New("sqlite: a constraint is violated")       // any
	ErrUnique     = errors.New("sqlite: the row exists already")         // UNIQUE, PRIMARY KEY
	ErrForeignKey = errors.New("sqlite: a foreign key names no row")     // FOREIGN KEY
	ErrForbidden  = errors.New("sqlite: the statement is not allowed")   // ATTACH, BEGIN, most PRAGMAs
	ErrNoRows     = sql.ErrNoRows                                        // One has found none
	ErrManyRows   = errors.New("sqlite: more than one row was returned") // One has found more than one
)

// Error returns the message, and where a statement is wrong.
func (e *Error) Error() string {
	if e.SQL == "" {
		return "sqlite: " + e.Message
	}
	return fmt.Sprintf("sqlite: %s, at %.80q", e.Message, e.SQL)
}

// Is reports whether the error is of a kind: ErrConstraint, ErrUnique, ErrForeignKey, ErrForbidden.
func (e *Error) Is(kind error) bool {
	return kind == e.kind || kind == ErrConstraint && sqlite3.ErrorCode(e.Code) == sqlite3.CONSTRAINT
}

// wrap returns SQLite's error in the form for authors.
func wrap(err error) error {
	found, ok := errors.AsType[*sqlite3.Error](err)
	var code sqlite3.ExtendedErrorCode
	switch {
	case ok:
		code = found.ExtendedCode()
	case !errors.As(err, &code):
		return err
	}
	e := &Error{Code: int(code), Message: code.Error()}
	if ok {
		e.Message, e.SQL = found.Error(), found.SQL()
	}
	e.Message = strings.TrimPrefix(e.Message, "sqlite3: ")
	switch code {
	case sqlite3.CONSTRAINT_UNIQUE, sqlite3.CONSTRAINT_PRIMARYKEY, sqlite3.CONSTRAINT_ROWID:
		e.kind = ErrUnique
	case sqlite3.CONSTRAINT_FOREIGNKEY:
		e.kind = ErrForeignKey
	case sqlite3.ExtendedErrorCode(sqlite3.AUTH):
		e.kind = ErrForbidden
	case sqlite3.ExtendedErrorCode(sqlite3.TOOBIG):
		return objects.Errorf(objects.TooLarge, "a value, or a row, has more than %d bytes", MaxValue)
	}
	return e
}

// errMemory is the error of a statement that could not allocate memory.
var errMemory = errors.New("out of memory")

// refused returns the error of a statement for the author, or aborts the event.
func (d *database) refused(err error) error {
	switch {
	case errors.Is(err, errMemory), errors.Is(err, sqlite3.INTERRUPT), errors.Is(err, sqlite3.IOERR), errors.Is(err, sqlite3.CORRUPT),
		errors.Is(err, sqlite3.NOTADB), errors.Is(err, sqlite3.FULL), errors.Is(err, context.DeadlineExceeded):
	case d.conn.GetAutocommit(): // SQLite has rolled the transaction back
	default:
		return wrap(err)
	}
	d.lost = true
	d.tx.Abort(d.fatal(err))
	return nil
}

// fatal returns the error with which the event is aborted after a failure that has ended the transaction.
func (d *database) fatal(err error) error {
	why := d.file.err
	switch {
	case errors.Is(why, errTooMuchRead):
		return objects.Errorf(objects.TooLarge, "the event reads more than %d bytes of its database; nothing was changed", MaxRead)
	case errors.Is(why, errPatch):
		return fmt.Errorf("sqlite: %w", why)
	case why != nil:
		return objects.Errorf(objects.Unavailable, "the object's database could not be read; nothing was changed: %w", why)
	case errors.Is(err, errMemory):
		return objects.Errorf(objects.TooLarge, "a statement needs more than %d bytes of memory; nothing was changed", MaxMemory)
	case errors.Is(err, sqlite3.FULL):
		return objects.Errorf(objects.TooLarge, "the database would be too large, or the event writes too much of it; nothing was changed")
	case errors.Is(err, sqlite3.INTERRUPT):
		return objects.Errorf(objects.Unavailable, "the event's time ran out in a statement; nothing was changed")
	}
	return fmt.Errorf("the database's transaction was lost: %w", wrap(err))
}
