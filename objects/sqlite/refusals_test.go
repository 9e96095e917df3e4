package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
	"holdfast/objects/objectstest"
	"holdfast/objects/sqlite"
)

func TestStatementsThatAreNotAnAuthorsAreRefused(t *testing.T) {
	w, o := newWorld(t, schema...)
	must(t, w, o, func(tx *objects.Tx) {
		for _, query := range []string{
			`BEGIN`, `COMMIT`, `ROLLBACK`, `SAVEPOINT a`, `RELEASE s1`, `ROLLBACK TO s1`, `END`,
			`ATTACH 'x' AS y`, `ATTACH ':memory:' AS y`, `DETACH main`, `VACUUM`, `VACUUM INTO 'x'`,
			`CREATE TEMP TABLE x (n)`, `CREATE TEMP VIEW x AS SELECT 1`, `CREATE TEMP TRIGGER x AFTER INSERT ON note BEGIN SELECT 1; END`,
			`PRAGMA journal_mode = OFF`, `PRAGMA locking_mode = NORMAL`, `PRAGMA user_version = 7`, `PRAGMA user_version`, `PRAGMA writable_schema = ON`,
			`PRAGMA cache_size = 1000000`, `PRAGMA foreign_keys = OFF`, `PRAGMA page_size = 512`, `PRAGMA max_page_count = 1`, `PRAGMA schema_version = 1`,
			`PRAGMA temp_store_directory = '/'`, `PRAGMA mmap_size = 1000000`, `PRAGMA hard_heap_limit = 1`, `PRAGMA integrity_check; PRAGMA cache_spill = OFF`,
			`SELECT * FROM pragma_user_version`, `CREATE VIRTUAL TABLE x USING rtree(id, a, b)`, `SELECT load_extension('x')`,
			`UPDATE sqlite_schema SET sql = ''`, `DELETE FROM sqlite_master`,
		} {
			if _, err := sqlite.Exec(tx, query); err == nil {
				t.Errorf("%s is allowed", query)
			}
		}
		if _, err := sqlite.Exec(tx, `BEGIN`); !errors.Is(err, sqlite.ErrForbidden) {
			t.Errorf("BEGIN: %v", err)
		}
		for _, query := range []string{
			`PRAGMA table_info(note)`, `SELECT name FROM pragma_table_info('note')`, `PRAGMA foreign_keys`, `PRAGMA page_count`, `PRAGMA optimize`,
			`PRAGMA defer_foreign_keys = ON`, `ANALYZE`, `REINDEX`, `EXPLAIN QUERY PLAN SELECT * FROM note`, `SELECT * FROM sqlite_schema`,
		} {
			exec(t, tx, query)
		}
		add(t, tx, "one")
	})
	wants(t, w, o, "one")
}

func TestWhatEndsTheTransactionEndsTheEvent(t *testing.T) {
	w, o := newWorld(t, `CREATE TABLE parent (id INTEGER PRIMARY KEY)`,
		`CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED)`, schema[0])
	for name, fn := range map[string]func(tx *objects.Tx){
		"a deferred foreign key": func(tx *objects.Tx) { exec(t, tx, `INSERT INTO child VALUES (1, 77)`) },
		"ON CONFLICT ROLLBACK": func(tx *objects.Tx) {
			defer func() { _ = recover() }() // a handler that goes on
			exec(t, tx, `INSERT INTO parent VALUES (5)`)
			_, _ = sqlite.Exec(tx, `INSERT OR ROLLBACK INTO parent VALUES (5)`)
		},
		"a statement after the end": func(tx *objects.Tx) {
			func() {
				defer func() { _ = recover() }()
				_, _ = sqlite.Exec(tx, `INSERT OR ROLLBACK INTO parent VALUES (6), (6)`)
			}()
			add(t, tx, "never")
			t.Error("the event goes on")
		},
	} {
		w.Faults(1)
		err := in(w, o, func(tx *objects.Tx) error {
			add(t, tx, name)
			label.Set(tx, name)
			fn(tx)
			return nil
		})
		if objects.CodeOf(err) != objects.Internal {
			t.Errorf("%s: %v, want internal", name, err)
		}
		must(t, w, o, func(tx *objects.Tx) {
			if got := texts(t, tx); len(got) > 0 || label.Get(tx) != "" {
				t.Errorf("%s: %q and %q are there", name, got, label.Get(tx))
			}
		})
	}
	must(t, w, o, func(tx *objects.Tx) { // what is mended before the end is kept
		exec(t, tx, `INSERT INTO child VALUES (1, 77)`)
		exec(t, tx, `INSERT INTO parent VALUES (77)`)
	})
}

func TestTheEventsTimeInterruptsAStatement(t *testing.T) {
	w := objectstest.New(t, objects.Implement(boxes, func(tx *objects.Tx) *box {
		sqlite.Migrate(tx, schema...)
		return new(box)
	}, objects.On(spin, (*box).spin)))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := spin.Do(ctx, w.Object(boxes, "a"), nil)
	if err == nil {
		t.Error("an endless statement has ended")
	}
	wants(t, w, w.Object(boxes, "a"))
}

