package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/sqlite"
)

var (
	seats      = objects.NewMap[string, int]("seat")
	everything = objects.NewMap[string, any]("")
)

// mustSQL runs statements that have to succeed.
func mustSQL(tx *objects.Tx, query string, args ...any) {
	if _, err := sqlite.Exec(tx, query, args...); err != nil {
		panic(err)
	}
}

// cloudflares are cases of docs/conformance.md, by their numbers there, that no other test has.
var cloudflares = []aCase{
	{"7 a name is one object, wherever it is to be placed", false, func(s *stage) {
		s.must(func(tx *objects.Tx) { note.Set(tx, "x") })
		id, err := puppets.ID(s.self.Name())
		if err != nil {
			s.Fatal(err)
		}
		for _, self := range []objects.Ref{s.self, s.self.Near("syd"), s.ObjectByID(id)} {
			s.self = self
			if got := s.stored(); got != "x" {
				s.Errorf("stored is %q", got)
			}
		}
	}},
	{"9 calls at once to an object that sleeps are answered by one instance", true, func(s *stage) {
		s.must(func(*objects.Tx) {})
		s.evict(s, s.self)
		made := s.constructed()
		s.call = func(tx *objects.Tx) (string, error) {
			seats.Set(tx, "n", seats.Get(tx, "n")+1)
			return fmt.Sprint(seats.Get(tx, "n")), nil
		}
		var mu sync.Mutex
		var got []string
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				out, err := acts[sleepers].Do(s.Context(), s.self, "")
				mu.Lock()
				defer mu.Unlock()
				if got = append(got, out); err != nil {
					s.Error(err)
				}
			})
		}
		all.Wait()
		slices.Sort(got)
		if want := []string{"1", "2", "3", "4", "5", "6"}; !slices.Equal(got, want) || s.constructed() != made+1 {
			s.Errorf("answers %q by %d instances, want each number by one", got, s.constructed()-made)
		}
	}},
	{"19 an abort drops the instance, and the next call has another", false, func(s *stage) {
		s.must(func(*objects.Tx) {})
		made := s.constructed()
		s.fails(objects.Conflict, func(tx *objects.Tx) error {
			tx.Abort(objects.Errorf(objects.Conflict, "no more"))
			return nil
		})
		if s.must(func(*objects.Tx) {}); s.constructed() != made+1 {
			s.Errorf("%d instances, want one more than %d", s.constructed(), made)
		}
	}},
	{"37 many entries are read, written and deleted in one event", false, func(s *stage) {
		s.must(func(tx *objects.Tx) {
			for i, seat := range []string{"a", "b", "c"} {
				seats.Set(tx, seat, i)
			}
		})
		s.must(func(tx *objects.Tx) {
			if got := seats.GetAll(tx, "a", "c", "d"); len(got) != 2 || got["c"] != 2 {
				s.Errorf("read %v", got)
			}
			if !seats.Delete(tx, "a") || seats.Delete(tx, "d") || seats.Clear(tx) != 2 {
				s.Error("want a deleted, d not there, and two left")
			}
		})
	}},
	{"a blob is written in parts, read from anywhere, and is gone with all", false, func(s *stage) {
		film := objects.NewBlob("film")
		content := []byte(strings.Repeat("0123456789abcdef", 50_000))
		s.must(func(tx *objects.Tx) {
			if n := film.Write(tx, bytes.NewReader(content[:300_000])); n != 300_000 {
				s.Errorf("wrote %d bytes", n)
			}
		})
		s.must(func(tx *objects.Tx) { film.Append(tx, content[300_000:]) })
		s.move(s, s.self)
		s.must(func(tx *objects.Tx) {
			r, ok := film.Open(tx)
			if !ok || film.Size(tx) != int64(len(content)) {
				s.Fatalf("open = %v, %d bytes", ok, film.Size(tx))
			}
			if _, err := r.Seek(299_990, io.SeekStart); err != nil {
				s.Error(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content[299_990:]) {
				s.Errorf("read %d bytes, %v", len(got), err)
			}
			tx.DeleteAll()
			if _, ok := film.Open(tx); ok {
				s.Error("it is there after all was deleted")
			}
		})
	}},
	{"41 a range has a beginning, an end, a direction and a limit", false, func(s *stage) {
		keys := []string{"", "a", "a\x00", "aa", "b", "é", "\uffff", "\U0001f600"}
		s.must(func(tx *objects.Tx) {
			for i, key := range keys {
				seats.Set(tx, key, i)
			}
			objects.NewKey[int]("seat").Set(tx, 1)
			objects.NewKey[int]("seats").Set(tx, 1)
		})
		s.must(func(tx *objects.Tx) {
			for name, c := range map[string]struct {
				r        objects.Range[string, int]
				backward bool
				want     []string
			}{
				"all":               {seats.Range, false, keys},
				"prefix":            {seats.Prefix("a"), false, keys[1:4]},
				"start":             {seats.From("aa"), false, keys[3:]},
				"start after":       {seats.After("aa"), false, keys[4:]},
				"end":               {seats.Before("b"), false, keys[:4]},
				"limit":             {seats.From("a").Limit(2), false, keys[1:3]},
				"reverse and limit": {seats.Before("é").Limit(2), true, []string{"b", "aa"}},
				"empty":             {seats.From("b").Before("b"), false, nil},
				"the wrong way":     {seats.From("b").Before("a"), false, nil},
			} {
				entries := c.r.All(tx)
				if c.backward {
					entries = c.r.Backward(tx)
				}
				var got []string
				for key, i := range entries {
					if got = append(got, key); keys[i] != key {
						s.Errorf("%s: %q has the value of %q", name, key, keys[i])
					}
				}
				if !slices.Equal(got, c.want) {
					s.Errorf("%s: %q, want %q", name, got, c.want)
				}
			}
		})
	}},
	{"43 all is deleted, once and twice, and nothing comes back", true, func(s *stage) {
		s.must(func(tx *objects.Tx) { seats.Set(tx, "a", 1); note.Set(tx, "x") })
		s.fails(objects.Conflict, func(tx *objects.Tx) error { tx.DeleteAll(); return objects.Errorf(objects.Conflict, "no") })
		if got := s.stored(); got != "x" {
			s.Errorf("a failed event has left %q", got)
		}
		s.must(func(tx *objects.Tx) {
			note.Set(tx, "y")
			tx.DeleteAll()
			tx.DeleteAll()
			seats.Set(tx, "b", 2)
		})
		for range 2 {
			s.must(func(tx *objects.Tx) {
				if n := everything.Count(tx); n != 1 || seats.Get(tx, "b") != 2 {
					s.Errorf("%d entries, want what was written after", n)
				}
			})
			s.evict(s, s.self)
		}
	}},
	{"48 a write before an abort is lost, and those of earlier events are not", false, func(s *stage) {
		s.must(func(tx *objects.Tx) { note.Set(tx, "kept") })
		s.fails(objects.Internal, func(tx *objects.Tx) error {
			note.Set(tx, "lost")
			tx.Abort(errOnPurpose)
			return nil
		})
		if got := s.stored(); got != "kept" {
			s.Errorf("stored is %q", got)
		}
	}},
	{"51 an error of SQL that ends the transaction ends the event", false, func(s *stage) {
		s.must(func(tx *objects.Tx) {
			mustSQL(tx, `CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (a INTEGER REFERENCES a (id) DEFERRABLE INITIALLY DEFERRED); INSERT INTO a VALUES (1)`)
		})
		for name, statement := range map[string]string{
			"a foreign key that is not kept in the end": `INSERT INTO b VALUES (77)`,
			"a conflict that rolls back":                `INSERT OR ROLLBACK INTO a VALUES (1)`,
		} {
			e := s.failure(objects.Internal, func(tx *objects.Tx) error {
				mustSQL(tx, `INSERT INTO a VALUES (2)`)
				note.Set(tx, "lost")
				defer func() { _ = recover() }() // a handler that catches it
				_, _ = sqlite.Exec(tx, statement)
				return nil
			})
			s.must(func(tx *objects.Tx) {
				if n, err := sqlite.One[int](tx, `SELECT count(*) FROM a`); n != 1 || err != nil || note.Get(tx) != "" {
					s.Errorf("%s: %v, and there are %d rows, %v, and %q", name, e, n, err, note.Get(tx))
				}
			})
		}
	}},
	{"52 rows, sizes and refused statements of SQL", true, func(s *stage) {
		s.must(func(tx *objects.Tx) {
			mustSQL(tx, `CREATE TABLE a (id INTEGER PRIMARY KEY, text TEXT); INSERT INTO a (text) VALUES ('x'), ('y'); INSERT INTO a (text) VALUES (?)`, "z")
			if u := sqlite.UsageOf(tx); u.RowsWritten != 3 || u.Size == 0 {
				s.Errorf("usage %+v", u)
			}
			for _, refused := range []string{`BEGIN`, `COMMIT`, `SAVEPOINT a`, `ATTACH ':memory:' AS other`, `CREATE TEMP TABLE t (n)`, `PRAGMA journal_mode = OFF`} {
				if _, err := sqlite.Exec(tx, refused); !errors.Is(err, sqlite.ErrForbidden) {
					s.Errorf("%s: %v", refused, err)
				}
			}
		})
		s.evict(s, s.self)
		s.must(func(tx *objects.Tx) {
			all, err := sqlite.All[struct {
				ID   int
				Text string
			}](tx, `SELECT id, text FROM a ORDER BY id`)
			if err != nil || len(all) != 3 || all[2].ID != 3 || all[2].Text != "z" {
				s.Errorf("rows are %v, %v", all, err)
			}
			if u := sqlite.UsageOf(tx); u.RowsRead != 3 {
				s.Errorf("usage %+v", u)
			}
			if _, err := sqlite.One[int](tx, `SELECT id FROM a WHERE id > 9`); !errors.Is(err, sqlite.ErrNoRows) {
				s.Error(err)
			}
			if _, err := sqlite.One[int](tx, `SELECT id FROM a`); !errors.Is(err, sqlite.ErrManyRows) {
				s.Error(err)
			}
			rows, err := sqlite.ConnOf(tx).QueryContext(tx, `SELECT id AS first, text AS second FROM a`)
			if err != nil {
				s.Error(err)
				return
			}
			defer func() { _ = rows.Close() }()
			if names, err := rows.Columns(); err != nil || !slices.Equal(names, []string{"first", "second"}) {
				s.Errorf("columns are %q, %v", names, err)
			}
		})
	}},
	{"53 what is too large is refused, and nothing is written", false, func(s *stage) {
		for name, write := range map[string]func(*objects.Tx){
			"key":   func(tx *objects.Tx) { objects.NewKey[int](strings.Repeat("k", objects.MaxKey+1)).Set(tx, 1) },
			"value": func(tx *objects.Tx) { objects.NewKey[[]byte]("v").Set(tx, make([]byte, objects.MaxValue+1)) },
		} {
			e := s.failure(objects.TooLarge, func(tx *objects.Tx) error { note.Set(tx, "lost"); write(tx); return nil })
			if got := s.stored(); got != "" {
				s.Errorf("%s: %v, and stored is %q", name, e, got)
			}
		}
	}},
	{"56 deleting the alarm does not stop the one that runs, and does one that waits", false, func(s *stage) {
		s.Parallel() // it waits
		ran := make(chan bool, 10)
		s.alarm = func(tx *objects.Tx, _ objects.AlarmInfo) error {
			tx.DeleteAlarm()
			ran <- true
			return nil
		}
		s.must(func(tx *objects.Tx) { tx.SetAlarm(tx.Now()) })
		s.eventually("it has run", func() bool { return len(ran) == 1 })
		before := 1
		s.eventually("an alarm is deleted before it is due", func() bool {
			s.must(func(tx *objects.Tx) { tx.SetAlarm(tx.Now().Add(200 * time.Millisecond)) })
			was := before
			s.must(func(tx *objects.Tx) { before = len(ran); tx.DeleteAlarm() })
			return before == was
		})
		if s.pass(500 * time.Millisecond); len(ran) != before {
			s.Errorf("ran %d times, want %d", len(ran), before)
		}
	}},
	{"60 an alarm that aborts itself for good does not run again", false, func(s *stage) {
		s.Parallel() // it waits
		ran := make(chan bool, 10)
		s.alarm = func(tx *objects.Tx, _ objects.AlarmInfo) error {
			note.Set(tx, "lost")
			ran <- true
			tx.Abort(objects.Errorf(objects.Conflict, "never"), objects.ForgetAlarm())
			return nil
		}
		s.must(func(tx *objects.Tx) { tx.SetAlarm(tx.Now()) })
		s.eventually("it has run", func() bool { return len(ran) == 1 })
		s.pass(3 * time.Second)
		s.must(func(tx *objects.Tx) {
			if at, set := tx.Alarm(); set || note.Get(tx) != "" || len(ran) != 1 {
				s.Errorf("it ran %d times, is set: %v (%v), and wrote %q", len(ran), set, at, note.Get(tx))
			}
		})
	}},
	{"64 the name is known to an alarm that wakes the object", true, func(s *stage) {
		names := make(chan string, 10)
		s.alarm = func(tx *objects.Tx, _ objects.AlarmInfo) error { names <- tx.Name(); return nil }
		s.must(func(tx *objects.Tx) { tx.SetAlarm(tx.Now().Add(time.Second)) })
		s.evict(s, s.self)
		s.pass(time.Second)
		s.eventually("it has run", func() bool { return len(names) > 0 })
		if got := <-names; got != s.self.Name() {
			s.Errorf("the name is %q", got)
		}
	}},
	{"65 all is deleted with the alarm, and the keys alone without it", false, func(s *stage) {
		set := func(tx *objects.Tx) bool { _, is := tx.Alarm(); return is }
		s.must(func(tx *objects.Tx) { note.Set(tx, "x"); tx.SetAlarm(tx.Now().Add(time.Hour)) })
		s.must(func(tx *objects.Tx) {
			if everything.Clear(tx); !set(tx) || note.Get(tx) != "" {
				s.Error("want the keys gone and the alarm set")
			}
		})
		s.must(func(tx *objects.Tx) { note.Set(tx, "x"); tx.DeleteAll() })
		s.must(func(tx *objects.Tx) {
			if set(tx) || note.Get(tx) != "" {
				s.Error("want the keys and the alarm gone")
			}
		})
	}},
	{"76 a request to an object that sleeps reaches its sockets", true, func(s *stage) {
		one, two := s.open(), s.open()
		s.sleep(s, s.self)
		status, _ := s.get(func(tx *objects.Tx, _ http.ResponseWriter, _ *http.Request) { tx.Broadcast(objects.Text("hello")) }, "")
		if status != http.StatusOK {
			s.Errorf("status %d", status)
		}
		s.hears(one, "hello")
		s.hears(two, "hello")
	}},
	{"83 a hundred messages at once are handled and answered in order", false, func(s *stage) {
		for round := range 5 {
			c := s.open()
			for i := range 100 {
				c.send(objects.Text(fmt.Sprint(round, " ", i)))
			}
			for i := range 100 {
				s.hears(c, fmt.Sprint(round, " ", i))
			}
		}
	}},
	{"84 what a constructor sends before it fails does not arrive", true, func(s *stage) {
		c := s.open()
		s.sleep(s, s.self)
		s.construct = func(tx *objects.Tx) {
			for _, socket := range tx.Sockets() {
				socket.Send(objects.Text("lost"))
			}
			panic("secret")
		}
		s.fails(objects.Internal, func(*objects.Tx) error { return nil })
		s.construct = nil
		s.must(func(tx *objects.Tx) { tx.Broadcast(objects.Text("hello")) })
		s.hears(c, "hello")
	}},
	{"85 an abort closes the sockets if that is wanted", false, func(s *stage) {
		kept := s.open()
		s.fails(objects.Conflict, func(tx *objects.Tx) error { tx.Abort(objects.Errorf(objects.Conflict, "no")); return nil })
		kept.send(objects.Text("hello"))
		s.hears(kept, "hello")
		s.fails(objects.Conflict, func(tx *objects.Tx) error {
			tx.Abort(objects.Errorf(objects.Conflict, "no"), objects.CloseSockets())
			return nil
		})
		if end := kept.ended(s); end.Code != 1012 {
			s.Errorf("the client's socket ended with %+v, want 1012", end)
		}
		s.isTold(objects.Close{Code: 1012, Clean: true})
		if got := s.sockets(); len(got) != 0 {
			s.Errorf("sockets %q are left", got)
		}
	}},
	{"86 bytes pass both ways as they are", false, func(s *stage) {
		c := s.open()
		sent := objects.Binary([]byte{0, 1, 0xff})
		c.send(sent)
		if got := c.next(s); !got.Binary || string(got.Data) != string(sent.Data) {
			s.Errorf("got %+v, want %+v", got, sent)
		}
	}},
}

