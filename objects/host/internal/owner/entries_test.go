package owner_test

import (
	"slices"

	"holdfast/objects/host/internal/owner"
)

// A large object is a record, the head, that names entries, as package state has it: every commit writes what it adds as an
// entry of its own, a run, and sends the head that names it when the entry has landed. A merge makes one run of two. What a
// landed head names no more is purged. An owner that finds another one dead collects what that has left behind.
//
// What must hold in every world:
//
//   - the record names entries that are there, and they have what was committed;
//   - a name is never given to two contents;
//   - an entry that is there is named, or will be purged: by whoever owns the object, or by whoever claims it next.
//
// A copy of an entry that is on its way arrives before the entry is purged: what is dead waits for two minutes. That of an
// owner that was lost may arrive at any time.

const (
	maxEntries = 8
	maxRuns    = 4
	maxDead    = 3
	maxLosses  = 2
	maxParts   = 3
)

// name is that of an entry. The zero name is none.
type name struct{ token, number uint8 }

// loss is an owner that was lost, as state.Loss.
type loss struct{ claim, next, job uint8 }

// heading is what a head says of entries.
type heading struct {
	runs      [maxRuns]name // oldest first
	next, job uint8
	dead      [maxDead]name
	losses    [maxLosses]loss // oldest first
}

// store has all entries that were ever sent, in the order of their names.
type store [maxEntries]struct {
	name
	has   content
	there bool
}

// keeping is what a host knows of the entries of an object that it owns.
type keeping struct {
	heading         // as in memory
	folded  uint8   // requests of which runs have the effect
	untidy  bool    // the owner before was lost, and nothing is known of it yet
	sought  bool    // orphans were collected
	cut     heading // of the put under way
	stage   stage   // of the put under way
	run     name    // that is written before it; zero: none
	has     content // of run
	known   [maxDead]name
	merging name // written by the merge under way; zero: none
	merged  content
}

// stage is how far a put is.
type stage uint8

const (
	sent    stage = iota // the head is on its way, or nothing is
	collect              // orphans are to be collected, then the entry is sent
	writing              // the entry is on its way
)

// part is an entry on its way to the store, its answer on the way back, or a purge on its way to the store.
type part struct {
	has   content
	state uint8 // nothing, asked, applied, or purging
	from  uint8 // incarnation
	name
}

const purging = refused + 1

// table gives values small numbers; the zero value has zero.
type table[T comparable] struct {
	all []T
	at  map[T]uint16
}

func (t *table[T]) index(v T) uint16 {
	var zero T
	if v == zero {
		return 0
	}
	i, ok := t.at[v]
	if !ok {
		if t.at == nil {
			t.at = make(map[T]uint16)
		}
		i = uint16(len(t.all) + 1)
		if int(i) != len(t.all)+1 {
			panic("more values than a table takes")
		}
		t.at[v], t.all = i, append(t.all, v)
	}
	return i
}

func (t *table[T]) value(i uint16) (v T) {
	if i > 0 {
		v = t.all[i-1]
	}
	return v
}

type tables struct {
	headings table[heading]
	stores   table[store]
	keepings table[keeping]
}

func (c content) len() (n int) {
	for ; c != 0; c >>= 4 {
		n++
	}
	return n
}

// after returns what c has beyond its first n.
func (c content) after(n uint8) content { return c >> (4 * n) }

func (c content) join(d content) content { return c | d<<(4*c.len()) }

// push adds a value to a list that is full of zeros at its end.
func push[T comparable](list []T, v T) {
	var zero T
	i := slices.Index(list, zero)
	if i < 0 {
		panic("a list is too short")
	}
	list[i] = v
}

// drop takes values off such a list.
func drop[T comparable](list []T, gone ...T) {
	i := 0
	for _, v := range list {
		if !slices.Contains(gone, v) {
			list[i] = v
			i++
		}
	}
	clear(list[i:])
}

func used[T comparable](list []T) []T {
	var zero T
	if i := slices.Index(list, zero); i >= 0 {
		return list[:i]
	}
	return list
}

// orphan reports whether an entry was left behind by an owner that was lost, as state.orphans.
func orphan(losses []loss, n name) bool {
	for _, l := range losses {
		if n.token < l.claim {
			return n.number > l.next || n.number == l.job
		}
	}
	return false
}

// lose adds a loss; the oldest goes.
func (h *heading) lose(l loss) {
	if h.losses[maxLosses-1] != (loss{}) {
		drop(h.losses[:], h.losses[0])
	}
	push(h.losses[:], l)
}

func (x *explorer) cutOf(h *host) uint16 {
	return x.tables.headings.index(x.tables.keepings.value(h.keeping).cut)
}

// keep changes what a host knows.
func (x *explorer) keep(h *host, change func(k *keeping)) {
	k := x.tables.keepings.value(h.keeping)
	change(&k)
	h.keeping = x.tables.keepings.index(k)
}

