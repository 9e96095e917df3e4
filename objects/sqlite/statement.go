package sqlite

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// statement is a prepared statement that an event uses.
type statement struct {
	*sqlite3.Stmt
	tx      *engine.Tx // the event
	text    string
	keep    bool // it may be used again later
	busy    bool // it is in use
	turn    int64
	columns []string // nil: not asked for yet
}

// maxStatements is how many statements a connection keeps.
const maxStatements = 64

// prepare returns the first statement of the text, nil if there is none, and the rest of the text. The caller must give
// the statement back.
func (d *database) prepare(text string) (s *statement, rest string, err error) {
	if s := d.statements[text]; s != nil && !s.busy {
		s.busy, s.tx = true, d.tx
		return s, "", nil
	}
	defer catch(&err)
	made, rest, err := d.conn.PrepareFlags(skip(text), sqlite3.PREPARE_PERSISTENT)
	if err != nil || made == nil {
		return nil, "", err
	}
	rest = skip(rest)
	s = &statement{Stmt: made, tx: d.tx, text: text, keep: rest == "", busy: true}
	d.loose = append(d.loose, s)
	return s, rest, nil
}

// skip returns what follows spaces, comments and semicolons.
func skip(text string) string {
	for {
		text = strings.TrimLeft(text, " \t\r\n\f;")
		end := ""
		switch {
		case strings.HasPrefix(text, "--"):
			end = "\n"
		case strings.HasPrefix(text, "/*"):
			end = "*/"
		default:
			return text
		}
		_, text, _ = strings.Cut(text[2:], end)
	}
}

// mine reports whether the event in progress may use the statement.
func (d *database) mine(s *statement) bool { return s.busy && s.tx == d.tx && s.Conn() == d.conn }

// give gives a statement back.
func (d *database) give(s *statement) {
	if !d.mine(s) {
		return // its event, and perhaps its connection, has ended
	}
	s.busy = false
	i := slices.Index(d.loose, s)
	if i >= 0 {
		d.loose = slices.Delete(d.loose, i, i+1)
		if !s.keep || d.statements[s.text] != nil {
			_ = s.Close()
			return
		}
		if len(d.statements) >= maxStatements {
			d.discard()
		}
		d.statements[s.text] = s
	}
	d.turn++
	s.turn = d.turn
	_ = s.Reset() // its error was returned before
	_ = s.ClearBindings()
}

// discard closes the least recently used statement.
func (d *database) discard() {
	var oldest *statement
	for _, s := range d.statements {
		if !s.busy && (oldest == nil || s.turn < oldest.turn) {
			oldest = s
		}
	}
	if oldest != nil {
		delete(d.statements, oldest.text)
		_ = oldest.Close()
	}
}

// reset ends the reading of all statements.
func (d *database) reset() {
	for _, s := range d.statements {
		if s.busy {
			s.busy = false
			_ = s.Reset()
		}
	}
	for _, s := range d.loose {
		s.busy = false
		_ = s.Close()
	}
	d.loose = nil
}

// finalize closes all statements.
func (d *database) finalize() {
	d.reset()
	for _, s := range slices.Collect(d.conn.Stmts()) {
		_ = s.Close()
	}
}

// exec runs a statement to its end.
func (d *database) exec(s *sqlite3.Stmt) (err error) {
	defer catch(&err)
	return s.Exec()
}

// step reports whether there is another row.
func (d *database) step(s *statement) (row bool, err error) {
	defer catch(&err)
	if s.Step() {
		return true, nil
	}
	return false, s.Err()
}

// catch turns the panic of the bindings about missing memory into an error.
func catch(err *error) {
	switch p := recover().(type) {
	case nil:
	case error:
		if !strings.HasSuffix(p.Error(), "out of memory") {
			panic(p)
		}
		*err = errMemory
	default:
		panic(p)
	}
}

// timeFormat is how times are stored: in UTC, so that they sort by time as texts, and SQLite's functions accept them.
const timeFormat = "2006-01-02 15:04:05.000000000Z"

// bind sets the arguments of a statement.
func (s *statement) bind(args []any) (err error) {
	defer catch(&err)
	want := s.BindCount()
	if len(args) > want || len(args) < want && !named(args) {
		return fmt.Errorf("sqlite: the statement has %d parameters, and there are %d arguments", want, len(args))
	}
	for i, arg := range args {
		at := i + 1
		if n, ok := arg.(sql.NamedArg); ok {
			if at = s.param(n.Name); at == 0 {
				return fmt.Errorf("sqlite: the statement has no parameter %.80q", n.Name)
			}
			arg = n.Value
		}
		if err := s.bindOne(at, arg); err != nil {
			return err
		}
	}
	return nil
}

