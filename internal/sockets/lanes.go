package sockets

import (
	"context"
	"strings"
	"sync"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// laneTick is the interval at which streams that await something are looked at.
const laneTick = 50 * time.Millisecond

// pending holds the groups whose streams await something of their owners, and the messages for the next tick.
type pending struct {
	mu       sync.Mutex // guards what follows; taken last
	groups   map[*group]struct{}
	acks     map[string]*wire.LaneAcks // by host
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
	if len(p.groups) == 0 {
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

// claim has a host claim the object if it has no owner.
func (h *Hub) claim(key string) {
	class, name, _ := strings.Cut(key, ".")
	id, err := objects.Class(class).ParseID(name)
	if err != nil {
		return // no owner can have this key
	}
	h.spawn(func() {
		ctx, cancel := context.WithTimeout(h.life, h.Timing.Request)
		defer cancel()
		token, err := h.owners.Activate(ctx, wire.Address{ID: id})
		if err != nil {
			h.Log.Debug("nobody owns the object", "object", key, "err", err) // it is tried again
		} else if g := h.lock(key, false); g != nil {
			h.perform(g, h.unlock(g, g.stream.Owned(token)))
		}
	})
}
