package sockets

import (
	"context"
	"strings"
	"sync"
	"time"

	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects"
)

const (
	laneTick  = 50 * time.Millisecond // the interval at which streams that await something are looked at
	doubtStep = 256                   // streams that are doubted with one tick, at most
	maxClaims = 256                   // objects that streams claim or check at a time. Beyond it they try again later
	maxEnded  = 1024                  // incarnations that are known to have ended
)

// pending holds the groups whose streams await something of their owners, and the messages for the next tick.
type pending struct {
	mu       sync.Mutex // guards what follows; taken last
	groups   map[*group]struct{}
	acks     map[string]*wire.LaneAcks // by host
	doubts   []doubt                   // streams that are still to be doubted; at most all
	answered map[*Socket]struct{}      // automatic answers that the owners do not know of yet
	ticks    *wire.Ticks               // they run while there is something to do
}

func newPending() pending {
	return pending{groups: make(map[*group]struct{}), acks: make(map[string]*wire.LaneAcks), answered: make(map[*Socket]struct{}), ticks: wire.NewTicks(laneTick)}
}

// await has the ticks look at the group's stream until it awaits nothing.
func (h *Hub) await(g *group) {
	p := &h.pending
	p.mu.Lock()
	defer p.mu.Unlock()
	p.groups[g] = struct{}{}
	p.ticks.Begin()
}

// doubt is a stream that is to be doubted.
type doubt struct {
	key  string
	gone bool // the stream's host
}

// doubtAll has all quiet streams doubted in the next ticks: a host may have been lost with pushes of which no
// gateway knows.
func (h *Hub) doubtAll() {
	h.mu.Lock()
	doubts := make([]doubt, 0, len(h.groups))
	for key, g := range h.groups {
		g.mu.Lock()
		gone := false
		if n := len(g.lanes); n > 0 {
			_, gone = h.ended[g.lanes[n-1].at.host]
		}
		g.mu.Unlock()
		doubts = append(doubts, doubt{key, gone})
	}
	h.mu.Unlock()
	p := &h.pending
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.doubts = doubts; len(doubts) > 0 {
		p.ticks.Begin()
	}
}

// takeDoubts returns the streams that are doubted now, at most so many.
func (p *pending) takeDoubts(most int) (doubts []doubt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(most, len(p.doubts))
	if doubts, p.doubts = p.doubts[:n], p.doubts[n:]; len(p.doubts) == 0 {
		p.doubts = nil
	}
	return doubts
}

// noteEnded notes incarnations that have ended. If one of them is news, all quiet streams are doubted. One that
// seemed to have ended, and has renewed its lease since, may end again.
func (h *Hub) noteEnded(ended []wire.Ended) {
	news := false
	h.mu.Lock()
	for _, e := range ended {
		if beat, known := h.ended[e.Incarnation]; known && beat >= e.Beat {
			continue
		}
		if len(h.ended) >= maxEnded {
			clear(h.ended)
		}
		h.ended[e.Incarnation], news = e.Beat, true
	}
	h.mu.Unlock()
	if news {
		h.doubtAll()
	}
}

// acknowledge reports to a host, with the next tick, what the gateway has received.
func (h *Hub) acknowledge(at laneName, received uint64) {
	p := &h.pending
	p.mu.Lock()
	defer p.mu.Unlock()
	acks := p.acks[at.host]
	if acks == nil {
		acks = &wire.LaneAcks{Gateway: h.Name}
		p.acks[at.host] = acks
	}
	acks.Acks = append(acks.Acks, wire.Reached{Of: at.number, Seq: received})
	p.ticks.Begin()
}

// noteAnswered reports to the owner, with the next tick, that the gateway has answered the socket by itself.
func (h *Hub) noteAnswered(s *Socket) {
	p := &h.pending
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered[s] = struct{}{}
}

// takeAnswered returns the sockets whose owners are told now.
func (p *pending) takeAnswered() map[*Socket]struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.answered) == 0 {
		return nil
	}
	all := p.answered
	p.answered = make(map[*Socket]struct{})
	return all
}

