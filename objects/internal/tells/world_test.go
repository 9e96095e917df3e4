package tells

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/objects/internal/engine"
)

// The model: one sender and one receiver, each an object with a record, a memory, and puts that land or not. The sender has
// a list of things to do; each is an event that runs until it has been committed once. Between any two steps an owner may
// die, and a message may be lost, doubled, or late. What one owner sends to one object arrives in the order in which it was
// sent, with gaps; what others have sent arrives in any order.
//
// Times are not modelled: every back-off is over at once, and "a minute passes" is a move of its own, after which nothing
// arrives that a dead owner has sent.

const (
	sender   = "s.1"
	receiver = "r.1"
)

// What the sender does, one letter an event.
const (
	opTell   = 't' // tells the receiver at once
	opTimer  = 'l' // tells the receiver later, under the key "k"
	opCancel = 'c' // cancels what has the key "k"
)

// flaw is a rule that is left out.
type flaw string

const (
	sentBeforeCommit   flaw = "sent before the commit"
	markApart          flaw = "the mark in another commit"
	ackedBeforeCommit  flaw = "acknowledged before the commit"
	forgetsEarly       flaw = "Forget before the removal is durable"
	timerNumberedEarly flaw = "a timer is numbered when it is set"
	countInMemory      flaw = "the count is in memory"
	youngForgets       flaw = "a young owner says Forget"
	lateWakeUp         flaw = "the wake-up after the commit"
	restoresOutbox     flaw = "a restore brings the outbox back"
	noBorn             flaw = "no born"
	manyBatches        flaw = "several batches under way"
	cancelsLate        flaw = "cancelled after its time"
	cleanRelease       flaw = "a release counts as clean whatever is under way"
	parksEarly         flaw = "the next is sent before the parking is durable"
	youngParks         flaw = "a young owner parks"
	youngRemoves       flaw = "a young owner removes its record"
)

// scenario bounds a world.
type scenario struct {
	name                                                                                  string
	flaw                                                                                  flaw
	ops                                                                                   string
	senderDeaths, receiverDeaths, losses, doubles, refusals, restores, removals, releases int
}

// half is an object: what its record has, and what its owner has in memory.
type half struct {
	alive  bool
	term   uint64 // token of the claim
	epoch  uint64 // since the record was made
	disk   store
	mem    store
	dirty  bool
	put    store // under way; nil: none
	landed bool  // put has landed, and nobody has heard of it
	commit uint64
}

type store map[string]string

// packet is a message on its way.
type packet struct {
	kind    byte   // 'b'atch, 'a'nswer, 'f'orget
	term    uint64 // of its sender
	to      uint64 // of an answer: the term that it is for, whose inbox it goes to
	b       Batch
	born    uint64
	bodies  []string
	handled uint64
	failed  uint64
	need    uint64 // of an answer that has not left
	dead    bool   // its sender has died
}

type world struct {
	scenario
	s, r   half
	ob     *Outbox
	young  bool
	waking bool   // a wake-up is set
	count  uint64 // countInMemory
	net    []packet
	held   []packet // answers that wait for the receiver's commit
	past   store    // of the sender
	fence  []string // markApart: marks that are to be written later
	terms  uint64
	moves  []string
	broken string
}

func newWorld(sc scenario) *world {
	w := &world{scenario: sc}
	w.s.disk, w.r.disk = store{}, store{}
	w.claimSender()
	w.claimReceiver()
	return w
}

func (w *world) clone() *world {
	c := *w
	c.s, c.r = w.s.clone(), w.r.clone()
	c.net, c.held, c.fence = slices.Clone(w.net), slices.Clone(w.held), slices.Clone(w.fence)
	c.past = maps.Clone(w.past)
	c.moves = slices.Clone(w.moves)
	if w.ob != nil {
		c.ob = w.ob.clone()
	}
	return &c
}

func (h half) clone() half {
	h.disk, h.mem, h.put = maps.Clone(h.disk), maps.Clone(h.mem), maps.Clone(h.put)
	return h
}

