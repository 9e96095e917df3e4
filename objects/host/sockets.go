package host

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// sockets are the WebSockets of one object, as far as the host knows them. The event
// loop owns them; members, gateways and untold are changed with the object's lock held.
type sockets struct {
	open     engine.Sockets // as the author sees them
	members  map[string]member
	gateways map[string]int // members at each gateway

	untold *untold // nil if the object has been told of every end
}

// untold are the ends of sockets that the object has not been told yet.
type untold struct {
	ends     []socketEnd // in order; at least one
	failures int         // attempts in a row to tell the first of them
	retryAt  time.Time   // when the next attempt is due
}

// member is one socket.
type member struct {
	gateway string
	seq     uint64 // of the last frame handled
}

// socketEnd is the end of a socket that the object has to be told.
type socketEnd struct {
	socket string
	close  engine.Close
	reply  string // where its gateway waits for the acknowledgement; "" if nobody does
	opener []byte // the principal, as JSON
}

// add puts in a socket whose last frame handled is seq. It reports whether it is the
// first of its gateway.
func (s *sockets) add(socket, gateway string, seq uint64) (first bool) {
	if s.members == nil {
		s.members, s.gateways = make(map[string]member), make(map[string]int)
	}
	s.members[socket] = member{gateway, seq}
	s.gateways[gateway]++
	return s.gateways[gateway] == 1
}

// remove forgets a socket that has ended.
func (s *sockets) remove(socket string) {
	m, known := s.members[socket]
	if !known {
		return
	}
	delete(s.members, socket)
	if s.gateways[m.gateway]--; s.gateways[m.gateway] <= 0 {
		delete(s.gateways, m.gateway) // the record has this with the next put
	}
}

// setLastSeq notes the last frame handled of a socket.
func (s *sockets) setLastSeq(socket string, seq uint64) {
	m := s.members[socket]
	m.seq = seq
	s.members[socket] = m
}

// gatewayNames is the part of a record that names the gateways which hold sockets.
func (s *sockets) gatewayNames() []string {
	if len(s.gateways) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(s.gateways))
}

// adopt takes over the sockets that gateways hold, from the previous owner.
func (s *sockets) adopt(held []heldSocket) {
	for _, h := range held {
		if s.open.Has(h.ID) {
			continue // two gateways claim it; the first has it
		}
		s.open.Add(engine.SocketInfo{ID: h.ID, Gateway: h.gateway, Region: h.Region, Tags: h.Tags, Attachment: h.Attachment})
		s.add(h.ID, h.gateway, h.Next-1)
	}
}

// waitingEnd is the end of a socket that is still to be told; nil if there is none.
func (s *sockets) waitingEnd(socket string) *socketEnd {
	if s.untold == nil {
		return nil
	}
	for i := range s.untold.ends {
		if end := &s.untold.ends[i]; end.socket == socket {
			return end
		}
	}
	return nil
}

// addEnd notes the end of a socket, once.
func (s *sockets) addEnd(end socketEnd) {
	if waiting := s.waitingEnd(end.socket); waiting != nil {
		if end.reply != "" {
			waiting.reply = end.reply
		}
		return
	}
	if s.untold == nil {
		s.untold = new(untold)
	}
	s.untold.ends = append(s.untold.ends, end)
}

// endTold forgets the first end, and its socket.
func (s *sockets) endTold() {
	s.remove(s.untold.ends[0].socket)
	s.untold.failures = 0
	if s.untold.ends = s.untold.ends[1:]; len(s.untold.ends) == 0 {
		s.untold = nil
	}
}

// heldSocket is a socket and the gateway that told of it.
type heldSocket struct {
	wire.HeldSocket
	gateway string
}