func named(args []any) bool {
	for _, arg := range args {
		if _, ok := arg.(sql.NamedArg); ok {
			return true
		}
	}
	return false
}

// param returns the number of a parameter, 0 if there is none with this name.
func (s *statement) param(name string) int {
	for _, prefix := range []string{":", "@", "$", "?", ""} {
		if at := s.BindIndex(prefix + name); at > 0 {
			return at
		}
	}
	return 0
}

// bindOne sets a parameter.
func (s *statement) bindOne(at int, arg any) error {
	switch v := arg.(type) {
	case nil:
		return s.BindNull(at)
	case string:
		return s.BindText(at, v)
	case []byte:
		return s.BindBlob(at, v)
	case int:
		return s.BindInt(at, v)
	case int64:
		return s.BindInt64(at, v)
	case float64:
		return s.BindFloat(at, v)
	case bool:
		return s.BindBool(at, v)
	case time.Time:
		return s.BindText(at, v.UTC().Format(timeFormat))
	case json.RawMessage:
		if v == nil {
			return s.BindNull(at)
		}
		return s.BindText(at, string(v))
	case driver.Valuer:
		if p := reflect.ValueOf(arg); p.Kind() == reflect.Pointer && p.IsNil() {
			return s.BindNull(at)
		}
		value, err := v.Value()
		if err != nil {
			return fmt.Errorf("sqlite: argument %d: %w", at, err)
		}
		if _, again := value.(driver.Valuer); again {
			return fmt.Errorf("sqlite: argument %d: the value of a %T is another", at, arg)
		}
		return s.bindOne(at, value)
	}
	switch v := reflect.ValueOf(arg); v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return s.BindNull(at)
		}
		return s.bindOne(at, v.Elem().Interface())
	case reflect.String:
		return s.BindText(at, v.String())
	case reflect.Bool:
		return s.BindBool(at, v.Bool())
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int, reflect.Int64:
		return s.BindInt64(at, v.Int())
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint, reflect.Uint64:
		if v.Uint() > 1<<63-1 {
			return fmt.Errorf("sqlite: argument %d: %d is too large for an integer of SQLite", at, v.Uint())
		}
		return s.BindInt64(at, int64(v.Uint()))
	case reflect.Float32, reflect.Float64:
		return s.BindFloat(at, v.Float())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return s.BindBlob(at, v.Bytes())
		}
	}
	return fmt.Errorf("sqlite: argument %d is a %T, which SQLite cannot keep", at, arg)
}

// names returns the names of the columns.
func (s *statement) names() []string {
	if s.columns == nil {
		s.columns = make([]string, s.ColumnCount())
		for i := range s.columns {
			s.columns[i] = s.ColumnName(i)
		}
	}
	return s.columns
}

var errTooLong = objects.Errorf(objects.TooLarge, "a statement has more than %d bytes", MaxStatement)

// start runs all statements of the text but the last, which it returns with its arguments bound; nil if there is none.
// The caller must give it back. An error that ends the event does not return.
func (d *database) start(text string, args []any) (*statement, error) {
	switch {
	case len(text) > MaxStatement:
		return nil, errTooLong
	case strings.IndexByte(text, 0) >= 0:
		return nil, errors.New("sqlite: a statement has a zero byte")
	}
	for {
		s, rest, err := d.prepare(text)
		if err != nil {
			return nil, d.refused(err)
		}
		if s == nil {
			if len(args) > 0 {
				return nil, errors.New("sqlite: there are arguments, and no statement")
			}
			return nil, nil
		}
		if rest == "" {
			if err := s.bind(args); err != nil {
				d.give(s)
				return nil, d.refused(err)
			}
			return s, nil
		}
		err = d.exec(s.Stmt)
		d.count(s, 0)
		d.give(s)
		if err != nil {
			return nil, d.refused(err)
		}
		text = rest
	}
}

// count notes the rows that a statement has read, returned of which it has returned.
func (d *database) count(s *statement, returned int64) {
	scanned := int64(s.Status(sqlite3.STMTSTATUS_FULLSCAN_STEP, true))
	d.rowsRead += max(scanned, returned)
}

// execute runs a text to its end.
func (d *database) execute(text string, args []any) (Result, error) {
	before := d.conn.TotalChanges()
	s, err := d.start(text, args)
	if err != nil || s == nil {
		return Result{}, err
	}
	err = d.exec(s.Stmt)
	d.count(s, 0)
	d.give(s)
	if err != nil {
		return Result{}, d.refused(err)
	}
	r := Result{LastInsertID: d.conn.LastInsertRowID()}
	if d.conn.TotalChanges() != before {
		r.Changed = d.conn.Changes()
	}
	return r, nil
}
