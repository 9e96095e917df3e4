package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"time"

	"holdfast/chaos/history"
	"holdfast/objects"
	"holdfast/objects/host"
)

// Objects that are put back are large objects. One client stamps them: each stamp has a number of its own,
// which is not used again after a restore, so that every state has different contents.

// returnees are the names of the objects that are put back, where there are large objects: one with keys, one
// with a database.
var returnees = []string{"s-past", "i-past"}

// contents is the stored contents of a stamped object.
type contents struct {
	Rows    int    `json:"rows"`
	Sum     uint64 `json:"sum"`     // of the numbers of all rows
	Damaged int    `json:"damaged"` // rows whose text does not belong to their number
}

func (c *contents) add(id, n int) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d:%d", id, n)
	c.Rows++
	c.Sum += h.Sum64()
}

// contentsAfter returns the contents after stamps.
func contentsAfter(stamps []int) (c contents) {
	var rows [rowCount]int
	for _, n := range stamps {
		for _, id := range rowsOf(n) {
			rows[id] = n
		}
	}
	for id, n := range rows {
		c.add(id, n)
	}
	return c
}

// stamp writes the rows of a number, and returns the bookmark of the state before.
func (s *counter) stamp(tx *objects.Tx, n int) (objects.Bookmark, error) {
	if shelfCount.Get(tx) == 0 {
		for id := range rowCount {
			if err := s.rows.set(tx, id, newRow(id, 0)); err != nil {
				return "", err
			}
		}
	}
	for _, id := range rowsOf(n) {
		if err := s.rows.set(tx, id, newRow(id, n)); err != nil {
			return "", err
		}
	}
	shelfCount.Set(tx, n)
	return tx.Bookmark(), nil
}

func (s *counter) look(tx *objects.Tx, _ objects.None) (c contents, _ error) {
	return c, s.rows.all(tx, func(id int, r row) {
		if c.add(id, r.N); r != newRow(id, r.N) {
			c.Damaged++
		}
	})
}

// moment is a state that can be restored.
type moment struct {
	bookmark objects.Bookmark
	stamps   []int
}

// mostMoments is the number of moments that a client can go back to.
const mostMoments = 100

// goBack makes a client stamp each of the objects, put the object back to an earlier state, and check that
// the object has the contents of that state.
func (w *world) goBack(ctx context.Context) {
	if w.large == 0 {
		return
	}
	for i, name := range returnees {
		c := w.newClient(3000+i, w.gateways[i%gatewayCount])
		w.load.Go(func() {
			defer c.http.CloseIdleConnections()
			c.stampAndRestore(ctx, name)
		})
	}
}

func (c *client) stampAndRestore(ctx context.Context, name string) {
	n := 0
	var stamps []int
	var past []moment
	for !has(c.w.stop) && ctx.Err() == nil {
		for range 3 + c.draw.IntN(10) {
			n++
			before, ok := c.stamp(ctx, name, n)
			if !ok {
				return
			}
			if n > 1 { // before the first stamp there is nothing
				past = append(past[max(0, len(past)+1-mostMoments):], moment{before, slices.Clone(stamps)})
			}
			stamps = append(stamps, n)
			pause(ctx, c.w.stop, time.Duration(10+c.draw.IntN(40))*time.Millisecond)
		}
		c.looksAt(ctx, name, stamps, &history.Restore{Object: name})
		to := past[c.draw.IntN(len(past))]
		r := &history.Restore{Object: name, To: string(to.bookmark), Start: c.w.now()}
		if !c.restore(ctx, name, to.bookmark, r) {
			return
		}
		stamps = slices.Clone(to.stamps)
		c.looksAt(ctx, name, stamps, r)
	}
}

// stamp writes a stamp, with one key until it is answered.
func (c *client) stamp(ctx context.Context, name string, n int) (before objects.Bookmark, ok bool) {
	for {
		_, failed := c.ask(ctx, http.MethodPost, fmt.Sprintf("%s?stamp=%d", pathOf(name), n), fmt.Sprintf("stamp-%s-%d", name, n), &before)
		if failed == nil {
			return before, true
		}
		if !pause(ctx, c.w.stop, 200*time.Millisecond) {
			return "", false
		}
	}
}

// restore puts the object back, as an operator does, and repeats the request until it is answered. When the
// request is repeated, an earlier one has either had its effect or never will.
func (c *client) restore(ctx context.Context, name string, to objects.Bookmark, r *history.Restore) bool {
	class := shelves
	if name[0] == 'i' {
		class = indices
	}
	id, err := class.ID(name)
	if err != nil {
		return false
	}
	for {
		r.Tries++
		within, cancel := context.WithTimeout(ctx, patience)
		_, err := host.Restore(within, c.w.nc, id, name, to)
		cancel()
		if r.End = c.w.now(); err == nil {
			return true
		}
		if code := objects.CodeOf(err); code == objects.NotFound || code == objects.Internal || code == objects.Invalid {
			r.Wrong = err.Error()
			c.w.writer.Add(history.Record{Restore: r})
			return false
		}
		if !pause(ctx, c.w.stop, 200*time.Millisecond) {
			return false
		}
	}
}

// looksAt records whether the object has the contents that the stamps leave.
func (c *client) looksAt(ctx context.Context, name string, stamps []int, r *history.Restore) {
	for {
		var found contents
		_, failed := c.ask(ctx, http.MethodGet, pathOf(name)+"?look=1", "", &found)
		if failed == nil {
			if want := contentsAfter(stamps); found != want {
				r.Wrong = fmt.Sprintf("it has %+v, not %+v", found, want)
			}
			c.w.writer.Add(history.Record{Restore: r})
			return
		}
		if !pause(ctx, c.w.stop, 200*time.Millisecond) {
			return
		}
	}
}
