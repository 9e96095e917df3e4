package owner_test

import (
	"fmt"
	"strings"
	"time"

	"holdfast/objects/host/internal/lease"
	"holdfast/objects/host/internal/owner"
)

// A world is everything that the explorer's next move may depend on: small, and
// comparable, so that two ways into the same situation are seen to be one. It has no
// padding, and nor has what it is made of: so it is hashed and compared as plain memory.
type world struct {
	now      uint8
	revision uint8                   // of the record; 0 is none
	versions [maxRevision + 1]record // by revision: what a stale read may still find
	hosts    [2]host
	renewed  [5]uint8 // by incarnation: how often its entry in the bucket of leases was put
	ended    [5]bool  // that a claimer has ended the entry
	flights  [maxFlights]flight
	requests [4]request
	purged   bool  // the tombstone of the last revision is gone
	shown    uint8 // requests whose effect somebody has been shown, by an answer or by a read

	// Of a large object; indices into the explorer's tables.
	names   uint16 // heading of the record as it is
	entries uint16 // store
	parts   [maxParts]part

	doubts, crashes, leaves, renewals, refusals, forgets, merges, late uint8 // how many more there may be
}

const (
	maxRevision = 7
	maxFlights  = 4
	probe       = 4 // the request that no scenario sends: see calm
)

// A record is one object: who owns it, and the requests applied to it, in order.
// A request's answer is the number of its place, as a ticket counter's would be. An
// object that keeps nothing applies its requests all the same, to the world: done stays
// when its record is removed.
type record struct {
	done content
	head
	kept uint8 // requests whose answers are remembered
}

type head struct{ epoch, owner, commit uint8 }

// A host is one process, in its present incarnation (0: it is gone for good).
type host struct {
	memory          content // what events see
	bytes           content // what the last put carries
	keeping         uint16  // of a large object; an index into the explorer's table
	inc             uint8
	until           uint8 // its lease.Term, as a tick; 0 is the zero Term
	renewal, sent   uint8 // the renewal under way and when it was sent
	since           uint8 // its lease.Watch
	seen            [5]sighting
	phase           owner.Phase
	head            head
	revision, token uint8
	pending         head
	expect          uint8
	dirty, leaving  bool
	resent          bool
	told            bool  // to leave; Step has leaving for it
	serves          bool  // memory is in use
	unproven        bool  // not put since its lease has become valid again
	vouched         bool  // the put under way was made since then
	reads           uint8 // asked for and not answered
	held, covered   uint8 // requests whose answers wait: for the next put, for this one
	kept, carried   uint8 // requests whose answers are remembered: in memory, by the last put
	low             uint8 // requests that are known to be waited for no longer
	aged            bool  // no copy of a request is under way that was sent before its claim
}

type sighting struct {
	revision, at uint8
	ended        bool
}

// The states of a renewal, and of a flight.
const (
	nothing uint8 = iota
	asked         // on its way to the store
	applied       // in the store; the answer is on its way
	full          // not in the store, which takes no such put; the answer is on its way
	refused       // not in the store; the answer is on its way
)

// A flight is one copy of a put on its way to the store, or its answer on its way back.
type flight struct {
	done     content
	names    uint16 // heading; an index into the explorer's table
	revision uint16 // at which it landed; wide for want of padding
	state    uint8
	from     uint8 // incarnation
	deaf     bool  // nobody waits for the answer any more
	head     head
	expect   uint8
	kept     uint8
}

// rank orders flights; an empty slot has 0, the lowest.
func (f *flight) rank() uint64 {
	deaf := uint64(0)
	if f.deaf {
		deaf = 1
	}
	return uint64(f.names)<<60 ^ uint64(f.state)<<56 | uint64(f.from)<<48 | uint64(f.expect)<<40 | uint64(f.head.commit)<<32 |
		uint64(f.head.epoch)<<24 | uint64(f.done)<<8 | uint64(f.kept)<<52 | uint64(f.revision)<<4 | uint64(f.head.owner)<<1 | deaf
}

