package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"holdfast/objects"
	"holdfast/objects/objectstest"
	"holdfast/objects/sqlite"
)

const Rooms objects.Class = "room"

var (
	Post = objects.NewCall[Message, objects.None](Rooms, "post")
	Last = objects.NewCall[string, []Message](Rooms, "last")
	Busy = objects.NewCall[objects.None, string](Rooms, "busy")
)

// Message is a row of message.
type Message struct{ Who, Text string }

var Objects = objects.Implement(Rooms, Open, objects.On(Post, (*Room).Post), objects.On(Last, (*Room).Last), objects.On(Busy, (*Room).Busy))

// Room keeps its messages in a table.
type Room struct{}

func Open(tx *objects.Tx) *Room {
	sqlite.Migrate(tx,
		`CREATE TABLE message (id INTEGER PRIMARY KEY, who TEXT NOT NULL, text TEXT NOT NULL, UNIQUE (who, text))`,
		`CREATE INDEX message_who ON message (who)`, // came later
	)
	return new(Room)
}

func (*Room) Post(tx *objects.Tx, m Message) (objects.None, error) {
	_, err := sqlite.Exec(tx, `INSERT INTO message (who, text) VALUES (?, ?)`, m.Who, m.Text)
	if errors.Is(err, sqlite.ErrUnique) {
		return nil, objects.Errorf(objects.Conflict, "you have said that: %w", err)
	}
	return nil, err
}

func (*Room) Last(tx *objects.Tx, who string) ([]Message, error) {
	return sqlite.All[Message](tx, `SELECT who, text FROM message WHERE who = ? ORDER BY id DESC LIMIT 10`, who)
}

// Busy says who has said most, and how much that is.
func (*Room) Busy(tx *objects.Tx, _ objects.None) (string, error) {
	type row struct {
		Who  string
		Said int `db:"n"`
	}
	r, err := sqlite.One[row](tx, `SELECT who, count(*) AS n FROM message GROUP BY who ORDER BY n DESC LIMIT 1`)
	if errors.Is(err, sqlite.ErrNoRows) {
		return "nobody", nil
	}
	return fmt.Sprintf("%s, %d", r.Who, r.Said), err
}

// quiet is a testing.TB where there is none.
type quiet struct{ testing.TB }

func (quiet) Helper()        {}
func (quiet) Cleanup(func()) {}

func Example() {
	w := objectstest.New(quiet{}, Objects)
	room := w.Object(Rooms, "lobby")
	for _, m := range []Message{{"ada", "hello"}, {"bob", "hi"}, {"ada", "how are you?"}, {"ada", "hello"}} {
		if _, err := Post.Do(context.Background(), room, m); err != nil {
			fmt.Println(objects.CodeOf(err))
		}
	}
	w.Move(room)
	fmt.Println(Last.Do(context.Background(), room, "ada"))
	fmt.Println(Busy.Do(context.Background(), room, nil))
	// Output:
	// conflict
	// [{ada how are you?} {ada hello}] <nil>
	// ada, 2 <nil>
}

func ExampleQuery() {
	w := objectstest.New(quiet{}, Objects)
	_ = objectstest.Inside(w, w.Object(Rooms, "lobby"), func(tx *objects.Tx, _ *Room) error {
		for _, text := range []string{"one", "two", "three"} {
			if _, err := sqlite.Exec(tx, `INSERT INTO message (who, text) VALUES (:who, :text)`, sql.Named("who", "ada"), sql.Named("text", text)); err != nil {
				return err
			}
		}
		for m, err := range sqlite.Query[Message](tx, `SELECT * FROM (SELECT who, text FROM message ORDER BY text)`) {
			if err != nil {
				return err
			}
			fmt.Println(m.Text)
		}
		fmt.Println(sqlite.UsageOf(tx).RowsWritten)
		return nil
	})
	// Output:
	// one
	// three
	// two
	// 3
}

// Code that sqlc has generated takes a ConnOf(tx), and so does whatever wants package database/sql.
func ExampleConnOf() {
	w := objectstest.New(quiet{}, Objects)
	_ = objectstest.Inside(w, w.Object(Rooms, "lobby"), func(tx *objects.Tx, _ *Room) error {
		db := sqlite.ConnOf(tx)
		if _, err := db.ExecContext(tx, `INSERT INTO message (who, text) VALUES (?, ?)`, "ada", "hello"); err != nil {
			return err
		}
		var n int
		err := db.QueryRowContext(tx, `SELECT count(*) FROM message`).Scan(&n)
		fmt.Println(n, err)
		return nil
	})
	// Output: 1 <nil>
}
