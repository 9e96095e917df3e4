package resume

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// world is one object whose room says messages to one session, the session's client, two gateways, and owners one after the
// other. Streams between owners and gateways are as package stream has them: in order, and a push tells its gateway of all
// that has left with it or before it. A gateway that has not got what somebody knows of when its owner dies lacks it. What an
// event does is durable at once, or the owner has died before.
type world struct {
	budget budget
	now    time.Time

	// The owner, and what is durable.
	epoch    uint64
	handed   uint64 // the epoch of the owner that has handed over last
	owner    *Sessions
	record   record
	event    int            // the newest that has sent anything
	places   map[Place]bool // that the owner takes for open, or of which it waits for the end; durable
	lacks    map[string]bool
	closing  map[Place]bool // of which only the end is taken
	said     int            // messages so far
	told     map[string]int // ends that the object was told, by session
	id       string         // the session of the client's newest socket
	handled  []int          // messages of the client, in the order in which they were handled
	gateways map[string]*gateway

	// The client.
	client Client
	conn   *conn // nil: it has no connection
	slots  uint32
	truth  []int // messages to the session that count: the client gets them, or is told of a gap
	got    []int
	missed []gapAt
	sent   int
	unsure bool         // the client was told that messages of its own may be lost
	seen   map[int]bool // messages that are durable, or of which somebody knows
	over   bool         // the client was told that the socket is another one
	left   bool         // the client has left
}

// record is what the next owner reads.
type record struct {
	away     map[string]Session
	detached map[Place]bool
	window   []byte
}

type gapAt struct {
	behind int // messages that the client had got
	missed uint64
}

// gateway is one gateway: sockets, and what is on its way to it.
type gateway struct {
	name    string
	down    []push // from the owner
	sockets map[uint32]*held
}

// push is one thing that the owner has sent.
type push struct {
	event   int     // that has sent it
	open    *Return // opens the slot
	slot    uint32
	message int  // 0: none
	close   bool // the session is elsewhere
	all     bool // closes all sockets
	settled int  // this message of the client was taken
	fresh   bool // open is of a new session
	known   bool // the record, or somebody else, knows of the push
}

// held is a socket at its gateway.
type held struct {
	session string
	lost    bool  // something that was sent to it is missing
	opened  bool  // the owner has said that it is open
	conn    *conn // nil: the client has gone, which the owner is to be told
	sent    uint64
	heard   uint64
	up      []int // messages of the client that the owner has not acknowledged, in order
	taken   int   // of them, by this owner
}

// conn is the connection between a client and a gateway.
type conn struct {
	at    Place
	down  []any // Hello or int
	up    []int
	alive bool // the gateway has it
	heard bool // the client has read the hello
}

// budget bounds a world.
type budget struct {
	says, sends, breaks, gatewayDeaths, ownerDeaths, moves, waits, volatiles int
}

// flaw is a mistake that is planted.
type flaw int

const (
	none                   flaw = iota
	countsNothingWhileAway      // what a session was sent while it was away is taken for known after its owner has died
	detachedIsForgotten         // the record does not say that a place is detached
	framesOfDetachedPlaces      // what a detached place still brings is handled
	lackingGatewayIsWhole       // a gateway that lacks something is taken for whole
	windowOfAnyEpoch            // a window is taken over that an earlier owner has handed over
	clientCountsFromItself      // the client does not take over the owner's count
	resumeCountsFromZero        // the client's count is ignored
	takenIsNotSaid              // the client is not told what was taken
)

var settings = Settings{Bytes: 3 * 72, Time: 10 * time.Second} // three messages

func newWorld(b budget) *world {
	w := &world{
		budget: b, now: time.Unix(1e9, 0), epoch: 1, owner: New(settings), places: make(map[Place]bool), lacks: make(map[string]bool), told: make(map[string]int), seen: make(map[int]bool),
		record:   record{away: make(map[string]Session), detached: make(map[Place]bool)},
		gateways: map[string]*gateway{"g1": {name: "g1", sockets: make(map[uint32]*held)}, "g2": {name: "g2", sockets: make(map[uint32]*held)}},
	}
	return w
}

