package owner_test

import (
	"holdfast/objects/host/internal/owner"
)

func (x *explorer) happened(what string) {
	if x.count != nil {
		x.count[what]++
	}
}

// step gives a host an event and does what Step then asks for, as a host would.
// read is the record, if the event is a Read.
func (x *explorer) step(w *world, i int, e owner.Event, read record) []owner.Do {
	h := &w.hosts[i]
	before := h.state()
	after, do := owner.Step(names[h.inc], before, e)
	h.keep(after)
	for _, d := range do {
		switch d := d.(type) {
		case owner.ReadRecord:
			h.reads = min(2, h.reads+1)
		case owner.Send:
			x.send(w, h, d.Put, d.Put != before.Pending, read)
		case owner.Serve:
			x.serve(w, i, d, before.Pending.Expect == 0)
			x.proved(h)
		case owner.Committed:
			x.settle(w, h)
			x.proved(h)
		case owner.Refuse:
			x.happened("claim refused")
			x.stop(w, h)
		case owner.Stop:
			if x.flaw == allCopies && d.Why == owner.Rejected {
				d.Unsure = false
			}
			x.note("%s stops: %s, unsure %t", called(h.inc), d.Why, d.Unsure)
			x.happened("stopped: " + string(d.Why))
			unheard := h.held
			if !d.Unsure {
				unheard |= h.covered
			} else if h.covered != 0 {
				x.happened("unsure")
			}
			x.deny(w, h, unheard)
			x.stop(w, h)
		}
	}
	x.forgotten(h)
	return do
}

// send puts one more copy of a put on its way. A claim carries what was read, a
// commit what the events made of it, a put sent again what it carried before, and
// so does the release of a claim that was never served.
func (x *explorer) send(w *world, h *host, p owner.Put, fresh bool, read record) {
	h.vouched = h.vouched || fresh
	switch {
	case !fresh:
	case h.phase == owner.Claiming:
		h.bytes, h.carried = read.done, read.kept
	case h.serves:
		h.bytes, h.carried = h.memory, h.kept
		h.covered, h.held = h.covered|h.held, 0
	} // otherwise a claim is released that was never served, as it was
	if x.large && x.entryFirst(w, h, fresh) {
		return
	}
	if x.flaw == replyFirst && h.phase != owner.Claiming {
		x.settle(w, h)
	}
	x.put(w, h)
}

// put puts one more copy of the pending put on its way.
func (x *explorer) put(w *world, h *host) {
	f := flight{state: asked, from: h.inc, head: h.pending, expect: h.expect, done: h.bytes, kept: h.carried, names: x.cutOf(h)}
	x.note("%s puts %v %v, expecting %d", called(h.inc), f.head, f.done, f.expect)
	same, free := 0, -1
	for i, g := range w.flights {
		switch g {
		case f:
			same++
		case flight{}:
			free = i
		}
	}
	switch {
	case same == 2: // a third copy can do nothing that two cannot
	case free >= 0:
		w.flights[free] = f
	default:
		x.happened("put lost at once, for lack of room")
	}
}

func (x *explorer) serve(w *world, i int, d owner.Serve, first bool) {
	h := &w.hosts[i]
	if x.empty {
		h.bytes = w.versions[d.Revision].done // what was applied is the world's
	}
	h.serves, h.memory, h.held, h.covered = true, h.bytes, 0, 0
	h.kept, h.low = h.carried, 0
	h.aged = first || x.flaw == ageless && d.Epoch == 1 // no tombstone outlives a copy
	for id := range w.requests {
		w.requests[id].older |= 1 << i
	}
	x.note("%s serves from revision %d: %v", called(h.inc), d.Revision, h.memory)
	x.adopt(h)
	if found := w.versions[d.Revision]; found.done != h.memory || found.head != small(d.Head) {
		x.violated("%s serves %v %v as revision %d, which is %v %v", names[h.inc], small(d.Head), h.memory, d.Revision, found.head, found.done)
	}
	if h.told {
		x.violated("%s was told to let go, and serves", names[h.inc])
	}
	if before := w.versions[d.Revision-1].owner; before != 0 && before != h.inc {
		x.happened("takeover")
	}
}

// proved notes that a put has landed.
func (x *explorer) proved(h *host) {
	if h.unproven && h.vouched {
		x.happened("proved after a lapse")
		h.unproven = false
	}
}

// settle lets the answers go that this put has made certain.
func (x *explorer) settle(w *world, h *host) {
	x.landed(h)
	for id := uint8(1); id <= probe; id++ {
		if h.covered&(1<<id) != 0 {
			x.answer(w, h, id, h.bytes.place(id))
		}
	}
	h.covered = 0
}

func (x *explorer) answer(w *world, h *host, id, place uint8) {
	x.note("%s answers request %d with %d", called(h.inc), id, place)
	x.happened("answered")
	r := &w.requests[id-1]
	if r.over {
		return // nobody waits for it
	}
	if r.number != 0 && r.number != place {
		x.violated("request %d is answered with %d, and was answered with %d before", id, place, r.number)
	}
	for other, r := range w.requests {
		if other != int(id-1) && r.number == place {
			x.violated("requests %d and %d are both answered with %d", other+1, id, place)
		}
	}
	r.number = place
	w.shown |= 1 << id
}

// deny tells requests that they did not happen. A gateway believes it only if it
// knows the same of every earlier try.
func (x *explorer) deny(w *world, h *host, denied uint8) {
	for id := uint8(1); id <= probe; id++ {
		if r := &w.requests[id-1]; denied&(1<<id) != 0 && r.at == h.inc && r.number == 0 && !r.over {
			x.note("%s says that request %d did not happen", called(h.inc), id)
			x.happened("denied")
			r.denied = !r.open
		}
	}
}

// stop drops what the host had of the object, and waits for no more answers.
func (x *explorer) stop(w *world, h *host) {
	for i := range w.flights {
		if f := &w.flights[i]; f.from == h.inc {
			f.deaf = true
		}
	}
	*h = host{inc: h.inc, until: h.until, renewal: h.renewal, sent: h.sent, since: h.since, seen: h.seen}
}
