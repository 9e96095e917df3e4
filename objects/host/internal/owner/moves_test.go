package owner_test

import (
	"fmt"

	"holdfast/objects/host/internal/lease"
	"holdfast/objects/host/internal/owner"
)

// A scenario bounds a world. The zero flaw is the real thing.
type scenario struct {
	name             string
	flaw             flaw
	timing           lease.Timing
	fresh            bool  // the hosts' first renewals are still on their way
	lapse            bool  // a lease that has lapsed may become valid again
	unseen           bool  // the second host has not seen the first one's lease
	restart          bool  // the first host comes back, once, as a new incarnation
	calm             bool  // from every state, see that a calm world would serve
	ticks, revisions uint8 // how far time and the record may go
	requests, tries  uint8 // how many, and how often each may be sent
	doubts, crashes  uint8 // how many there may be
	leaves, renewals uint8
	forgets          uint8 // how often the bucket of leases forgets who was ended, as one that is restored does
	refusals         uint8 // of puts that the store does not take
	stale            uint8 // how many revisions a read may be behind
	late             uint8 // copies of requests that may be delayed
	empty            bool  // the object keeps nothing but answers
	refuses          bool  // the object may refuse a request
	large            bool  // every commit writes an entry before the record that names it
	merges           uint8 // of entries
}

// A flaw is one thing that a host, or the store, gets wrong.
type flaw string

const (
	noFence          flaw = "no fence"
	fromReply        flaw = "lease counted from the reply"
	replyFirst       flaw = "reply before acknowledgement"
	timeoutIsFailure flaw = "a timeout taken for a failure"
	noKeys           flaw = "requests are not recognised in the record"
	noConfirm        flaw = "a claimer trusts a watch that may be behind"
	comesBack        flaw = "a lease that has ended is renewed"
	noProof          flaw = "a lease that is valid again is taken for a proof"
	oldProof         flaw = "a put from before the lapse is taken for a proof"
	allCopies        flaw = "a refusal of one copy taken for all"
	emptyForgets     flaw = "a record is removed with answers in it"
	oneRefusal       flaw = "a request was refused, while another copy of it is on its way"
	anyOwner         flaw = "an owner runs what was sent to another"
	youngTrusts      flaw = "a new owner runs what was sent to nobody"
	onlyAnswers      flaw = "an owner forgets an answer, and that nobody waits for it"
	ageless          flaw = "the first owner after a removal runs what was sent to nobody"

	headFirst     flaw = "the head is sent before its entry has landed"
	epochNames    flaw = "names have the epoch instead of the token"
	ownNumbers    flaw = "numbers begin anew with every claim"
	mergeNumber   flaw = "a merge takes the number of the next run"
	purgeFirst    flaw = "entries are purged before the head has landed that names them no more"
	orphansAll    flaw = "what the claimed head does not name is an orphan, whoever has written it"
	orphansEarly  flaw = "orphans are collected before the claim has landed"
	noJob         flaw = "the head does not tell of the merge under way"
	unserved      flaw = "a claim that is released unserved does not tell of the owner that was lost before"
	lossForgotten flaw = "owners that were lost are forgotten with the next head"
)

// An explorer makes a world's moves and says what each of them breaks.
type explorer struct {
	scenario
	tables  *tables            // of large objects
	judged  map[judgement]bool // who is dead
	count   map[string]int     // how often what happened; nil counts nothing
	emit    func(world)
	broken  string   // by the present move
	tracing bool     // keep notes
	notes   []string // of the present move
}

func (x *explorer) note(format string, args ...any) {
	if x.tracing {
		x.notes = append(x.notes, fmt.Sprintf(format, args...))
	}
}

func (x *explorer) violated(format string, args ...any) {
	if x.broken == "" {
		x.broken = fmt.Sprintf(format, args...)
	}
}

func (x *explorer) start() world {
	w := world{doubts: x.doubts, crashes: x.crashes, leaves: x.leaves, renewals: x.renewals, refusals: x.refusals, forgets: x.forgets, merges: x.merges, late: x.late}
	for i := range w.hosts {
		h := &w.hosts[i]
		*h = x.life(uint8(i+1), 0)
		if !x.fresh {
			h.renewal, h.until = nothing, tick(lease.Term{}.Renewed(at(0), at(0), x.timing).Until())
			w.renewed[i+1] = 1
			if i == 0 || !x.unseen {
				h.seen[2-i] = sighting{revision: 1} // the other host's entry
			}
		}
	}
	return w
}