// askSockets asks gateways which sockets they hold for the object, and returns
// those and the gateways that answered. One that does not answer has died, and
// its sockets with it.
func (o *object) askSockets(gateways []string, token uint64) (held []heldSocket, alive []string) {
	if len(gateways) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(o.in.work, o.in.timing.Silence)
	defer cancel()
	question := wire.Encode(&wire.WhichSockets{Object: o.key, Token: token})
	answers := make([]*wire.HeldSockets, len(gateways))
	var asked sync.WaitGroup
	for i, gateway := range gateways {
		asked.Go(func() {
			msg, err := o.in.bus.Ask(ctx, wire.SocketsSubject(gateway), question)
			answer := new(wire.HeldSockets)
			if err == nil {
				err = wire.Decode(msg.Data, answer)
			}
			if err != nil {
				o.in.log.Info("gateway gone, its sockets with it", "gateway", gateway, "object", o.key, "err", err)
				return
			}
			answers[i] = answer
		})
	}
	asked.Wait()
	for i, answer := range answers {
		if answer == nil {
			continue
		}
		alive = append(alive, gateways[i])
		for _, s := range answer.Sockets {
			held = append(held, heldSocket{s, gateways[i]})
		}
	}
	return held, alive
}

// frame handles what a socket sent, if it is the next of that socket's frames. Its
// number is noted before there is an instance: the gateway takes any answer, also
// that of a constructor which failed, for the fate of this number.
func (o *object) frame(ctx context.Context, ev event) {
	req := ev.req
	m, known := o.sockets.members[req.Socket]
	switch {
	case !known:
		o.finish(ev, engine.Outcome{Err: objects.Errorf(objects.Unavailable, "this owner does not know the socket")})
		return
	case req.Seq <= m.seq: // it has been handled; its answer was lost
		if end := o.sockets.waitingEnd(req.Socket); end != nil {
			end.reply = ev.reply // it is acknowledged when the object has been told
			return
		}
		o.acknowledge(ev.reply, wire.Reply{Seq: m.seq})
		return
	case req.Seq > m.seq+1:
		o.acknowledge(ev.reply, wire.Reply{Seq: m.seq, Gap: true})
		return
	}
	o.mu.Lock()
	o.sockets.setLastSeq(req.Socket, req.Seq)
	if req.Kind == wire.Closed {
		o.sockets.addEnd(socketEnd{req.Socket, engine.Close{Code: req.Code, Reason: req.Reason, Clean: req.Clean}, ev.reply, req.Principal})
	}
	o.mu.Unlock()
	if req.Kind == wire.Closed {
		o.tellEnds()
		return
	}
	if o.ready(ev) {
		o.finish(ev, o.memory.instance.Message(ctx, req.Socket, engine.Message{Binary: req.Binary, Data: req.Body}))
	}
}

// acknowledge answers a frame that no event came of.
func (o *object) acknowledge(to string, reply wire.Reply) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.put(outboxItem{to: to, reply: &reply})
}

// loseGateway ends the sockets of a gateway that has died.
func (o *object) loseGateway(gateway string) {
	o.mu.Lock()
	o.memory.answers.loseGateway(gateway, time.Now())
	if o.sockets.gateways[gateway] > 0 {
		end := engine.Close{Code: 1006, Reason: "the gateway that held the socket has gone"}
		for _, socket := range slices.Sorted(maps.Keys(o.sockets.members)) {
			if o.sockets.members[socket].gateway == gateway {
				o.sockets.addEnd(socketEnd{socket: socket, close: end})
			}
		}
	}
	o.mu.Unlock()
	o.tellEnds()
}

// tellEnds tells the object which of its sockets have ended. What it cannot be told,
// because its constructor fails, stays and is tried again with the next event or
// after a while.
func (o *object) tellEnds() {
	if o.sockets.untold == nil {
		return
	}
	out, ok := o.awake()
	if ok {
		return
	}
	e := o.countFailure(event{kind: wire.Closed}, out)
	o.mu.Lock()
	defer o.mu.Unlock()
	u := o.sockets.untold
	pause := min(time.Minute, time.Second<<min(u.failures, 6))
	u.failures++
	u.retryAt = time.Now().Add(pause)
	o.in.idle.put(o, u.retryAt)
	o.in.log.Warn("ends of sockets cannot be told yet", "ref", e.Reference, "object", o.key, "ends", len(u.ends), "again in", pause)
}

// tellEnd tells the first end. There is an instance.
func (o *object) tellEnd() {
	end := o.sockets.untold.ends[0]
	ctx := withPrincipal(until{o.in.work, time.Now().Add(frameTime)}, end.opener)
	ev := event{kind: wire.Closed, reply: end.reply}
	ev.seq = o.sockets.members[end.socket].seq
	o.finish(ev, o.memory.instance.Closed(ctx, end.socket, end.close))
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sockets.endTold()
}
