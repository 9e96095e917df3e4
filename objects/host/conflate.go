package host

import (
	"slices"
	"time"

	"holdfast/internal/resume"
	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects/internal/engine"
)

// An open socket gets the newest conflated value of each key. While values wait, they have no number in the streams to
// gateways, and only memory has them. So the frames that they came from are acknowledged only after the values have
// left: the next owner gets these frames again. As soon as an event does anything else (it writes, answers a request,
// or sends what does not wait), the waiting values are owed: the record and the heads of what leaves count them, and
// the next owner closes the sockets that lack them.

// conflation holds the waiting values of one object that has sockets which asked for conflation. The object's lock
// guards it.
type conflation struct {
	engine.Conflation
	acks  []heldAck // of frames that led to nothing but waiting values
	timer *time.Timer
}

// heldAck is the acknowledgement of a frame.
type heldAck struct {
	gateway string
	frame   wire.Reached
}

// join adds the sockets that asked for conflated values.
func (s *sockets) join(some []*engine.Socket) {
	for _, socket := range some {
		if socket.Conflated() {
			if s.conflation == nil {
				s.conflation = new(conflation)
			}
			s.conflation.Join(socket)
		}
	}
}

// leave removes a socket that has ended.
func (s *sockets) leave(socket string) {
	if s.conflation != nil {
		s.conflation.Leave(socket)
	}
}

// conflate adds a value to the waiting ones. If it does not fit, the waiting values are sent first.
func (s *sockets) conflate(b *outgoing, m engine.Message, now time.Time) {
	if c := s.conflation; c != nil && !c.Empty() {
		if c.Full(m.Conflate, len(m.Data)) {
			b.frames(c.TakeAll(now))
		}
		c.Add(m.Conflate, m.Data)
	}
}

// placeConflated decides, at the end of an event, whether waiting values are sent with the event's outputs or go on
// waiting. idle reports that the event sent nothing but conflated values: the acknowledgement of its frame waits with
// them. It returns the time after which the waiting values are to be sent; 0: nothing waits.
func (s *sockets) placeConflated(b *outgoing, now time.Time, idle bool) (later time.Duration) {
	c := s.conflation
	switch {
	case c == nil:
		return 0
	case c.Empty():
		b.acknowledge(c.takeAcks())
		s.Owe()
		s.dropConflation()
	case !c.Waits():
		b.acknowledge(c.takeAcks())
		s.Owe()
	case !now.Before(c.Due()):
		b.frames(c.TakeAll(now))
		b.acknowledge(c.takeAcks())
		s.Owe()
	case idle:
		for _, d := range b.all {
			for _, ack := range d.Acks {
				c.acks = append(c.acks, heldAck{d.Gateway, ack})
			}
		}
		b.all = nil
		return c.Due().Sub(now)
	default:
		b.acknowledge(c.takeAcks())
		var owed []string
		for socket := range c.Behind() {
			if !slices.Contains(owed, socket.Gateway()) {
				owed = append(owed, socket.Gateway())
			}
		}
		s.Owe(owed...)
		return c.Due().Sub(now)
	}
	return 0
}

func (c *conflation) takeAcks() []heldAck {
	acks := c.acks
	c.acks = nil
	return acks
}

// flushLater sends the waiting values after this time; 0: nothing waits. With mu held.
func (o *object) flushLater(after time.Duration) {
	if after > 0 {
		o.sockets.setTimer(after, func() *time.Timer { return time.AfterFunc(after, o.conflationDue) })
	}
}

// setTimer sets the timer for waiting values. newTimer makes the first timer.
func (s *sockets) setTimer(after time.Duration, newTimer func() *time.Timer) {
	c := s.conflation
	if c.timer == nil {
		c.timer = newTimer()
	} else {
		c.timer.Reset(after)
	}
}

// conflationDue sends the waiting values when the timer fires, on a goroutine of its own.
func (o *object) conflationDue() {
	defer o.recover("")
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sockets == nil || o.stage() == gone {
		return
	}
	now := time.Now()
	_, valid := o.in.lease.Valid()
	if later, waits := o.sockets.flushAfter(now, valid); !waits || later > 0 {
		o.flushLater(later)
		return
	}
	o.flush(now)
	if o.commit.batchWaits() && o.putBatch() { // the values have to wait for a put
		o.spawn(o.work)
	}
}