// life returns a new incarnation, which has just asked for its lease.
func (x *explorer) life(inc, now uint8) host {
	return host{inc: inc, since: now, renewal: asked, sent: now}
}

// done hands over the world that a move has made.
func (x *explorer) done(w *world) {
	w.tidy(x.flaw != noFence)
	x.check(w)
	x.emit(*w)
	x.broken, x.notes = "", nil
}

// moves makes every move that w allows, each on its own copy.
func (x *explorer) moves(w world) {
	if next := w; w.now < x.ticks {
		next.now++
		x.note("a tick passes")
		x.done(&next)
	}
	for i := range w.hosts {
		if w.hosts[i].inc != 0 {
			x.leaseMoves(w, i)
			x.hostMoves(w, i)
			x.requestMoves(w, i)
			x.copyMoves(w, i)
		}
	}
	for i := range w.flights {
		x.flightMoves(w, i)
	}
	if x.large {
		x.entryMoves(w)
	}
	if next := w; w.forgets > 0 && w.ended != ([5]bool{}) {
		next.forgets--
		next.ended = [5]bool{}
		x.note("the bucket of leases forgets who was ended")
		x.done(&next)
	}
	if x.late > 0 {
		x.gatewayMoves(w)
	}
	if next := w; w.revision > 0 && w.versions[w.revision].head == (head{}) && !w.purged {
		next.purged = true
		for id := range next.requests {
			next.requests[id].late = 0 // no copy lives as long
		}
		x.note("the record's tombstone expires")
		x.done(&next)
	}
}

func (x *explorer) leaseMoves(w world, i int) {
	now := &w.hosts[i]
	switch next := w; now.renewal {
	case nothing:
		if w.renewals > 0 && now.sent < w.now {
			next.renewals--
			next.hosts[i].renewal, next.hosts[i].sent = asked, w.now
			x.note("%s sends a renewal of its lease", called(now.inc))
			x.done(&next)
		}
	case asked:
		if w.ended[now.inc] {
			x.note("%s learns from its renewal that it was ended", called(now.inc))
			x.lose(next, i)
			break
		}
		for _, noticed := range []bool{true, false} {
			next = w
			next.hosts[i].renewal = applied
			next.renewed[now.inc]++
			x.note("%s's renewal is stored", called(now.inc))
			if other := &next.hosts[1-i]; noticed && other.inc != 0 {
				other.saw(now.inc, &next)
				x.note("%s sees it", called(other.inc))
			}
			x.done(&next)
		}
		next = w
		next.hosts[i].renewal = nothing
		x.note("%s's renewal is lost", called(now.inc))
		x.done(&next)
	case applied:
		x.acknowledge(&next, &next.hosts[i])
		x.done(&next)
		next = w
		next.hosts[i].renewal = nothing
		x.note("the answer to %s's renewal is lost", called(now.inc))
		x.done(&next)
	}
	if now.until != 0 && !now.holds(w.now, x.timing) {
		x.note("%s sees that its lease is over", called(now.inc))
		x.lose(w, i)
	}
}

// lose ends an incarnation whose lease is lost.
func (x *explorer) lose(w world, i int) {
	now := w.hosts[i]
	x.step(&w, i, owner.Lapsed{}, record{})
	x.happened("lease lapsed")
	w.hosts[i] = x.again(&now, w.now, func(life *host) {
		life.since, life.seen = now.since, now.seen
		life.seen[now.inc] = sighting{ended: true}
	})
	x.done(&w)
}

// acknowledge gives a holder the answer to its renewal. A lease that has ended
// stays ended, whatever answers arrive: somebody may have acted on its end.
func (x *explorer) acknowledge(w *world, h *host) {
	h.renewal = nothing
	sent := h.sent
	lapsed := h.until != 0 && !h.holds(w.now, x.timing)
	switch {
	case x.lapse && lapsed:
		x.resume(w, h)
		return
	case x.flaw == fromReply:
		sent = w.now
	case x.flaw != comesBack && lapsed:
		x.note("%s's renewal is acknowledged too late", called(h.inc))
		return
	}
	noticed := at(w.now)
	if x.flaw == comesBack {
		noticed = at(0) // as if the end had not been
	}
	h.until = tick(h.term(x.timing).Renewed(at(sent), noticed, x.timing).Until())
	x.note("%s's renewal is acknowledged, trusted until tick %d", called(h.inc), h.until)
}

