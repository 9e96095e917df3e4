package stream

import (
	"bytes"
	"fmt"
	"slices"
)

// real reports whether an event has happened: it is in the record, or somebody at a
// gateway that lives has seen something of it.
func (w *world) real(e *event) bool {
	if e.durable {
		return true
	}
	for g := range w.gates {
		if w.gates[g].alive && e.seen&(1<<g) != 0 {
			return true
		}
	}
	return false
}

// opened reports whether the object has opened the socket, for good.
func (w *world) opened(i int) bool { return w.record.opened&(1<<i) != 0 }

// ends is how often the object was told the socket's end, for good.
func (w *world) ends(i int) (n int) {
	for _, e := range w.events {
		if e.durable && e.ends&(1<<i) != 0 {
			n++
		}
	}
	return n
}

// open reports whether a client is connected to the socket.
func (w *world) open(i int) bool {
	g := &w.gates[w.socks[i].gate]
	s := g.r.sockets[slotOf(i)]
	return g.alive && s != nil && s.State == Opened
}

// check says what is wrong with a world, whatever comes.
func (x *explorer) check(w *world) {
	for i := range x.gates {
		if n := w.ends(i); n > 1 {
			x.violated("the end of socket %d was told %d times", i, n)
		}
	}
	var handled [3]uint16
	for _, e := range w.events {
		if e.frame == 0 || !e.durable {
			continue
		}
		if handled[e.sock]&(1<<e.frame) != 0 {
			x.violated("frame %d of socket %d was handled twice", e.frame, e.sock)
		}
		handled[e.sock] |= 1 << e.frame
	}
	if w.term == nil {
		return
	}
	for _, l := range w.term.s.lanes {
		size, waits, newest := 0, 0, 0 // newest: what the last event can have added
		for i := range l.window {
			size += l.window[i].size()
			if l.window[i].seq > l.sent {
				waits += l.window[i].size()
			}
			if i >= len(l.window)-1-min(1, int(x.conflated)) { // its push, and the values that had waited for it
				newest += l.window[i].size()
			}
		}
		if size != l.size || waits > x.settings.Window+newest || size-waits > 2*x.settings.Window+newest {
			x.violated("the window of gateway %s has %d bytes (%d counted), of which %d wait", l.gateway, size, l.size, waits)
		}
	}
}

// settle plays on calmly until nothing changes: nothing is lost any more, and who is
// alive does what time has it do. The answer is false if that never ends. loose says
// that nobody claims the object unless somebody has reason to.
func (x *explorer) settle(w *world, loose bool) bool {
	var before, now buf
	for range 60 {
		x.tidy(w)
		before, now = now, w.key(before[:0])
		if bytes.Equal(now, before) {
			return true
		}
		for n := 0; len(w.bag) > 0; n++ {
			m := w.bag[0]
			if w.term == nil && (m.kind == mFrame || m.kind == mUpgrade) {
				x.claim(w)
				continue
			}
			x.deliver(w, m)
			x.tidy(w)
			if w.term != nil && w.term.pending != nil {
				x.land(w)
			}
			if n > 300 {
				return false
			}
		}
		if w.term == nil && !loose {
			x.claim(w)
		}
		if r := w.term; r != nil && r.waits != nil && !r.s.taking {
			x.flush(w)
		}
		if x.mayRelease(w) {
			x.release(w)
		}
		if r := w.term; r != nil {
			for r.pending != nil {
				x.land(w)
			}
			x.tick(w, r.s.taking && !x.onlyDead(w))
			for g := range w.gates {
				if !w.gates[g].alive && w.serving() && w.mayGiveUp(g) {
					x.giveUp(w, g)
				}
			}
		}
		for g := range w.gates {
			if !w.gates[g].alive {
				continue
			}
			acts := w.gates[g].r.Tick(late)
			for _, a := range acts {
				switch {
				case a.Kind != Claim && a.Kind != Check:
					continue
				case w.term != nil:
				case (a.Kind == Check || x.flaw == claimIsCheck) && !x.missing(w, g, a):
					continue
				default:
					x.claim(w)
				}
				if w.serving() {
					w.gates[g].r.Owned(w.token)
				}
			}
			x.act(w, g, acts)
			x.again(w, g)
			x.afterwards(w, g)
		}
		for i := range x.gates {
			if s := &w.socks[i]; s.phase == wished && w.gates[s.gate].alive {
				w.put(msg{kind: mUpgrade, gate: uint8(s.gate), slot: slotOf(i)})
			}
		}
		c := w.clone() // all times are noon again
		*w = *c
	}
	return false
}