func (o *Outbox) clone() *Outbox {
	c := *o
	twin := make(map[*peer]*peer)
	copied := func(r *peer) *peer {
		if twin[r] == nil {
			t := *r
			t.queue = slices.Clone(r.queue)
			twin[r] = &t
		}
		return twin[r]
	}
	all := func(rs []*peer) (cs []*peer) {
		for _, r := range rs {
			cs = append(cs, copied(r))
		}
		return cs
	}
	c.receivers, c.place = make(map[string]*peer), make(map[uint64]*peer)
	for k, r := range o.receivers {
		c.receivers[k] = copied(r)
	}
	for n, r := range o.place {
		c.place[n] = copied(r)
	}
	c.ready, c.waiting, c.unlanded, c.done = all(o.ready), all(o.waiting), all(o.unlanded), all(o.done)
	c.chores, c.parking = slices.Clone(o.chores), slices.Clone(o.parking)
	for i := range c.chores {
		c.chores[i].to = copied(c.chores[i].to)
	}
	for i := range c.parking {
		c.parking[i].to = copied(c.parking[i].to)
	}
	c.own, c.ownAt = slices.Clone(o.own), maps.Clone(o.ownAt)
	c.timers = timers{maps.Clone(o.timers.now), slices.Clone(o.timers.heap)}
	c.parked = slices.Clone(o.parked)
	return &c
}

// now is when everything is due.
var now = time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)

// notDue is the time of the model's timers, which fall due by a move.
var notDue = now.Add(time.Hour)

func (w *world) clock() time.Time { return now.Add(time.Duration(len(w.moves)) * 10 * time.Minute) }

func (w *world) get(key string) ([]byte, bool) {
	v, ok := w.s.mem[key]
	return []byte(v), ok
}

func (w *world) claimSender() {
	w.terms++
	w.s.alive, w.s.term, w.s.mem, w.s.put, w.s.dirty, w.s.landed = true, w.terms, maps.Clone(w.s.disk), nil, false, false
	w.s.epoch++
	w.young = w.s.epoch > 1 && w.flaw != cleanRelease
	w.count = 0
	w.ob = New(sender)
	w.ob.Landed(w.s.commit)
	for _, key := range slices.Sorted(maps.Keys(w.s.mem)) {
		w.note(engine.Write{Key: key, Value: []byte(w.s.mem[key])}, 0)
	}
}

func (w *world) claimReceiver() {
	w.terms++
	w.r.alive, w.r.term, w.r.mem, w.r.put, w.r.dirty, w.r.landed = true, w.terms, maps.Clone(w.r.disk), nil, false, false
}

func (w *world) note(one engine.Write, commit uint64) {
	if w.flaw == sentBeforeCommit || w.flaw == parksEarly && one.Value == nil {
		commit = 0
	}
	if err := w.ob.Note(one, commit); err != nil {
		panic(err)
	}
}

// write changes the sender's memory, as part of its next commit.
func (w *world) write(writes ...engine.Write) {
	for _, one := range writes {
		if one.Value == nil {
			delete(w.s.mem, one.Key)
		} else {
			w.s.mem[one.Key] = string(one.Value)
		}
		w.note(one, w.next())
	}
	w.s.dirty = true
}

// next returns the commit that what is written now is part of.
func (w *world) next() uint64 {
	if w.s.put != nil {
		return w.s.commit + 2
	}
	return w.s.commit + 1
}

func (w *world) countNow() engine.Count {
	if w.flaw == countInMemory {
		return engine.Count{Born: w.bornNow(), Last: w.count}
	}
	c, err := engine.DecodeCount([]byte(w.s.mem[engine.ToldCount]))
	if err != nil {
		panic(err)
	}
	return c
}

func (w *world) bornNow() uint64 {
	if w.flaw == noBorn {
		return 7
	}
	return w.s.term
}