// resume is what a renewal does to a lease that has lapsed.
func (x *explorer) resume(w *world, h *host) {
	term := lease.Term{}.Renewed(at(h.sent), at(w.now), x.timing)
	if !term.Valid(at(w.now)) {
		x.note("%s's renewal is acknowledged too late", called(h.inc))
		return
	}
	h.until = tick(term.Until())
	x.note("%s's lease is valid again, until tick %d", called(h.inc), h.until)
	x.happened("lease resumed")
	h.unproven, h.vouched = h.phase != owner.Free && x.flaw != noProof, x.flaw == oldProof
}

// again returns the host's next life, or none.
func (x *explorer) again(h *host, now uint8, knows func(*host)) host {
	if !x.restart || h.inc != 1 {
		return host{}
	}
	life := x.life(h.inc+2, now)
	knows(&life)
	return life
}

func (x *explorer) hostMoves(w world, i int) {
	now := &w.hosts[i]
	name := names[now.inc]
	if now.phase == owner.Free && now.holds(w.now, x.timing) && w.revision < x.revisions {
		next := w
		x.note("%s is asked to own the object", name)
		x.step(&next, i, owner.Want{}, record{})
		x.done(&next)
	}
	if now.waits() && now.reads == 0 && w.doubts > 0 {
		next := w
		next.doubts--
		x.note("%s waits no longer for an answer to its put", name)
		x.doubt(&next, i)
		x.done(&next)
	}
	if now.unproven && now.phase == owner.Serving && !now.dirty && (!now.waits() || !now.vouched) && now.holds(w.now, x.timing) {
		next := w
		x.note("%s is to prove that the object is its own", name)
		x.step(&next, i, owner.Changed{}, record{})
		x.done(&next)
	}
	if w.crashes > 0 {
		next := w
		next.crashes--
		x.note("%s crashes", name)
		x.happened("crash")
		next.hosts[i] = x.again(now, w.now, func(*host) {})
		x.done(&next)
	}
	if w.leaves > 0 && !now.told && (now.phase == owner.Reading || now.phase == owner.Claiming || now.phase == owner.Serving) {
		next := w
		next.leaves--
		next.hosts[i].told = true
		x.note("%s is told to let go", name)
		x.abandon(&next, i) // no merge is under way when an object is let go of
		x.step(&next, i, owner.Leave{}, record{})
		x.done(&next)
	}
	if now.reads > 0 {
		oldest := uint8(max(0, int(w.revision)-int(x.stale)))
		for revision := oldest; revision <= w.revision; revision++ {
			next := w
			x.read(&next, i, revision)
			x.done(&next)
		}
		if next := w; w.purged && oldest > 0 {
			x.read(&next, i, w.current())
			x.done(&next)
		}
	}
}

// read answers a host's read with the record as it is, or as it once was.
func (x *explorer) read(w *world, i int, revision uint8) {
	h := &w.hosts[i]
	h.reads--
	found := w.versions[revision]
	if revision == 0 && w.purged {
		found.done = w.versions[w.revision].done
	}
	live := false
	if found.owner != 0 && found.owner != h.inc {
		if x.flaw != noConfirm {
			h.saw(found.owner, w)
		}
		live = !x.dead(h, found.owner, w.now)
		w.ended[found.owner] = w.ended[found.owner] || x.lapse && !live
	}
	if x.tracing {
		x.note("%s reads revision %d: %v %v, live %t", called(h.inc), revision, found.head, found.done, live)
	}
	before := *h
	if x.large && (h.phase == owner.Reading || h.phase == owner.Claiming) {
		x.open(w, h, revision)
	}
	do := x.step(w, i, owner.Read{Found: owner.Found{Head: found.real(), Revision: uint64(revision)}, Live: live}, found)
	x.resolved(&before, do)
}

// judgement is what a host's judgement of an incarnation depends on.
type judgement struct {
	inc, since, now uint8
	seen            sighting
}

// dead reports whether a host takes an incarnation for dead. Each judgement is asked for once.
func (x *explorer) dead(h *host, inc, now uint8) bool {
	on := judgement{inc, h.since, now, h.seen[inc]}
	dead, known := x.judged[on]
	if !known {
		dead = h.watch(inc).Dead(names[inc], x.timing, at(now))
		x.judged[on] = dead
	}
	return dead
}

