package stream

import (
	"slices"
	"time"
)

// Sender is the owner's half of the streams of one object, under one token. What its
// methods return is valid until the next call.
type Sender struct {
	token    uint64
	settings *Settings // shared by many; not changed

	lanes  []*lane // in the order in which they were first needed
	needs  []need  // how far earlier streams are known to be; nil when every gateway has answered
	taking bool    // gateways are asked, the object is not served yet
	until  time.Time

	floor  uint64 // where new lanes begin: no lane of an earlier name has come further
	need   uint64 // the commit that the newest event depends on
	landed uint64 // the newest commit known to have landed

	todo *todo // nil before the first lane
}

// todo collects the actions of one event in memory that the next event reuses. It is nil
// for most objects: they have no sockets.
type todo struct {
	do    []Do
	heads []Head // that do shares
}

// lane is the stream to one gateway.
type lane struct {
	gateway   string
	mark      Mark
	answered  bool      // the gateway has answered this owner, or the record did not name it
	lacked    bool      // it did not have all that earlier owners had sent it
	tombstone time.Time // when the gateway was given up; zero: never, or it has acknowledged its tombstone
	need      uint64    // the commit that the giving up depends on
	answer    []Position
	members   map[Slot]member
	listed    []Slot // members' slots, rising

	head  uint64 // the newest number
	sent  uint64 // pushes up to this number have left
	acked uint64 // pushes up to this number have arrived
	start uint64 // number of the newest push that is not More; 0: no push has a number yet
	owed  uint64 // 1: a push is promised to the gateway that has no number yet; else 0

	window []kept // after acked, without what was shed
	size   int    // bytes of window

	next  time.Time     // when to ask or to probe
	pause time.Duration // between that probe and the following one
	quiet bool          // the gateway was told that nothing is missing
}

// member is a socket whose end the object has not been told.
type member struct {
	state memberState
	last  uint64 // number of the newest taken frame
}

// memberState says which frames of a member are taken.
type memberState uint8

const (
	open    memberState = iota // in order
	closing                    // only the last one, at any number
	ending                     // the last one was taken
)

// need is the highest number that anybody has seen of an earlier owner's lane.
type need struct {
	token uint64
	Head
}

// Do is an action of the host. Actions are done in order.
type Do struct {
	Kind    DoKind
	Gateway string
	Push    Push   // of Send
	Head    uint64 // of Probe
	Quiet   bool   // of Probe
}

// DoKind is the kind of a Do.
type DoKind uint8

// The kinds of Do.
const (
	Send  DoKind = 1 + iota // send Push to the gateway
	Probe                   // tell the gateway that its lane is at Head, and whether all is quiet
	Ask                     // ask the gateway for its positions and sockets (Which)
)

// NewSender begins a term from the record's entries. Tick asks their gateways.
func NewSender(token uint64, entries []Entry, settings *Settings, now time.Time) *Sender {
	s := &Sender{token: token, settings: settings, until: now.Add(settings.Wait)}
	for _, e := range entries {
		l := s.lane(e.Gateway)
		l.tombstone, l.answered, l.next = e.Tombstone, false, now
		l.head = 1 // see the package comment
		for _, slot := range e.Slots {
			l.add(slot, closing)
		}
		s.know(e.Token, Head{l.mark, e.Head})
	}
	s.taking = s.awaitsAnswers()
	return s
}

// Unused reports whether there has never been a lane. A new Sender with the same landed
// commit then behaves the same.
func (s *Sender) Unused() bool {
	return len(s.lanes) == 0 && s.needs == nil && s.floor == 0
}

// Token is the owner's.
func (s *Sender) Token() uint64 { return s.token }

func (s *Sender) find(gateway string) *lane {
	for _, l := range s.lanes {
		if l.gateway == gateway {
			return l
		}
	}
	return nil
}

func (s *Sender) lane(gateway string) *lane {
	l := s.find(gateway)
	if l == nil {
		l = &lane{
			gateway: gateway, mark: MarkOf(gateway), answered: true, members: make(map[Slot]member),
			head: s.floor, sent: s.floor, acked: s.floor, start: s.floor,
		}
		s.lanes = append(s.lanes, l)
		if s.todo == nil {
			s.todo = new(todo)
		}
	}
	return l
}

func (s *Sender) begin() {
	if t := s.todo; t != nil {
		clear(t.do)
		t.do, t.heads = t.do[:0], t.heads[:0]
	}
}

// ask adds an action for the host.
func (s *Sender) ask(d Do) {
	s.todo.do = append(s.todo.do, d)
}

// asks returns the actions since begin.
func (s *Sender) asks() []Do {
	if s.todo == nil {
		return nil
	}
	return s.todo.do
}

// slots are the members in one of the states.
func (l *lane) slots(states ...memberState) []Slot {
	var slots []Slot
	for _, slot := range l.listed {
		if slices.Contains(states, l.members[slot].state) {
			slots = append(slots, slot)
		}
	}
	return slots
}