// givenUp reports whether the record says that a gateway was given up.
func (w *world) givenUp(g int) bool {
	return slices.ContainsFunc(w.record.entries, func(e Entry) bool { return e.Gateway == gateNames[g] && !e.Tombstone.IsZero() })
}

// gaps says what an open socket lacks. early says that a gateway which was given up has not been told
// yet. seenOnly says that events are left out of which nobody has seen anything.
func (x *explorer) gaps(w *world, early, seenOnly bool) string {
	for i := range x.gates {
		if !w.open(i) || early && w.givenUp(w.socks[i].gate) {
			continue // a gateway that was not heard for so long closes its sockets itself
		}
		for id := range w.events {
			e := w.events[id]
			if seenOnly {
				e.durable = false
			}
			for before := range id {
				if f := w.events[before]; e.frame > 0 && e.frame == f.frame && e.sock == f.sock && w.socks[i].received>>before&1 == 1 && w.socks[i].received>>id&1 == 1 {
					return fmt.Sprintf("socket %d is open and has twice what frame %d of socket %d does", i, e.frame, e.sock)
				}
			}
			if w.real(&e) && e.receivers&(1<<i) != 0 && w.socks[i].received&(1<<id) == 0 {
				return fmt.Sprintf("socket %d is open and lacks event %d", i, id)
			}
		}
	}
	return ""
}

// judge says what is wrong with a world once it has calmed down. What is on its way
// is lost, and how often something may still go wrong does not matter any more. Many
// worlds differ in nothing else, and are judged once.
func (x *explorer) judge(w *world) string {
	w = w.clone()
	w.bag = nil
	w.frames, w.closes, w.deaths, w.gateDeaths, w.giveUps, w.hastes, w.drains, w.doubts, w.calls = 0, 0, 0, 0, 0, 0, 0, 0, 0
	x.room = w.key(x.room[:0])
	key := x.hash(x.room)
	verdict, known := x.judged[key]
	if !known {
		verdict = x.verdict(w)
		x.judged[key] = verdict
	}
	return verdict
}

// verdict calms a world down, and says what is wrong with it then.
func (x *explorer) verdict(w *world) string {
	x.broken = ""
	defer func() { x.broken = "" }()
	for _, told := range []bool{false, true} { // whether gateways are told that the owner has died
		for g := range w.gates {
			if told && w.gates[g].alive && w.term == nil && x.flaw != deathUntold {
				x.doubt(w, g)
			}
		}
		if !x.settle(w, true) {
			return "the world is never calm"
		}
		if x.broken == "" {
			if gap := x.gaps(w, true, !told); gap != "" {
				return "all is quiet, and " + gap
			}
		}
	}
	if !x.settle(w, false) {
		return "the world is never calm"
	}
	last := len(w.events)
	if !w.serving() {
		return "nobody serves in a calm world"
	}
	x.run(w, event{}, 0, -1)
	if !x.settle(w, false) {
		return "the world is never calm"
	}
	x.check(w)
	if x.broken != "" {
		return x.broken
	}
	if gap := x.gaps(w, false, false); gap != "" {
		return gap
	}
	for i := range x.gates {
		sock := &w.socks[i]
		switch ends := w.ends(i); {
		case w.open(i) && ends > 0:
			return fmt.Sprintf("socket %d is open, and its end was told", i)
		case w.open(i) && sock.received&(1<<last) == 0:
			return fmt.Sprintf("socket %d is open and deaf", i)
		case !w.open(i) && w.opened(i) && ends == 0:
			return fmt.Sprintf("the end of socket %d is never told", i)
		}
		s := w.gates[sock.gate].r.sockets[slotOf(i)]
		switch {
		case s == nil || !w.gates[sock.gate].alive:
		case s.State != Opened:
			return fmt.Sprintf("socket %d neither opens nor ends", i)
		case s.Acked != s.Last:
			return fmt.Sprintf("frame %d of socket %d is never handled", s.Acked+1, i)
		default:
			handled := 0
			for k := range w.events {
				if e := &w.events[k]; e.frame != 0 && int(e.sock) == i && w.real(e) {
					handled++
				}
			}
			if handled != int(s.Last) {
				return fmt.Sprintf("socket %d has %d frames acknowledged and %d handled", i, s.Last, handled)
			}
		}
	}
	return ""
}
