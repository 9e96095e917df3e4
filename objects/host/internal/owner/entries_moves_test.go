package owner_test

import (
	"slices"

	"holdfast/objects/host/internal/owner"
)

// entryMoves makes every move that has to do with entries.
func (x *explorer) entryMoves(w world) {
	for i := range w.hosts {
		x.ownersEntries(w, i)
	}
	for i := range w.parts {
		p := w.parts[i]
		if p.state == nothing {
			continue
		}
		if next := w; p.state != applied {
			x.arrivePart(&next, i)
			x.done(&next)
		}
		if next := w; p.state == applied {
			x.deliverPart(&next, i)
			x.done(&next)
		}
		if next := w; w.doubts > 0 {
			next.parts[i] = part{}
			next.sortParts()
			x.note("what has to do with entry %v is lost: %+v", p.name, p)
			x.done(&next)
		}
	}
}

// ownersEntries are the moves of a host with the entries of an object that it owns.
func (x *explorer) ownersEntries(w world, i int) {
	h := &w.hosts[i]
	if h.inc == 0 || h.phase == owner.Free {
		return
	}
	k := x.tables.keepings.value(h.keeping)
	if k.stage == collect {
		next := w
		x.seek(&next, i)
		x.done(&next)
	}
	if !h.serves {
		return
	}
	landed := len(used(k.runs[:]))
	if k.run != (name{}) {
		landed-- // the newest has not
	}
	if w.merges > 0 && h.phase == owner.Serving && k.merging == (name{}) && !k.untidy && landed >= 2 {
		next := w
		next.merges--
		h := &next.hosts[i]
		x.keep(h, func(k *keeping) {
			s := x.tables.stores.value(next.entries)
			k.job = k.next + 1
			k.merging, k.merged = name{h.token, k.job}, s.of(k.runs[0]).join(s.of(k.runs[1]))
			if x.flaw != mergeNumber {
				k.next = k.job
			}
		})
		k := x.tables.keepings.value(h.keeping)
		x.note("%s merges", called(h.inc))
		x.sendPart(&next, h, k.merging, k.merged)
		x.done(&next)
	}
	if k.merging != (name{}) {
		next := w
		x.abandon(&next, i)
		x.done(&next)
	}
	for _, n := range used(k.known[:]) {
		if slices.ContainsFunc(w.parts[:], func(p part) bool { return p.name == n }) {
			continue // see above
		}
		next := w
		x.note("%s purges %v", called(h.inc), n)
		x.onItsWay(&next, part{state: purging, from: h.inc, name: n})
		x.done(&next)
	}
}

func (s *store) of(n name) content {
	for _, e := range s {
		if e.name == n {
			return e.has
		}
	}
	return 0
}

// seek collects orphans, and sends the entry that was to wait for that.
func (x *explorer) seek(w *world, i int) {
	h := &w.hosts[i]
	k := x.tables.keepings.value(h.keeping)
	x.note("%s looks for orphans", called(h.inc))
	x.collect(w, func(n name) bool {
		if x.flaw == orphansAll {
			return !slices.Contains(k.runs[:], n)
		}
		return orphan(used(k.losses[:]), n)
	})
	x.keep(h, func(k *keeping) {
		if k.stage = sent; k.run != (name{}) {
			k.stage = writing
		}
	})
	if k.run != (name{}) {
		x.sendPart(w, h, k.run, k.has)
	} else {
		x.put(w, h)
	}
}

// abandon ends the merge under way.
func (x *explorer) abandon(w *world, i int) {
	h := &w.hosts[i]
	if !x.large || x.tables.keepings.value(h.keeping).merging == (name{}) {
		return
	}
	x.note("%s abandons its merge", called(h.inc))
	x.keep(h, func(k *keeping) {
		push(k.dead[:], k.merging)
		k.merging, k.merged, k.job = name{}, 0, 0
	})
}

