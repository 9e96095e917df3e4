package sqlite_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
	"holdfast/objects/sqlite"
)

// bare is an object without a host: its storage is in memory.
type bare struct {
	data     *engine.Data
	instance *engine.Instance
	entries  int // that events have written
	bytes    int
	events   int
}

func newBare(b *testing.B, steps ...string) *bare {
	o := &bare{data: new(engine.Data)}
	class := objects.Implement(boxes, func(tx *objects.Tx) *box {
		sqlite.Migrate(tx, steps...)
		return new(box)
	}).Engine()
	instance, out := class.Start(engine.World{
		Key: "box." + strings.Repeat("0", 64), Data: o.data, Object: engine.Alone{}, Sockets: new(engine.Sockets), Now: time.Now,
	})
	if out.Err != nil {
		b.Fatal(out.Err)
	}
	b.Cleanup(instance.Close)
	o.instance = instance
	o.data.Apply(out.Writes)
	return o
}

func (o *bare) do(b *testing.B, fn func(tx *objects.Tx) error) {
	out := o.instance.Do(b.Context(), func(tx *engine.Tx, _ any) error { return fn(tx.Face.(*objects.Tx)) })
	if out.Err != nil {
		b.Fatal(out.Err)
	}
	o.data.Apply(out.Writes)
	o.events++
	o.entries += len(out.Writes)
	for _, w := range out.Writes {
		o.bytes += len(w.Key) + len(w.Value)
	}
}

func (o *bare) report(b *testing.B) {
	b.ReportMetric(float64(o.bytes)/float64(o.events), "B/event")
	b.ReportMetric(float64(o.entries)/float64(o.events), "entries/event")
	b.ReportMetric(float64(o.data.Size())/1e6, "MB")
}

var messages = []string{`CREATE TABLE message (id INTEGER PRIMARY KEY, who TEXT NOT NULL, text TEXT NOT NULL)`}

const indexed = `CREATE INDEX message_who ON message (who)`

func insert(tx *objects.Tx) error {
	_, err := sqlite.Exec(tx, `INSERT INTO message (who, text) VALUES (?, ?)`, fmt.Sprint("who", rand.IntN(1000)), strings.Repeat("-", 100))
	return err
}

// An event that inserts one row, without its commit, and what it gives the commit to write.
func BenchmarkInsert(b *testing.B) {
	for name, steps := range map[string][]string{"plain": messages, "indexed": append(messages[:1:1], indexed)} {
		b.Run(name, func(b *testing.B) {
			o := newBare(b, steps...)
			for b.Loop() {
				o.do(b, insert)
			}
			o.report(b)
		})
	}
}

// The same in a database of 10 MB, and reads of it.
func BenchmarkTenMegabytes(b *testing.B) {
	const rows = 60_000
	o := newBare(b, append(messages[:1:1], indexed)...)
	o.do(b, func(tx *objects.Tx) error {
		for range rows {
			if err := insert(tx); err != nil {
				return err
			}
		}
		return nil
	})
	b.Run("insert", func(b *testing.B) {
		o.events, o.entries, o.bytes = 0, 0, 0
		for b.Loop() {
			o.do(b, insert)
		}
		o.report(b)
	})
	b.Run("update", func(b *testing.B) {
		o.events, o.entries, o.bytes = 0, 0, 0
		for b.Loop() {
			o.do(b, func(tx *objects.Tx) error {
				_, err := sqlite.Exec(tx, `UPDATE message SET text = ? WHERE id = ?`, fmt.Sprintf("%-100d", rand.IntN(1000)), 1+rand.IntN(rows))
				return err
			})
		}
		o.report(b)
	})
	b.Run("select", func(b *testing.B) {
		for b.Loop() {
			o.do(b, func(tx *objects.Tx) error {
				_, err := sqlite.One[struct{ Who, Text string }](tx, `SELECT who, text FROM message WHERE id = ?`, 1+rand.IntN(rows))
				return err
			})
		}
	})
	b.Run("scan", func(b *testing.B) {
		for b.Loop() {
			o.do(b, func(tx *objects.Tx) error {
				_, err := sqlite.One[int](tx, `SELECT count(*) FROM message WHERE text LIKE '%x%'`)
				return err
			})
		}
	})
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			o.instance.Close()
			again := *o
			instance, out := objects.Implement(boxes, objects.New[box]).Engine().Start(engine.World{
				Key: "box." + strings.Repeat("0", 64), Data: o.data, Object: engine.Alone{}, Sockets: new(engine.Sockets), Now: time.Now,
			})
			if out.Err != nil {
				b.Fatal(out.Err)
			}
			again.instance = instance
			again.do(b, func(tx *objects.Tx) error {
				_, err := sqlite.One[string](tx, `SELECT who FROM message WHERE id = 77`)
				return err
			})
			instance.Close()
		}
	})
}