// op runs the sender's event number i.
func (w *world) op(i int) {
	name := fmt.Sprintf("op/%d", i)
	w.s.mem[name] = "done"
	w.s.mem["v"] = fmt.Sprint(i)
	body := []byte(fmt.Sprint(i))
	switch w.ops[i] {
	case opTell:
		c := w.countNow().Next(w.bornNow())
		w.count++
		m := engine.Told{N: c.Last, To: receiver, Call: "do", Body: body}
		w.write(engine.Write{Key: engine.ToldCount, Value: c.Encode()}, engine.Write{Key: engine.OutboxKey(m.N), Value: m.Encode()})
	case opTimer:
		c := w.countNow().Next(w.bornNow())
		w.count++
		m := engine.Told{N: c.Last, To: receiver, Call: "do", Key: "k", At: notDue, Body: body}
		w.write(engine.Write{Key: engine.ToldCount, Value: c.Encode()}, engine.Write{Key: engine.TimerKey(m.N, "k"), Value: m.Encode()})
	case opCancel:
		at := engine.TimerKey(0, "k")
		value, pending := w.s.mem[at]
		if w.flaw == cancelsLate && !pending {
			for key, v := range w.s.mem {
				if !strings.HasPrefix(key, engine.OutboxAt) {
					continue
				}
				if m, err := engine.DecodeTold([]byte(v)); err == nil && m.Key == "k" {
					at, value, pending = key, v, true
				}
			}
		}
		if pending {
			m, _ := engine.DecodeTold([]byte(value))
			w.s.mem["cancelled"] = string(m.Body)
			w.write(engine.Write{Key: at})
		}
	}
	w.s.dirty = true
}

// fire has the timer fall due.
func (w *world) fire() {
	at := engine.TimerKey(0, "k")
	m, err := engine.DecodeTold([]byte(w.s.mem[at]))
	if err != nil {
		panic(err)
	}
	if w.flaw == timerNumberedEarly {
		m.At = time.Time{}
		w.write(engine.Write{Key: engine.OutboxKey(m.N), Value: m.Encode()}, engine.Write{Key: at})
		return
	}
	w.write(Move(m, at, w.countNow(), w.bornNow())...)
}

// handle has the receiver run a batch.
func (w *world) handle(p packet, refuse bool) {
	key := MarkKey(sender)
	answer := packet{kind: 'a', b: p.b, term: w.r.term, to: p.term}
	for i, n := range p.b.Numbers {
		mark, err := engine.DecodeCount([]byte(w.r.mem[key]))
		if err != nil {
			panic(err)
		}
		if Handled(mark, p.born, n) {
			answer.handled = n
			continue
		}
		if refuse {
			answer.failed = n
			break
		}
		w.r.mem["effects"] += p.bodies[i] + " "
		w.r.dirty = true
		value := string(engine.Count{Born: p.born, Last: n}.Encode())
		if w.flaw == markApart {
			w.fence = append(w.fence, value)
		} else {
			w.r.mem[key] = value
		}
		answer.handled = n
	}
	answer.need = w.r.commit
	if w.r.put != nil {
		answer.need++
	}
	if w.r.dirty {
		answer.need++
	}
	if w.flaw == ackedBeforeCommit {
		answer.need = 0
	}
	w.held = append(w.held, answer)
	w.leave()
}

// leave has the answers leave whose commits have landed.
func (w *world) leave() {
	kept := w.held[:0]
	for _, p := range w.held {
		if p.need <= w.r.commit {
			w.net = append(w.net, p)
		} else {
			kept = append(kept, p)
		}
	}
	w.held = kept
}

// die drops what is in an owner's memory.
func (w *world) dieSender() {
	w.s.alive, w.s.mem, w.s.put, w.ob = false, nil, nil, nil
	for i := range w.net {
		w.net[i].dead = w.net[i].dead || w.net[i].kind != 'a'
	}
}

func (w *world) dieReceiver() {
	w.r.alive, w.r.mem, w.r.put, w.held, w.fence = false, nil, nil, nil, nil
}

// minute drops what the dead have sent.
func (w *world) minute() {
	w.net = slices.DeleteFunc(w.net, func(p packet) bool { return p.dead })
	w.young = false
}