// move is one thing that can happen.
type move struct {
	name string
	do   func(w *world)
}

const secret = "0123456789abcdef"

// moves returns what can happen now. They are in an order that is always the same.
func (w *world) moves(f flaw) (all []move) {
	add := func(name string, do func(w *world)) { all = append(all, move{name, do}) }
	for _, name := range []string{"g1", "g2"} {
		g := w.gateways[name]
		if len(g.down) > 0 {
			add("push to "+name, func(w *world) { w.push(w.gateways[name]) })
		}
		for slot := uint32(1); slot <= w.slots; slot++ {
			s := g.sockets[slot]
			if s == nil {
				continue
			}
			if s.taken < len(s.up) {
				add(fmt.Sprint("frame from ", name, slot), func(w *world) { w.frame(w.gateways[name], slot, true, f) })
				if w.budget.volatiles > 0 {
					add(fmt.Sprint("frame that writes nothing from ", name, slot), func(w *world) {
						w.budget.volatiles--
						w.frame(w.gateways[name], slot, false, f)
					})
				}
			} else if s.conn == nil || !s.conn.alive {
				add(fmt.Sprint("end from ", name, slot), func(w *world) { w.ended(w.gateways[name], slot, f) })
			}
			if s.conn != nil && s.conn.alive && len(s.conn.up) > 0 {
				add(fmt.Sprint("message to ", name, slot), func(w *world) {
					s := w.gateways[name].sockets[slot]
					s.up, s.conn.up = append(s.up, s.conn.up[0]), s.conn.up[1:]
				})
			}
		}
		if w.conn == nil && !w.left {
			add("connect to "+name, func(w *world) { w.connect(w.gateways[name], f) })
		}
		if w.budget.gatewayDeaths > 0 && len(g.sockets) > 0 {
			add(name+" dies", func(w *world) { w.gatewayDies(w.gateways[name], f) })
		}
	}
	if c := w.conn; c != nil {
		if len(c.down) > 0 {
			add("client reads", func(w *world) { w.read(f) })
		}
		if w.client.Token != "" && w.budget.sends > 0 && c.heard {
			add("client sends", func(w *world) {
				w.budget.sends--
				w.sent++
				if w.client.Send(Message{Data: []byte{byte(w.sent)}}) {
					w.conn.up = append(w.conn.up, w.sent)
				}
			})
		}
		if w.budget.breaks > 0 || !c.alive {
			add("client loses its connection", func(w *world) {
				if w.conn.alive {
					w.budget.breaks--
				}
				w.hangUp()
			})
		}
	}
	if w.budget.says > 0 {
		add("say", func(w *world) { w.say(false) })
		add("say, and somebody sees it", func(w *world) { w.say(true) })
	}
	if w.budget.ownerDeaths > 0 {
		add("owner dies", func(w *world) { w.budget.ownerDeaths--; w.ownerDies(f) })
	}
	if w.budget.moves > 0 {
		add("planned move", func(w *world) { w.budget.moves--; w.move(f) })
	}
	if w.budget.waits > 0 && !w.owner.Next().IsZero() {
		add("time passes", func(w *world) { w.budget.waits--; w.pass() })
	}
	return all
}

// hangUp ends the client's connection. The gateway may not know yet.
func (w *world) hangUp() {
	if s := w.gateways[w.conn.at.Gateway].sockets[w.conn.at.Slot]; s != nil && s.conn == w.conn {
		s.conn = nil
	}
	w.conn = nil
}

func (w *world) whole(f flaw) func(string) bool {
	return func(g string) bool { return !w.lacks[g] || f == lackingGatewayIsWhole }
}