// A request is what a gateway knows of one of its requests.
type request struct {
	at     uint8 // the incarnation that it was last sent to
	tries  uint8
	number uint8 // the answer, 0 for none
	open   bool  // the fate of an earlier try is not known
	denied bool  // every try is known not to have happened
	over   bool  // the gateway does not wait any longer

	late  uint8 // 1 + the token that a copy names which is still on its way; 0: there is none
	older uint8 // the hosts, a bit each, whose claims came after that copy was sent
}

// content is request ids in the order in which they were applied, a nibble each.
type content uint16

func (c content) add(id uint8) content {
	for shift := 0; shift < 16; shift += 4 {
		if c>>shift&15 == 0 {
			return c | content(id)<<shift
		}
	}
	panic("more requests than a content can tell")
}

// place returns where id stands, from 1, or 0.
func (c content) place(id uint8) uint8 {
	for place := uint8(1); c != 0; place, c = place+1, c>>4 {
		if uint8(c&15) == id {
			return place
		}
	}
	return 0
}

// follows reports whether c is before, and perhaps more after that.
func (c content) follows(before content) bool {
	for ; before != 0; before, c = before>>4, c>>4 {
		if before&15 != c&15 {
			return false
		}
	}
	return true
}

func (c content) twice(id uint8) bool {
	place := c.place(id)
	return place != 0 && (c>>(4*place)).place(id) != 0
}

func (c content) mask() (mask uint8) {
	for ; c != 0; c >>= 4 {
		mask |= 1 << (c & 15)
	}
	return mask
}

func (c content) String() string {
	var ids []string
	for ; c != 0; c >>= 4 {
		ids = append(ids, fmt.Sprint(uint16(c&15)))
	}
	return "[" + strings.Join(ids, " ") + "]"
}

func ids(mask uint8) string {
	var c content
	for id := uint8(1); id <= probe; id++ {
		if mask&(1<<id) != 0 {
			c = c.add(id)
		}
	}
	return c.String()
}

// Incarnations: 1 and 2 are the hosts' first lives, 3 and 4 their second ones.
var names = [...]string{"", "a1", "b1", "a2", "b2"}

// called is an incarnation as notes name it. To hand it over as an any allocates nothing, whether or not notes are kept.
type called uint8

func (c called) String() string { return names[c] }

func number(name string) uint8 {
	for i, n := range names {
		if n == name {
			return uint8(i)
		}
	}
	panic("no incarnation " + name)
}

func (h head) real() owner.Head {
	return owner.Head{Epoch: uint64(h.epoch), Owner: names[h.owner], Commit: uint64(h.commit)}
}

func small(h owner.Head) head { return head{uint8(h.Epoch), number(h.Owner), uint8(h.Commit)} }

func (h head) String() string {
	return fmt.Sprintf("{epoch %d, owner %q, commit %d}", h.epoch, names[h.owner], h.commit)
}

// state returns the host's as Step wants it; the other way is keep.
func (h *host) state() owner.State {
	s := owner.State{
		Phase: h.phase, Head: h.head.real(), Revision: uint64(h.revision), Token: uint64(h.token),
		Dirty: h.dirty, Leaving: h.leaving, Resent: h.resent,
	}
	if h.pending != (head{}) {
		s.Pending = owner.Put{Head: h.pending.real(), Expect: uint64(h.expect)}
	}
	return s
}

func (h *host) keep(s owner.State) {
	h.phase, h.head, h.revision, h.token = s.Phase, small(s.Head), uint8(s.Revision), uint8(s.Token)
	h.pending, h.expect = small(s.Pending.Head), uint8(s.Pending.Expect)
	h.dirty, h.leaving, h.resent = s.Dirty, s.Leaving, s.Resent
}

func (h *host) waits() bool { return h.pending != (head{}) }

// Ticks are seconds of a day long ago.
var epoch = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)

func at(tick uint8) time.Time { return epoch.Add(time.Duration(tick) * time.Second) }

func tick(t time.Time) uint8 { return uint8(t.Sub(epoch) / time.Second) }

// term returns the host's trust in its lease, as package lease has it.
func (h *host) term(timing lease.Timing) lease.Term {
	if h.until == 0 {
		return lease.Term{}
	}
	return lease.Term{}.Renewed(at(h.until).Add(timing.Margin-timing.TTL), at(0), timing)
}