func (w *world) outboxEmpty(s store) bool {
	for key := range s {
		if Reserved(key) {
			return false
		}
	}
	return true
}

// move is something that may happen next.
type move struct {
	name string
	do   func(*world)
}

// possible returns the moves that a world has.
func (w *world) possible() (all []move) {
	add := func(name string, do func(*world)) { all = append(all, move{name, do}) }
	if !w.s.alive {
		add("the sender is claimed", func(w *world) { w.claimSender() })
	} else {
		for i := range w.ops {
			if w.s.mem[fmt.Sprintf("op/%d", i)] == "" {
				add(fmt.Sprintf("the sender runs %c%d", w.ops[i], i), func(w *world) { w.op(i) })
				break
			}
		}
		if w.s.mem[engine.TimerKey(0, "k")] != "" {
			add("the timer falls due", func(w *world) { w.fire() })
		}
		if w.s.dirty && w.s.put == nil {
			add("the sender puts", func(w *world) {
				w.s.put, w.s.dirty = maps.Clone(w.s.mem), false
				if w.flaw == countInMemory {
					delete(w.s.put, engine.ToldCount)
				}
				if w.flaw != lateWakeUp {
					w.waking = w.waking || !w.outboxEmpty(w.s.put)
				}
			})
		}
		if w.s.put != nil && !w.s.landed {
			add("the sender's put lands", func(w *world) {
				if w.past == nil {
					w.past = maps.Clone(w.s.put)
				}
				w.s.disk, w.s.landed = w.s.put, true
			})
		}
		if w.s.landed {
			add("the sender hears of its put", func(w *world) {
				w.s.put, w.s.landed = nil, false
				w.s.commit++
				w.waking = w.waking || !w.outboxEmpty(w.s.disk)
				w.ob.Landed(w.s.commit)
			})
		}
		if w.ob.clone().canTake(w.clock()) {
			add("the sender sends", func(w *world) { w.send() })
		}
		if w.ob.HasChores() && w.s.put == nil {
			add("the sender removes", func(w *world) {
				commit := w.next()
				if w.flaw == forgetsEarly {
					commit = 0
				}
				w.write(w.ob.Chores(w.get, commit)...)
			})
		}
		if len(w.ob.parking) > 0 && w.s.put == nil {
			add("the sender parks", func(w *world) {
				if m, at, ok := w.ob.ToPark(w.get); ok {
					w.write(Park(m, at)...)
				}
			})
		}
		if (!w.young || w.flaw == youngForgets) && w.ob.HasForgets() {
			add("the sender says Forget", func(w *world) {
				for _, f := range w.ob.Forgets() {
					w.net = append(w.net, packet{kind: 'f', term: w.s.term, born: w.countNow().Born, handled: f.Last})
				}
			})
		}
		if w.ob.sending > 0 {
			add("the sender gives up waiting", func(w *world) {
				r := w.ob.receivers[receiver]
				w.ob.Answered(Batch{To: receiver, Try: r.try, Numbers: make([]uint64, 1)}, Answer{}, now, 0, w.young)
			})
		}
		if w.restores > 0 && w.past != nil && w.s.put == nil {
			add("the sender is restored", func(w *world) { w.restores--; w.restore() })
		}
		if w.removals > 0 && (!w.young || w.flaw == youngRemoves) && w.s.put == nil && !w.s.dirty && !w.ob.Busy() && w.outboxEmpty(w.s.mem) {
			add("the sender's record is removed", func(w *world) {
				w.removals--
				done := store{}
				for key, v := range w.s.disk {
					if strings.HasPrefix(key, "op/") || key == "cancelled" { // nobody asks for these again
						done[key] = v
					}
				}
				w.dieSender()
				w.s.disk, w.s.epoch = done, 0
			})
		}
		if w.releases > 0 && w.s.put == nil && !w.s.dirty {
			add("the sender is released", func(w *world) { w.releases--; w.dieSender() })
		}
		if w.senderDeaths > 0 {
			add("the sender dies", func(w *world) { w.senderDeaths--; w.dieSender() })
		}
	}
	if !w.r.alive {
		add("the receiver is claimed", func(w *world) { w.claimReceiver() })
	} else {
		if w.r.dirty && w.r.put == nil {
			add("the receiver puts", func(w *world) {
				w.r.put, w.r.dirty = maps.Clone(w.r.mem), false
			})
		}
		if w.r.put != nil {
			add("the receiver's put lands", func(w *world) { w.receiverLands(); w.leave() })
			add("the receiver's put lands and it dies", func(w *world) {
				if w.receiverDeaths--; w.receiverDeaths < 0 {
					w.broken = "-"
				}
				w.receiverLands()
				w.dieReceiver()
			})
		}
		if len(w.fence) > 0 && w.r.put == nil && !w.r.dirty {
			add("the receiver writes its mark", func(w *world) {
				w.r.mem[MarkKey(sender)] = w.fence[len(w.fence)-1]
				w.fence, w.r.dirty = nil, true
			})
		}
		if w.receiverDeaths > 0 {
			add("the receiver dies", func(w *world) { w.receiverDeaths--; w.dieReceiver() })
		}
	}
	for i, p := range w.net {
		w.arrivals(i, p, add)
	}
	if w.young || slices.ContainsFunc(w.net, func(p packet) bool { return p.dead }) {
		add("a minute passes", func(w *world) { w.minute() })
	}
	return all
}