// connect is an upgrade that the owner answers.
func (w *world) connect(g *gateway, f flaw) {
	w.slots++
	at := Place{g.name, w.slots}
	w.conn = &conn{at: at, alive: true}
	g.sockets[at.Slot] = &held{conn: w.conn}
	w.places[at] = true
	received := w.client.Received
	if f == resumeCountsFromZero {
		received = 0
	}
	w.event++
	one := w.owner.Find(w.client.Token)
	if one == nil { // the object accepts a socket
		w.id = fmt.Sprint("s", w.slots)
		w.truth, w.over = nil, w.over || w.client.Token != ""
		g.sockets[at.Slot].session = w.id
		w.owner.Open(w.id, []byte(secret), at)
		g.down = append(g.down, push{event: w.event, slot: at.Slot, open: &Return{}, fresh: true})
		w.durable()
		return
	}
	g.sockets[at.Slot].session = one.ID
	back := w.owner.Resume(one, received, at, w.whole(f))
	delete(w.record.away, one.ID)
	if back.Before != (Place{}) {
		if f != detachedIsForgotten {
			w.record.detached[back.Before] = true
		}
		if old := w.gateways[back.Before.Gateway]; old != nil {
			old.down = append(old.down, push{event: w.event, slot: back.Before.Slot, close: true})
		}
	}
	g.down = append(g.down, push{event: w.event, slot: at.Slot, open: &back})
	for _, m := range back.Messages {
		g.down = append(g.down, push{event: w.event, slot: at.Slot, message: int(m.Data[0])})
	}
	w.durable()
}

// durable is a put: the record knows of all that has a number.
func (w *world) durable() { w.learn(w.event) }

// learn has somebody know of what events have sent, up to this one.
func (w *world) learn(event int) {
	for _, g := range w.gateways {
		for i := range g.down {
			if p := &g.down[i]; p.event <= event {
				p.known = true
				w.seen[p.message] = true
			}
		}
	}
}

// push is the next push that comes to a gateway.
func (w *world) push(g *gateway) {
	p := g.down[0]
	w.learn(p.event)
	g.down = g.down[1:]
	if p.all {
		for _, s := range g.sockets {
			w.cut(s)
			s.up, s.taken, s.lost = nil, 0, true // only the end is taken from here on
		}
		return
	}
	s := g.sockets[p.slot]
	if s == nil {
		return
	}
	switch {
	case p.open != nil:
		s.opened = true
		s.sent, s.heard = p.open.From, p.open.Taken
		if s.conn != nil {
			s.conn.down = append(s.conn.down, Hello{
				Token: s.session, Back: !p.fresh, From: p.open.From, Taken: p.open.Taken,
			})
		}
	case p.close:
		w.cut(s)
	case p.message > 0:
		s.sent++
		if s.conn != nil && s.conn.alive {
			s.conn.down = append(s.conn.down, p.message)
		}
	case p.settled > 0:
		s.up, s.taken, s.heard = s.up[1:], s.taken-1, s.heard+1
	}
}

// cut ends a socket at its gateway: what was queued before still reaches the client.
func (w *world) cut(s *held) {
	if s.conn != nil {
		s.conn.alive = false
	}
}

// read is the next that the client reads.
func (w *world) read(f flaw) {
	m := w.conn.down[0]
	w.conn.down = w.conn.down[1:]
	hello, is := m.(Hello)
	if !is {
		w.client.Message()
		w.got = append(w.got, m.(int))
		return
	}
	if f == takenIsNotSaid {
		hello.Taken = 0
	}
	if f == clientCountsFromItself {
		hello.From = w.client.Received
	}
	w.conn.heard = true
	received := w.client.Received
	again, gap := w.client.Hello(hello)
	if gap != nil && gap.Unsure > 0 {
		w.unsure = true
	}
	if gap != nil && gap.New {
		w.over = true
	} else if gap != nil && (gap.Missed > 0 || hello.From != received) {
		w.missed = append(w.missed, gapAt{len(w.got), gap.Missed})
	}
	for _, m := range again {
		w.conn.up = append(w.conn.up, int(m.Data[0]))
	}
}

