package owner_test

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"holdfast/objects/host/internal/owner"
)

// check says what is wrong with a world, and notes what it shows to readers.
func (x *explorer) check(w *world) {
	stored := w.versions[w.revision].done
	for i := range w.requests {
		id, r := uint8(i+1), &w.requests[i]
		switch place := stored.place(id); {
		case stored.twice(id):
			x.violated("request %d was applied twice: the record is %v", id, stored)
		case r.number != 0 && place != r.number:
			x.violated("request %d was answered with %d, and the record is %v", id, r.number, stored)
		case r.denied && place != 0:
			x.violated("request %d is said not to have happened, and the record is %v", id, stored)
		}
	}
	if x.large {
		x.checkEntries(w)
	}
	for i := range w.hosts {
		if x.reads(w, i) {
			w.shown |= w.hosts[i].memory.mask()
		}
	}
	for i := range w.hosts {
		if h := &w.hosts[i]; x.reads(w, i) && w.shown&^h.memory.mask() != 0 {
			x.violated("%s would now answer a read from %v, and %v has been shown already", names[h.inc], h.memory, ids(w.shown))
		}
	}
}

// reads reports whether a read would now be answered at once by host i. Reading
// changes nothing, so the world is as if one were asked in every state.
func (x *explorer) reads(w *world, i int) bool {
	h := &w.hosts[i]
	return h.inc != 0 && h.phase == owner.Serving && !h.waits() && !h.dirty && !h.unproven && h.holds(w.now, x.timing)
}

// order says what is wrong with a put that lands on a record.
func (x *explorer) order(on head, f *flight) {
	switch {
	case on == (head{}) && f.head.commit == 1 && f.head.epoch == 1: // the first put, or the first after a removal
	case f.head.commit != on.commit+1:
		x.violated("commit %d lands on commit %d", f.head.commit, on.commit)
	case f.head.epoch < on.epoch || f.head.epoch > on.epoch+1:
		x.violated("epoch %d lands on epoch %d", f.head.epoch, on.epoch)
	case f.head.epoch == on.epoch && f.from != on.owner:
		x.violated("%s puts in epoch %d, which is not its own", names[f.from], on.epoch)
	}
}

// forgotten says which duty a host has lost sight of.
func (x *explorer) forgotten(h *host) {
	switch {
	case h.phase == owner.Reading && h.reads == 0:
		x.violated("%s is to read and has not asked", names[h.inc])
	case h.phase == owner.Free && (h.waits() || h.dirty || h.leaving):
		x.violated("%s is free and has something to do", names[h.inc])
	case (h.phase == owner.Claiming || h.phase == owner.Releasing || h.dirty || h.leaving) && !h.waits():
		x.violated("%s has something to put and puts nothing", names[h.inc])
	case h.phase == owner.Releasing && h.held|h.covered != 0:
		x.violated("%s gives up with %v still to be settled", names[h.inc], ids(h.held|h.covered))
	}
}

// A search is the worlds of one scenario, the nearest ones first. Of two worlds that differ in nothing but which host is called a
// and which b, it explores one: whatever can come of the other can come of this one with the names exchanged.
type search struct {
	*explorer
	seed   maphash.Seed
	worlds worlds
	from   []uint32 // the world before; the first one's is itself
	index  map[uint64]uint32
	calmed map[world]bool // the worlds of one host that were played, and whether it came to serve
	moved  int
	states int // the worlds, and those that they stand for
}

// worlds are many. They stay where they are when there are more: to copy them takes longer than most moves.
type worlds struct {
	pages []*[page]world
	len   int
}

// page is how many worlds are allocated at once.
const page = 1024

func (ws *worlds) add(w world) {
	if ws.len%page == 0 {
		ws.pages = append(ws.pages, new([page]world))
	}
	ws.len++
	*ws.at(ws.len - 1) = w
}

func (ws *worlds) at(i int) *world { return &ws.pages[i/page][i%page] }

// explore makes every move in every world that can be reached. The answer is the
// shortest way to a violation, or nothing.
func explore(sc scenario) (*search, []string) {
	s := &search{
		explorer: &explorer{scenario: sc, tables: new(tables), judged: make(map[judgement]bool), count: make(map[string]int)},
		seed:     maphash.MakeSeed(),
		index:    make(map[uint64]uint32),
		calmed:   make(map[world]bool),
	}
	var trace []string
	at := 0
	s.emit = func(next world) {
		s.moved++
		if s.broken != "" && trace == nil {
			trace = append(s.trace(at, next), "  => "+s.broken)
		}
		s.add(next, at)
	}
	s.add(s.start(), 0)
	for ; at < s.worlds.len && trace == nil; at++ {
		if s.calm {
			if broken := s.serves(*s.worlds.at(at)); broken != "" {
				return s, append(s.trace(at, *s.worlds.at(at)), "  => "+broken)
			}
		}
		s.moves(*s.worlds.at(at))
	}
	return s, trace
}

