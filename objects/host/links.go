package host

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/record"
)

// links are the lanes of an incarnation: the streams from its objects to gateways.
// Lanes are numbered, so that acknowledgements and probes of many travel in one small
// message.
type links struct {
	mu         sync.Mutex // guards what follows; taken after an object's
	last       uint32     // number of the newest lane
	lanes      map[uint32]link
	busy       map[*object]struct{}       // objects with lanes that await an answer
	probes     map[string]*wire.LaneHeads // probes for the next tick, by gateway
	unanswered map[string]struct{}        // gateways that were asked and have not answered
	ticks      *wire.Ticks                // they run while something is awaited
}

// link is one lane.
type link struct {
	o       *object
	gateway string
}

const (
	laneTick  = 50 * time.Millisecond // between looks at what is awaited
	laneInbox = 16 << 10              // acknowledgements that may wait; beyond it they are dropped, and gateways repeat them
)

func newLinks() links {
	return links{
		lanes: make(map[uint32]link), busy: make(map[*object]struct{}), probes: make(map[string]*wire.LaneHeads),
		unanswered: make(map[string]struct{}), ticks: wire.NewTicks(laneTick),
	}
}

// add numbers a lane.
func (k *links) add(o *object, gateway string) uint32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last++
	k.lanes[k.last] = link{o, gateway}
	return k.last
}

// find returns the object of a lane, if the lane leads to the gateway.
func (k *links) find(lane uint32, gateway string) (*object, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, ok := k.lanes[lane]
	return l.o, ok && l.gateway == gateway
}

// forget drops an object's lanes.
func (k *links) forget(o *object, lanes map[string]uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, lane := range lanes {
		delete(k.lanes, lane)
	}
	delete(k.busy, o)
}

// await looks at the object's stream with every tick, until nothing is awaited.
func (k *links) await(o *object) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.busy[o] = struct{}{}
	k.ticks.Begin()
}

// probe sends a lane's head with the next tick.
func (k *links) probe(host, gateway string, at wire.Reached, quiet bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	heads := k.probes[gateway]
	if heads == nil {
		heads = &wire.LaneHeads{Host: host}
		k.probes[gateway] = heads
	}
	if quiet {
		heads.Quiet = append(heads.Quiet, at)
	} else {
		heads.Heads = append(heads.Heads, at)
	}
	k.ticks.Begin()
}

// asked notes that a gateway has been asked what it has received.
func (k *links) asked(gateway string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unanswered[gateway] = struct{}{}
}

// noteHeard notes that the gateway has sent something. It reports whether the gateway was
// asked before and had not answered.
func (k *links) noteHeard(gateway string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, asked := k.unanswered[gateway]
	delete(k.unanswered, gateway)
	return asked
}

func (k *links) busyObjects() []*object {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]*object, 0, len(k.busy))
	for o := range k.busy {
		all = append(all, o)
	}
	return all
}

// idle drops an object whose lanes await nothing.
func (k *links) idle(o *object) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.busy, o)
}

// takeProbes removes and returns the probes to send now. The ticks end if nothing is awaited.
func (k *links) takeProbes() (probes map[string]*wire.LaneHeads) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.probes) > 0 {
		probes, k.probes = k.probes, make(map[string]*wire.LaneHeads)
	}
	if len(k.busy) == 0 {
		k.ticks.End()
	}
	return probes
}

// serveLanes handles gateways' messages about lanes and repeats questions that are not
// answered. It sleeps while nothing is awaited. After a reconnect everything that is
// awaited may have been lost, so all gateways are asked at once.
func (in *incarnation) serveLanes(ctx context.Context) error {
	remade, stop := in.bus.Remade()
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case msg := <-in.lanes:
			in.onLaneMessage(msg)
		case <-remade:
			for _, o := range in.links.busyObjects() {
				o.onLanes(func(s *sockets) []stream.Do { return s.hurryAll(time.Now()) })
			}
			in.tickLanes(time.Now())
		case now := <-in.links.ticks.C:
			in.tickLanes(now)
		}
	}
}

// tickLanes looks at what the objects' streams await.
func (in *incarnation) tickLanes(now time.Time) {
	kept, largest, of := 0, 0, (*object)(nil)
	for _, o := range in.links.busyObjects() {
		size := o.tickStream(now)
		kept += size
		if size > largest {
			largest, of = size, o
		}
	}
	if kept > in.cfg.Windows {
		of.onLanes((*sockets).dropLargest)
	}
	for gateway, heads := range in.links.takeProbes() {
		in.logSendError(wire.Publish(in.bus, wire.GatewaySubject(gateway, wire.Heads), heads))
	}
}