// frame is a message of the client that comes to the owner.
func (w *world) frame(g *gateway, slot uint32, durable bool, f flaw) {
	s, at := g.sockets[slot], Place{g.name, slot}
	n := s.up[s.taken]
	s.taken++
	if w.owner.Detached(at) && f != framesOfDetachedPlaces || w.closing[at] {
		return
	}
	w.event++
	w.owner.Took(at)
	w.handled = append(w.handled, n)
	g.down = append(g.down, push{event: w.event, slot: slot, settled: n})
	if durable {
		w.durable()
	}
}

// ended is the end of a socket, of which the owner hears.
func (w *world) ended(g *gateway, slot uint32, f flaw) {
	delete(g.sockets, slot)
	g.down = slices.DeleteFunc(g.down, func(p push) bool { return p.slot == slot })
	w.gone(Place{g.name, slot}, f)
}

// gone is what the owner makes of an end.
func (w *world) gone(at Place, f flaw) {
	if !w.places[at] {
		return
	}
	delete(w.places, at)
	if w.owner.Detached(at) {
		w.owner.Forget(at)
		delete(w.record.detached, at)
		return
	}
	one := w.owner.Left(w.now, at, w.whole(f))
	if one != nil {
		w.record.away[one.ID] = *one
	}
	w.durable()
}

// gatewayDies loses a gateway. The owner gives it up at once: later is as if nothing had happened before.
func (w *world) gatewayDies(g *gateway, f flaw) {
	w.budget.gatewayDeaths--
	g.down = nil
	for slot := uint32(1); slot <= w.slots; slot++ {
		s := g.sockets[slot]
		if s == nil {
			continue
		}
		if s.conn != nil {
			s.conn.alive, s.conn.up = false, nil
		}
		delete(g.sockets, slot)
		w.gone(Place{g.name, slot}, f)
	}
}

// say is an event that says a message to the session; seen: somebody else has seen it before anything is lost.
func (w *world) say(seen bool) {
	w.budget.says--
	w.said++
	w.event++
	w.seen[w.said] = seen
	var to []Number
	for _, id := range slices.Sorted(maps.Keys(w.owner.byID)) {
		one := w.owner.Find(id)
		to = append(to, Number(one.set+1))
		if one.At != (Place{}) {
			g := w.gateways[one.At.Gateway]
			g.down = append(g.down, push{event: w.event, slot: one.At.Slot, message: w.said})
		}
		if id == w.id {
			w.truth = append(w.truth, w.said)
		}
	}
	w.owner.Add(w.now, Message{Data: []byte{byte(w.said)}}, to)
	if seen { // streams tell each other how far they are
		w.durable()
	}
}

// ownerDies has the next owner take over. What is on its way is lost: of that a gateway lacks what somebody has seen, and
// what was durable; the rest has not happened.
func (w *world) ownerDies(f flaw) {
	w.lacks = make(map[string]bool)
	for _, name := range []string{"g1", "g2"} {
		g := w.gateways[name]
		for _, p := range g.down {
			w.lacks[name] = w.lacks[name] || p.known
		}
		for _, p := range g.down {
			if p.settled > 0 && !p.known {
				w.handled = slices.DeleteFunc(w.handled, func(n int) bool { return n == p.settled })
			}
		}
		g.down = nil
	}
	w.truth = slices.DeleteFunc(w.truth, func(n int) bool { return !w.seen[n] })
	w.take(f)
	for _, name := range []string{"g1", "g2"} {
		if w.lacks[name] {
			w.gateways[name].down = []push{{all: true, known: true}}
		}
	}
}

// move hands the object over in order: all has arrived before.
func (w *world) move(f flaw) {
	for _, name := range []string{"g1", "g2"} {
		for g := w.gateways[name]; len(g.down) > 0; {
			w.push(g)
		}
	}
	w.record.window, w.handed = w.owner.HandOver(w.now, w.epoch, 1000), w.epoch
	w.lacks = make(map[string]bool)
	w.take(f)
}