// arrivePart lets the store do what it is asked.
func (x *explorer) arrivePart(w *world, i int) {
	p := w.parts[i]
	switch p.state {
	case asked:
		x.note("entry %v lands", p.name)
		x.there(w, true, func(n name) bool { return n == p.name })
		w.parts[i].state = applied
	case purging:
		x.note("entry %v is purged", p.name)
		x.happened("purged")
		x.there(w, false, func(n name) bool { return n == p.name })
		w.parts[i] = part{}
		for h := range w.hosts {
			if h := &w.hosts[h]; h.inc == p.from && h.serves {
				x.keep(h, func(k *keeping) {
					drop(k.dead[:], p.name)
					drop(k.known[:], p.name)
				})
			}
		}
	}
	w.sortParts()
}

// deliverPart brings a host the answer to its entry's put.
func (x *explorer) deliverPart(w *world, i int) {
	p := w.parts[i]
	w.parts[i] = part{}
	w.sortParts()
	for i := range w.hosts {
		h := &w.hosts[i]
		if h.inc != p.from || h.phase == owner.Free {
			continue
		}
		x.note("%s learns that entry %v has landed", called(h.inc), p.name)
		switch k := x.tables.keepings.value(h.keeping); {
		case k.stage == writing && k.run == p.name:
			x.keep(h, func(k *keeping) { k.stage = sent })
			if h.waits() && x.flaw != headFirst {
				x.put(w, h)
			}
		case k.merging == p.name:
			x.install(w, i)
		}
	}
}

// install takes what a merge has made into memory, and has it put.
func (x *explorer) install(w *world, i int) {
	h := &w.hosts[i]
	x.happened("merged")
	x.keep(h, func(k *keeping) {
		for _, n := range k.runs[:2] {
			push(k.dead[:], n)
			if x.flaw == purgeFirst {
				push(k.known[:], n)
			}
		}
		drop(k.runs[:], k.runs[1])
		k.runs[0] = k.merging
		k.merging, k.merged, k.job = name{}, 0, 0
	})
	if h.phase == owner.Serving {
		x.step(w, i, owner.Changed{}, record{})
	}
}

// nextPart does what is to be done next about entries in a calm world; false: nothing.
func (x *explorer) nextPart(w *world, i int) bool {
	for p := range w.parts {
		switch w.parts[p].state {
		case asked, purging:
			x.arrivePart(w, p)
			return true
		case applied:
			x.deliverPart(w, p)
			return true
		}
	}
	h := &w.hosts[i]
	if x.tables.keepings.value(h.keeping).stage == collect {
		x.seek(w, i)
		return true
	}
	return false
}

// checkEntries says what is wrong with the entries of a world.
func (x *explorer) checkEntries(w *world) {
	head, s := x.tables.headings.value(w.names), x.tables.stores.value(w.entries)
	current := w.versions[w.revision]
	var all content
	for _, n := range used(head.runs[:]) {
		i := slices.IndexFunc(s[:], func(e struct {
			name
			has   content
			there bool
		}) bool {
			return e.name == n
		})
		if i < 0 || !s[i].there {
			x.violated("the record names %v, which is not there", n)
			return
		}
		all = all.join(s[i].has)
	}
	if all != current.done {
		x.violated("the entries of the record have %v, want %v", all, current.done)
	}
	for _, e := range s {
		if e.there && !slices.Contains(head.runs[:], e.name) && !x.goes(w, &head, e.name) {
			x.violated("%v is there, and nobody will ever purge it", e.name)
		}
	}
}

// goes reports whether an entry that the record does not name will be purged.
func (x *explorer) goes(w *world, head *heading, n name) bool {
	if slices.Contains(head.dead[:], n) || head.next == 0 { // or the first to write an entry will find it
		return true
	}
	owned := w.versions[w.revision].owner
	losses := slices.Clone(used(head.losses[:]))
	if owned != 0 {
		losses = append(losses, loss{255, head.next, head.job}) // as whoever claims next
	}
	if orphan(losses, n) {
		return true
	}
	for i := range w.hosts {
		h := &w.hosts[i]
		k := x.tables.keepings.value(h.keeping)
		if h.inc == owned && h.serves && (k.run == n || k.merging == n || slices.Contains(k.dead[:], n) || slices.Contains(k.runs[:], n)) {
			return true
		}
	}
	return slices.ContainsFunc(w.parts[:], func(p part) bool { return p.state == purging && p.name == n })
}