// alike reports whether the hosts may exchange their names: what one of them does the other may do.
func (sc *scenario) alike() bool { return !sc.restart && !sc.unseen }

// canonical returns the one of a world and its mirror image that stands for both, and its hash.
func (s *search) canonical(w *world) (world, uint64) {
	if !s.alike() {
		return *w, maphash.Comparable(s.seed, *w)
	}
	switch a, b := w.hosts[0].rank(), w.hosts[1].rank(); {
	case a < b:
		return *w, maphash.Comparable(s.seed, *w)
	case a > b:
		m := w.mirror()
		return m, maphash.Comparable(s.seed, m)
	}
	key, m := maphash.Comparable(s.seed, *w), w.mirror()
	if mirrored := maphash.Comparable(s.seed, m); mirrored < key {
		return m, mirrored
	}
	return *w, key
}

// add keeps a world, if it is a new one.
func (s *search) add(next world, from int) {
	w, key := s.canonical(&next)
	for ; ; key++ {
		i, taken := s.index[key]
		if !taken {
			s.states++
			if s.alike() && w.mirror() != w {
				s.states++
			}
			s.index[key] = uint32(s.worlds.len)
			s.worlds.add(w)
			s.from = append(s.from, uint32(from))
			return
		}
		if *s.worlds.at(int(i)) == w {
			return
		}
	}
}

// trace returns the way to a world that one move from a known one has made. It is walked from its beginning, so that a
// host keeps its name.
func (s *search) trace(before int, last world) []string {
	last, _ = s.canonical(&last)
	path := []world{last}
	for ; before != 0; before = int(s.from[before]) {
		path = append(path, *s.worlds.at(before))
	}
	x := &explorer{scenario: s.scenario, tables: s.tables, judged: s.judged, tracing: true}
	at := x.start()
	var lines []string
	for _, want := range slices.Backward(path) {
		line, taken := "", at
		x.emit = func(next world) {
			if found, _ := s.canonical(&next); found == want && line == "" {
				taken, line = next, fmt.Sprintf("%4d. tick %d: %s", len(lines)+1, at.now, strings.Join(x.notes, "; "))
			}
		}
		x.moves(at)
		at = taken
		lines = append(lines, line)
	}
	return lines
}

// serves says why a host could not serve, if from now on it were alone, nothing
// were lost and nobody else did anything: no situation may be a dead end.
func (s *search) serves(w world) string {
	for i := range w.hosts {
		h := &w.hosts[i]
		if h.inc == 0 || h.until != 0 && !h.holds(w.now, s.timing) {
			continue // it is about to begin a new life, and is free in that
		}
		calm := w
		calm.hosts[1-i] = host{}
		calm.flights, calm.parts = [maxFlights]flight{}, [maxParts]part{}
		served, played := s.calmed[calm]
		if !played {
			x := &explorer{scenario: s.scenario, tables: s.tables, judged: s.judged}
			served = x.alone(calm, i)
			s.calmed[calm] = served
		}
		if !served {
			return fmt.Sprintf("%s alone in a calm world does not come to serve: %+v", names[h.inc], *h)
		}
	}
	return ""
}

// alone plays the calm life of a world's only host until it has answered a request.
func (x *explorer) alone(w world, i int) bool {
	h := &w.hosts[i]
	x.revisions = uint8(len(w.versions) - 1)
	for range 40 {
		if w.requests[probe-1].number != 0 {
			return true
		}
		if h.until == 0 || h.phase == owner.Free || h.phase == owner.Reading {
			w.now++
			h.renewal, h.sent = asked, w.now
			w.renewed[h.inc]++
			x.acknowledge(&w, h)
		}
		x.next(&w, i)
	}
	return false
}

// next does what is to be done next in a calm world.
func (x *explorer) next(w *world, i int) {
	for f := range w.flights {
		switch w.flights[f].state {
		case asked:
			x.arrive(w, f)
			return
		case applied, refused:
			x.deliver(w, f, i)
			return
		}
	}
	switch h := &w.hosts[i]; {
	case x.large && x.nextPart(w, i):
	case h.reads > 0:
		x.read(w, i, w.current())
	case h.waits():
		x.step(w, i, owner.Doubt{}, record{})
	case h.phase == owner.Free:
		x.step(w, i, owner.Want{}, record{})
	case h.phase == owner.Serving: // again, if the host was fenced
		x.request(w, i, probe)
	}
}
