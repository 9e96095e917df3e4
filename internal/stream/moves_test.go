package stream

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// A scenario bounds a world. The zero flaw is the real thing.
type scenario struct {
	name  string
	flaw  flaw
	gates string // of each socket, a letter each; a capital: it is open at the beginning
	small bool   // the window holds two pushes
	stale bool   // messages are kept that can do nothing unless a gateway forgets

	conflated uint8 // sockets that get what a frame's event sends with the next tick

	frames, closes, deaths, gateDeaths, giveUps, hastes, drains, doubts, calls uint8
}

// A flaw is one thing that a host or a gateway gets wrong.
type flaw string

const (
	noProbes        flaw = "no gap check on idle"
	ackOutside      flaw = "frame acknowledged when handled, outside the stream"
	giveUpUntold    flaw = "give-up not told"
	giveUpForgotten flaw = "give-up forgotten with the owner"
	silenceIsDeath  flaw = "silence taken for death"
	noSlots         flaw = "record names gateways, not sockets"
	noHeads         flaw = "no heads of other streams"
	noRecordHeads   flaw = "no heads in the record"
	noWait          flaw = "planned release without waiting for acknowledgements"
	windowSkip      flaw = "what fell out of the window is skipped"
	lateKeeps       flaw = "late gateway keeps its sockets"
	silenceUntold   flaw = "a silence at takeover is not passed on"
	whichNoFence    flaw = "the question does not fence"
	newestOnly      flaw = "position under the newest token only"
	closingHandled  flaw = "frames of sockets told to close are handled"
	staleResend     flaw = "stale Resend counts"
	cutHeld         flaw = "a socket that was told to close is held out as whole"
	listIgnored     flaw = "sockets that CloseAll lists are not answered for"
	ghostForgotten  flaw = "a socket that opens too late is not answered for"
	toldUnsaid      flaw = "an end that was told is not acknowledged again"
	quietEach       flaw = "quiet when one lane has acknowledged"
	encodedLate     flaw = "entries made when the put lands"
	numbersAgain    flaw = "numbers begin again when the last socket has left"
	oweNothing      flaw = "what waits of an event that was put, or seen, is not owed"
	oweNoHeads      flaw = "what is owed is in the record only"
	forgetsEarly    flaw = "a gateway without sockets forgets what it has seen when a claim was answered"
	quietAsked      flaw = "a gateway that was asked hears of no death"
	deathUntold     flaw = "quiet gateways hear of no death"
	recordBelieved  flaw = "a gateway that doubts is told that nothing is missing"
	claimIsCheck    flaw = "a gateway that has heard more than the record has asks the record only"
	ackBeforeTick   flaw = "a frame is acknowledged before what its event sends has left"
)

// An explorer makes a world's moves and says what each of them breaks.
type explorer struct {
	scenario
	settings Settings
	emit     func(*world)
	broken   string // by the present move
	tracing  bool
	notes    []string // of the present move
	count    map[string]int
	seeds    [2]maphash.Seed
	judged   map[[2]uint64]string // by the hash of the world's key
	room     buf
}