// sendAnswered reports to owners which sockets the gateway has answered by itself. A
// report that is lost is repeated with the next one, or in the answer to a new owner.
func (h *Hub) sendAnswered() {
	lanes := make(map[laneName][]wire.Reached)
	for s := range h.pending.takeAnswered() {
		if g := h.lock(s.object.Key(), false); g != nil {
			if n := len(g.lanes); n > 0 {
				at := g.lanes[n-1].at
				lanes[at] = append(lanes[at], wire.Reached{Of: uint32(s.slot), Seq: uint64(s.answered.Load())})
			}
			g.mu.Unlock()
		}
	}
	told := make(map[string]*wire.LaneAcks)
	for at, sockets := range lanes {
		if told[at.host] == nil {
			told[at.host] = &wire.LaneAcks{Gateway: h.Name}
		}
		told[at.host].Answered = append(told[at.host].Answered, wire.LaneAnswered{Lane: at.number, At: sockets})
	}
	for host, acks := range told {
		if err := wire.Publish(h.bus, wire.LaneInbox(host)+wire.Acks, acks); err != nil {
			h.Log.Debug("automatic responses not told", "err", err)
		}
	}
}

// list returns the groups to look at.
func (p *pending) list() []*group {
	p.mu.Lock()
	defer p.mu.Unlock()
	groups := make([]*group, 0, len(p.groups))
	for g := range p.groups {
		groups = append(groups, g)
	}
	return groups
}

// idle drops a group whose stream awaits nothing.
func (p *pending) idle(g *group) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.groups, g)
}

// takeAcks removes and returns the acknowledgements to send now. The ticks end if nothing is awaited.
func (p *pending) takeAcks() (acks map[string]*wire.LaneAcks) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.acks) > 0 {
		acks, p.acks = p.acks, make(map[string]*wire.LaneAcks)
	}
	if len(p.groups) == 0 && len(p.doubts) == 0 {
		p.ticks.End()
	}
	return acks
}

// serveLanes runs the ticks until ctx ends. It sleeps while no stream awaits anything.
func (h *Hub) serveLanes(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-h.pending.ticks.C:
			h.tickLanes(now)
		}
	}
}

// tickLanes looks at what streams await.
func (h *Hub) tickLanes(now time.Time) {
	for _, d := range h.pending.takeDoubts(min(doubtStep, cap(h.claims)-len(h.claims))) {
		if g := h.lock(d.key, false); g != nil {
			h.perform(g, h.unlock(g, g.stream.Doubt(now, d.gone)))
		}
	}
	for _, g := range h.pending.list() {
		g.mu.Lock()
		acts := g.stream.Tick(now)
		if g.stream.Wake().IsZero() {
			g.awaits = false
			h.pending.idle(g)
		}
		h.perform(g, h.unlock(g, acts))
	}
	for host, a := range h.pending.takeAcks() {
		if err := wire.Publish(h.bus, wire.LaneInbox(host)+wire.Acks, a); err != nil {
			h.Log.Debug("acknowledgements not sent", "err", err) // the host asks
		}
	}
}

// claim has a host claim the object if it has no owner. To answer a doubt, the object is claimed only if this
// gateway lacks something. If too many are claimed at a time, nothing is done: the stream asks again.
func (h *Hub) claim(key string, a stream.Act) {
	class, name, _ := strings.Cut(key, ".")
	id, err := objects.Class(class).ParseID(name)
	if err != nil {
		return // no owner can have this key
	}
	select {
	case h.claims <- struct{}{}:
	default:
		return
	}
	done := func() { <-h.claims }
	if !h.spawn(func() {
		defer done()
		ctx, cancel := context.WithTimeout(h.life, h.Timing.Request)
		defer cancel()
		whole, token := false, uint64(0)
		if a.Kind == stream.Check {
			whole, token, err = h.owners.Check(ctx, wire.Address{ID: id}, h.heard(key))
		} else {
			token, err = h.owners.Activate(ctx, wire.Address{ID: id})
		}
		if err != nil {
			h.Log.Debug("nobody owns the object", "object", key, "err", err) // it is tried again
			return
		}
		g := h.lock(key, false)
		if g == nil {
			return
		}
		var acts []stream.Act
		if whole {
			g.stream.Whole(a.Seq)
		} else {
			acts = g.stream.Owned(token)
		}
		h.perform(g, h.unlock(g, acts))
	}) {
		done()
	}
}

// heard is how far this gateway is in the streams of the object's owners.
func (h *Hub) heard(key string) *wire.Heard {
	heard := &wire.Heard{Gateway: h.Name}
	if g := h.lock(key, false); g != nil {
		for _, p := range g.stream.Positions() {
			heard.Positions = append(heard.Positions, wire.LanePosition{Token: p.Token, Received: p.Received})
		}
		h.unlock(g, nil)
	}
	return heard
}
