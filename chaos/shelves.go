package main

import (
	"encoding/hex"
	"math/rand/v2"

	"github.com/gofiber/fiber/v2"

	"holdfast/gateway"
	"holdfast/objects"
	"holdfast/objects/sqlite"
)

// Large objects count as tickets do, and have ten megabytes beside the count: each claim writes its number to
// the next rows, in a fixed order, so that the count determines the contents of every row. A shelf has its
// rows under keys, an index in a database.
const (
	shelves objects.Class = "shelf"
	indices objects.Class = "index"

	rowCount     = 10_000
	rowBytes     = 1_000
	rowsOfAClaim = 4
)

// largeOf returns the names of n large objects; the first letter is that of the class.
func largeOf(n int) (names []string) {
	for i := range n {
		names = append(names, []string{"s", "i"}[i%2]+string(rune('0'+i/2)))
	}
	return names
}

// pathOf returns the path of a counter at the gateways, by its name.
func pathOf(object string) string {
	switch object[0] {
	case 's':
		return "/shelf/" + object
	case 'i':
		return "/index/" + object
	}
	return "/ticket/" + object
}

// row is a row with the number of the claim that wrote it, 0 at first. The number determines its text.
type row struct {
	N    int    `json:"n"`
	Text string `json:"text"`
}

func newRow(id, n int) row {
	text := make([]byte, rowBytes/2)
	draw := rand.New(rand.NewPCG(uint64(id), uint64(n)))
	for i := range text {
		text[i] = byte(draw.Uint32())
	}
	return row{n, hex.EncodeToString(text)}
}

// rowsOf returns the rows that a claim writes.
func rowsOf(n int) (ids [rowsOfAClaim]int) {
	for i := range ids {
		ids[i] = int(uint32(n*rowsOfAClaim+i) * 2654435761 % rowCount)
	}
	return ids
}

// damaged is the count of a large object whose rows do not fit its count: no correct history has it.
const damaged = -1

// rows stores the rows of a large object.
type rows interface {
	set(tx *objects.Tx, id int, r row) error
	all(tx *objects.Tx, each func(id int, r row)) error
}

var (
	shelfCount = objects.NewKey[int]("count")
	shelfRows  = objects.NewMap[int, row]("row")
)

// counter is a large object.
type counter struct{ rows rows }

func (s *counter) claim(tx *objects.Tx, _ objects.None) (int, error) {
	n := shelfCount.Get(tx) + 1
	if n == 1 {
		for id := range rowCount {
			if err := s.rows.set(tx, id, newRow(id, 0)); err != nil {
				return 0, err
			}
		}
	}
	for _, id := range rowsOf(n) {
		if err := s.rows.set(tx, id, newRow(id, n)); err != nil {
			return 0, err
		}
	}
	shelfCount.Set(tx, n)
	return n, nil
}

func (s *counter) peek(tx *objects.Tx, _ objects.None) (int, error) { return shelfCount.Get(tx), nil }

// check returns the count, or damaged.
func (s *counter) check(tx *objects.Tx, _ objects.None) (int, error) {
	n := shelfCount.Get(tx)
	if n == 0 {
		return 0, nil
	}
	var want [rowCount]int
	for i := range n {
		for _, id := range rowsOf(i + 1) {
			want[id] = i + 1
		}
	}
	found := 0
	err := s.rows.all(tx, func(id int, r row) {
		if id >= 0 && id < rowCount && r == newRow(id, want[id]) {
			found++
		}
	})
	if err == nil && found != rowCount {
		n = damaged
	}
	return n, err
}

// keys stores rows under keys.
type keys struct{}

func (keys) set(tx *objects.Tx, id int, r row) error {
	shelfRows.Set(tx, id, r)
	return nil
}

func (keys) all(tx *objects.Tx, each func(int, row)) error {
	for id, r := range shelfRows.All(tx) {
		each(id, r)
	}
	return nil
}

// table stores rows in a database.
type table struct{}