// hash returns what two different keys do not share.
func (x *explorer) hash(key buf) [2]uint64 {
	return [2]uint64{maphash.Bytes(x.seeds[0], key), maphash.Bytes(x.seeds[1], key)}
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

func (x *explorer) happened(what string) {
	if x.count != nil {
		x.count[what]++
	}
}

func newExplorer(sc scenario) *explorer {
	x := &explorer{
		scenario: sc, settings: Defaults(), emit: func(*world) {},
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, judged: make(map[[2]uint64]string),
	}
	x.settings.Ack, x.settings.Keep = 0, 1<<40
	if sc.small {
		x.settings.Window = 80
	}
	return x
}

var gateNames = [...]string{"a", "b"}

func slotOf(i int) Slot { return Slot(i + 1) }

// start is a world whose first sockets are open and quiet.
func (x *explorer) start() *world {
	w := &world{trouble: true}
	for g := range w.gates {
		w.gates[g] = gate{alive: true, r: NewReceiver(&x.settings)}
	}
	x.claim(w)
	for i, at := range x.gates {
		w.socks[i].gate = strings.IndexRune("ab", at|0x20)
		if at&0x20 == 0 {
			x.wish(w, i)
			x.settle(w, false)
		}
	}
	for i := range w.socks {
		w.socks[i].newest, w.socks[i].received = -1, 0
	}
	w.events, w.trouble = nil, x.small
	w.frames, w.closes, w.deaths, w.gateDeaths = x.frames, x.closes, x.deaths, x.gateDeaths
	w.giveUps, w.hastes, w.drains, w.doubts, w.calls = x.giveUps, x.hastes, x.drains, x.doubts, x.calls
	return w
}

// done hands over the world that a move has made.
func (x *explorer) done(w *world) {
	x.tidy(w)
	x.check(w)
	x.emit(w)
	x.broken, x.notes = "", nil
}

// tidy drops messages to nobody, and those that do nothing.
func (x *explorer) tidy(w *world) {
	w.prune(func(m msg) bool {
		r := w.gates[m.gate].r
		switch m.kind {
		case mHeld, mAck, mResend:
			return w.term == nil || m.token != w.term.s.token
		case mFrame:
			s := r.sockets[m.slot]
			return !x.stale && s != nil && m.seq <= s.Acked
		case mUpgrade:
			return false
		case mRefuse, mUnknown:
			return !w.gates[m.gate].alive || r.sockets[m.slot] == nil
		case mWhich:
			return !w.gates[m.gate].alive || m.token < w.token
		}
		return !w.gates[m.gate].alive ||
			!x.stale && len(r.sockets) > 0 && (m.token < r.fence || m.token == r.at.Token && m.kind == mPush && m.seq <= r.at.Received)
	})
}

// moves makes every move that w allows, each on its own copy.
func (x *explorer) moves(w *world) {
	for _, m := range w.bag {
		if w.term == nil && (m.kind == mFrame || m.kind == mUpgrade) {
			continue
		}
		next := w.clone()
		x.deliver(next, m)
		x.done(next)
	}
	if w.term == nil {
		next := w.clone()
		x.claim(next)
		x.done(next)
	} else {
		x.ownerMoves(w)
	}
	for g := range w.gates {
		if w.gates[g].alive {
			x.gateMoves(w, g)
		}
	}
	for i := range x.gates {
		if w.gates[w.socks[i].gate].alive {
			x.sockMoves(w, i)
		}
	}
}

func (x *explorer) ownerMoves(w *world) {
	r := w.term
	if !r.s.Wake().IsZero() {
		next := w.clone()
		x.note("the owner asks or probes")
		x.tick(next, r.s.taking)
		x.done(next)
	}
	if r.s.taking && (w.hastes > 0 || x.onlyDead(w)) {
		next := w.clone()
		if !x.onlyDead(w) {
			next.hastes--
			next.trouble = true
		}
		x.note("the owner waits no longer")
		x.happened("served before all have answered")
		x.tick(next, false)
		x.done(next)
	}
	if w.deaths > 0 {
		next := w.clone()
		next.deaths--
		x.note("the owner dies")
		x.die(next)
		x.done(next)
	}
	if w.calls > 0 && w.serving() {
		next := w.clone()
		next.calls--
		x.note("somebody without a socket calls")
		x.run(next, event{wrote: true}, 0, -1)
		x.done(next)
	}
	if r.waits != nil && !r.s.taking && !r.s.Full() {
		next := w.clone()
		x.flush(next)
		x.done(next)
	}
	if r.pending != nil {
		next := w.clone()
		x.land(next)
		x.done(next)
		if w.deaths > 0 {
			next := w.clone()
			next.deaths--
			x.note("the put lands, the owner dies")
			x.lands(next)
			x.die(next)
			x.done(next)
		}
	}
	for g := range w.gates {
		if r.draining || !w.mayGiveUp(g) || w.gates[g].alive && w.giveUps == 0 {
			continue
		}
		next := w.clone()
		if w.gates[g].alive {
			next.giveUps--
			next.trouble = true
		}
		x.giveUp(next, g)
		x.done(next)
	}
	if w.drains > 0 && !r.draining {
		next := w.clone()
		next.drains--
		next.term.draining = true
		x.note("the owner is told to leave")
		x.done(next)
	}
	if x.mayRelease(w) {
		next := w.clone()
		x.release(next)
		x.done(next)
	}
}

// mayGiveUp reports whether there is anything of the gateway to give up.
func (w *world) mayGiveUp(g int) bool {
	l := w.term.s.find(gateNames[g])
	return !w.term.s.taking && l != nil && (len(w.term.s.Members(l.gateway)) > 0 || l.tombstone.IsZero() && l.waits())
}

// quiet reports whether all gateways that live have heard all.
func (w *world) quiet() bool {
	return w.term.s.Quiet() || !w.term.s.taking && !slices.ContainsFunc(w.term.s.lanes, func(l *lane) bool {
		return w.gates[l.gateway[0]-'a'].alive && l.tombstone.IsZero() && (!l.answered || l.acked < l.head)
	})
}

func (x *explorer) mayRelease(w *world) bool {
	r := w.term
	return r != nil && r.draining && !r.s.taking && r.pending == nil && r.dirty == 0 && r.waits == nil && (w.quiet() || x.flaw == noWait)
}

func (x *explorer) release(w *world) {
	x.note("the owner has left")
	x.happened("planned move")
	w.record = x.encode(w.term)
	w.term = nil
}

// onlyDead reports whether only dead gateways have not answered.
func (x *explorer) onlyDead(w *world) bool {
	return !slices.ContainsFunc(w.term.s.lanes, func(l *lane) bool {
		return !l.answered && l.tombstone.IsZero() && w.gates[l.gateway[0]-'a'].alive
	})
}

func (x *explorer) tick(w *world, hold bool) {
	r := w.term
	now := late
	if hold {
		now = soon
	}
	was := r.s.taking
	do := r.s.Tick(now)
	if was && !r.s.taking && x.flaw == silenceIsDeath {
		for g := range w.gates {
			if l := r.s.find(gateNames[g]); l != nil && !l.answered {
				x.obey(w, do)
				do = nil
				if slots := r.s.Members(gateNames[g]); len(slots) > 0 {
					x.giveUp(w, g)
				}
				r.s.lanes = slices.DeleteFunc(r.s.lanes, func(m *lane) bool { return m.gateway == gateNames[g] })
			}
		}
	}
	x.obey(w, do)
}

func (x *explorer) claim(w *world) {
	w.token++
	x.note("owner %d claims", w.token)
	x.happened("claim")
	w.term = &term{s: NewSender(w.token, w.record.entries, &x.settings, noon), opened: w.record.opened}
	if x.flaw == silenceUntold {
		for _, l := range w.term.s.lanes {
			l.head = 0
		}
	}
	x.obey(w, w.term.s.Tick(noon))
}

func (x *explorer) die(w *world) {
	if r := w.term; !r.s.Quiet() || r.pending != nil || r.dirty != 0 || slices.ContainsFunc(r.s.lanes, func(l *lane) bool { return !l.answered }) {
		w.trouble = true
	}
	w.term = nil
	x.happened("owner died")
}

// encode makes what the put decided on now holds.
func (x *explorer) encode(r *term) record {
	entries := r.s.Entries()
	for i := range entries {
		e := &entries[i]
		if x.flaw == noRecordHeads {
			e.Head = 0
		}
		if x.flaw == noSlots {
			e.Slots = nil
		}
		if x.flaw == giveUpForgotten && !e.Tombstone.IsZero() {
			e.Gateway = ""
		}
	}
	entries = slices.DeleteFunc(entries, func(e Entry) bool { return e.Gateway == "" })
	for i := range entries {
		entries[i].Slots = slices.Clone(entries[i].Slots)
	}
	return record{entries: entries, opened: r.opened}
}

// decide puts what was written, one put at a time.
func (x *explorer) decide(w *world) {
	if r := w.term; r.pending == nil && r.dirty != 0 {
		r.pending, r.dirty = &put{x.encode(r), r.dirty}, 0
	}
}

func (x *explorer) lands(w *world) {
	p := w.term.pending
	w.record = p.record
	if x.flaw == encodedLate {
		w.record = x.encode(w.term)
	}
	for id := range w.events {
		if p.events&(1<<id) != 0 {
			w.events[id].durable = true
		}
	}
}

func (x *explorer) land(w *world) {
	x.note("the put lands and is acknowledged")
	x.lands(w)
	r := w.term
	r.pending = nil
	r.commit++
	x.obey(w, r.s.Landed(noon, r.commit))
	x.decide(w)
}

// run runs one event at the owner. Everybody who is open hears of it.
func (x *explorer) run(w *world, e event, ack Slot, giveUp int) {
	r := w.term
	if r.waits != nil {
		x.flush(w) // the order is that of sending
	}
	id := len(w.events)
	if id >= 16 {
		panic("more events than a world can tell")
	}
	need := uint64(0)
	if e.wrote {
		need = r.commit + 1
		if r.pending != nil {
			need++
		}
	}
	outs := make([]Out, len(w.gates))
	for g := range outs {
		outs[g].Gateway = gateNames[g]
		outs[g].GiveUp = g == giveUp
	}
	var bodies [2][5]byte // event, receivers, acknowledged, opened
	wait := value{id: uint8(id)}
	for i := range x.gates {
		g := w.socks[i].gate
		switch bit := uint8(1) << i; {
		case e.opens&bit != 0:
			outs[g].Opens = append(outs[g].Opens, slotOf(i))
			bodies[g][4] = byte(slotOf(i))
		case e.ends&bit != 0:
			outs[g].Ends = append(outs[g].Ends, slotOf(i))
		case isOpen(r.s, gateNames[g], slotOf(i)):
			e.receivers |= bit
			if e.frame > 0 && e.ends == 0 && x.conflated&bit != 0 {
				wait.receivers |= bit
			} else {
				bodies[g][1] |= bit
			}
		case g != giveUp && slices.Contains(r.s.Members(gateNames[g]), slotOf(i)):
			e.receivers |= bit // it must not stay open
		}
	}
	if ack != 0 {
		g := w.socks[ack-1].gate
		bodies[g][2], bodies[g][3] = byte(ack), e.frame
		if x.flaw == ackOutside {
			bodies[g][2] = 0
			if r := w.gates[g].r; r.sockets[ack] != nil {
				w.events = append(w.events, e)
				w.events[id].seen |= 1 << g
				x.act(w, g, r.Acked(ack, uint64(e.frame)))
				w.events = w.events[:id]
				e.seen |= 1 << g
			}
		}
	}
	if wait.receivers != 0 {
		r.waits = &wait
		if !e.wrote && bodies[0][1]|bodies[1][1] == 0 && x.flaw != ackBeforeTick {
			wait.ack, wait.frame = ack, e.frame
			bodies[w.socks[ack-1].gate][2] = 0
		} else if x.flaw != oweNothing && x.flaw != ackBeforeTick {
			r.s.Owe(x.gatesOf(w, wait.receivers)...)
		}
	}
	for g := range bodies {
		if b := bodies[g]; b[1]|b[2]|b[4] != 0 && g != giveUp {
			b[0] = byte(id)
			outs[g].Bodies = [][]byte{b[:]}
		}
	}
	outs = slices.DeleteFunc(outs, func(o Out) bool { return len(o.Bodies) == 0 && !o.GiveUp && len(o.Ends) == 0 })
	w.events = append(w.events, e)
	if e.wrote {
		r.dirty |= 1 << id
	}
	if x.flaw == numbersAgain {
		for _, l := range r.s.lanes {
			if len(l.members) == 0 && l.tombstone.IsZero() {
				l.head, l.sent, l.acked, l.start, l.window, l.size = 0, 0, 0, 0, nil, 0
				r.s.floor = 0
			}
		}
	}
	x.obey(w, r.s.Event(noon, need, outs))
	x.decide(w)
}

// gatesOf are the gateways of sockets.
func (x *explorer) gatesOf(w *world, sockets uint8) (names []string) {
	for i := range x.gates {
		if name := gateNames[w.socks[i].gate]; sockets&(1<<i) != 0 && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// flush has leave what waits.
func (x *explorer) flush(w *world) {
	x.note("what waits leaves")
	x.happened("tick")
	r := w.term
	v := r.waits
	r.waits = nil
	var bodies [2][5]byte
	for i := range x.gates {
		if v.receivers&(1<<i) != 0 {
			bodies[w.socks[i].gate][1] |= 1 << i
		}
	}
	if v.ack != 0 {
		g := w.socks[v.ack-1].gate
		bodies[g][2], bodies[g][3] = byte(v.ack), v.frame
	}
	var outs []Out
	for g := range bodies {
		if b := &bodies[g]; b[1]|b[2] != 0 {
			b[0] = v.id
			outs = append(outs, Out{Gateway: gateNames[g], Bodies: [][]byte{b[:]}})
		}
	}
	r.s.Owe()
	x.obey(w, r.s.Event(noon, 0, outs))
}

func (x *explorer) giveUp(w *world, g int) {
	x.note("the owner gives gateway %d up", g)
	x.happened("given up")
	e := event{wrote: true}
	for _, slot := range w.term.s.Members(gateNames[g]) {
		e.ends |= 1 << (slot - 1)
	}
	x.run(w, event{wrote: true}, 0, g)
	if e.ends != 0 {
		x.run(w, e, 0, -1) // perhaps in another put
	}
}

// obey does what the owner's half asks for.
func (x *explorer) obey(w *world, do []Do) {
	s := w.term.s
	for _, d := range do {
		g := d.Gateway[0] - 'a'
		l := s.find(d.Gateway)
		switch d.Kind {
		case Send:
			p := d.Push
			if x.flaw == noHeads {
				p.Heads = nil
			}
			if x.flaw == oweNoHeads {
				for i, h := range p.Heads {
					for _, l := range s.lanes {
						if l.mark == h.Gateway {
							p.Heads[i].Seq = min(h.Seq, l.head)
						}
					}
				}
			}
			if p.Kind == CloseAll {
				switch {
				case x.flaw == giveUpUntold && !l.tombstone.IsZero():
					continue
				case x.flaw == lateKeeps && p.Seq == 1:
					p.Kind = Adopt
					for slot, m := range l.members {
						if m.state == closing {
							l.members[slot] = member{last: w.settled(slot)}
						}
					}
					p.Slots = nil
				}
			}
			w.put(msg{kind: mPush, gate: g, token: s.token, seq: p.Seq, data: writePush(p)})
		case Probe:
			if x.flaw != noProbes {
				w.put(msg{kind: mProbe, gate: g, token: s.token, seq: d.Head, flag: d.Quiet})
			}
		case Ask:
			w.put(msg{kind: mWhich, gate: g, token: s.token})
		}
	}
}

func (w *world) settled(slot Slot) uint64 {
	if s := w.gates[w.socks[slot-1].gate].r.sockets[slot]; s != nil {
		return s.Acked
	}
	return 0
}

// deliver takes a message out of the bag, to where it goes.
func (x *explorer) deliver(w *world, m msg) {
	x.note("%v arrives", m)
	w.prune(func(n msg) bool { return n == m })
	g := int(m.gate)
	gt := &w.gates[g]
	switch m.kind {
	case mPush:
		x.push(w, g, m)
	case mProbe:
		x.act(w, g, gt.r.Probe(noon, m.token, m.seq, m.flag))
	case mWhich:
		fence, state := gt.r.fence, gt.r.state
		if a, ok := gt.r.Which(noon, m.token); ok {
			if x.flaw == newestOnly && len(a.Positions) > 1 {
				a.Positions = a.Positions[len(a.Positions)-1:]
			}
			if x.flaw == cutHeld {
				for slot, s := range gt.r.sockets {
					if s.State == Refused {
						a.Sockets = append(a.Sockets, HeldSocket{slot, s.Acked})
					}
				}
			}
			w.put(msg{kind: mHeld, gate: m.gate, token: m.token, data: writeAnswer(a)})
		}
		if x.flaw == whichNoFence {
			gt.r.fence = fence
		}
		if x.flaw == quietAsked {
			gt.r.state = state
		}
	case mUnknown:
		if m.token >= gt.r.Fence() {
			x.cut(w, int(m.slot-1))
		}
	case mRefuse:
		if s := gt.r.sockets[m.slot]; s != nil && s.State == Opening {
			x.act(w, g, gt.r.End(m.slot))
		}
	case mHeld:
		x.obey(w, w.term.s.Held(noon, gateNames[g], readAnswer(m.data)))
	case mAck:
		s := w.term.s
		do := s.Acked(gateNames[g], m.seq)
		if x.flaw == quietEach {
			if l := s.find(gateNames[g]); l != nil && l.acked == l.head {
				do = append(do, Do{Kind: Probe, Gateway: l.gateway, Head: l.sent, Quiet: true})
			}
		}
		x.obey(w, do)
	case mResend:
		x.resend(w, g, m)
	case mFrame:
		x.frame(w, g, m)
	case mUpgrade:
		x.upgrade(w, g, m)
	}
	if gt.alive {
		x.afterwards(w, g)
	}
}

// afterwards has acknowledgements leave, and forgets what there is nothing of.
func (x *explorer) afterwards(w *world, g int) {
	r := w.gates[g].r
	x.act(w, g, r.Tick(noon))
	if r.Empty() {
		w.gates[g].r = NewReceiver(&x.settings)
	}
}

func (x *explorer) resend(w *world, g int, m msg) {
	l := w.term.s.find(gateNames[g])
	if l == nil {
		return
	}
	acked := l.acked
	if x.flaw == staleResend {
		l.acked = 0
	}
	do := w.term.s.Resend(noon, gateNames[g], m.seq)
	l.acked = max(l.acked, acked)
	if x.flaw == windowSkip && len(do) > 0 && do[0].Push.Kind == CloseAll && do[0].Push.Seq > m.seq {
		do[0].Push.Kind, do[0].Push.Slots = Adopt, nil
		l.window[0].kind = Adopt
		for slot, mem := range l.members {
			l.members[slot] = member{last: max(mem.last, w.settled(slot))}
		}
	}
	x.obey(w, do)
}

func (x *explorer) push(w *world, g int, m msg) {
	r := w.gates[g].r
	p := readPush(m.seq, m.data)
	if p.Kind == CloseAll && x.flaw == listIgnored {
		p.Slots = slices.DeleteFunc(p.Slots, func(s Slot) bool { return r.sockets[s] == nil })
	}
	take, acts := r.Push(noon, m.token, p)
	x.act(w, g, acts)
	if !take || len(p.Body) == 0 {
		return
	}
	id, receivers, ack, frame, opens := p.Body[0], p.Body[1], Slot(p.Body[2]), p.Body[3], Slot(p.Body[4])
	if ack != 0 {
		if r.sockets[ack] != nil {
			w.saw(id, g)
		}
		x.act(w, g, r.Acked(ack, uint64(frame)))
	}
	if opens != 0 {
		if s := r.sockets[opens]; s != nil {
			w.saw(id, g)
			x.act(w, g, r.Accept(opens))
			if s.State == Opened {
				w.socks[opens-1].phase = talking
			}
		} else if x.flaw != ghostForgotten {
			x.act(w, g, r.Accept(opens))
		}
	}
	for i := range w.socks {
		if receivers&(1<<i) == 0 {
			continue
		}
		s := r.sockets[slotOf(i)]
		switch {
		case s == nil || s.State >= Ended:
		case s.State == Opening:
			x.violated("a message for socket %d, which is not open", i)
		default:
			x.receive(w, i, id)
			w.saw(id, g)
		}
	}
}

func (w *world) saw(id byte, g int) {
	if int(id) < len(w.events) {
		w.events[id].seen |= 1 << g
	}
}

func (x *explorer) receive(w *world, i int, id byte) {
	s := &w.socks[i]
	if int(id) >= len(w.events) {
		return // from before the beginning
	}
	switch {
	case s.received&(1<<id) != 0:
		x.violated("socket %d has event %d twice", i, id)
	case int8(id) < s.newest:
		x.violated("socket %d has event %d after %d", i, id, s.newest)
	}
	s.received |= 1 << id
	s.newest = max(s.newest, int8(id))
}

// act does what the gateway's half asks for.
func (x *explorer) act(w *world, g int, acts []Act) {
	for _, a := range acts {
		s := &w.socks[max(1, a.Slot)-1]
		switch a.Kind {
		case AckAll:
			w.put(msg{kind: mAck, gate: uint8(g), token: a.Token, seq: a.Seq})
		case AskAgain:
			w.put(msg{kind: mResend, gate: uint8(g), token: a.Token, seq: a.Seq})
		case Cut:
			x.cutOff(w, s, a.Slot)
		case SendLast:
			s.phase = over
			x.tell(w, g, a.Slot, a.Seq, true)
		case Drop:
			s.phase = over
		case Again:
			x.again(w, g)
		}
	}
}

func (x *explorer) tell(w *world, g int, slot Slot, seq uint64, last bool) {
	w.put(msg{kind: mFrame, gate: uint8(g), slot: slot, seq: seq, flag: last})
}

// again sends what is pending at a gateway.
func (x *explorer) again(w *world, g int) {
	for i := range w.socks {
		if w.socks[i].gate == g {
			x.pending(w, i)
		}
	}
}

// pending sends what is pending of a socket; it is false if nothing is.
func (x *explorer) pending(w *world, i int) bool {
	g, slot := w.socks[i].gate, slotOf(i)
	s := w.gates[g].r.sockets[slot]
	if s == nil || s.State == Opening {
		return false
	}
	from := s.Acked + 1
	if s.State == Refused {
		from = s.Last
	}
	for seq := from; seq <= s.Last; seq++ {
		x.tell(w, g, slot, seq, s.State >= Ended && seq == s.Last)
	}
	return from <= s.Last
}

// serving reports whether the owner takes events.
func (w *world) serving() bool {
	return w.term != nil && !w.term.s.taking && !w.term.draining && !w.term.s.Full()
}

func (x *explorer) frame(w *world, g int, m msg) {
	if !w.serving() {
		return
	}
	s, i := w.term.s, int(m.slot-1)
	if x.flaw == closingHandled {
		if l := s.find(gateNames[g]); l != nil && l.members[m.slot].state == closing && !m.flag {
			if before := l.members[m.slot]; m.seq > before.last {
				l.members[m.slot] = member{closing, m.seq}
				x.run(w, event{sock: uint8(i), frame: uint8(m.seq), wrote: w.socks[i].writes[m.seq-1]}, m.slot, -1)
				return
			}
		}
	}
	verdict := s.Frame(gateNames[g], m.slot, m.seq, m.flag)
	switch verdict {
	case Take:
		e := event{sock: uint8(i), frame: uint8(m.seq)}
		if m.flag {
			e.wrote, e.ends = true, 1<<i
		} else {
			e.wrote = w.socks[i].writes[m.seq-1]
		}
		x.run(w, e, m.slot, -1)
	case Unknown:
		w.put(msg{kind: mUnknown, gate: m.gate, slot: m.slot, token: s.token})
	case AlreadyEnded:
		if x.flaw != toldUnsaid {
			body := [5]byte{255, 0, byte(m.slot), byte(m.seq), 0}
			x.obey(w, s.Event(noon, 0, []Out{{Gateway: gateNames[g], Bodies: [][]byte{body[:]}}}))
		}
	}
}

func (x *explorer) upgrade(w *world, g int, m msg) {
	switch r, i := w.term, int(m.slot-1); {
	case !w.serving() || !r.s.Accepts(gateNames[g]):
	case r.opened&(1<<i) != 0:
		w.put(msg{kind: mRefuse, gate: m.gate, slot: m.slot})
	default:
		r.opened |= 1 << i
		x.happened("opened")
		x.run(w, event{wrote: true, opens: 1 << i}, 0, -1)
	}
}

func (x *explorer) gateMoves(w *world, g int) {
	if r := w.gates[g].r; r.missing || r.at.Token != 0 && r.state != quiet {
		next := w.clone()
		x.note("gateway %d asks again for what is missing", g)
		acts := next.gates[g].r.Tick(late)
		x.act(next, g, acts)
		for _, a := range acts {
			if a.Kind == Check && next.term == nil {
				x.missing(next, g, a)
			}
		}
		if next.serving() { // otherwise a claim that leaves now fails
			next.gates[g].r.Owned(next.token)
		}
		if x.flaw == forgetsEarly {
			next.gates[g].r.owned = true
		}
		x.afterwards(next, g)
		x.done(next)
	}
	if w.doubts > 0 && w.gates[g].r.state == quiet {
		next := w.clone()
		next.doubts--
		x.note("gateway %d doubts", g)
		x.doubt(next, g)
		x.done(next)
	}
	if w.gateDeaths > 0 {
		next := w.clone()
		next.gateDeaths--
		x.note("gateway %d dies", g)
		x.happened("gateway died")
		next.gates[g] = gate{r: NewReceiver(&x.settings)}
		next.trouble = true
		x.done(next)
	}
}

// doubt has a gateway hear that a host may have been lost.
func (x *explorer) doubt(w *world, g int) {
	x.act(w, g, w.gates[g].r.Doubt(noon, false))
}

// missing asks the record whether a gateway lacks something. If it does not, the gateway is quiet again.
func (x *explorer) missing(w *world, g int, check Act) bool {
	if x.flaw != recordBelieved && Misses(w.record.entries, gateNames[g], w.gates[g].r.Positions()) {
		return true
	}
	x.happened("nothing is missing")
	w.gates[g].r.Whole(check.Seq)
	return false
}

func (x *explorer) wish(w *world, i int) {
	s := &w.socks[i]
	s.phase = wished
	w.gates[s.gate].r.Opening(slotOf(i))
	w.put(msg{kind: mUpgrade, gate: uint8(s.gate), slot: slotOf(i)})
}

func (x *explorer) sockMoves(w *world, i int) {
	s := &w.socks[i]
	switch s.phase {
	case absent:
		next := w.clone()
		x.note("socket %d asks to be opened", i)
		x.wish(next, i)
		x.done(next)
	case wished:
		next := w.clone()
		x.note("socket %d asks again", i)
		next.put(msg{kind: mUpgrade, gate: uint8(s.gate), slot: slotOf(i)})
		x.done(next)
	case talking:
		for _, writes := range []bool{false, true} {
			if w.frames > 0 {
				next := w.clone()
				next.frames--
				x.note("socket %d sends a frame, writes %t", i, writes)
				x.say(next, i, writes)
				x.done(next)
			}
		}
	}
	if w.closes > 0 && (s.phase == wished || s.phase == talking) {
		next := w.clone()
		next.closes--
		x.note("client %d leaves", i)
		next.socks[i].phase = over
		x.act(next, s.gate, next.gates[s.gate].r.End(slotOf(i)))
		x.afterwards(next, s.gate)
		x.done(next)
	}
	next := w.clone()
	if x.pending(next, i) {
		x.note("socket %d's frames are sent again", i)
		x.done(next)
	}
}

func (x *explorer) say(w *world, i int, writes bool) {
	s := &w.socks[i]
	seq, ok := w.gates[s.gate].r.Frame(slotOf(i))
	if !ok {
		x.violated("socket %d has a client and takes no frame", i)
		return
	}
	s.writes[seq-1] = writes
	x.tell(w, s.gate, slotOf(i), seq, false)
}

// isOpen reports whether the owner takes frames of the socket.
func isOpen(s *Sender, gateway string, slot Slot) bool {
	l := s.find(gateway)
	if l == nil {
		return false
	}
	m, known := l.members[slot]
	return known && m.state == open
}

// cutOff notes that a socket's client is cut off.
func (x *explorer) cutOff(w *world, s *sock, slot Slot) {
	if !w.trouble && s.phase != over {
		x.violated("socket %d is closed although nothing was lost", slot-1)
	}
	x.happened("closed by the stream")
	s.phase = over
}

// cut ends a socket of which its owner says that it does not know it.
func (x *explorer) cut(w *world, i int) {
	s := &w.socks[i]
	if w.gates[s.gate].r.sockets[slotOf(i)] == nil {
		return
	}
	x.cutOff(w, s, slotOf(i))
	x.happened("unknown to its owner")
	x.act(w, s.gate, w.gates[s.gate].r.End(slotOf(i)))
}
