package host

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/lease"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/sqlite"
)

// book is an object with a database: entries, an index of them, and a key beside them that counts them.
type book struct{}

const booksClass objects.Class = "books"

// entries is entries to make: how many, and how large.
type entries struct{ Entries, Size int }

var (
	enterCall   = objects.NewCall[entries, int](booksClass, "enter")
	balanceCall = objects.NewCall[objects.None, int](booksClass, "balance")
	lastCall    = objects.NewCall[objects.None, string](booksClass, "last")
	entered     = objects.NewKey[int]("entered")
	bookObjects = objects.Implement(booksClass, func(tx *objects.Tx) *book {
		sqlite.Migrate(tx, `CREATE TABLE entry (id INTEGER PRIMARY KEY, what TEXT NOT NULL UNIQUE)`)
		return new(book)
	}, objects.On(enterCall, (*book).enter), objects.On(balanceCall, (*book).balance), objects.On(lastCall, (*book).last))
)

// enter makes entries, and returns how many there are.
func (*book) enter(tx *objects.Tx, b entries) (int, error) {
	n := entered.Get(tx)
	for range b.Entries {
		n++
		if _, err := sqlite.Exec(tx, `INSERT INTO entry (id, what) VALUES (?, ?)`, n, fmt.Sprint(incompressible(b.Size), n)); err != nil {
			return 0, err
		}
	}
	entered.Set(tx, n)
	return n, nil
}

// balance returns how many entries there are, if the database and the key agree.
func (*book) balance(tx *objects.Tx, _ objects.None) (int, error) {
	n, err := sqlite.One[int](tx, `SELECT count(*) FROM entry`)
	if err != nil {
		return 0, err
	}
	if found, err := sqlite.One[string](tx, `PRAGMA integrity_check`); err != nil || found != "ok" {
		return 0, objects.Errorf("damaged", "integrity_check: %s, %v", found, err)
	}
	if most, err := sqlite.One[*int](tx, `SELECT max(id) FROM entry`); err != nil || n > 0 && *most != n || n != entered.Get(tx) {
		return 0, objects.Errorf("damaged", "there are %d entries, the last is %v, and the key says %d", n, most, entered.Get(tx))
	}
	return n, nil
}

// last returns the last entry.
func (*book) last(tx *objects.Tx, _ objects.None) (string, error) {
	return sqlite.One[string](tx, `SELECT what FROM entry WHERE id = ?`, entered.Get(tx))
}

// newBooksWorld returns a world with one book.
func newBooksWorld(t *testing.T, store *memoryStore, incarnation string) *chestWorld {
	id, err := booksClass.ID("c")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldOn(t, store, incarnation, func(c *Config) { c.Objects = append(c.Objects, bookObjects) })
	w.n = 1000 * store.revision
	return &chestWorld{w, id}
}

// claimBook claims the book.
func (w *chestWorld) claimBook() {
	w.t.Helper()
	answer := make(chan wire.ClaimReply, 1)
	for range 10 {
		o := w.in.object(wire.Address{ID: w.id, Name: "c"}, w.in.classes[string(booksClass)])
		if o.claim(func(r wire.ClaimReply) { answer <- r }) {
			if r := <-answer; !r.Owned {
				w.t.Fatalf("claim: %+v", r)
			}
			return
		}
		synctest.Wait()
	}
}

func (w *chestWorld) balanceIs(want int) {
	w.t.Helper()
	if got := w.must("balance", nil); got != strconv.Itoa(want) {
		w.t.Errorf("the balance is %s, want %d", got, want)
	}
}

func TestADatabaseIsFoundByTheNextOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		w := newBooksWorld(t, store, "first")
		w.claimBook()
		n := 0
		enter := func(some, size int) {
			w.must("enter", entries{some, size})
			n += some
		}
		enter(1, 50)
		if rec := w.record(); rec.Parts != nil {
			t.Error("a database of one row is more than a record")
		}
		for range 60 {
			enter(20, 300)
		}
		for range 200 {
			enter(1, 50)
		}
		time.Sleep(20 * time.Second) // merges are paced; the instance sleeps
		if size := w.headSize(); size > 16<<10 {
			t.Errorf("the record has %d bytes", size)
		}
		w.balanceIs(n)
		w.crash()
		w = newBooksWorld(t, store, "second")
		w.claimBook()
		w.balanceIs(n)
		enter(500, 100)
		w.end()
		w = newBooksWorld(t, store, "third")
		w.claimBook()
		w.balanceIs(n)
		w.end()
	})
}

