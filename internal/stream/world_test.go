package stream

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A world is everything that the explorer's next move may depend on, and what the
// judge has to remember.
type world struct {
	record record
	term   *term  // nil: nobody owns the object
	token  uint64 // of the newest claim
	gates  [2]gate
	socks  [3]sock
	bag    []msg // on their way, sorted, each once: what is sent again while it is on its way changes nothing

	events  []event // all that any owner has run
	trouble bool    // something has happened for which sockets may close

	frames, closes, deaths, gateDeaths, giveUps, hastes, drains, doubts, calls uint8 // how many more there may be
}

type record struct {
	entries []Entry
	opened  uint8 // sockets of which an answer is remembered
}

// A term is an owner.
type term struct {
	s        *Sender
	commit   uint64 // newest known to have landed
	pending  *put
	dirty    uint16 // events that wrote, and that no put has yet
	opened   uint8
	draining bool
	waits    *value // nil: nothing
}

// A value is what a frame's event has sent to sockets that asked for conflated values,
// and that waits for its tick. It does not change.
type value struct {
	id, receivers uint8 // the event, and the sockets
	ack           Slot  // whose frame is acknowledged with it; 0: that was done
	frame         uint8
}

type put struct {
	record record
	events uint16
}

type gate struct {
	alive bool
	r     *Receiver
}

// A sock is a socket and its client.
type sock struct {
	gate     int
	phase    phase
	writes   [4]bool // whether frame i+1 writes
	received uint16  // events
	newest   int8    // of received
}

type phase uint8

const (
	absent phase = iota
	wished
	talking // the client is connected
	over
)

// An event is one thing that an owner has run.
type event struct {
	receivers, opens, ends uint8
	sock, frame            uint8 // the frame that it handled, if frame is not 0
	wrote, durable         bool
	seen                   uint8 // gates at which something of it has arrived
}

// Messages.
const (
	mPush uint8 = 1 + iota
	mProbe
	mWhich
	mHeld
	mAck
	mResend
	mFrame
	mUpgrade
	mRefuse
	mUnknown
)

type msg struct {
	kind  uint8
	gate  uint8
	slot  Slot
	flag  bool // of a probe: quiet; of a frame: the last
	token uint64
	seq   uint64
	data  string // of a push and of an answer
}

func (m msg) String() string {
	names := [...]string{"", "push", "probe", "which", "held", "ack", "resend", "frame", "upgrade", "refusal", "unknown"}
	s := fmt.Sprintf("%s g%d", names[m.kind], m.gate)
	switch m.kind {
	case mPush:
		p := readPush(m.seq, m.data)
		return fmt.Sprintf("%s t%d #%d kind %d slots %v heads %v body %v", s, m.token, m.seq, p.Kind, p.Slots, p.Heads, p.Body)
	case mHeld:
		return fmt.Sprintf("%s t%d %+v", s, m.token, readAnswer(m.data))
	}
	return fmt.Sprintf("%s t%d s%d %d %t", s, m.token, m.slot, m.seq, m.flag)
}

