package sqlite

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"

	"holdfast/objects"
)

// Result is the result of a statement.
type Result struct {
	Changed      int64 // rows inserted, updated or deleted, by the statement itself and not by triggers
	LastInsertID int64 // rowid of the row that was inserted last, by any statement
}

// Exec runs statements that return no rows, or whose rows are not needed. There may be several, separated by
// semicolons; the arguments are those of the last one. A statement that fails changes nothing; the statements before it
// stay in effect, unless the event fails.
//
// Arguments are the types of package database/sql, pointers to them, and [sql.Named]. A time is stored in UTC, as text
// that sorts by time; a bool as 0 or 1; a json.RawMessage as text.
func Exec(tx *objects.Tx, query string, args ...any) (Result, error) {
	return databaseOf(tx).execute(query, args)
}

// Query yields the rows of a statement, each as a T: a struct whose fields match columns by a tag (db:"name") or by
// their names, without regard to case and underscores, or a type for a single column. The statement runs as the loop
// goes, and stops with it. An error comes last. The loop may run other statements.
func Query[T any](tx *objects.Tx, query string, args ...any) iter.Seq2[T, error] {
	d := databaseOf(tx)
	t := d.tx
	return func(yield func(T, error) bool) {
		var none T
		t.MustRun()
		d.join(t) // there may be another Transact
		s, err := d.start(query, args)
		if err != nil || s == nil {
			if err != nil {
				yield(none, err)
			}
			return
		}
		returned := int64(0)
		defer func() {
			if d.mine(s) {
				d.count(s, returned)
				d.give(s)
			}
		}()
		plan, err := planOf(reflect.TypeFor[T](), s.names())
		if err != nil {
			yield(none, err)
			return
		}
		for {
			row, err := d.step(s)
			if err != nil {
				err = d.refused(err)
			}
			if !row {
				if err != nil {
					yield(none, err)
				}
				return
			}
			returned++
			var v T
			if err := plan.read(s, reflect.ValueOf(&v).Elem()); err != nil {
				yield(none, err)
				return
			}
			if !yield(v, nil) {
				return
			}
			t.MustRun()
			if !d.mine(s) {
				yield(none, errors.New("sqlite: the rows were lost with the Transact around them"))
				return
			}
		}
	}
}