// flushAfter returns the time after which waiting values are to be sent; 0: now. It reports false if nothing waits.
func (s *sockets) flushAfter(now time.Time, leaseValid bool) (later time.Duration, waits bool) {
	switch c := s.conflation; {
	case c == nil || !c.Waits() && len(c.acks) == 0:
		return 0, false
	case !leaseValid || s.Full() || now.Before(c.Due()):
		return max(c.Due().Sub(now), engine.ConflateEvery), true
	}
	return 0, true
}

// flush sends the waiting values now. With mu held.
func (o *object) flush(now time.Time) {
	if outs, some := o.sockets.flush(now); some {
		o.put(outboxItem{}, outs...)
	}
}

// flush removes and returns the waiting values. It reports false if nothing waits.
func (s *sockets) flush(now time.Time) (outs []stream.Out, some bool) {
	c := s.conflation
	if c == nil || !c.Waits() && len(c.acks) == 0 {
		return nil, false
	}
	b := s.outgoing(now)
	b.frames(c.TakeAll(now))
	b.acknowledge(c.takeAcks())
	s.Owe()
	return b.outs(), true
}

// dropConflation drops the values that wait.
func (s *sockets) dropConflation() {
	if c := s.conflation; c != nil && c.timer != nil {
		c.timer.Stop()
	}
	s.conflation = nil
}

// flushNow is flush for callers that do not hold mu.
func (o *object) flushNow() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage() != gone {
		o.flush(time.Now())
	}
}

// outgoing are the operations to send now, by gateway, in order.
type outgoing struct {
	all []gatewayOps

	sessions *resume.Sessions // they note what is sent to them; nil: there are none
	now      time.Time
	numbers  []resume.Number // add's buffer, reused
}

// outgoing returns an empty outgoing.
func (s *sockets) outgoing(now time.Time) outgoing {
	return outgoing{sessions: s.sessions, now: now}
}

// gatewayOps are the operations of one event on the sockets of one gateway.
type gatewayOps struct {
	stream.Out
	wire.LaneBody
}

func (b *outgoing) to(gateway string) *gatewayOps { // there are few
	for i := range b.all {
		if b.all[i].Gateway == gateway {
			return &b.all[i]
		}
	}
	b.all = append(b.all, gatewayOps{Out: stream.Out{Gateway: gateway}})
	return &b.all[len(b.all)-1]
}

// frames adds frames of conflated values.
func (b *outgoing) frames(frames []engine.Frame) {
	for _, f := range frames {
		b.add(f.Sockets, wire.LaneOp{Op: wire.OpMessage, Data: f.Data})
	}
}

// add adds one operation on sockets.
func (b *outgoing) add(sockets []*engine.Socket, op wire.LaneOp) {
	if b.sessions != nil && op.Op == wire.OpMessage {
		b.numbers = b.numbers[:0]
		for _, s := range sockets {
			b.numbers = append(b.numbers, resume.Number(s.Info().Session))
		}
		b.sessions.Add(b.now, resume.Message{Binary: op.Binary, Data: op.Data}, b.numbers)
	}
	for gateway, slots := range byGateway(sockets) {
		op.Slots = wire.SlotsOf(slots)
		d := b.to(gateway)
		d.Ops = append(d.Ops, op)
	}
}

// acknowledge adds acknowledgements that were held, before those of the event.
func (b *outgoing) acknowledge(acks []heldAck) {
	for _, a := range slices.Backward(acks) {
		d := b.to(a.gateway)
		d.Acks = slices.Insert(d.Acks, 0, a.frame)
	}
}

// silent reports whether nothing is sent but acknowledgements.
func (b *outgoing) silent() bool {
	for i := range b.all {
		if d := &b.all[i]; len(d.Ops) > 0 || len(d.Opens) > 0 || len(d.Ends) > 0 {
			return false
		}
	}
	return true
}

func (b *outgoing) outs() []stream.Out {
	outs := make([]stream.Out, len(b.all))
	for i := range b.all {
		outs[i] = b.all[i].Out
		outs[i].Bodies = bodies(&b.all[i].LaneBody)
	}
	return outs
}