func (l *lane) add(slot Slot, state memberState) {
	if i, known := slices.BinarySearch(l.listed, slot); !known {
		l.listed = slices.Insert(l.listed, i, slot)
	}
	l.members[slot] = member{state: state}
}

func (l *lane) remove(slot Slot) {
	if i, known := slices.BinarySearch(l.listed, slot); known {
		l.listed = slices.Delete(l.listed, i, i+1)
	}
	delete(l.members, slot)
}

// Out is the output of an event to one gateway.
type Out struct {
	Gateway string
	Opens   []Slot
	Ends    []Slot   // sockets whose end the event has told the object
	GiveUp  bool     // the gateway was silent for too long; the ends of all Members are told by this event or later ones
	Bodies  [][]byte // of pushes, in order; more than one if they do not fit
}

// Event numbers the pushes of an event, which depends on the commit need (0: on none), and
// sends all pushes whose commit has landed.
func (s *Sender) Event(now time.Time, need uint64, outs []Out) []Do {
	s.begin()
	s.need = max(s.need, need)
	for _, out := range outs {
		l := s.lane(out.Gateway)
		kind, before := More, l.head
		if len(l.members) == 0 {
			kind = Adopt // the gateway may have forgotten the lane
		}
		for _, slot := range out.Opens {
			l.add(slot, open)
		}
		for _, slot := range out.Ends {
			l.remove(slot)
		}
		switch {
		case out.GiveUp:
			s.giveUp(now, l)
		case l.answered && l.tombstone.IsZero():
			for _, body := range out.Bodies {
				s.number(now, l, kept{kind: kind, body: body, need: s.need})
				kind = More
			}
			l.trim(min(before, l.sent), s.settings.Window, time.Time{})
		}
	}
	s.release(now)
	return s.asks()
}

// Owe sets the gateways to which a push without a number is promised: an event that was
// acknowledged, or was part of a put, has sent it. A new owner finds that these gateways
// lack the push, unless it has arrived by then.
func (s *Sender) Owe(gateways ...string) {
	for _, l := range s.lanes {
		l.owed = 0
		if l.start != 0 && l.tombstone.IsZero() && slices.Contains(gateways, l.gateway) {
			l.owed = 1
		}
	}
}

// giveUp makes the gateway's tombstone: when the gateway answers, it must close its sockets.
func (s *Sender) giveUp(now time.Time, l *lane) {
	if len(l.members) == 0 && l.tombstone.IsZero() {
		s.remove(func(m *lane) bool { return m == l })
		return
	}
	for slot, m := range l.members {
		m.state = ending
		l.members[slot] = m
	}
	if !l.tombstone.IsZero() {
		return // by an earlier owner, which has not told all ends
	}
	l.tombstone, l.need = now, s.need
	if l.answered {
		s.closeAll(now, l)
	}
}

// remove forgets the lanes for which gone reports true.
func (s *Sender) remove(gone func(*lane) bool) {
	s.lanes = slices.DeleteFunc(s.lanes, func(l *lane) bool {
		if !gone(l) {
			return false
		}
		s.floor = max(s.floor, l.head)
		return true
	})
}

// Members are a gateway's sockets whose end is not being told to the object yet.
func (s *Sender) Members(gateway string) []Slot {
	l := s.find(gateway)
	if l == nil {
		return nil
	}
	return l.slots(open, closing)
}

// Accepts reports whether a socket may be opened at the gateway: false while the gateway
// still has to close all that it holds.
func (s *Sender) Accepts(gateway string) bool {
	l := s.find(gateway)
	return l == nil || l.answered && l.tombstone.IsZero()
}

// Landed sends the pushes that waited for the commit.
func (s *Sender) Landed(now time.Time, commit uint64) []Do {
	s.begin()
	s.landed = max(s.landed, commit)
	s.release(now)
	return s.asks()
}

// release sends the pushes whose commit has landed. All lanes advance before anything is
// sent, so that the heads in each push count the pushes to the other gateways.
func (s *Sender) release(now time.Time) {
	var few [8]uint64 // most objects have few gateways
	from := few[:0]
	for _, l := range s.lanes {
		from = append(from, l.sent+1)
		for _, k := range l.from(l.sent + 1) {
			if k.need <= s.landed {
				l.sent = k.seq
			}
		}
		if l.sent >= from[len(from)-1] && l.acked+1 >= from[len(from)-1] { // all before has arrived
			l.next, l.pause = now.Add(s.settings.Probe), s.settings.Probe
		}
	}
	for i, l := range s.lanes {
		s.send(l, from[i])
	}
}

// send sends the window from a number on, up to the newest push that may leave.
func (s *Sender) send(l *lane, from uint64) {
	for _, k := range l.from(from) {
		if k.seq <= l.sent {
			s.ask(Do{Kind: Send, Gateway: l.gateway, Push: Push{
				Seq: k.seq, Kind: k.kind, Slots: k.slots, Heads: s.headsFor(l, k.seq), Body: k.body,
			}})
		}
	}
}