// All returns all rows of a Query, in memory.
func All[T any](tx *objects.Tx, query string, args ...any) ([]T, error) {
	var all []T
	for v, err := range Query[T](tx, query, args...) {
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// One returns the only row of a Query. The error is ErrNoRows if there is none, ErrManyRows if there are more.
func One[T any](tx *objects.Tx, query string, args ...any) (one T, err error) {
	found := false
	for v, err := range Query[T](tx, query, args...) {
		switch {
		case err != nil:
			return one, err
		case found:
			var none T
			return none, ErrManyRows
		}
		one, found = v, true
	}
	if !found {
		return one, ErrNoRows
	}
	return one, nil
}

// plan says how rows of some columns become values of a type.
type plan struct {
	columns []string
	fields  [][]int // of a struct, by column; nil: the value is of a single column
}

type planKey struct {
	of      reflect.Type
	columns string
}

// plans are the plans that were made, up to a number of them.
var plans struct {
	mu   sync.Mutex // guards made
	made map[planKey]*plan
}

const maxPlans = 4096

func planOf(of reflect.Type, columns []string) (*plan, error) {
	if !isRow(of) {
		if len(columns) != 1 {
			return nil, fmt.Errorf("sqlite: a %v is made of one column, and the statement returns %d", of, len(columns))
		}
		return &plan{columns: columns}, nil
	}
	key := planKey{of, strings.Join(columns, "\x00")}
	plans.mu.Lock()
	defer plans.mu.Unlock()
	if p := plans.made[key]; p != nil {
		return p, nil
	}
	p := &plan{columns: columns, fields: make([][]int, len(columns))}
	named := make(map[string][]int)
	for _, f := range reflect.VisibleFields(of) {
		if !f.IsExported() || f.Anonymous && isRow(f.Type) {
			continue
		}
		name := plain(f.Name)
		if tag, ok := f.Tag.Lookup("db"); ok {
			name = strings.ToLower(tag)
		}
		if _, taken := named[name]; !taken && name != "-" {
			named[name] = f.Index
		}
	}
	for i, column := range columns {
		index, ok := named[strings.ToLower(column)]
		if !ok {
			index, ok = named[plain(column)]
		}
		if !ok {
			return nil, fmt.Errorf("sqlite: %v has no field for the column %.80q", of, column)
		}
		p.fields[i] = index
	}
	if len(plans.made) >= maxPlans || plans.made == nil {
		plans.made = make(map[planKey]*plan)
	}
	plans.made[key] = p
	return p, nil
}

var (
	typeOfTime    = reflect.TypeFor[time.Time]()
	typeOfScanner = reflect.TypeFor[sql.Scanner]()
)

// isRow reports whether the fields of a type are columns.
func isRow(of reflect.Type) bool {
	return of.Kind() == reflect.Struct && of != typeOfTime && !reflect.PointerTo(of).Implements(typeOfScanner)
}

// plain returns a name without case and underscores.
func plain(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }

// read makes a value from the current row.
func (p *plan) read(s *statement, to reflect.Value) (err error) {
	defer catch(&err)
	if p.fields == nil {
		return s.read(0, to, p.columns[0])
	}
	for i, index := range p.fields {
		field, err := to.FieldByIndexErr(index)
		if err != nil {
			return fmt.Errorf("sqlite: column %.80q: %w", p.columns[i], err)
		}
		if err := s.read(i, field, p.columns[i]); err != nil {
			return err
		}
	}
	return nil
}

// read makes a value from a column.
func (s *statement) read(column int, to reflect.Value, name string) error {
	kind := s.ColumnType(column)
	wrong := func() error {
		return fmt.Errorf("sqlite: column %.80q is %v, which is no %v", name, kind, to.Type())
	}
	if scanner, ok := reflect.TypeAssert[sql.Scanner](to.Addr()); ok {
		if err := scanner.Scan(s.value(column, kind)); err != nil {
			return fmt.Errorf("sqlite: column %.80q: %w", name, err)
		}
		return nil
	}
	if kind == sqlite3.NULL {
		switch to.Kind() {
		case reflect.Pointer, reflect.Interface, reflect.Slice, reflect.Map:
			to.SetZero()
			return nil
		}
		return fmt.Errorf("sqlite: column %.80q is NULL, which is no %v; use a pointer", name, to.Type())
	}
	if to.Type() == typeOfTime {
		at, ok := timeOf(s.value(column, kind))
		if !ok {
			return wrong()
		}
		to.Set(reflect.ValueOf(at))
		return nil
	}
	switch to.Kind() {
	case reflect.Pointer:
		v := reflect.New(to.Type().Elem())
		if err := s.read(column, v.Elem(), name); err != nil {
			return err
		}
		to.Set(v)
	case reflect.String:
		to.SetString(s.ColumnText(column))
	case reflect.Bool:
		if kind != sqlite3.INTEGER {
			return wrong()
		}
		to.SetBool(s.ColumnInt64(column) != 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, ok := s.integer(column, kind)
		if !ok || to.OverflowInt(n) {
			return wrong()
		}
		to.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, ok := s.integer(column, kind)
		if !ok || n < 0 || to.OverflowUint(uint64(n)) {
			return wrong()
		}
		to.SetUint(uint64(n))
	case reflect.Float32, reflect.Float64:
		if kind == sqlite3.TEXT || kind == sqlite3.BLOB {
			f, err := strconv.ParseFloat(s.ColumnText(column), 64)
			if err != nil {
				return wrong()
			}
			to.SetFloat(f)
			return nil
		}
		to.SetFloat(s.ColumnFloat(column))
	case reflect.Slice:
		if to.Type().Elem().Kind() != reflect.Uint8 {
			return s.decode(column, to, name)
		}
		to.SetBytes(s.ColumnBlob(column, []byte{}))
	case reflect.Interface:
		if to.NumMethod() > 0 {
			return wrong()
		}
		to.Set(reflect.ValueOf(s.value(column, kind)))
	case reflect.Map, reflect.Struct, reflect.Array:
		return s.decode(column, to, name)
	default:
		return wrong()
	}
	return nil
}

// decode decodes JSON.
func (s *statement) decode(column int, to reflect.Value, name string) error {
	if err := json.Unmarshal(s.ColumnBlob(column, nil), to.Addr().Interface()); err != nil {
		return fmt.Errorf("sqlite: column %.80q: %w", name, err)
	}
	return nil
}

// integer returns a column as an integer, if it is one.
func (s *statement) integer(column int, kind sqlite3.Datatype) (int64, bool) {
	switch kind {
	case sqlite3.INTEGER:
		return s.ColumnInt64(column), true
	case sqlite3.FLOAT:
		f := s.ColumnFloat(column)
		return int64(f), f == math.Trunc(f) && math.Abs(f) < 1<<53
	}
	n, err := strconv.ParseInt(s.ColumnText(column), 10, 64)
	return n, err == nil
}

// value returns a column as it is stored: nil, int64, float64, string or []byte.
func (s *statement) value(column int, kind sqlite3.Datatype) any {
	switch kind {
	case sqlite3.INTEGER:
		return s.ColumnInt64(column)
	case sqlite3.FLOAT:
		return s.ColumnFloat(column)
	case sqlite3.TEXT:
		return s.ColumnText(column)
	case sqlite3.BLOB:
		return s.ColumnBlob(column, []byte{})
	}
	return nil
}

// timeOf returns the time that a value stands for: a text as SQLite's functions accept it, or seconds since 1970.
func timeOf(v any) (time.Time, bool) {
	switch v := v.(type) {
	case int64:
		return time.Unix(v, 0).UTC(), true
	case string:
		for _, format := range []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02"} {
			for _, zone := range []string{"Z07:00", ""} { // a fraction of a second is always parsed
				if at, err := time.Parse(format+zone, v); err == nil {
					return at.UTC(), true
				}
			}
		}
	}
	return time.Time{}, false
}
