package sqlite_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/objectstest"
	"holdfast/objects/sqlite"
)

const boxes objects.Class = "box"

// box is an object with a database.
type box struct{}

var schema = []string{
	`CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE, size REAL, data BLOB, at TEXT, done INTEGER)`,
}

var label = objects.NewKey[string]("label")

// newWorld returns a world with the class, whose objects have had the steps.
func newWorld(t testing.TB, steps ...string) (*objectstest.World, objects.Ref) {
	t.Helper()
	w := objectstest.New(t, objects.Implement(boxes, func(tx *objects.Tx) *box {
		sqlite.Migrate(tx, steps...)
		return new(box)
	}))
	return w, w.Object(boxes, "a")
}

// in runs fn as an event of the object.
func in(w *objectstest.World, o objects.Ref, fn func(tx *objects.Tx) error) error {
	return objectstest.Inside(w, o, func(tx *objects.Tx, _ *box) error { return fn(tx) })
}

// must is in that has to succeed.
func must(t testing.TB, w *objectstest.World, o objects.Ref, fn func(tx *objects.Tx)) {
	t.Helper()
	if err := in(w, o, func(tx *objects.Tx) error { fn(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

// exec runs a statement that has to succeed.
func exec(t testing.TB, tx *objects.Tx, query string, args ...any) sqlite.Result {
	t.Helper()
	r, err := sqlite.Exec(tx, query, args...)
	if err != nil {
		t.Errorf("%s: %v", query, err)
	}
	return r
}

func add(t testing.TB, tx *objects.Tx, text string) {
	t.Helper()
	exec(t, tx, `INSERT INTO note (text) VALUES (?)`, text)
}

func texts(t testing.TB, tx *objects.Tx) []string {
	t.Helper()
	all, err := sqlite.All[string](tx, `SELECT text FROM note ORDER BY id`)
	if err != nil {
		t.Error(err)
	}
	return all
}

// wants compares the notes of the object.
func wants(t testing.TB, w *objectstest.World, o objects.Ref, want ...string) {
	t.Helper()
	must(t, w, o, func(tx *objects.Tx) {
		t.Helper()
		if got := texts(t, tx); !slices.Equal(got, want) {
			t.Errorf("notes are %q, want %q", got, want)
		}
	})
}

var errOnPurpose = objects.Errorf(objects.Conflict, "on purpose")

func TestStatementsCommitAndRollBackWithTheirEvent(t *testing.T) {
	w, o := newWorld(t, schema...)
	must(t, w, o, func(tx *objects.Tx) {
		add(t, tx, "one")
		label.Set(tx, "one")
	})
	err := in(w, o, func(tx *objects.Tx) error {
		add(t, tx, "two")
		label.Set(tx, "two")
		if got := texts(t, tx); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("the event reads %q", got)
		}
		return errOnPurpose
	})
	if !errors.Is(err, errOnPurpose) {
		t.Fatal(err)
	}
	wants(t, w, o, "one")
	w.Faults(1)
	if err := in(w, o, func(tx *objects.Tx) error { add(t, tx, "three"); panic("on purpose") }); objects.CodeOf(err) != objects.Internal {
		t.Fatal(err)
	}
	wants(t, w, o, "one")
	for name, move := range map[string]func(objects.Ref){"evicted": w.Evict, "moved": w.Move} {
		must(t, w, o, func(tx *objects.Tx) { add(t, tx, name) })
		move(o)
	}
	must(t, w, o, func(tx *objects.Tx) {
		if got := texts(t, tx); len(got) != 3 || label.Get(tx) != "one" {
			t.Errorf("in the end %q and %q", got, label.Get(tx))
		}
		if found, err := sqlite.One[string](tx, `PRAGMA integrity_check`); found != "ok" {
			t.Errorf("integrity: %q, %v", found, err)
		}
	})
}

func TestAnEventThatRunsAgainFindsWhatWasCommitted(t *testing.T) {
	w, o := newWorld(t, schema...)
	must(t, w, o, func(tx *objects.Tx) { add(t, tx, "first") })
	for i := range 5 {
		runs := 0
		w.Refuse(o)
		must(t, w, o, func(tx *objects.Tx) {
			runs++
			if got := len(texts(t, tx)); got != i+1 {
				t.Errorf("run %d finds %d notes, want %d", runs, got, i+1)
			}
			for n := range 40 { // several pages
				exec(t, tx, `INSERT INTO note (text) VALUES (?)`, fmt.Sprintf("%d %d %d %s", i, runs, n, strings.Repeat("x", 300)))
			}
			exec(t, tx, `DELETE FROM note WHERE text LIKE ?`, fmt.Sprintf("%d %d %% %%", i, runs))
			add(t, tx, fmt.Sprint("after ", i))
		})
		if runs != 2 {
			t.Errorf("the event has run %d times", runs)
		}
	}
	w.Lose(o)
	must(t, w, o, func(tx *objects.Tx) { add(t, tx, "lost") })
	wants(t, w, o, "first", "after 0", "after 1", "after 2", "after 3", "after 4", "lost")
}

func TestATransactIsASavepoint(t *testing.T) {
	w, o := newWorld(t, schema...)
	must(t, w, o, func(tx *objects.Tx) {
		err := tx.Transact(func() error { // before any other statement of the event
			add(t, tx, "never")
			return errOnPurpose
		})
		if !errors.Is(err, errOnPurpose) {
			t.Error(err)
		}
		add(t, tx, "one")
		_ = tx.Transact(func() error {
			add(t, tx, "two")
			_ = tx.Transact(func() error {
				add(t, tx, "three")
				return errOnPurpose
			})
			if got := texts(t, tx); !slices.Equal(got, []string{"one", "two"}) {
				t.Errorf("within: %q", got)
			}
			return tx.Transact(func() error { add(t, tx, "four"); return nil })
		})
		_ = tx.Transact(func() error {
			add(t, tx, "five")
			return tx.Transact(func() error { return errOnPurpose })
		})
		func() {
			defer func() { _ = recover() }()
			_ = tx.Transact(func() error { add(t, tx, "six"); panic("on purpose") })
		}()
		add(t, tx, "seven")
	})
	wants(t, w, o, "one", "two", "four", "seven")
}

func TestATransactThatMakesTheDatabaseTakesItBack(t *testing.T) {
	w, o := newWorld(t)
	must(t, w, o, func(tx *objects.Tx) {
		_ = tx.Transact(func() error {
			exec(t, tx, schema[0])
			return errOnPurpose
		})
		if _, err := sqlite.Exec(tx, `SELECT * FROM note`); err == nil {
			t.Error("the table is there")
		}
		exec(t, tx, schema[0])
		add(t, tx, "one")
	})
	wants(t, w, o, "one")
}

func TestValuesComeBackAsTheyWent(t *testing.T) {
	w, o := newWorld(t, schema...)
	at := time.Date(2031, 2, 3, 4, 5, 6, 7, time.FixedZone("far", 3600))
	type note struct {
		ID     int64
		Text   string
		Size   *float64
		Bytes  []byte `db:"data"`
		At     time.Time
		Done   bool
		Unused int `db:"-"`
	}
	must(t, w, o, func(tx *objects.Tx) {
		exec(t, tx, `INSERT INTO note (text, size, data, at, done) VALUES (?, ?, ?, ?, ?)`, "all", 1.5, []byte{0, 1, 255}, at, true)
		exec(t, tx, `INSERT INTO note (text, size, data, at, done) VALUES (:text, :size, :data, :at, :done)`,
			sql.Named("done", false), sql.Named("text", "named"), sql.Named("size", nil), sql.Named("data", []byte{}), sql.Named("at", at))
		got, err := sqlite.All[note](tx, `SELECT * FROM note ORDER BY id`)
		if err != nil {
			t.Fatal(err)
		}
		if n := got[0]; n.ID != 1 || n.Text != "all" || *n.Size != 1.5 || string(n.Bytes) != "\x00\x01\xff" || !n.At.Equal(at) || !n.Done {
			t.Errorf("first: %+v", n)
		}
		if n := got[1]; n.Text != "named" || n.Size != nil || n.Bytes == nil || len(n.Bytes) != 0 || n.Done {
			t.Errorf("second: %+v", n)
		}
		later := at.Add(time.Nanosecond)
		if n, err := sqlite.One[int](tx, `SELECT count(*) FROM note WHERE at < ?`, later); n != 2 || err != nil {
			t.Errorf("%d notes are earlier, %v", n, err)
		}
		if year, err := sqlite.One[string](tx, `SELECT strftime('%Y', at) FROM note WHERE id = 1`); year != "2031" || err != nil {
			t.Errorf("year %q, %v", year, err)
		}
		if v, err := sqlite.One[sql.NullString](tx, `SELECT NULL`); v.Valid || err != nil {
			t.Error(v, err)
		}
		if v, err := sqlite.One[any](tx, `SELECT 1 << 62`); v != int64(1<<62) || err != nil {
			t.Error(v, err)
		}
		if v, err := sqlite.One[*int](tx, `SELECT NULL`); v != nil || err != nil {
			t.Error(v, err)
		}
		if v, err := sqlite.One[uint8](tx, `SELECT 255`); v != 255 || err != nil {
			t.Error(v, err)
		}
		for query, into := range map[string]func() error{
			"256 is no uint8":        func() error { _, err := sqlite.One[uint8](tx, `SELECT 256`); return err },
			"a text is no number":    func() error { _, err := sqlite.One[int](tx, `SELECT 'x'`); return err },
			"NULL is no string":      func() error { _, err := sqlite.One[string](tx, `SELECT NULL`); return err },
			"a column has no field":  func() error { _, err := sqlite.One[note](tx, `SELECT 1 AS other`); return err },
			"two columns are no int": func() error { _, err := sqlite.One[int](tx, `SELECT 1, 2`); return err },
			"too few arguments":      func() error { _, err := sqlite.Exec(tx, `SELECT ?, ?`, 1); return err },
			"too many arguments":     func() error { _, err := sqlite.Exec(tx, `SELECT ?`, 1, 2); return err },
			"no such name":           func() error { _, err := sqlite.Exec(tx, `SELECT :a`, sql.Named("b", 1)); return err },
			"a channel":              func() error { _, err := sqlite.Exec(tx, `SELECT ?`, make(chan int)); return err },
			"2^63":                   func() error { _, err := sqlite.Exec(tx, `SELECT ?`, uint64(1<<63)); return err },
			"a zero byte":            func() error { _, err := sqlite.Exec(tx, "SELECT 1\x00; SELECT 2"); return err },
			"syntax":                 func() error { _, err := sqlite.Exec(tx, `SELEC 1`); return err },
		} {
			if into() == nil {
				t.Errorf("%s: no error", query)
			}
		}
		if _, err := sqlite.One[int](tx, `SELECT id FROM note WHERE id > 9`); !errors.Is(err, sqlite.ErrNoRows) {
			t.Error(err)
		}
		if _, err := sqlite.One[int](tx, `SELECT id FROM note`); !errors.Is(err, sqlite.ErrManyRows) {
			t.Error(err)
		}
	})
}

func TestSeveralStatementsRunOneAfterTheOther(t *testing.T) {
	w, o := newWorld(t)
	must(t, w, o, func(tx *objects.Tx) {
		r := exec(t, tx, `-- a table
			CREATE TABLE pair (k TEXT PRIMARY KEY, v INTEGER); /* and; rows */
			INSERT INTO pair VALUES ('a', 1);;
			INSERT INTO pair VALUES ('b', 2), ('c', 3); -- two more
			UPDATE pair SET v = v + ?; -- all
		`, 10)
		if r.Changed != 3 || r.LastInsertID != 3 {
			t.Errorf("result %+v", r)
		}
		if _, err := sqlite.Exec(tx, `INSERT INTO pair VALUES ('d', 4); INSERT INTO pair VALUES ('a', 5)`); !errors.Is(err, sqlite.ErrUnique) || !errors.Is(err, sqlite.ErrConstraint) {
			t.Error(err)
		}
		if r := exec(t, tx, ` -- nothing`); r != (sqlite.Result{}) {
			t.Errorf("nothing: %+v", r)
		}
		got, err := sqlite.One[string](tx, `SELECT group_concat(k || v) FROM (SELECT * FROM pair ORDER BY k)`)
		if got != "a11,b12,c13,d4" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestARowLoopMayRunOtherStatements(t *testing.T) {
	w, o := newWorld(t, schema...)
	must(t, w, o, func(tx *objects.Tx) {
		for i := range 5 {
			add(t, tx, fmt.Sprint(i))
		}
		const all = `SELECT id FROM note WHERE id <= 5 ORDER BY id`
		seen := 0
		for id, err := range sqlite.Query[int](tx, all) {
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range sqlite.Query[int](tx, all) { // the same statement
				if seen++; seen%3 == 0 || err != nil {
					break
				}
			}
			_ = tx.Transact(func() error { add(t, tx, fmt.Sprint("never ", id)); return errOnPurpose })
			add(t, tx, fmt.Sprint("also ", id))
		}
		if got := len(texts(t, tx)); got != 10 {
			t.Errorf("%d notes", got)
		}
	})
	next, stop := func() (func() (int, error, bool), func()) {
		var next func() (int, error, bool)
		var stop func()
		must(t, w, o, func(tx *objects.Tx) {
			next, stop = iter.Pull2(sqlite.Query[int](tx, `SELECT id FROM note`))
			if id, err, ok := next(); id != 1 || err != nil || !ok {
				t.Error(id, err, ok)
			}
			add(t, tx, "while rows are being read")
		})
		return next, stop
	}()
	_ = next
	stop()
	must(t, w, o, func(tx *objects.Tx) { add(t, tx, "later") })
}

func TestEachMigrationRunsOnce(t *testing.T) {
	steps := []string{`CREATE TABLE a (n); INSERT INTO a VALUES (1)`, `INSERT INTO a SELECT n + 1 FROM a`}
	n := 1
	w := objectstest.New(t, objects.Implement(boxes, func(tx *objects.Tx) *box {
		sqlite.Migrate(tx, steps[:n]...)
		return new(box)
	}))
	o := w.Object(boxes, "a")
	sum := func(want int) {
		t.Helper()
		must(t, w, o, func(tx *objects.Tx) {
			if got, err := sqlite.One[int](tx, `SELECT sum(n) FROM a`); got != want || err != nil {
				t.Errorf("sum = %d, %v, want %d", got, err, want)
			}
		})
	}
	sum(1)
	w.Evict(o)
	sum(1)
	n = 2
	w.Refuse(o) // the constructor's commit
	w.Evict(o)
	sum(3)
	w.Move(o)
	sum(3)
	n = 1
	w.Evict(o)
	w.Faults(1)
	if err := in(w, o, func(*objects.Tx) error { return nil }); objects.CodeOf(err) != objects.Internal {
		t.Errorf("an older program: %v", err)
	}
	steps = append(steps, `CREATE TABLE b (n); INSERT INTO nothing VALUES (1)`)
	n = 3
	w.Faults(1)
	if err := in(w, o, func(*objects.Tx) error { return nil }); objects.CodeOf(err) != objects.Internal {
		t.Errorf("a step that fails: %v", err)
	}
	steps[2] = `CREATE TABLE b (n)`
	sum(3)
}

func TestFullTextAndJSON(t *testing.T) {
	w, o := newWorld(t, `CREATE VIRTUAL TABLE page USING fts5(title, body)`, `CREATE TABLE doc (id INTEGER PRIMARY KEY, body TEXT)`)
	must(t, w, o, func(tx *objects.Tx) {
		for i := range 300 {
			exec(t, tx, `INSERT INTO page VALUES (?, ?)`, fmt.Sprint("page ", i), fmt.Sprintf("the %dth of many words", i))
		}
		exec(t, tx, `INSERT INTO page VALUES ('ships', 'a ship holds fast')`)
		exec(t, tx, `INSERT INTO doc (body) VALUES (?)`, json.RawMessage(`{"tags":["a","b"],"at":{"x":7}}`))
	})
	w.Move(o)
	must(t, w, o, func(tx *objects.Tx) {
		if title, err := sqlite.One[string](tx, `SELECT title FROM page WHERE page MATCH 'ship AND fast' ORDER BY rank`); title != "ships" || err != nil {
			t.Error(title, err)
		}
		if x, err := sqlite.One[int](tx, `SELECT body ->> '$.at.x' FROM doc`); x != 7 || err != nil {
			t.Error(x, err)
		}
		if n, err := sqlite.One[int](tx, `SELECT count(*) FROM doc, json_each(body, '$.tags')`); n != 2 || err != nil {
			t.Error(n, err)
		}
		type doc struct {
			ID   int
			Body struct{ Tags []string }
		}
		if d, err := sqlite.One[doc](tx, `SELECT * FROM doc`); err != nil || !slices.Equal(d.Body.Tags, []string{"a", "b"}) {
			t.Error(d, err)
		}
	})
}

var spin = objects.NewCall[objects.None, int](boxes, "spin")

func TestDeleteAllDeletesTheDatabase(t *testing.T) {
	w, o := newWorld(t, schema...)
	must(t, w, o, func(tx *objects.Tx) { add(t, tx, "one") })
	must(t, w, o, func(tx *objects.Tx) {
		add(t, tx, "two")
		tx.DeleteAll()
		if _, err := sqlite.Exec(tx, `SELECT * FROM note`); err == nil {
			t.Error("the table is still there")
		}
		sqlite.Migrate(tx, schema...)
		add(t, tx, "three")
	})
	wants(t, w, o, "three")
	must(t, w, o, func(tx *objects.Tx) {
		_ = tx.Transact(func() error {
			tx.DeleteAll()
			sqlite.Migrate(tx, schema...)
			add(t, tx, "never")
			return errOnPurpose
		})
		add(t, tx, "four")
	})
	wants(t, w, o, "three", "four")
	if err := in(w, o, func(tx *objects.Tx) error {
		add(t, tx, "never")
		return tx.Transact(func() error { tx.DeleteAll(); return nil })
	}); objects.CodeOf(err) != objects.Invalid {
		t.Errorf("DeleteAll within Transact after SQL: %v", err)
	}
	must(t, w, o, func(tx *objects.Tx) { tx.DeleteAll() })
	w.Evict(o)
	wants(t, w, o)
}

func TestUsageCounts(t *testing.T) {
	w, o := newWorld(t, schema...)
	must(t, w, o, func(tx *objects.Tx) {
		for i := range 100 {
			add(t, tx, fmt.Sprint(i))
		}
		if u := sqlite.UsageOf(tx); u.RowsWritten != 100 || u.Size < 3*4096 || u.Size%4096 != 0 {
			t.Errorf("after inserts %+v", u)
		}
	})
	must(t, w, o, func(tx *objects.Tx) {
		if _, err := sqlite.All[int](tx, `SELECT id FROM note WHERE id BETWEEN 11 AND 20`); err != nil {
			t.Fatal(err)
		}
		if u := sqlite.UsageOf(tx); u.RowsRead != 10 || u.RowsWritten != 0 {
			t.Errorf("after ten rows %+v", u)
		}
		if _, err := sqlite.One[int](tx, `SELECT count(*) FROM note WHERE size IS NULL`); err != nil {
			t.Fatal(err)
		}
		if u := sqlite.UsageOf(tx); u.RowsRead < 109 || u.RowsRead > 111 {
			t.Errorf("after a scan of 100 rows %+v", u)
		}
	})
}

func TestGeneratedCodeRuns(t *testing.T) {
	w, o := newWorld(t, `CREATE TABLE visit (id INTEGER PRIMARY KEY, who TEXT NOT NULL, at DATETIME NOT NULL)`)
	var kept *sql.Rows
	must(t, w, o, func(tx *objects.Tx) {
		db := sqlite.ConnOf(tx)
		r, err := db.ExecContext(t.Context(), `INSERT INTO visit (who, at) VALUES (?, ?)`, "ada", tx.Now())
		if err != nil {
			t.Fatal(err)
		}
		if id, _ := r.LastInsertId(); id != 1 {
			t.Errorf("id %d", id)
		}
		var who string
		var at time.Time
		if err := db.QueryRowContext(tx, `SELECT who, at FROM visit WHERE id = ?1`, 1).Scan(&who, &at); who != "ada" || !at.Equal(tx.Now()) || err != nil {
			t.Error(who, at, err)
		}
		s, err := db.PrepareContext(tx, `INSERT INTO visit (who, at) VALUES (?, ?)`)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		for i := range 3 {
			if _, err := s.ExecContext(tx, fmt.Sprint("bob ", i), tx.Now()); err != nil {
				t.Error(err)
			}
		}
		_ = tx.Transact(func() error {
			if _, err := db.ExecContext(tx, `DELETE FROM visit`); err != nil {
				t.Error(err)
			}
			return errOnPurpose
		})
		rows, err := db.QueryContext(tx, `SELECT id, who FROM visit ORDER BY id`)
		if err != nil {
			t.Fatal(err)
		}
		if names, err := rows.Columns(); !slices.Equal(names, []string{"id", "who"}) || err != nil {
			t.Error(names, err)
		}
		n := 0
		for rows.Next() {
			n++
		}
		if err := errors.Join(rows.Err(), rows.Close()); n != 4 || err != nil {
			t.Errorf("%d rows, %v", n, err)
		}
		if err := db.QueryRowContext(tx, `SELECT who FROM visit WHERE id = 99`).Scan(&who); !errors.Is(err, sql.ErrNoRows) {
			t.Error(err)
		}
		if kept, err = db.QueryContext(tx, `SELECT id FROM visit`); err != nil || !kept.Next() {
			t.Error(err)
		}
	})
	if kept.Next() || kept.Err() == nil {
		t.Error("rows outlive their event")
	}
	_ = kept.Close()
	must(t, w, o, func(tx *objects.Tx) {
		if n, err := sqlite.One[int](tx, `SELECT count(*) FROM visit`); n != 4 || err != nil {
			t.Error(n, err)
		}
	})
}

func TestADatabaseGoesBackWithARestore(t *testing.T) {
	w := objectstest.New(t, objects.Implement(boxes, func(tx *objects.Tx) *box {
		sqlite.Migrate(tx, schema...)
		return new(box)
	}).With(objects.Settings{History: time.Hour}))
	o := w.Object(boxes, "a")
	var then, undo objects.Bookmark
	must(t, w, o, func(tx *objects.Tx) { add(t, tx, "one") })
	w.Advance(time.Minute)
	must(t, w, o, func(tx *objects.Tx) { then = tx.Bookmark() })
	must(t, w, o, func(tx *objects.Tx) { add(t, tx, "two") })
	w.Advance(time.Minute)
	must(t, w, o, func(tx *objects.Tx) { add(t, tx, "never"); undo = tx.Restore(then) })
	wants(t, w, o, "one")
	w.Advance(time.Minute)
	must(t, w, o, func(tx *objects.Tx) { tx.Restore(undo) })
	wants(t, w, o, "one", "two")
}