// open takes what a claimer has read of entries. What an older record has named does not matter: its claim does not land.
func (x *explorer) open(w *world, h *host, revision uint8) {
	found := w.versions[revision]
	k := keeping{}
	if revision == w.revision && !w.purged {
		k.heading = x.tables.headings.value(w.names)
	}
	k.untidy = found.owner != 0 || k.job != 0
	k.cut, k.folded = k.heading, uint8(found.done.len())
	if x.flaw == orphansEarly && k.untidy {
		x.collect(w, func(n name) bool { return orphan([]loss{{255, k.next, k.job}}, n) })
	}
	h.keeping = x.tables.keepings.index(k)
}

// adopt begins to serve.
func (x *explorer) adopt(h *host) {
	if x.large {
		x.keep(h, func(k *keeping) {
			if x.flaw == ownNumbers {
				k.next = 0
			}
			k.known = k.dead
		})
	}
}

// landed notes that the put under way has.
func (x *explorer) landed(h *host) {
	if x.large {
		x.keep(h, func(k *keeping) { k.known, k.run, k.has = k.cut.dead, name{}, 0 })
	}
}

// entryFirst does what is to be done before the pending put is sent, and reports whether it is to wait for that.
func (x *explorer) entryFirst(w *world, h *host, fresh bool) (waits bool) {
	if fresh && (h.serves || h.phase == owner.Releasing && x.flaw != unserved) {
		x.cut(h)
	}
	k := x.tables.keepings.value(h.keeping)
	if k.stage == writing {
		x.sendPart(w, h, k.run, k.has)
	}
	return k.stage != sent && x.flaw != headFirst
}

// cut decides on the heading of a put, as state.Cut does.
func (x *explorer) cut(h *host) {
	x.keep(h, func(k *keeping) {
		last, adds := h.phase == owner.Releasing, h.memory.after(k.folded)
		k.stage, k.run, k.has = sent, name{}, 0
		switch {
		case last && k.untidy && k.next > 0, !last && adds != 0 && (k.untidy || k.next == 0):
			x.happened("owner lost")
			k.lose(loss{h.token, k.next, k.job})
			k.job, k.untidy, k.sought, k.stage = 0, false, true, collect
		case !last && adds != 0 && k.losses[0] != loss{} && !k.sought:
			k.sought, k.stage = true, collect
		}
		if !last && adds != 0 {
			k.next++
			k.run, k.has, k.folded = name{h.token, k.next}, adds, uint8(h.memory.len())
			if x.flaw == epochNames {
				k.run.token = h.head.epoch
			}
			push(k.runs[:], k.run)
			if k.stage == sent {
				k.stage = writing
			}
		}
		k.cut = k.heading
		if x.flaw == lossForgotten {
			k.losses = [maxLosses]loss{}
			k.cut.losses = k.losses
		}
		if x.flaw == noJob && k.merging != (name{}) {
			k.cut.job = 0
		}
	})
}

// sendPart puts a copy of an entry on its way.
func (x *explorer) sendPart(w *world, h *host, n name, has content) {
	x.note("%s writes entry %v: %v", called(h.inc), n, has)
	s := x.tables.stores.value(w.entries)
	at := 0
	for at < len(s) && s[at].name != (name{}) && s[at].name != n {
		at++
	}
	switch {
	case at == len(s):
		panic("more entries than a store can tell")
	case s[at].name == n && s[at].has != has:
		x.violated("the name %v was given twice", n)
	}
	if s[at].name != n {
		s[at].name, s[at].has = n, has
		slices.SortFunc(s[:at+1], func(a, b struct {
			name
			has   content
			there bool
		}) int {
			return (int(a.token)-int(b.token))*256 + int(a.number) - int(b.number)
		})
	}
	w.entries = x.tables.stores.index(s)
	x.onItsWay(w, part{state: asked, from: h.inc, name: n, has: has})
}

// onItsWay adds a part, unless there is one like it, or no room.
func (x *explorer) onItsWay(w *world, p part) {
	if slices.Contains(w.parts[:], p) {
		return
	}
	for i := range w.parts {
		if w.parts[i] == (part{}) {
			w.parts[i] = p
			w.sortParts()
			return
		}
	}
	x.happened("entry lost at once, for lack of room")
}

func (w *world) sortParts() {
	slices.SortFunc(w.parts[:], func(a, b part) int {
		key := func(p part) int {
			return int(p.state)<<32 | int(p.from)<<24 | int(p.token)<<16 | int(p.number)<<8
		}
		return key(b) - key(a) // empty slots last
	})
}

// there changes whether entries are in the store.
func (x *explorer) there(w *world, is bool, which func(name) bool) {
	s := x.tables.stores.value(w.entries)
	for i := range s {
		if s[i].name != (name{}) && which(s[i].name) {
			s[i].there = is
		}
	}
	w.entries = x.tables.stores.index(s)
}

func (x *explorer) collect(w *world, which func(name) bool) {
	before := w.entries
	x.there(w, false, which)
	if w.entries != before {
		x.happened("orphan collected")
		x.note("orphans are collected")
	}
}