func (o *Outbox) canTake(now time.Time) bool {
	_, ok := o.Take(now)
	return ok
}

func (w *world) receiverLands() {
	w.r.disk, w.r.put = w.r.put, nil
	w.r.commit++
}

func (w *world) send() {
	b, ok := w.ob.Take(w.clock())
	if !ok {
		panic("nothing to send")
	}
	p := packet{kind: 'b', term: w.s.term, b: b, born: w.countNow().Born}
	for _, n := range b.Numbers {
		m, err := engine.DecodeTold([]byte(w.s.mem[engine.OutboxKey(n)]))
		if err != nil {
			panic(fmt.Sprintf("message %d: %v", n, err))
		}
		p.bodies = append(p.bodies, string(m.Body))
	}
	if w.flaw == manyBatches {
		for i := range b.Numbers {
			one := p
			one.b.Numbers, one.bodies = b.Numbers[i:i+1], p.bodies[i:i+1]
			w.net = append(w.net, one)
		}
		return
	}
	w.net = append(w.net, p)
}

func (w *world) restore() {
	was := w.s.mem
	w.s.mem = store{}
	for key, v := range w.past {
		if !strings.HasPrefix(key, engine.Reserved) || w.flaw == restoresOutbox {
			w.s.mem[key] = v
		}
	}
	for key, v := range was {
		if (strings.HasPrefix(key, engine.Reserved) && w.flaw != restoresOutbox) || strings.HasPrefix(key, "op/") || key == "cancelled" {
			w.s.mem[key] = v
		}
	}
	w.s.dirty = true
	if w.flaw == restoresOutbox {
		w.ob = New(sender)
		w.ob.Landed(w.s.commit)
		for _, key := range slices.Sorted(maps.Keys(w.s.mem)) {
			w.note(engine.Write{Key: key, Value: []byte(w.s.mem[key])}, 0)
		}
	}
}

