package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/spf13/cobra"

	"holdfast/gateway"
	"holdfast/objects"
	"holdfast/objects/sqlite"
)

const rowsClass objects.Class = "rows"

var (
	askedRows   = objects.NewCall[rowsOrder, objects.None](rowsClass, "ask")
	rowsObjects = objects.Implement(rowsClass, func(tx *objects.Tx) *rows {
		sqlite.Migrate(tx, `CREATE TABLE message (id INTEGER PRIMARY KEY, who TEXT NOT NULL, text TEXT NOT NULL)`, `CREATE INDEX message_who ON message (who)`)
		return new(rows)
	}, objects.On(askedRows, (*rows).ask))
)

// rowsOrder is what to do with a database: insert, select, scan, or fill with so many rows.
type rowsOrder struct {
	Do   string
	Rows int
}

// rows is an object with a database, as the worker's rows of workerd.
type rows struct{}

func (r *rows) ask(tx *objects.Tx, o rowsOrder) (objects.None, error) {
	switch o.Do {
	case "insert":
		return nil, r.insert(tx)
	case "select":
		_, err := sqlite.One[struct{ Who, Text string }](tx, `SELECT who, text FROM message WHERE id = ?`, 1+rand.IntN(max(o.Rows, 1)))
		return nil, err
	case "scan":
		_, err := sqlite.One[int](tx, `SELECT count(*) FROM message WHERE text LIKE '%x%'`)
		return nil, err
	case "fill":
		for range o.Rows {
			if err := r.insert(tx); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

func (*rows) insert(tx *objects.Tx) error {
	_, err := sqlite.Exec(tx, `INSERT INTO message (who, text) VALUES (?, ?)`, "who"+strconv.Itoa(rand.IntN(1000)), strings.Repeat("-", 100))
	return err
}

func askRows(c *fiber.Ctx, env *gateway.Env) error {
	name, err := gateway.Param("name")(c)
	if err != nil {
		return err
	}
	_, err = askedRows.Do(c.UserContext(), env.Object(rowsClass, name), rowsOrder{strings.Clone(c.Query("do")), c.QueryInt("rows")})
	return err
}

// sqlPeers are those that have a database.
var sqlPeers = []peer{
	{"always", "Holdfast, sync always", raiseServe("--sync", "always")},
	{"default", "Holdfast, default", raiseServe()},
	{"workerd", "workerd", raiseWorkerd},
}

// filled is how many rows make a database of 10 MB.
const filled = 60_000

// sqlWorks are the measured statements of a database. do is the route's argument.
var sqlWorks = []struct {
	key, title, do string
	names, conns   int
	full           bool // the database has 10 MB
}{
	{"one", "insert, one object, 1 connection", "insert", 1, 1, false},
	{"hot", "insert, one object, 64 connections", "insert", 1, 64, false},
	{"many", "insert, 100 objects, 64 connections", "insert", 100, 64, false},
	{"large", "insert into 10 MB, one object, 64 connections", "insert", 1, 64, true},
	{"select", "select by id of 10 MB, one object, 64 connections", "select", 1, 64, true},
	{"scan", "a look at every row of 10 MB, one object, 1 connection", "scan", 1, 1, true},
}

func sqlCommand(o *outputs) *cobra.Command {
	s := full
	var only []string
	c := &cobra.Command{
		Use:   "sql",
		Short: "Measure databases of objects against workerd's sql.exec",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.with(c.Context(), "sql", func(k *kit, r *report) error { return k.sql(c.Context(), r, s, only) })
		},
	}
	c.Flags().IntVar(&s.Rounds, "rounds", full.Rounds, "how often each peer takes its turn")
	c.Flags().DurationVar(&s.Duration, "duration", 3*time.Second, "how long each measure takes")
	c.Flags().StringSliceVar(&only, "only", nil, "works, as hot,select; default: all")
	return c
}

// sql takes all measures, and tables the medians.
func (k *kit) sql(ctx context.Context, r *report, s settings, only []string) error {
	var all []measure
	for round := range s.Rounds {
		for _, w := range sqlWorks {
			for _, p := range sqlPeers {
				if len(only) > 0 && !slices.Contains(only, w.key) {
					continue
				}
				m := measure{Round: round, Work: w.key, Peer: p.key}
				path := fmt.Sprintf("/rows/{name}?do=%s&rows=%d", w.do, filled)
				figures, err := k.rows(ctx, s, p, w.full, "--path", path, "--names", strconv.Itoa(w.names), "--connections", strconv.Itoa(w.conns))
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if m.Figures = figures; err != nil {
					m.Error = err.Error()
				}
				say("round %d of %d  %-7s %-8s %s", round+1, s.Rounds, w.key, p.key, m.line(work{figure: perSecond}))
				all = append(all, m)
			}
		}
	}
	r.Settings, r.Measures = s, all
	t := table{head: []string{"what", "who", "a second", "p50", "p99", "beside workerd"}}
	for _, w := range sqlWorks {
		for _, p := range sqlPeers {
			median := func(figure string) string {
				got, ok := spreadOf(slices.Collect(maps.Values(valuesOf(all, w.key, p.key, figure))))
				if !ok {
					return ""
				}
				return show(figure, got.Median)
			}
			beside := ""
			if got, ok := spreadOf(ratios(valuesOf(all, w.key, p.key, perSecond), valuesOf(all, w.key, "workerd", perSecond))); ok && p.key != "workerd" {
				beside = fmt.Sprintf("%.3gx", got.Median)
			}
			t.add(w.title, p.title, median(perSecond), median(p50), median(p99), beside)
		}
	}
	r.sections = []table{t}
	return nil
}

// rows measures one peer.
func (k *kit) rows(ctx context.Context, s settings, p peer, full bool, args ...string) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	settle()
	r, err := k.start(ctx, p)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	if full {
		const at = 2000
		fill := fmt.Sprintf("/rows/{name}?do=fill&rows=%d", at)
		if _, err := k.load(ctx, "echo", "--url", r.url, "--path", fill, "--size", "0", "--names", "1", "--connections", "1",
			"--requests", strconv.Itoa(filled/at), "--warmup", "0s", "--duration", longest.String()); err != nil {
			return nil, err
		}
	}
	return k.load(ctx, slices.Concat([]string{"echo", "--url", r.url, "--size", "0"}, args, s.timed())...)
}
