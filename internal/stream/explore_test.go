package stream

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// A search is the worlds of one scenario, the nearest ones first.
type search struct {
	*explorer
	seen  map[[2]uint64]struct{}
	from  []step
	queue []*world // those that are not yet explored
	moved int
}

// step is the way into a world: the world before and which of its moves.
type step struct {
	before uint32
	move   uint16
}

// explore makes every move in every world that can be reached, up to limit worlds. The
// answer is the shortest way to a violation, or nothing, and whether that is all.
func explore(sc scenario, limit int) (s *search, trace []string, all bool) {
	s = &search{explorer: newExplorer(sc), seen: make(map[[2]uint64]struct{})}
	s.count = make(map[string]int)
	first := s.start()
	s.add(first, step{})
	var key buf
	for at := 0; len(s.queue) > 0; at++ {
		w := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		count := s.count
		s.count = nil
		broken := s.judge(w)
		s.count = count
		if broken != "" {
			return s, append(s.trace(s.way(at)), "  => "+broken), false
		}
		move := uint16(0)
		s.emit = func(next *world) {
			s.moved++
			if s.broken != "" && trace == nil {
				trace = append(s.trace(append(s.way(at), move)), "  => "+s.broken)
			}
			key = next.key(key[:0])
			s.addKey(next, key, step{uint32(at), move})
			move++
		}
		if len(s.from) < limit {
			s.moves(w)
		}
		if trace != nil {
			return s, trace, false
		}
	}
	return s, nil, len(s.from) < limit
}

func (s *search) add(w *world, by step) { s.addKey(w, w.key(nil), by) }

func (s *search) addKey(w *world, key buf, by step) {
	k := s.hash(key)
	if _, known := s.seen[k]; known {
		return
	}
	s.seen[k] = struct{}{}
	s.from = append(s.from, by)
	s.queue = append(s.queue, w)
}

// way is the moves that lead to a world.
func (s *search) way(to int) (moves []uint16) {
	for ; to != 0; to = int(s.from[to].before) {
		moves = append([]uint16{s.from[to].move}, moves...)
	}
	return moves
}

// trace tells a way.
func (s *search) trace(moves []uint16) []string { return tell(s.scenario, moves) }

func tell(sc scenario, moves []uint16) []string {
	x := newExplorer(sc)
	w := x.start()
	x.tracing, x.notes = true, nil
	var lines []string
	for _, want := range moves {
		var at uint16
		var taken *world
		line := ""
		x.emit = func(next *world) {
			if at == want {
				taken, line = next, strings.Join(x.notes, "; ")
			}
			at++
		}
		x.moves(w)
		w = taken
		lines = append(lines, fmt.Sprintf("%4d. %s", len(lines)+1, line))
	}
	return lines
}

// walk takes random ways of so many moves, and judges every world on them.
func walk(sc scenario, walks, length int, seed uint64) (trace []string, number, worlds int) {
	x := newExplorer(sc)
	for number = range walks {
		rng := rand.New(rand.NewPCG(seed, uint64(number)))
		x.emit = func(*world) {}
		w := x.start()
		var moves []uint16
		for range length {
			var nexts []*world
			broken, where := "", 0
			x.emit = func(next *world) {
				if x.broken != "" && broken == "" {
					broken, where = x.broken, len(nexts)
				}
				nexts = append(nexts, next)
			}
			x.moves(w)
			if broken != "" {
				return append(tell(sc, append(moves, uint16(where))), "  => "+broken), number, worlds
			}
			if len(nexts) == 0 {
				break
			}
			pick := rng.IntN(len(nexts))
			moves = append(moves, uint16(pick))
			w = nexts[pick]
			worlds++
			if broken := x.judge(w); broken != "" {
				return append(tell(sc, moves), "  => "+broken), number, worlds
			}
		}
	}
	return nil, walks, worlds
}