// arrivals are what may become of one packet.
func (w *world) arrivals(i int, p packet, add func(string, func(*world))) {
	name := map[byte]string{'b': "batch", 'a': "answer", 'f': "Forget"}[p.kind]
	take := func(w *world, copyStays bool) {
		if copyStays {
			return
		}
		// What the same sender sent before, and has not arrived, never does.
		kept := w.net[:0:0]
		for j, q := range w.net {
			if j == i || j < i && q.term == p.term && (q.kind == 'a') == (p.kind == 'a') {
				continue
			}
			kept = append(kept, q)
		}
		w.net = kept
	}
	arrive := func(label string, refuse, stays bool) {
		add(fmt.Sprintf("%s %v of %d arrives%s", name, p.b.Numbers, p.term, label), func(w *world) {
			take(w, stays)
			switch {
			case p.kind == 'b' && w.r.alive:
				w.handle(p, refuse)
			case p.kind == 'f' && w.r.alive:
				mark, _ := engine.DecodeCount([]byte(w.r.mem[MarkKey(sender)]))
				if MayDrop(mark, p.born, p.handled) {
					delete(w.r.mem, MarkKey(sender))
				}
			case p.kind == 'a' && w.s.alive && p.to == w.s.term:
				a := Answer{Handled: p.handled, Failed: p.failed, Refused: p.failed > 0, Err: &engine.Failure{Code: "conflict"}}
				w.ob.Answered(w.taken(p.b), a, now, 0, w.young && w.flaw != youngParks)
			}
		})
	}
	arrive("", false, false)
	if p.kind == 'b' && w.refusals > 0 {
		add(fmt.Sprintf("batch %v of %d arrives and is refused", p.b.Numbers, p.term), func(w *world) {
			w.refusals--
			take(w, false)
			if w.r.alive {
				w.handle(p, true)
			}
		})
	}
	if w.doubles > 0 && p.kind == 'b' {
		add(fmt.Sprintf("a copy of batch %v of %d arrives", p.b.Numbers, p.term), func(w *world) {
			w.doubles--
			if w.r.alive {
				w.handle(p, false)
			}
		})
	}
	if w.losses > 0 {
		add(fmt.Sprintf("%s %v of %d is lost", name, p.b.Numbers, p.term), func(w *world) {
			w.losses--
			w.net = slices.Delete(slices.Clone(w.net), i, i+1)
		})
	}
}

// taken returns the batch as the sender took it: a broken sender has sent it in parts.
func (w *world) taken(b Batch) Batch {
	if w.flaw == manyBatches {
		if r := w.ob.receivers[b.To]; r != nil {
			b.Numbers = nil
			for _, i := range r.queue[:min(r.sent, len(r.queue))] {
				b.Numbers = append(b.Numbers, i.n)
			}
		}
	}
	return b
}

// check says what is wrong with a world.
func (w *world) check() string {
	if w.broken != "" {
		return w.broken
	}
	for _, effects := range []string{w.r.disk["effects"], w.r.mem["effects"]} {
		all := strings.Fields(effects)
		told := -1
		for i, e := range all {
			if slices.Contains(all[:i], e) {
				return fmt.Sprintf("message %s was handled twice: %v", e, all)
			}
			if w.s.disk["op/"+e] == "" {
				return fmt.Sprintf("message %s was handled, and the sender never told it", e)
			}
			if w.s.disk["cancelled"] == e {
				return fmt.Sprintf("message %s was handled, and it was cancelled", e)
			}
			n := int(e[0] - '0')
			if w.ops[n] == opTell {
				if n < told {
					return fmt.Sprintf("message %d was handled after %d: %v", n, told, all)
				}
				told = n
			}
			if w.parked(e) {
				return fmt.Sprintf("message %s was handled, and it is parked", e)
			}
		}
	}
	if !w.s.alive && !w.waking && !w.outboxEmpty(w.s.disk) {
		return "the sender is dead, has something to send, and nothing wakes it"
	}
	return ""
}

// parked reports whether the sender's record says that the message with this body is parked.
func (w *world) parked(body string) bool {
	for key, v := range w.s.disk {
		if !strings.HasPrefix(key, engine.ParkedAt) {
			continue
		}
		if m, err := engine.DecodeTold([]byte(v)); err == nil && string(m.Body) == body {
			return true
		}
	}
	return false
}

