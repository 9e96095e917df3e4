package resume

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// An exploration makes much garbage and keeps little.
func init() { debug.SetGCPercent(400) }

// key returns all of a world that decides what can happen.
func (w *world) key() string {
	var b strings.Builder
	say := func(of ...any) { fmt.Fprintln(&b, of...) }
	say(w.budget, w.now.Unix(), w.epoch, w.handed, w.lacks, w.closing, w.said, w.told, w.id, w.handled, w.truth, w.got, w.missed, w.sent, w.unsure, w.over, w.left, w.seen, w.slots)
	say(w.client)
	for _, id := range slices.Sorted(maps.Keys(w.owner.byID)) {
		say(*w.owner.byID[id])
	}
	say(w.owner.detached, w.places, w.record.away, w.record.detached, string(w.record.window))
	for _, e := range w.owner.window.entries {
		say(e.Data, e.to)
	}
	conn := func(c *conn) {
		if c == nil {
			say("-")
		} else {
			say(c.at, c.down, c.up, c.alive, c.heard)
		}
	}
	conn(w.conn)
	first := w.event // of what is on its way: only the order of events counts
	for _, g := range w.gateways {
		if len(g.down) > 0 {
			first = min(first, g.down[0].event)
		}
	}
	for _, name := range []string{"g1", "g2"} {
		g := w.gateways[name]
		for _, p := range g.down {
			say(p.event-first, p.slot, p.message, p.close, p.all, p.settled, p.fresh, p.known, p.open != nil)
			if p.open != nil {
				say(*p.open)
			}
		}
		for _, slot := range slices.Sorted(maps.Keys(g.sockets)) {
			s := g.sockets[slot]
			say(slot, s.session, s.opened, s.lost, s.sent, s.heard, s.up, s.taken)
			conn(s.conn)
		}
	}
	return b.String()
}

// play makes moves from the beginning.
func play(b budget, f flaw, path []uint8) (w *world, names []string) {
	w = newWorld(b)
	for _, at := range path {
		m := w.moves(f)[at]
		names = append(names, m.name)
		m.do(w)
	}
	return w, names
}

// wrong returns what is wrong with a world, now or when it has come to rest.
func wrong(b budget, f flaw, path []uint8) string {
	w, names := play(b, f, path)
	fault := w.judge()
	if fault == "" {
		fault = w.calm(f)
	}
	if fault == "" {
		return ""
	}
	return strings.Join(names, "\n") + "\n  => " + fault
}

// explore visits the worlds that are nearest, so many at the most. It returns the way to one that is wrong.
func explore(b budget, f flaw, limit int) (fault string, worlds int, all bool) {
	seen := make(map[string]bool)
	queue := [][]uint8{nil}
	for ; len(queue) > 0; queue = queue[1:] {
		path := queue[0]
		if fault := wrong(b, f, path); fault != "" {
			return fault, worlds, false
		}
		if worlds == limit {
			continue
		}
		w, _ := play(b, f, path)
		for at := range w.moves(f) {
			next := append(slices.Clone(path), uint8(at))
			after, _ := play(b, f, next)
			if key := after.key(); !seen[key] && worlds < limit {
				seen[key] = true
				worlds++
				queue = append(queue, next)
			}
		}
	}
	return "", worlds, worlds < limit
}

// walk takes random ways.
func walk(b budget, f flaw, walks int) (fault string) {
	for n := range walks {
		draw := rand.New(rand.NewPCG(1, uint64(n)))
		w, path := newWorld(b), []uint8(nil)
		for range 40 {
			all := w.moves(f)
			if len(all) == 0 {
				break
			}
			at := draw.IntN(len(all))
			all[at].do(w)
			path = append(path, uint8(at))
			if w.judge() != "" {
				break
			}
			if draw.IntN(8) == 0 {
				break
			}
		}
		if fault := wrong(b, f, path); fault != "" {
			return fault
		}
	}
	return ""
}

var scenarios = map[string]budget{
	"a connection breaks":             {says: 3, breaks: 2},
	"a client talks":                  {sends: 2, breaks: 2, volatiles: 1},
	"an owner dies":                   {says: 2, breaks: 1, ownerDeaths: 1},
	"an owner dies as a client talks": {sends: 2, breaks: 1, ownerDeaths: 1, volatiles: 1},
	"two owners die":                  {says: 2, breaks: 1, ownerDeaths: 2},
	"planned moves":                   {says: 2, breaks: 1, moves: 2},
	"a move and a death":              {says: 2, breaks: 1, moves: 1, ownerDeaths: 1},
	"a gateway dies":                  {says: 2, sends: 1, gatewayDeaths: 1, breaks: 1},
	"more than the window keeps":      {says: 6, breaks: 1},
	"time passes":                     {says: 1, breaks: 1, waits: 1, moves: 1},
}

// everything is the budget of walks.
var everything = budget{says: 6, sends: 4, breaks: 4, gatewayDeaths: 2, ownerDeaths: 2, moves: 2, waits: 1, volatiles: 2}

func TestNothingIsMissedOrDoubledWithoutWord(t *testing.T) {
	limit, walks := 1000, 5000
	if !testing.Short() {
		limit, walks = 1500, 20000
	}
	for _, name := range slices.Sorted(maps.Keys(scenarios)) {
		fault, worlds, all := explore(scenarios[name], none, limit)
		if fault != "" {
			t.Errorf("%s:\n%s", name, fault)
		}
		t.Logf("%s: %d worlds, all: %t", name, worlds, all)
	}
	if fault := walk(everything, none, walks); fault != "" {
		t.Errorf("a walk:\n%s", fault)
	}
}

func TestPlantedMistakesAreFound(t *testing.T) {
	for f, name := range map[flaw]string{
		countsNothingWhileAway: "counts nothing while away", detachedIsForgotten: "detached is forgotten", framesOfDetachedPlaces: "frames of detached places",
		lackingGatewayIsWhole: "a gateway that lacks something is whole", windowOfAnyEpoch: "a window of any epoch",
		clientCountsFromItself: "the client counts from itself", resumeCountsFromZero: "resume counts from zero", takenIsNotSaid: "taken is not said",
	} {
		fault := walk(everything, f, 200_000)
		for _, scenario := range slices.Sorted(maps.Keys(scenarios)) {
			if fault != "" {
				break
			}
			fault, _, _ = explore(scenarios[scenario], f, 20_000)
		}
		if fault == "" {
			t.Errorf("%s: not found", name)
		} else {
			t.Logf("%s: found after %d moves:\n%s", name, strings.Count(fault, "\n"), fault)
		}
	}
}