// resolved counts what reading the record has told about a put in doubt.
func (x *explorer) resolved(before *host, do []owner.Do) {
	if !before.waits() || len(do) == 0 {
		return
	}
	switch d := do[0].(type) {
	case owner.Serve, owner.Committed:
		x.happened("doubt resolved: landed")
	case owner.Send:
		if d.Put == before.state().Pending {
			x.happened("doubt resolved: sent again")
		} else {
			x.happened("claimed anew")
		}
	case owner.ReadRecord:
		x.happened("stale read recognised")
	}
}

func (x *explorer) doubt(w *world, i int) {
	h := &w.hosts[i]
	if x.flaw == timeoutIsFailure && h.phase == owner.Serving {
		x.deny(w, h, h.covered|h.held)
		x.stop(w, h)
		return
	}
	x.step(w, i, owner.Doubt{}, record{})
}

func (x *explorer) requestMoves(w world, i int) {
	h := &w.hosts[i]
	if h.phase != owner.Serving {
		return
	}
	for id := uint8(1); id <= x.requests; id++ {
		r := w.requests[id-1]
		if r.tries >= x.tries || r.over {
			continue
		}
		next := w
		x.request(&next, i, id)
		x.done(&next)
		if x.refuses && h.kept&(1<<id) == 0 {
			next := w
			x.sent(&next, i, id)
			next.requests[id-1].denied = !next.requests[id-1].open
			x.note("the object refuses request %d", id)
			x.happened("refused by the object")
			x.done(&next)
		}
		if w.late > 0 && r.late == 0 {
			for _, named := range []uint8{0, h.token} {
				next := w
				next.late--
				x.delayed(&next, id, named)
				x.done(&next)
			}
		}
	}
}

// sent notes that a request is sent to a host that serves, for the first time or again.
func (x *explorer) sent(w *world, i int, id uint8) {
	h, r := &w.hosts[i], &w.requests[id-1]
	r.open = r.open || r.tries > 0 && !r.denied && (x.flaw != oneRefusal || r.late == 0)
	r.at, r.denied = h.inc, false
	r.tries++
	x.note("request %d is sent to %s", id, called(h.inc))
}

// request sends a request to a host that serves.
func (x *explorer) request(w *world, i int, id uint8) {
	x.sent(w, i, id)
	x.handle(w, i, id)
}

// delayed sends a copy of a request that names the owner with the token, 0 for none, and
// stays on its way. Nobody knows its fate.
func (x *explorer) delayed(w *world, id, named uint8) {
	r := &w.requests[id-1]
	r.open = r.open || r.tries > 0 && !r.denied
	r.at, r.denied = 0, false
	r.tries++
	r.late, r.older = named+1, 0
	x.note("request %d is sent, for owner %d, and is delayed", id, named)
}

// handle has a host that serves recognise a request, or run it.
func (x *explorer) handle(w *world, i int, id uint8) {
	h := &w.hosts[i]
	switch base := w.versions[h.revision].done; {
	case h.kept&(1<<id) == 0 || x.flaw == noKeys:
		h.memory = h.memory.add(id)
		h.kept |= 1 << id
		h.held |= 1 << id
		x.step(w, i, owner.Changed{}, record{})
	case base.place(id) != 0:
		x.happened("request recognised in the record")
		x.answer(w, h, id, base.place(id))
	case h.waits() && h.bytes.place(id) != 0:
		h.covered |= 1 << id
	default:
		h.held |= 1 << id
	}
}

// copyMoves are those of a host that hears a copy late, and of what it knows of requests.
func (x *explorer) copyMoves(w world, i int) {
	h := &w.hosts[i]
	if x.late == 0 || h.phase != owner.Serving {
		return
	}
	for id := uint8(1); id <= x.requests; id++ {
		r := w.requests[id-1]
		if r.late != 0 {
			next := w
			x.arriveLate(&next, i, id)
			x.done(&next)
		}
		if r.over && h.low&(1<<id) == 0 {
			next := w
			if x.flaw != onlyAnswers {
				next.hosts[i].low |= 1 << id
			}
			next.hosts[i].kept &^= 1 << id
			x.note("%s learns that nobody waits for request %d", called(h.inc), id)
			x.happened("low raised")
			x.done(&next)
		}
		if r.over && r.late == 0 && h.kept&(1<<id) != 0 {
			next := w
			next.hosts[i].kept &^= 1 << id
			x.note("the answer to request %d expires at %s", id, called(h.inc))
			x.happened("answer expired")
			x.done(&next)
		}
	}
	if !h.aged {
		next := w
		next.hosts[i].aged = true
		for id := range next.requests {
			if r := &next.requests[id]; r.older&(1<<i) != 0 {
				r.late = 0 // no copy lives for a minute
			}
		}
		x.note("%s has owned the object for a minute", called(h.inc))
		x.happened("a minute passed")
		x.done(&next)
	}
}