// ofTests are the cases that are about the tools of a test, or of an operator, and not about objects.
var ofTests = []int{92, 94, 95}

// inSuite reports whether the suite has the case of docs/conformance.md with this number.
func inSuite(n int) bool {
	return slices.ContainsFunc(suite(), func(x aCase) bool { return strings.HasPrefix(x.name, strconv.Itoa(n)+" ") })
}

// The table of docs/conformance.md has each case once, and names tests that there are.
func TestTheTableOfConformanceIsTrue(t *testing.T) {
	table, err := os.ReadFile("../../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	sources := make(map[string]string) // of tests
	err = filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, "_test.go") {
			source, err := os.ReadFile(path)
			sources[path] = string(source)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	exists := func(test string) bool {
		name, sub, _ := strings.Cut(test, "/")
		for _, source := range sources {
			if strings.Contains(source, "func "+name+"(") && strings.Contains(source, sub) {
				return true
			}
			if sub != "" && strings.Contains(source, strconv.Quote(sub)) {
				return true
			}
		}
		return false
	}
	row := regexp.MustCompile(`^\| (\d+) \| ([^|]+) \| (passes|differs|not applicable|missing) \| ([^|]*) \| ([^|]*) \|$`)
	test := regexp.MustCompile("`([^`]+)`")
	counts := make(map[string]int)
	n := 0
	for line := range strings.Lines(string(table)) {
		part := row.FindStringSubmatch(strings.TrimSpace(line))
		if part == nil {
			if strings.HasPrefix(line, "| ") && len(line) > 3 && line[2] >= '0' && line[2] <= '9' {
				t.Errorf("not understood: %s", line)
			}
			continue
		}
		if n++; part[1] != strconv.Itoa(n) {
			t.Fatalf("case %s stands where case %d should", part[1], n)
		}
		counts[part[3]]++
		if has := inSuite(n); !has && (part[3] == "passes" || part[3] == "differs") && !slices.Contains(ofTests, n) {
			t.Errorf("case %d is not in the suite", n)
		}
		tests := test.FindAllStringSubmatch(part[5], -1)
		if part[3] == "passes" && len(tests) == 0 {
			t.Errorf("case %d passes and names no test", n)
		}
		for _, name := range tests {
			if !exists(name[1]) {
				t.Errorf("case %d: there is no test %s", n, name[1])
			}
		}
	}
	if n != 95 {
		t.Errorf("the table has %d cases, want 95", n)
	}
	for verdict, count := range counts {
		if sum := fmt.Sprintf("%d %s", count, verdict); !strings.Contains(string(table), "**"+sum+"**") {
			t.Errorf("the table has %s, and its summary says otherwise", sum)
		}
	}
}