// end plays a calm end, and says what has not become of everything.
func (w *world) end() string {
	w.senderDeaths, w.receiverDeaths, w.losses, w.doubles, w.refusals, w.restores, w.removals, w.releases = 0, 0, 0, 0, 0, 0, 0, 0
	for range 400 {
		if broken := w.check(); broken != "" {
			return broken
		}
		all := slices.DeleteFunc(w.possible(), func(m move) bool {
			return m.name == "the sender gives up waiting" && (len(w.net) > 0 || len(w.held) > 0 || w.r.dirty || w.r.put != nil || !w.r.alive)
		})
		if len(all) == 0 {
			break
		}
		w.step(all[0])
	}
	effects := strings.Fields(w.r.disk["effects"])
	for i, op := range w.ops {
		name := fmt.Sprint(i)
		if op != opCancel && w.s.disk["cancelled"] != name && !slices.Contains(effects, name) && !w.parked(name) {
			return fmt.Sprintf("message %d is never handled: %v", i, effects)
		}
	}
	if !w.s.alive || w.ob.Busy() || w.ob.Len() > 0 || len(w.ob.receivers) > 0 {
		return fmt.Sprintf("something is left in the outbox: %s", w.print())
	}
	if mark, ok := w.r.mem[MarkKey(sender)]; ok {
		m, _ := engine.DecodeCount([]byte(mark))
		if !w.ob.MayForget(receiver, m.Last) {
			return "the receiver may never drop its mark"
		}
	}
	return ""
}

func (w *world) step(m move) {
	w.moves = append(w.moves, m.name)
	m.do(w)
}

// print is the text of a world, which tells it from others. One is written for every move of an exploration: package fmt would take
// most of the time.
type print []byte

func (p *print) numbers(all ...uint64) {
	for _, n := range all {
		*p = append(strconv.AppendUint(*p, n, 36), ' ')
	}
}

func (p *print) flags(all ...bool) {
	for _, one := range all {
		*p = strconv.AppendBool(*p, one)
	}
}

func (p *print) texts(all ...string) {
	for _, text := range all {
		*p = append(strconv.AppendInt(*p, int64(len(text)), 36), ':')
		*p = append(*p, text...)
	}
}

func (p *print) store(s store) {
	var room [16]string
	keys := room[:0]
	for key := range s {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		p.texts(key, s[key])
	}
	p.texts("|")
}

func (p *print) half(h *half) {
	p.flags(h.alive, h.dirty, h.landed)
	p.numbers(h.term, h.epoch, h.commit)
	p.store(h.disk)
	p.store(h.mem)
	p.store(h.put)
}

func (p *print) peer(r *peer) {
	for _, i := range r.queue {
		p.numbers(i.n, i.need, uint64(i.due.Unix()), uint64(i.due.Nanosecond()), uint64(i.tries), uint64(i.size))
		p.texts(i.key)
		p.flags(i.park)
	}
	p.texts("|")
	p.numbers(uint64(r.sent), r.try, r.hold, r.last, r.removed, uint64(r.removing), uint64(r.window))
}

func (p *print) packets(all []packet) {
	for i := range all {
		one := &all[i]
		p.numbers(uint64(one.kind), one.term, one.to, one.born, one.handled, one.failed, one.need, one.b.Try)
		p.numbers(one.b.Numbers...)
		p.texts(one.b.To)
		p.texts(one.bodies...)
		p.flags(one.dead)
		p.texts("|")
	}
	p.texts("|")
}

// print returns the world in one text, which tells it from others.
func (w *world) print() string {
	p := make(print, 0, 1024)
	p.half(&w.s)
	p.half(&w.r)
	p.flags(w.young, w.waking)
	p.numbers(w.count)
	p.packets(w.net)
	p.packets(w.held)
	p.store(w.past)
	p.texts(w.fence...)
	for _, n := range []int{w.senderDeaths, w.receiverDeaths, w.losses, w.doubles, w.refusals, w.restores, w.removals, w.releases} {
		p.numbers(uint64(n + 1))
	}
	if w.ob != nil {
		for _, key := range slices.Sorted(maps.Keys(w.ob.receivers)) {
			p.peer(w.ob.receivers[key])
		}
		for _, c := range w.ob.chores {
			p.numbers(c.n)
			p.flags(c.retry.IsZero())
		}
		for _, c := range w.ob.parking {
			p.numbers(c.n)
			p.texts("parks")
		}
	}
	return string(p)
}