func (*box) spin(tx *objects.Tx, _ objects.None) (int, error) {
	if _, err := sqlite.Exec(tx, `INSERT INTO note (text) VALUES ('never')`); err != nil {
		return 0, err
	}
	return sqlite.One[int](tx, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n`)
}

func TestLimitsOfADatabaseAreTooLarge(t *testing.T) {
	w := objectstest.New(t, objects.Implement(boxes, func(tx *objects.Tx) *box {
		sqlite.Migrate(tx, schema...)
		return new(box)
	}).With(objects.Settings{State: 256 << 10, Writes: 1 << 20}))
	o := w.Object(boxes, "a")
	must(t, w, o, func(tx *objects.Tx) { // refused, and the event goes on
		long := `SELECT 1 /*` + strings.Repeat("x", sqlite.MaxStatement) + `*/`
		if _, err := sqlite.Exec(tx, long); objects.CodeOf(err) != objects.TooLarge {
			t.Errorf("a long statement: %v", err)
		}
		if _, err := sqlite.Exec(tx, `INSERT INTO note (text, data) VALUES ('x', zeroblob(?))`, sqlite.MaxValue+1); objects.CodeOf(err) != objects.TooLarge {
			t.Errorf("a long value: %v", err)
		}
		if _, err := sqlite.Exec(tx, `INSERT INTO note (text) VALUES (?)`, strings.Repeat("x", sqlite.MaxValue+1)); objects.CodeOf(err) != objects.TooLarge {
			t.Errorf("a long argument: %v", err)
		}
		add(t, tx, "one")
	})
	for name, fn := range map[string]func(tx *objects.Tx){
		"too many pages": func(tx *objects.Tx) {
			for range 100 {
				_, _ = sqlite.Exec(tx, `INSERT INTO note (text, data) VALUES (hex(randomblob(8)), randomblob(4000))`)
			}
		},
		"too much memory": func(tx *objects.Tx) {
			_, _ = sqlite.Exec(tx, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100)
				SELECT hex(zeroblob(1500000)) || i AS text FROM n ORDER BY text DESC`)
		},
	} {
		err := in(w, o, func(tx *objects.Tx) error { add(t, tx, name); fn(tx); return nil })
		if objects.CodeOf(err) != objects.TooLarge {
			t.Errorf("%s: %v, want too_large", name, err)
		}
		wants(t, w, o, "one")
	}
}

func TestATransactionOfAnEventThatHasEndedIsOfNoUse(t *testing.T) {
	found := &findings{TB: t}
	w := objectstest.New(found, objects.Implement(boxes, func(tx *objects.Tx) *box {
		sqlite.Migrate(tx, schema...)
		return new(box)
	}))
	o := w.Object(boxes, "a")
	var kept *objects.Tx
	must(t, w, o, func(tx *objects.Tx) { kept = tx; add(t, tx, "one") })
	w.Faults(1)
	if err := in(w, o, func(*objects.Tx) error { add(t, kept, "late"); return nil }); objects.CodeOf(err) != objects.Internal {
		t.Errorf("with a kept transaction: %v", err)
	}
	wants(t, w, o, "one")
	if len(found.errors) != 1 {
		t.Errorf("the test was told %q", found.errors)
	}
}

// findings is a testing.TB whose errors can be seen.
type findings struct {
	testing.TB
	errors []string
}

func (f *findings) Errorf(format string, args ...any) {
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}

func TestADamagedPageIsAFaultAndNoPanic(t *testing.T) {
	for name, page := range map[string][]byte{"no patch": engine.Raw([]byte{1, 0}), "JSON": []byte(`"x"`), "no database": engine.Raw(append([]byte{0, 32}, strings.Repeat("x", 32)...))} {
		t.Run(name, func(t *testing.T) {
			w := objectstest.New(t, objects.Implement(boxes, objects.New[box]))
			o := w.Object(boxes, "a")
			must(t, w, o, func(tx *objects.Tx) {
				exec(t, tx, schema[0])
				add(t, tx, "one")
			})
			var sound []byte
			must(t, w, o, func(tx *objects.Tx) {
				raw := tx.Value(engine.TxKey{}).(*engine.Tx)
				sound, _ = raw.Stored(engine.Pages + "00000001")
				raw.Store(engine.Pages+"00000001", page)
			})
			w.Evict(o)
			w.Faults(1)
			if err := in(w, o, func(tx *objects.Tx) error { add(t, tx, "two"); return nil }); objects.CodeOf(err) != objects.Internal {
				t.Errorf("a damaged page: %v, want internal", err)
			}
			must(t, w, o, func(tx *objects.Tx) { tx.Value(engine.TxKey{}).(*engine.Tx).Store(engine.Pages+"00000001", sound) })
			w.Evict(o)
			wants(t, w, o, "one")
		})
	}
}