func (table) set(tx *objects.Tx, id int, r row) error {
	_, err := sqlite.Exec(tx, `INSERT OR REPLACE INTO row (id, n, text) VALUES (?, ?, ?)`, id, r.N, r.Text)
	return err
}

func (table) all(tx *objects.Tx, each func(int, row)) error {
	type entry struct {
		ID, N int
		Text  string
	}
	for e, err := range sqlite.Query[entry](tx, `SELECT id, n, text FROM row`) {
		if err != nil {
			return err
		}
		each(e.ID, row{e.N, e.Text})
	}
	return nil
}

// largeCalls are the calls of a class of large objects.
type largeCalls struct {
	class              objects.Class
	claim, peek, check objects.Call[objects.None, int]
	stamp              objects.Call[int, objects.Bookmark]
	look               objects.Call[objects.None, contents]
}

func newLargeCalls(class objects.Class) largeCalls {
	call := func(name string) objects.Call[objects.None, int] {
		return objects.NewCall[objects.None, int](class, name)
	}
	return largeCalls{
		class, call("claim"), call("peek"), call("check"),
		objects.NewCall[int, objects.Bookmark](class, "stamp"), objects.NewCall[objects.None, contents](class, "look"),
	}
}

// implement makes the class keep a history, so that its commits write segments and pins too.
func (l *largeCalls) implement(create func(*objects.Tx) *counter) *objects.Implementation {
	return objects.Implement(l.class, create,
		objects.On(l.claim, (*counter).claim), objects.On(l.peek, (*counter).peek), objects.On(l.check, (*counter).check),
		objects.On(l.stamp, (*counter).stamp), objects.On(l.look, (*counter).look),
	).With(objects.Settings{History: objects.MaxHistory})
}

var (
	shelfCalls, indexCalls = newLargeCalls(shelves), newLargeCalls(indices)

	shelfObjects = shelfCalls.implement(func(*objects.Tx) *counter { return &counter{keys{}} })
	indexObjects = indexCalls.implement(newIndex)
)

func newIndex(tx *objects.Tx) *counter {
	sqlite.Migrate(tx, `CREATE TABLE row (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, text TEXT NOT NULL)`)
	return &counter{table{}}
}

// route adds the routes of a class of large objects.
func (l *largeCalls) route(r fiber.Router, env *gateway.Env) {
	path := "/" + string(l.class) + "/:name"
	ask := func(call func(*fiber.Ctx) objects.Call[objects.None, int]) fiber.Handler {
		return func(c *fiber.Ctx) error {
			name, err := gateway.Param("name")(c)
			if err != nil {
				return err
			}
			n, err := call(c).Do(c.UserContext(), env.Object(l.class, name), nil)
			if err != nil {
				return err
			}
			return c.JSON(fiber.Map{"ticket": n})
		}
	}
	claim := ask(func(*fiber.Ctx) objects.Call[objects.None, int] { return l.claim })
	r.Post(path, func(c *fiber.Ctx) error {
		if c.Query("stamp") == "" {
			return claim(c)
		}
		return answer(c, env, l.class, l.stamp, c.QueryInt("stamp"))
	})
	r.Get(path, func(c *fiber.Ctx) error {
		if c.Query("look") == "" {
			return c.Next()
		}
		return answer(c, env, l.class, l.look, nil)
	})
	r.Get(path, ask(func(c *fiber.Ctx) objects.Call[objects.None, int] {
		if c.Query("check") != "" {
			return l.check
		}
		return l.peek
	}))
}

// answer calls an object and sends its output.
func answer[I, O any](c *fiber.Ctx, env *gateway.Env, class objects.Class, call objects.Call[I, O], in I) error {
	name, err := gateway.Param("name")(c)
	if err != nil {
		return err
	}
	out, err := call.Do(c.UserContext(), env.Object(class, name), in)
	if err != nil {
		return err
	}
	return c.JSON(out)
}