func (m msg) compare(n msg) int {
	flag := func(m msg) int {
		if m.flag {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(m.kind, n.kind), cmp.Compare(m.gate, n.gate), cmp.Compare(m.token, n.token),
		cmp.Compare(m.slot, n.slot), cmp.Compare(m.seq, n.seq), flag(m)-flag(n), cmp.Compare(m.data, n.data))
}

func (w *world) put(m msg) {
	i, found := slices.BinarySearchFunc(w.bag, m, msg.compare)
	if !found {
		w.bag = slices.Insert(w.bag, i, m)
	}
}

func (w *world) prune(drop func(msg) bool) { w.bag = slices.DeleteFunc(w.bag, drop) }

type buf []byte

func (b *buf) u(v ...uint64) {
	for _, v := range v {
		*b = binary.AppendUvarint(*b, v)
	}
}

func (b *buf) flag(v ...bool) {
	for _, v := range v {
		if v {
			*b = append(*b, 1)
		} else {
			*b = append(*b, 0)
		}
	}
}

func (b *buf) slots(s []Slot) {
	b.u(uint64(len(s)))
	for _, s := range s {
		b.u(uint64(s))
	}
}

func (b *buf) headList(hs []Head) {
	b.u(uint64(len(hs)))
	byGateway := func(a, b Head) int { return cmp.Compare(a.Gateway, b.Gateway) }
	if !slices.IsSortedFunc(hs, byGateway) { // mostly they are
		hs = slices.SortedFunc(slices.Values(hs), byGateway)
	}
	for _, h := range hs {
		b.u(uint64(h.Gateway), h.Seq)
	}
}

func (b *buf) positions(ps []Position) {
	b.u(uint64(len(ps)))
	for i := range ps {
		b.position(&ps[i])
	}
}

func (b *buf) position(p *Position) {
	b.u(p.Token, p.Received)
	b.headList(p.Heads)
}

// sorted appends the keys of a map to what has room for them.
func sorted[T any](room []Slot, m map[Slot]T) []Slot {
	for slot := range m {
		room = append(room, slot)
	}
	slices.Sort(room)
	return room
}

type reader string

func (r *reader) u() uint64 {
	v, n := binary.Uvarint([]byte(*r))
	*r = (*r)[n:]
	return v
}

func (r *reader) headList() (hs []Head) {
	for range r.u() {
		hs = append(hs, Head{Mark(r.u()), r.u()})
	}
	return hs
}

func writePush(p Push) string {
	var b buf
	b.u(uint64(p.Kind))
	b.slots(p.Slots)
	b.headList(p.Heads)
	return string(append(b, p.Body...))
}

func readPush(seq uint64, data string) Push {
	r := reader(data)
	p := Push{Seq: seq, Kind: Kind(r.u())}
	for range r.u() {
		p.Slots = append(p.Slots, Slot(r.u()))
	}
	p.Heads = r.headList()
	p.Body = []byte(r)
	return p
}

func writeAnswer(a Answer) string {
	var b buf
	b.positions(a.Positions)
	for _, s := range a.Sockets {
		b.u(uint64(s.Slot), s.Acked)
	}
	return string(b)
}

func readAnswer(data string) (a Answer) {
	r := reader(data)
	for range r.u() {
		a.Positions = append(a.Positions, Position{r.u(), r.u(), r.headList()})
	}
	for r != "" {
		a.Sockets = append(a.Sockets, HeldSocket{Slot(r.u()), r.u()})
	}
	return a
}

// noon is when everything happens; later is when everything is due.
var (
	noon = time.Date(2001, 2, 3, 12, 0, 0, 0, time.UTC)
	soon = noon.Add(300 * time.Millisecond)
	late = noon.Add(time.Minute)
)

func (s *Sender) clone() *Sender {
	c := *s
	c.todo, c.until = new(todo), noon.Add(s.settings.Wait)
	c.needs = slices.Clone(s.needs)
	c.lanes = make([]*lane, len(s.lanes))
	for i, l := range s.lanes {
		d := *l
		d.next, d.pause = noon, s.settings.Probe
		if !d.tombstone.IsZero() {
			d.tombstone = noon
		}
		d.members = maps.Clone(l.members)
		d.listed = slices.Clone(l.listed)
		d.window = slices.Clone(l.window)
		c.lanes[i] = &d
	}
	return &c
}

func (b *buf) sender(s *Sender) {
	b.u(s.token, s.floor, s.need, s.landed, uint64(len(s.lanes)), uint64(len(s.needs)))
	b.flag(s.taking)
	for _, n := range s.needs {
		b.u(n.token, uint64(n.Gateway), n.Seq)
	}
	for _, l := range s.lanes {
		b.u(uint64(l.gateway[0]), l.need, l.head, l.sent, l.acked, l.start, uint64(len(l.window)))
		b.flag(l.answered, !l.tombstone.IsZero(), l.quiet, l.owed > 0)
		b.positions(l.answer)
		b.u(uint64(len(l.members)))
		var room [8]Slot
		for _, slot := range sorted(room[:0], l.members) {
			b.u(uint64(slot), uint64(l.members[slot].state), l.members[slot].last)
		}
		for _, k := range l.window {
			b.u(k.seq, uint64(k.kind), k.need, uint64(len(k.body)))
			b.slots(k.slots)
			*b = append(*b, k.body...)
		}
	}
}

func (r *Receiver) clone() *Receiver {
	c := *r
	c.do, c.seen, c.resend = nil, noon, noon.Add(r.settings.Resend)
	c.at.Heads = slices.Clone(r.at.Heads)
	c.earlier = slices.Clone(r.earlier)
	c.sockets = make(map[Slot]*Socket, len(r.sockets))
	for slot, s := range r.sockets {
		d := *s
		c.sockets[slot] = &d
	}
	return &c
}

func (b *buf) receiver(r *Receiver) {
	b.u(r.fence)
	b.u(uint64(r.state))
	b.flag(r.claimed, r.owned, r.missing, r.nothing, !r.ack.IsZero())
	b.u(uint64(len(r.earlier) + 1))
	for i := range r.earlier {
		b.position(&r.earlier[i])
	}
	b.position(&r.at)
	b.u(uint64(len(r.sockets)))
	var room [8]Slot
	for _, slot := range sorted(room[:0], r.sockets) {
		s := r.sockets[slot]
		b.u(uint64(slot), uint64(s.State), s.Last, s.Acked)
	}
}

func (w *world) clone() *world {
	c := *w
	if w.term != nil {
		r := *w.term
		r.s = r.s.clone()
		c.term = &r
	}
	for i := range c.gates {
		c.gates[i].r = c.gates[i].r.clone()
	}
	c.bag = slices.Clone(w.bag)
	c.events = slices.Clone(w.events)
	return &c
}

func (b *buf) record(r *record) {
	b.u(uint64(len(r.entries)), uint64(r.opened))
	for _, e := range r.entries {
		b.u(uint64(e.Gateway[0]), e.Token, e.Head)
		b.slots(e.Slots)
		b.flag(!e.Tombstone.IsZero())
	}
}

// key is equal for worlds that are.
func (w *world) key(b buf) buf {
	b.record(&w.record)
	b.u(w.token)
	b.flag(w.term != nil, w.trouble)
	if r := w.term; r != nil {
		b.sender(r.s)
		b.u(r.commit, uint64(r.dirty), uint64(r.opened))
		b.flag(r.draining, r.pending != nil, r.waits != nil)
		if v := r.waits; v != nil {
			b.u(uint64(v.id), uint64(v.receivers), uint64(v.ack), uint64(v.frame))
		}
		if r.pending != nil {
			b.record(&r.pending.record)
			b.u(uint64(r.pending.events))
		}
	}
	for i := range w.gates {
		b.flag(w.gates[i].alive)
		b.receiver(w.gates[i].r)
	}
	for i := range w.socks {
		s := &w.socks[i]
		b.flag(s.writes[0], s.writes[1], s.writes[2])
		b.u(uint64(s.phase), uint64(s.received), uint64(s.newest+1))
	}
	b.u(uint64(len(w.events)))
	for _, e := range w.events {
		b = append(b, e.receivers, e.opens, e.ends, e.sock, e.frame, e.seen)
		b.flag(e.wrote, e.durable)
	}
	b = append(b, w.frames, w.closes, w.deaths, w.gateDeaths, w.giveUps, w.hastes, w.drains, w.doubts, w.calls)
	for _, m := range w.bag {
		b = append(b, m.kind, m.gate)
		b.flag(m.flag)
		b.u(uint64(m.slot), m.token, m.seq, uint64(len(m.data)))
		b = append(b, m.data...)
	}
	return b
}
