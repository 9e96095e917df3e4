package sockets

import (
	"context"
	"strings"
	"sync"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// laneTick is between looks at what streams await.
const laneTick = 50 * time.Millisecond

// pending is what streams await of their owners, and what leaves with the next tick.
type pending struct {
	mu       sync.Mutex // guards what follows; taken last
	groups   map[*group]struct{}
	acks     map[string]*wire.LaneAcks // by host
	answered map[*Socket]struct{}      // automatic answers that the owners do not know of yet
	ticks    *wire.Ticks               // that begin when there is something to do
}

func newPending() pending {
	return pending{groups: make(map[*group]struct{}), acks: make(map[string]*wire.LaneAcks), answered: make(map[*Socket]struct{}), ticks: wire.NewTicks(laneTick)}
}

// await has the group's stream looked at until it awaits nothing.
func (h *Hub) await(g *group) {
	p := &h.pending
	p.mu.Lock()
	defer p.mu.Unlock()
	p.groups[g] = struct{}{}
	p.ticks.Begin()
}

// acknowledge has the next tick report to a host what the gateway has received.
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

// noteAnswered has the next tick report to the owner that the gateway has answered the
// socket by itself.
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

// takeAcks returns what leaves now. There is no other tick if nothing is awaited.
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

// serveLanes looks after what streams await, until ctx ends. While they await nothing,
// it sleeps.
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
		return // no owner of ours has said so
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