// take is a new owner, who goes by the record and by what gateways hold.
func (w *world) take(f flaw) {
	w.epoch++
	w.owner, w.closing = New(settings), make(map[Place]bool)
	for at := range w.record.detached {
		w.owner.Detach(at)
	}
	for _, id := range slices.Sorted(maps.Keys(w.record.away)) {
		one := w.record.away[id]
		w.owner.Adopt(one)
		if f == countsNothingWhileAway {
			w.owner.Find(id).Lost = false
		}
	}
	for _, name := range []string{"g1", "g2"} {
		g := w.gateways[name]
		for slot := uint32(1); slot <= w.slots; slot++ {
			s, at := g.sockets[slot], Place{name, slot}
			if s == nil || !w.places[at] || w.owner.Detached(at) {
				continue
			}
			w.closing[at] = w.lacks[name]
			if s.taken = 0; !s.opened {
				continue
			}
			w.owner.Adopt(Session{ID: s.session, Secret: []byte(secret), At: at, Sent: s.sent, Taken: s.heard, Lost: s.lost && f != lackingGatewayIsWhole})
		}
	}
	if w.record.window == nil {
		return
	}
	epoch := w.epoch - 1
	if f == windowOfAnyEpoch {
		epoch = w.handed
	}
	if err := w.owner.TakeOver(w.record.window, epoch); err != nil {
		panic(err)
	}
}

// pass has the time of the session be over.
func (w *world) pass() {
	w.now = w.owner.Next()
	for _, one := range w.owner.Due(w.now) {
		w.owner.End(one.ID)
		delete(w.record.away, one.ID)
		w.told[one.ID]++
	}
}

// judge returns what is wrong.
func (w *world) judge() string {
	if w.over {
		return "" // what follows is another session's
	}
	at := 0
	gaps := w.missed
	for i, n := range append(slices.Clone(w.got), -1) {
		missed, more := uint64(0), false // before this message, by all gaps there; more: by one of them nobody knows how many more
		for ; len(gaps) > 0 && gaps[0].behind == i; gaps = gaps[1:] {
			missed += gaps[0].missed
			more = more || gaps[0].missed == 0
		}
		skipped := uint64(0)
		for at < len(w.truth) && (n == -1 || w.truth[at] != n) && (more || skipped < missed) {
			at++
			skipped++
		}
		if n != -1 && skipped < missed {
			return fmt.Sprintf("gaps of %d where %d were missed", missed, skipped)
		}
		if n == -1 {
			break
		}
		if at >= len(w.truth) || w.truth[at] != n {
			return fmt.Sprintf("got %v with gaps %v of %v", w.got, w.missed, w.truth)
		}
		at++
	}
	for i, n := range w.handled {
		if i > 0 && n <= w.handled[i-1] || !w.unsure && n != i+1 {
			return fmt.Sprintf("handled %v, unsure %t", w.handled, w.unsure)
		}
	}
	for _, n := range w.told {
		if n > 1 {
			return "an end was told twice"
		}
	}
	return ""
}

// calm has everything come to rest with the client connected, and returns what is wrong then.
func (w *world) calm(f flaw) string {
	w.budget = budget{}
	for range 1000 {
		if wrong := w.judge(); wrong != "" {
			return wrong
		}
		all := w.moves(f)
		all = slices.DeleteFunc(all, func(m move) bool { return strings.HasPrefix(m.name, "connect to g2") })
		if len(all) == 0 {
			break
		}
		all[0].do(w)
	}
	if w.over || w.left {
		return ""
	}
	last := 0
	if len(w.got) > 0 {
		last = w.got[len(w.got)-1]
	}
	if n := len(w.truth); n > 0 && last != w.truth[n-1] && (len(w.missed) == 0 || w.missed[len(w.missed)-1].behind < len(w.got)) {
		return fmt.Sprintf("at rest got %v with gaps %v of %v", w.got, w.missed, w.truth)
	}
	if len(w.handled) != w.sent && !w.unsure {
		return fmt.Sprintf("at rest %d of %d messages were handled", len(w.handled), w.sent)
	}
	if len(w.owner.detached) > 0 || len(w.record.detached) > 0 {
		return "a place stays detached for ever"
	}
	return ""
}