// headsFor returns the heads of a push with number seq to a lane.
func (s *Sender) headsFor(to *lane, seq uint64) []Head {
	begin := len(s.todo.heads)
	for _, l := range s.lanes {
		told := l.sent + l.owed
		if l.start == 0 {
			told = l.head
		}
		if told > 0 && (l != to || told > seq) {
			s.todo.heads = append(s.todo.heads, Head{l.mark, told})
		}
	}
	return slices.Clip(s.todo.heads[begin:])
}

// Acked notes that a gateway has acknowledged all numbers up to received.
func (s *Sender) Acked(gateway string, received uint64) []Do {
	s.begin()
	l := s.find(gateway)
	if l == nil || received > l.sent {
		return nil // forged: nothing after sent has left
	}
	s.arrived(l, received)
	return s.asks()
}

// arrived notes how far a gateway is, and tells all gateways when nothing is missing
// anywhere. A gateway that acknowledges everything once more missed that news and gets it again.
func (s *Sender) arrived(l *lane, received uint64) {
	n := 0
	for ; n < len(l.window) && l.window[n].seq <= received; n++ {
		l.size -= l.window[n].size()
	}
	l.drop(n)
	l.acked = max(l.acked, received)
	l.quiet = false
	if l.start != 0 && l.acked >= l.start && l.acked == l.head {
		l.tombstone = time.Time{}
	}
	if !s.Quiet() {
		return
	}
	for _, l := range s.lanes {
		if l.answered && !l.quiet {
			l.quiet = true
			s.ask(Do{Kind: Probe, Gateway: l.gateway, Head: l.sent, Quiet: true})
		}
	}
}

// Quiet reports whether every gateway has everything, except those that were given up.
func (s *Sender) Quiet() bool {
	return !s.taking && !slices.ContainsFunc(s.lanes, func(l *lane) bool {
		return l.tombstone.IsZero() && (!l.answered || l.acked < l.head+l.owed)
	})
}

// Resend answers a gateway's request for all from a number on; 0: the gateway has nothing of the lane.
func (s *Sender) Resend(now time.Time, gateway string, from uint64) []Do {
	s.begin()
	l := s.find(gateway)
	switch {
	case l == nil || l.start == 0 || from > l.sent:
		return nil // forged: none of these numbers has left
	case from == 0 && l.start <= l.acked && l.acked < l.sent && len(l.members) == 0 && l.tombstone.IsZero():
		// The gateway may have forgotten the lane: it holds no socket.
		l.window, l.size = nil, 0
		s.number(now, l, kept{kind: Adopt})
		s.release(now)
		return s.asks()
	}
	from = max(from, min(l.start, l.sent)) // numbers before start are not missing
	if from <= l.acked {
		return nil // the request is older than the acknowledgement
	}
	if len(l.window) == 0 || l.window[0].seq > from {
		s.closeAll(now, l)
		s.release(now)
		return s.asks()
	}
	s.send(l, from)
	return s.asks()
}

// Tick asks and probes the gateways that have not answered. It is due at Wake.
func (s *Sender) Tick(now time.Time) []Do {
	s.begin()
	if s.taking && !now.Before(s.until) {
		s.judge(now)
	}
	s.remove(func(l *lane) bool {
		return !l.tombstone.IsZero() && now.Sub(l.tombstone) >= s.settings.Forget && len(l.members) == 0
	})
	for _, l := range s.lanes {
		if !l.waits() || now.Before(l.next) {
			continue
		}
		again := s.settings.Again
		if !l.tombstone.IsZero() {
			again = s.settings.Tombstone
		}
		if !l.answered {
			if s.taking {
				again = s.settings.Ask
			}
			s.ask(Do{Kind: Ask, Gateway: l.gateway})
			l.next = now.Add(again)
			continue
		}
		s.ask(Do{Kind: Probe, Gateway: l.gateway, Head: l.sent})
		l.pause = min(2*l.pause, again)
		l.next = now.Add(l.pause)
		l.trim(min(l.head-1, l.sent), s.settings.Window, now.Add(-s.settings.Keep))
	}
	return s.asks()
}

// waits reports whether the gateway owes an answer or an acknowledgement.
func (l *lane) waits() bool { return !l.answered || l.acked < l.sent }

// Wake is when Tick is due; zero: it is not.
func (s *Sender) Wake() time.Time {
	var wake time.Time
	if s.taking {
		wake = s.until
	}
	for _, l := range s.lanes {
		if l.waits() && (wake.IsZero() || l.next.Before(wake)) {
			wake = l.next
		}
	}
	return wake
}

// Hurry makes the next Tick ask or probe a gateway that has just sent something.
func (s *Sender) Hurry(now time.Time, gateway string) {
	if l := s.find(gateway); l != nil {
		l.next = now
	}
}

// Entries are the gateways' entries in a put that is decided on now; valid until the next call.
func (s *Sender) Entries() []Entry {
	var entries []Entry
	for _, l := range s.lanes {
		if len(l.members) == 0 && l.tombstone.IsZero() {
			continue
		}
		entries = append(entries, Entry{Gateway: l.gateway, Token: s.token, Head: l.head + l.owed, Slots: l.listed, Tombstone: l.tombstone})
	}
	return entries
}
