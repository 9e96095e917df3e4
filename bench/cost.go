package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/load"
)

// operation is the processor time of one operation, over all of the peer's processes.
const operation = "operationUs"

// panel plots the cost of one operation against one size.
type panel struct {
	Key   string  `json:"key"`
	Title string  `json:"title"`
	Size  string  `json:"size"` // what the sizes are of
	Sizes []int   `json:"sizes"`
	Point []point `json:"points"`

	at func(ctx context.Context, k *kit, r *running, size int) (sample, error)
}

type point struct {
	Size    int    `json:"size"`
	Figures sample `json:"figures,omitempty"`
	Error   string `json:"error,omitempty"`
}

var panels = []panel{
	{Key: "objects", Title: "one ticket, 64 connections", Size: "objects", Sizes: []int{1e2, 1e3, 1e4, 1e5, 1e6}, at: costOfObjects},
	{Key: "sockets", Title: "one delivery to one socket", Size: "sockets in one room", Sizes: []int{10, 100, 1000, 10_000}, at: costOfSockets},
	{Key: "keys", Title: "changing one key of 100 bytes", Size: "keys in the object", Sizes: []int{1, 10, 100, 1000}, at: costOfKeys},
	{Key: "bytes", Title: "changing the one key", Size: "bytes in the key", Sizes: []int{1, 1 << 4, 1 << 8, 1 << 12, 1 << 16, largest}, at: costOfBytes},
}

const largest = 500 << 10 // below the limit of an object's record

func costCommand(o *outputs) *cobra.Command {
	var isQuick bool
	c := &cobra.Command{
		Use:   "cost",
		Short: "Measure what one operation costs against the size of things, and draw it",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.with(c.Context(), "cost", func(k *kit, r *report) error { return k.costs(c.Context(), r, isQuick, o.write) })
		},
	}
	c.Flags().BoolVar(&isQuick, "quick", false, "leave the million objects out: making them takes six minutes")
	return c
}

// costs measures all panels. With --write it draws them into docs/cost.svg.
func (k *kit) costs(ctx context.Context, r *report, isQuick, keep bool) error {
	measured := make([]panel, len(panels))
	for i, p := range panels {
		sizes := p.Sizes
		if isQuick && p.Key == "objects" {
			sizes = sizes[:len(sizes)-1]
		}
		for _, size := range sizes {
			figures, err := k.costAt(ctx, p, size)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			pt := point{Size: size, Figures: figures}
			if err != nil {
				pt.Error = err.Error()
			}
			say("%s %d: %s %s", p.Key, size, show(operation, figures[operation]), pt.Error)
			p.Point = append(p.Point, pt)
		}
		measured[i] = p
	}
	r.Settings = map[string]string{"sync": "default", "reading": meter.String()}
	r.Measures = measured
	r.sections = []table{costTable(measured)}
	if !keep {
		return nil
	}
	if err := os.WriteFile(filepath.Join(k.root, "docs", "cost.svg"), []byte(draw(measured)), 0o644); err != nil {
		return fmt.Errorf("write the plot: %w", err)
	}
	return nil
}

// costAt measures one size on a new peer.
func (k *kit) costAt(ctx context.Context, p panel, size int) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	settle()
	r, err := k.start(ctx, shelfPeer)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	return p.at(ctx, k, r, size)
}

var shelfPeer = peer{key: "shelf", title: "Holdfast with a shelf", raise: raiseServe()}

// raiseServe starts dev of this program, which has more classes.
func raiseServe(more ...string) func(context.Context, *kit, *running) error {
	return func(ctx context.Context, k *kit, r *running) error {
		var said devBanner
		if err := r.ours(ctx, k.self, &said, append([]string{"serve"}, r.devArgs(more...)...)...); err != nil {
			return err
		}
		r.url, r.ops = said.Regions[0].URL, said.Ops
		return nil
	}
}

// costOfObjects creates the objects first. The sample holds the memory that they added.
func costOfObjects(ctx context.Context, k *kit, r *running, size int) (sample, error) {
	before, err := load.Resident(r.pids())
	if err != nil {
		return nil, err
	}
	if _, err := k.touch(ctx, r.url, size); err != nil {
		return nil, err
	}
	after, err := load.Resident(r.pids())
	if err != nil {
		return nil, err
	}
	s, err := k.cost(ctx, r, requestsDone, "ticket", "--names", strconv.Itoa(size), "--connections", "64")
	if err != nil {
		return nil, err
	}
	s[allObject] = float64(after-before) / float64(size)
	return s, nil
}

const deliveries = 20_000 // a second, at most; a fraction of what a room can do

func costOfSockets(ctx context.Context, k *kit, r *running, size int) (sample, error) {
	rate := min(500, deliveries/size)
	return k.cost(ctx, r, framesOut, "room", "--path", "/echo/{name}", "--sockets", strconv.Itoa(size), "--senders", strconv.Itoa(min(size, 10)),
		"--rate", strconv.Itoa(rate), "--size", "64")
}

func costOfKeys(ctx context.Context, k *kit, r *running, size int) (sample, error) {
	return k.shelf(ctx, r, size, 100)
}

func costOfBytes(ctx context.Context, k *kit, r *running, size int) (sample, error) {
	return k.shelf(ctx, r, 1, size)
}

// shelf uses few connections: it measures one change, not how many changes a put covers.
func (k *kit) shelf(ctx context.Context, r *running, keys, size int) (sample, error) {
	return k.cost(ctx, r, requestsDone, "echo", "--path", fmt.Sprintf("/shelf/{name}?keys=%d&size=%d", keys, size), "--connections", "4", "--size", "0")
}

// costTable has a row for each point.
func costTable(measured []panel) table {
	t := table{head: []string{"what", "size", "processor time", "a second", "p50", "p99", "memory an object"}}
	for _, p := range measured {
		for _, pt := range p.Point {
			cell := func(figure string) string {
				if value, ok := pt.Figures[figure]; ok {
					return show(figure, value)
				}
				return ""
			}
			took := showFine(pt.Figures[operation])
			if pt.Error != "" {
				took = "failed"
			}
			t.add(p.Title, fmt.Sprintf("%d %s", pt.Size, p.Size), took, cell(perSecond), cell(p50), cell(p99), cell(allObject))
		}
	}
	return t
}

// showFine formats microseconds with two significant digits.
func showFine(us float64) string {
	switch {
	case us < 10:
		return fmt.Sprintf("%.1f us", us)
	default:
		return showTime(time.Duration(us * float64(time.Microsecond)))
	}
}