// onLaneMessage handles one message of a gateway about lanes.
func (in *incarnation) onLaneMessage(msg *nats.Msg) {
	defer in.recover(msg.Subject)
	switch strings.TrimPrefix(msg.Subject, wire.LaneInbox(in.id)) {
	case wire.Acks:
		var acks wire.LaneAcks
		if err := wire.Decode(msg.Data, &acks); err != nil {
			in.warnings.Log(in.log, "acknowledgements dropped: not understood", "err", err)
			return
		}
		now := time.Now()
		for _, a := range acks.Acks {
			if o, ok := in.links.find(a.Of, acks.Gateway); ok {
				o.onLanes(func(s *sockets) []stream.Do { return s.Acked(acks.Gateway, a.Seq) })
			}
		}
		for _, r := range acks.Resend {
			if o, ok := in.links.find(r.Of, acks.Gateway); ok {
				o.onLanes(func(s *sockets) []stream.Do { return s.Resend(now, acks.Gateway, r.Seq) })
			}
		}
		for _, a := range acks.Answered {
			if o, ok := in.links.find(a.Lane, acks.Gateway); ok {
				o.onLanes(func(s *sockets) []stream.Do { return s.noteAllAnswered(acks.Gateway, a.At) })
			}
		}
	case wire.Hold:
		var held wire.Held
		if err := wire.Decode(msg.Data, &held); err != nil {
			in.warnings.Log(in.log, "sockets not taken over: the answer is not understood", "err", err)
			return
		}
		if o, ok := in.links.find(held.Lane, held.Gateway); ok {
			o.onLanes(func(s *sockets) []stream.Do { return s.noteHeld(time.Now(), o.id.Key(), &held) })
		}
	}
}

// probeGateway asks a gateway at once if it owes answers and has just sent something.
func (in *incarnation) probeGateway(gateway string) {
	if !in.links.noteHeard(gateway) {
		return
	}
	for _, o := range in.links.busyObjects() {
		o.onLanes(func(s *sockets) []stream.Do { return s.hurry(time.Now(), gateway) })
	}
}

// streamSettings returns the settings of every object's streams.
func streamSettings(cfg *Config, timing wire.Timing) stream.Settings {
	s := stream.Defaults()
	s.Wait, s.Keep, s.Window = timing.Silence, timing.Keep, cfg.Window
	return s
}

// beginStream begins the object's streams to the gateways of its record.
func (o *object) beginStream(entries []stream.Entry, token uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage() == gone {
		return
	}
	o.sockets = newSockets(o.class, stream.NewSender(token, entries, &o.in.streams, time.Now()))
	o.addWaiter().await(untilHeld)
	o.transmit(o.sockets.Tick(time.Now()))
}

// transmit carries out what the object's stream wants done. With mu held, which keeps the order.
func (o *object) transmit(do []stream.Do) {
	for len(do) > 0 {
		d, n := &do[0], 1
		lane, known := o.sockets.laneTo(d.Gateway)
		if !known {
			lane = o.in.links.add(o, d.Gateway)
			o.sockets.addLane(d.Gateway, lane)
		}
		switch d.Kind {
		case stream.Send:
			n = joined(do)
			o.publish(lane, do[:n])
		case stream.Probe:
			o.in.links.probe(o.in.id, d.Gateway, wire.Reached{Of: lane, Seq: d.Head}, d.Quiet)
		case stream.Ask:
			o.in.links.asked(d.Gateway)
			which := wire.Which{Lane: lane, Object: o.id.Key(), Token: o.sockets.Token(), Host: o.in.id}
			o.in.logSendError(wire.Publish(o.in.bus, wire.GatewaySubject(d.Gateway, wire.Whichs), &which))
		}
		do = do[n:]
	}
	if o.sockets.beginsToAwait() {
		o.in.links.await(o)
	}
	if o.waiters.awaits(untilHeld) != nil && !o.sockets.Taking() {
		o.waiters.come(untilHeld)
	}
	if o.waiters.awaits(untilQuiet) != nil && o.sockets.Quiet() {
		o.waiters.come(untilQuiet)
	}
}

// joined returns how many of the first messages in do have consecutive numbers of one lane: these travel as one. A
// commit often releases many at once.
func joined(do []stream.Do) int {
	n, size := 1, len(do[0].Push.Body)
	for ; n < len(do); n++ {
		d := &do[n]
		size += len(d.Push.Body)
		if d.Kind != stream.Send || d.Gateway != do[0].Gateway || d.Push.Kind != stream.More || d.Push.Seq != do[0].Push.Seq+uint64(n) || !wire.MayJoin(size) {
			break
		}
	}
	return n
}