func (h *host) holds(now uint8, timing lease.Timing) bool { return h.term(timing).Valid(at(now)) }

// watch returns what the host has seen of one incarnation, as package lease has it.
func (h *host) watch(inc uint8) *lease.Watch {
	w := lease.NewWatch(at(h.since))
	switch s := h.seen[inc]; {
	case s.ended:
		w.Ended(names[inc])
	case s.revision > 0:
		w.Saw(names[inc], uint64(s.revision), at(s.at))
	}
	return w
}

// saw notes that the host has read, or been told of, the entry as it is.
func (h *host) saw(inc uint8, w *world) {
	if s := &h.seen[inc]; !s.ended && !w.ended[inc] && w.renewed[inc] > s.revision {
		*s = sighting{revision: w.renewed[inc], at: w.now}
	}
}

// current returns the revision that a read would now find, and a put has to expect.
func (w *world) current() uint8 {
	if w.purged {
		return 0
	}
	return w.revision
}

// mirror returns the world in which each host has the name of the other: a1 is b1. Hosts that have been restarted have
// no mirror image.
func (w *world) mirror() world {
	other := [5]uint8{0, 2, 1}
	m := *w
	m.hosts[0], m.hosts[1] = w.hosts[1], w.hosts[0]
	for i := range m.hosts {
		h := &m.hosts[i]
		h.inc, h.head.owner, h.pending.owner = other[h.inc], other[h.head.owner], other[h.pending.owner]
		h.seen[1], h.seen[2] = h.seen[2], h.seen[1]
	}
	for i := range m.versions {
		m.versions[i].owner = other[m.versions[i].owner]
	}
	m.renewed[1], m.renewed[2] = w.renewed[2], w.renewed[1]
	m.ended[1], m.ended[2] = w.ended[2], w.ended[1]
	for i := range m.flights {
		f := &m.flights[i]
		f.from, f.head.owner = other[f.from], other[f.head.owner]
	}
	m.sortFlights()
	for i := range m.requests {
		r := &m.requests[i]
		r.at, r.older = other[r.at], r.older>>1&1|r.older<<1&2
	}
	for i := range m.parts {
		m.parts[i].from = other[m.parts[i].from]
	}
	m.sortParts()
	return m
}

// rank orders hosts by some of what is not their names.
func (h *host) rank() uint64 {
	return uint64(h.phase)<<56 | uint64(h.revision)<<48 | uint64(h.until)<<40 | uint64(h.sent)<<32 | uint64(h.memory)<<16 | uint64(h.renewal)<<12 | uint64(h.expect)<<8 | uint64(h.token)
}

// tidy makes worlds equal that cannot be told apart by anything that comes later.
func (w *world) tidy(fenced bool) {
	for i := range w.hosts {
		h := &w.hosts[i]
		if h.until != 0 && h.until <= w.now {
			h.until = 1 // over is over
		}
		if !h.waits() {
			h.bytes, h.carried = 0, 0 // of a put that is not under way
		}
	}
	for id := range w.requests {
		r := &w.requests[id]
		for i := range w.hosts {
			if h := &w.hosts[i]; r.late == 0 || !h.serves || h.aged {
				r.older &^= 1 << i
			}
		}
	}
	for i := range w.flights {
		f := &w.flights[i]
		if f.state == nothing {
			continue
		}
		f.deaf = f.deaf || w.hosts[0].inc != f.from && w.hosts[1].inc != f.from
		if f.deaf && (f.state != asked || fenced && f.expect != 0 && f.expect < w.revision) {
			*f = flight{} // an answer to nobody, or a put that cannot land any more
		}
	}
	w.sortFlights()
}

// sortFlights puts the highest first, and with that the empty slots last.
func (w *world) sortFlights() {
	var ranks [maxFlights]uint64
	for i := range w.flights {
		if w.flights[i].state != nothing {
			ranks[i] = w.flights[i].rank()
		}
	}
	for i := 1; i < len(ranks); i++ {
		for j := i; j > 0 && ranks[j] > ranks[j-1]; j-- {
			ranks[j], ranks[j-1] = ranks[j-1], ranks[j]
			w.flights[j], w.flights[j-1] = w.flights[j-1], w.flights[j]
		}
	}
}