// arriveLate brings a delayed copy to a host that serves.
func (x *explorer) arriveLate(w *world, i int, id uint8) {
	h, r := &w.hosts[i], &w.requests[id-1]
	named := r.late - 1
	r.late = 0
	x.note("a copy of request %d, for owner %d, reaches %s", id, named, called(h.inc))
	mine := named == h.token || named == 0 && h.aged || x.flaw == anyOwner || x.flaw == youngTrusts && named == 0
	switch {
	case h.low&(1<<id) != 0:
		x.happened("late copy dropped")
	case h.kept&(1<<id) == 0 && !mine:
		x.happened("late copy told to ask another owner")
	default:
		x.happened("late copy handled")
		x.handle(w, i, id)
	}
}

// gatewayMoves has the gateway wait no longer: its client has been told what is known.
func (x *explorer) gatewayMoves(w world) {
	for id := range w.requests {
		if r := &w.requests[id]; r.tries > 0 && !r.over {
			next := w
			next.requests[id].over = true
			x.note("nobody waits for request %d any longer", id+1)
			x.done(&next)
		}
	}
}

func (x *explorer) flightMoves(w world, i int) {
	switch f := w.flights[i]; f.state {
	case asked:
		next := w
		if x.arrive(&next, i) {
			x.done(&next)
		}
		if next = w; w.refusals > 0 {
			next.refusals--
			next.flights[i].state = full
			x.note("the store is full and refuses %s's put %v %v", called(f.from), f.head, f.done)
			x.done(&next)
		}
	case applied, refused, full:
		for h := range w.hosts {
			if w.hosts[h].inc == f.from {
				next := w
				x.deliver(&next, i, h)
				x.done(&next)
			}
		}
	}
}

// arrive lets the store judge a put; it is false where the record may go no further.
func (x *explorer) arrive(w *world, i int) bool {
	f := &w.flights[i]
	if f.expect != w.current() && x.flaw != noFence {
		f.state = refused
		x.note("%s's put %v %v, expecting %d, is refused", called(f.from), f.head, f.done, f.expect)
		return true
	}
	if w.revision == x.revisions {
		return false
	}
	if x.flaw != noFence { // that must be caught by what clients see
		x.order(w.versions[w.revision].head, f)
	}
	if before := w.versions[w.revision].done; x.empty && !f.done.follows(before) {
		f.done = before // who has read a removed record does not know what was applied, which stays
	}
	w.revision++
	w.purged = false
	if f.head.owner != 0 || f.done != 0 && !x.empty || f.kept != 0 && x.flaw != emptyForgets {
		w.versions[w.revision] = record{f.done, f.head, f.kept}
	} else {
		w.versions[w.revision].done = f.done
		x.happened("record removed") // given up with nothing in it: what is left is a tombstone
	}
	f.state, f.revision = applied, uint16(w.revision)
	w.names = f.names
	if x.tracing {
		x.note("%s's put %v %v, expecting %d, lands as revision %d", called(f.from), f.head, f.done, f.expect, w.revision)
	}
	return true
}

// deliver brings a host the answer to its put.
func (x *explorer) deliver(w *world, i, to int) {
	f := w.flights[i]
	w.flights[i] = flight{}
	if f.state == refused {
		x.note("%s learns that its put was refused", called(f.from))
		x.step(w, to, owner.Stale{}, record{})
		return
	}
	put := owner.Put{Head: f.head.real(), Expect: uint64(f.expect)}
	if f.state == full {
		x.note("%s learns that the store takes no such put", called(f.from))
		x.step(w, to, owner.Refused{Put: put}, record{})
		return
	}
	x.note("%s learns that its put has landed as revision %d", called(f.from), f.revision)
	x.step(w, to, owner.Landed{Put: put, Revision: uint64(f.revision)}, record{})
}