// publish sends consecutive numbers of a lane in one message. What the first says of other lanes holds for all. With mu
// held.
func (o *object) publish(lane uint32, do []stream.Do) {
	p, first := o.sockets.nextPush(), &do[0].Push
	*p = wire.LanePush{
		Lane: lane, Seq: first.Seq, Kind: uint8(first.Kind), Object: o.id.Key(), Token: o.sockets.Token(),
		Heads: p.Heads[:0], Encoded: p.Encoded[:0],
	}
	if first.Kind != stream.More {
		p.Host, p.Slots = o.in.id, wire.SlotsOf(first.Slots)
	}
	for _, h := range first.Heads {
		p.Heads = append(p.Heads, wire.Reached{Of: uint32(h.Gateway), Seq: h.Seq})
	}
	for i := range do {
		p.Encoded = append(p.Encoded, do[i].Push.Body)
	}
	o.in.logSendError(wire.Publish(o.in.bus, wire.GatewaySubject(do[0].Gateway, wire.Pushes), p))
	clear(p.Encoded)
}

// tickStream repeats the questions that gateways have not answered, and returns how many
// bytes the object keeps for gateways.
func (o *object) tickStream(now time.Time) (kept int) {
	o.onLanes(func(s *sockets) []stream.Do {
		do, quiet := s.tick(now)
		if quiet {
			o.in.links.idle(o)
		}
		kept = s.kept()
		return do
	})
	return kept
}

// acceptsLanes reports whether gateways' messages about lanes still count. With mu held.
func (o *object) acceptsLanes() bool { return o.stage() != gone && o.sockets != nil }

// onLanes calls act with the object's sockets, and sends what act returns, if gateways' messages about lanes still
// count.
func (o *object) onLanes(act func(*sockets) []stream.Do) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.acceptsLanes() {
		o.transmit(act(o.sockets))
	}
}

// awaitHanded returns when all gateways have answered or enough time has passed. It
// reports false when the incarnation ends first.
func (o *object) awaitHanded() bool {
	o.mu.Lock()
	handed := o.waiters.awaits(untilHeld)
	o.mu.Unlock()
	if handed == nil {
		return true
	}
	select {
	case <-handed:
		return true
	case <-o.in.work.Done():
		return false
	}
}

// quietTime is how long a planned hand-over waits for acknowledgements. Without the wait, a new owner's question would
// overtake messages that are on their way, and sockets would be closed for nothing.
const quietTime = time.Second

// awaitQuiet returns when every gateway has acknowledged everything, or after quietTime.
func (o *object) awaitQuiet() {
	o.mu.Lock()
	if !o.acceptsLanes() || o.sockets.Quiet() {
		o.mu.Unlock()
		return
	}
	quiet := o.addWaiter().await(untilQuiet)
	o.mu.Unlock()
	timer := time.NewTimer(quietTime)
	defer timer.Stop()
	select {
	case <-quiet:
	case <-timer.C:
	case <-o.in.work.Done():
	}
}

// entriesOf returns a record's gateways as package stream wants them. An entry that no host can have written is left
// out.
func entriesOf(gateways []record.Gateway) []stream.Entry {
	left := 2 * objects.MaxSockets // for the sockets that are open, and as many that have ended
	entries := make([]stream.Entry, 0, len(gateways))
	for _, g := range gateways {
		if checkName(g.Name) != nil {
			continue
		}
		e := stream.Entry{Gateway: g.Name, Token: g.Token, Head: g.Head, Tombstone: g.Tombstone}
		before := uint32(0)
		for slot := range wire.Slots(g.Slots).All() {
			if slot <= before || left == 0 {
				break
			}
			left--
			before = slot
			e.Slots = append(e.Slots, stream.Slot(slot))
		}
		entries = append(entries, e)
	}
	return entries
}

// gateways returns the part of a record that names the gateways which hold sockets. With mu held.
func (s *sockets) gateways() []record.Gateway {
	entries := s.Entries()
	if len(entries) == 0 {
		return nil
	}
	gateways := make([]record.Gateway, 0, len(entries))
	for _, e := range entries {
		gateways = append(gateways, record.Gateway{Name: e.Gateway, Token: e.Token, Head: e.Head, Slots: wire.SlotsOf(e.Slots), Tombstone: e.Tombstone})
	}
	return gateways
}