// Whatever the store does with the puts of an event, it happens once or not at all, and the next events find its pages or
// those before.
func TestADatabaseAfterCommitsThatWentWrong(t *testing.T) {
	kinds := map[string]fault{
		"is not put":           {Refuse: true},
		"loses its answer":     {LoseAck: true},
		"is put late":          {Late: true},
		"is refused":           {Reject: record.ErrFull},
		"is said to be stale?": {SlowAck: 3 * time.Second},
	}
	for name, f := range kinds {
		for at := range 5 {
			t.Run(fmt.Sprintf("put %d %s", at, name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := newMemoryStore()
					w := newBooksWorld(t, store, "first")
					w.claimBook()
					w.must("enter", entries{60, 300}) // it has parts from here on
					n := 60
					store.fail(append(make([]fault, at), f)...)
					for range 4 {
						r := w.do("enter", entries{30, 300})
						synctest.Wait()
						if r != nil && r.Moved {
							r = w.do("enter", entries{30, 300})
						}
						switch {
						case r != nil && r.Err() == nil && !r.Moved:
							n += 30
						case r != nil && r.Code == objects.StorageFull:
						default:
							t.Fatalf("answered %+v", r)
						}
						w.claimBook()
						w.balanceIs(n)
					}
					w.crash()
					store.mu.Lock()
					store.faults = nil
					store.mu.Unlock()
					w = newBooksWorld(t, store, "second")
					w.claimBook()
					w.balanceIs(n)
					w.end()
				})
			})
		}
	}
}

// The host is killed after each of its calls of the store.
func TestADatabaseOutlivesItsHostKilledAfterEachCallOfTheStore(t *testing.T) {
	for after := range 16 {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newMemoryStore()
				w := newBooksWorld(t, store, "first")
				w.claimBook()
				store.stopAfter(after+1, func() { w.lose(lease.ErrLost) })
				acknowledged, asked := 0, 0
				for i := range 12 {
					b := entries{1, 100}
					if i%3 == 2 {
						b = entries{40, 400}
					}
					asked += b.Entries
					r := <-w.askLedger(b)
					if r == nil || r.Err() != nil || r.Moved {
						break
					}
					acknowledged = asked
				}
				w.lose(lease.ErrLost)
				if err := <-w.done; !errors.Is(err, lease.ErrLost) {
					t.Errorf("the first host ended with %v", err)
				}
				store.stopAfter(-1, nil)
				w = newBooksWorld(t, store, "second")
				w.claimBook()
				got, err := strconv.Atoi(w.must("balance", nil))
				if err != nil || got != acknowledged && got != asked {
					t.Errorf("killed after %d calls: %d entries, %v; %d were acknowledged and %d asked for", after, got, err, acknowledged, asked)
				}
				w.must("enter", entries{1, 100})
				w.balanceIs(got + 1)
				w.end()
			})
		})
	}
}

func (w *chestWorld) askLedger(b entries) chan *wire.Reply {
	return w.askOf(w.id, &wire.Request{Kind: wire.Call, Call: "enter", Body: []byte(fmt.Sprintf(`{"Entries":%d,"Size":%d}`, b.Entries, b.Size)), Low: w.n + 1})
}

func TestADatabaseThatCannotBeReadFailsItsEventAndNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore()
		w := newBooksWorld(t, store, "first")
		w.claimBook()
		for range 30 {
			w.must("enter", entries{100, 500})
		}
		time.Sleep(20 * time.Second) // merges are paced
		w.crash()
		w = newBooksWorld(t, store, "second")
		w.claimBook()
		store.fail(fault{Refuse: true}, fault{Refuse: true}, fault{Refuse: true}, fault{Refuse: true})
		if r := w.do("balance", nil); r == nil || r.Code != objects.Unavailable {
			t.Errorf("answered %+v, want unavailable", r)
		}
		store.mu.Lock()
		store.faults = nil
		store.mu.Unlock()
		w.balanceIs(3000)
		w.end()
	})
}
