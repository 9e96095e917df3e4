package stream

import (
	"slices"
	"time"

	"holdfast/internal/planted"
)

// Receiver is the gateway's half of the stream of one object. An Empty one can be
// forgotten. Slices that its methods return are valid until the next call.
type Receiver struct {
	settings *Settings  // shared by many; not changed
	fence    uint64     // token of the newest known owner; messages of earlier owners are ignored
	at       Position   // in the current owner's stream; zero: none yet
	earlier  []Position // in earlier owners' streams, oldest first
	state    laneState
	doubts   uint64    // so far
	seen     time.Time // when the owner last sent something, or the object was last claimed
	claimed  bool      // the owner has sent nothing since a claim, or since the record was asked for
	owned    bool      // and the claim has found an owner newer than the fence
	older    uint8     // claims in a row that have found an owner older than the fence
	sockets  map[Slot]*Socket

	ack     time.Time // when an acknowledgement is due; zero: none
	missing bool      // pushes were asked for and have not come
	nothing bool      // nothing of the stream with the missing pushes has come
	resend  time.Time // when to ask again

	do []Act
}

// laneState says whether pushes may be missing.
//
//	awaiting ◀──push, question── quiet ──a host may have been lost──▶ doubted
//	    ╰──the owner says quiet──▶ ▲ ◀──so does the owner or the record──╯
type laneState uint8

const (
	awaiting laneState = iota // something may be missing
	quiet                     // the owner has said that nothing is missing anywhere
	doubted                   // it has, and who owns the object now may have sent more
)

// maxEarlier is how many earlier owners' positions are remembered. A gateway that has
// forgotten an owner counts as lacking all that other gateways have of it.
const maxEarlier = 4

// Socket is one socket at its gateway.
type Socket struct {
	State SocketState
	Last  uint64 // number of the newest frame
	Acked uint64 // frames up to this one are acknowledged
}

// SocketState is the state of a socket until it is forgotten.
type SocketState uint8

// The states of a socket.
const (
	Opening SocketState = iota // the object was asked for it
	Opened                     // the stream has said yes
	Ended                      // its last frame is not acknowledged yet
	Refused                    // likewise, and its other frames do not count any more
)

// Act is an action of the gateway. Actions are done in order.
type Act struct {
	Kind  ActKind
	Slot  Slot
	Token uint64 // of AckAll and AskAgain: the owner to send it to
	Seq   uint64 // of Check: the number of the doubt
	Alone bool   // of SendLast: no other frame of the socket counts any more
}

// ActKind is the kind of an Act.
type ActKind uint8

// The kinds of Act.
const (
	AckAll      ActKind = 1 + iota // tell the owner that all up to Seq has come
	AskAgain                       // ask the owner to send all from Seq on; 0: nothing has come
	Cut                            // end the connection with 1012
	SendLast                       // send the socket's last frame, number Seq, until it is acknowledged
	Drop                           // forget the socket
	FramesAcked                    // frames up to Seq are acknowledged
	Again                          // send all pending frames again, of every socket
	Claim                          // see that the object has an owner
	Check                          // likewise, unless the record shows that nothing is missing
)

// NewReceiver is for an object of which the gateway holds no socket yet.
func NewReceiver(settings *Settings) *Receiver {
	return &Receiver{settings: settings, sockets: make(map[Slot]*Socket)}
}

// Fence is the token of the newest known owner.
func (r *Receiver) Fence() uint64 { return r.fence }

// Empty reports whether there is no socket, and the owner knows all that this half knows.
func (r *Receiver) Empty() bool {
	return len(r.sockets) == 0 && r.ack.IsZero() && (r.at.Token == 0 || r.state == quiet)
}

func (r *Receiver) act(kind ActKind, slot Slot, seq uint64) {
	r.do = append(r.do, Act{Kind: kind, Slot: slot, Token: r.at.Token, Seq: seq})
}

// Opening notes a socket before the object is asked to accept it.
func (r *Receiver) Opening(slot Slot) { r.sockets[slot] = &Socket{} }

// Frame returns the number of the socket's next frame, and false if the socket is not open.
func (r *Receiver) Frame(slot Slot) (uint64, bool) {
	s := r.sockets[slot]
	if s == nil || s.State != Opened {
		return 0, false
	}
	s.Last++
	return s.Last, true
}

// End ends a socket that is open or opening. An open one gets a last frame. The object may
// still accept an opening one; the stream then reports it, and Accept refuses it.
func (r *Receiver) End(slot Slot) []Act {
	r.do = r.do[:0]
	switch s := r.sockets[slot]; {
	case s == nil:
	case s.State == Opening:
		r.drop(slot)
	case s.State == Opened:
		s.State = Ended
		s.Last++
		r.act(SendLast, slot, s.Last)
	}
	return r.do
}

func (r *Receiver) drop(slot Slot) {
	delete(r.sockets, slot)
	r.act(Drop, slot, 0)
}

func (r *Receiver) see(now time.Time) {
	r.seen, r.claimed, r.owned, r.older = now, false, false, 0
}

// disowned is how many claims in a row, each made after the answer to the one before, must find an
// owner older than the fence.
const disowned = 2

// Owned notes the token of the owner that a claim has found. A known owner has yet to say quiet; a newer
// one will ask its gateways. If an older owner still owns the object, the newer token was forged, or the
// bucket of records was made anew: the older owner's stream is taken again. If its position is forgotten
// here, the gap cannot be known, and the sockets end.
func (r *Receiver) Owned(token uint64) []Act {
	r.do = r.do[:0]
	newest := max(r.fence, r.at.Token)
	r.owned = r.claimed && token > newest
	if !r.claimed || token == 0 || token >= newest {
		return nil
	}
	r.claimed = false // the next answer counts only after another claim
	if r.older++; r.older < disowned {
		return nil
	}
	r.older, r.fence, r.missing = 0, token, false
	forged := func(p Position) bool { return p.Token > token }
	if r.earlier = slices.DeleteFunc(r.earlier, forged); forged(r.at) {
		r.at = Position{}
		if n := len(r.earlier); n > 0 && r.earlier[n-1].Token == token {
			r.at, r.earlier = r.earlier[n-1], r.earlier[:n-1]
		}
	}
	if r.at.Token == token {
		r.act(AckAll, 0, r.at.Received) // its owner sends what is missing
		return r.do
	}
	for slot, s := range r.sockets {
		if s.State == Opened {
			r.act(Cut, slot, 0)
		}
	}
	return r.do
}

// Which answers a new owner's question, and returns false if a newer owner is known.
func (r *Receiver) Which(now time.Time, token uint64) (Answer, bool) {
	if token < r.fence {
		return Answer{}, false
	}
	r.see(now)
	r.fence, r.state = token, awaiting // its decision is still to come
	if token != r.at.Token {
		r.missing = false // an earlier owner's pushes are not taken any more
	}
	a := Answer{Positions: r.Positions()}
	for slot, s := range r.sockets {
		if s.State == Opened || s.State == Ended {
			a.Sockets = append(a.Sockets, HeldSocket{slot, s.Acked})
		}
	}
	slices.SortFunc(a.Sockets, func(a, b HeldSocket) int { return int(a.Slot) - int(b.Slot) })
	return a, true
}

// Positions are how far the gateway is in the streams of the owners that it remembers, oldest first.
func (r *Receiver) Positions() []Position {
	positions := slices.Clone(r.earlier)
	if r.at.Token != 0 {
		positions = append(positions, r.at)
	}
	return positions
}

// Doubt notes that a host may have been lost with pushes of which nothing has come: no gateway would ask for
// those while the lane is quiet. The lane is acknowledged once more, and an owner that is left says quiet again.
// If none does, the record is asked: at once if the host of the lane is gone.
func (r *Receiver) Doubt(now time.Time, gone bool) []Act {
	r.do = r.do[:0]
	if r.state == awaiting || r.at.Token == 0 {
		return nil // the owner, or the record, is asked in any case
	}
	r.doubts++
	r.state, r.seen = doubted, now
	if gone {
		r.seen = now.Add(-r.settings.Silence)
	}
	r.act(AckAll, 0, r.at.Received)
	return r.do
}

// Whole notes that the record shows that nothing is missing and that nobody owns the object. It is the answer
// to the doubt with this number; a later doubt stays.
func (r *Receiver) Whole(doubt uint64) {
	if r.state == doubted && r.doubts == doubt {
		r.state = quiet
	}
}

// Push decides on a push, and reports whether it is taken. The caller then does the returned
// actions, and calls Accept and Acked for the push's body.
func (r *Receiver) Push(now time.Time, token uint64, p Push) (bool, []Act) {
	r.do = r.do[:0]
	if token < r.fence {
		return false, nil
	}
	r.see(now)
	same := token == r.at.Token
	switch {
	case same && p.Seq <= r.at.Received:
		r.ackBy(now)
		return false, r.do
	case same && (p.Seq == r.at.Received+1 || planted.UnnumberedPush), p.Kind != More:
	default:
		r.miss(now, same, token)
		return false, r.do
	}
	if !same {
		if r.at.Token != 0 {
			r.earlier = append(r.earlier, r.at)
			r.earlier = r.earlier[max(0, len(r.earlier)-maxEarlier):]
		}
		r.fence, r.at = token, Position{Token: token}
	}
	r.at.Received = p.Seq
	for _, h := range p.Heads {
		r.at.know(h)
	}
	r.state, r.missing = awaiting, false
	switch p.Kind {
	case Adopt:
		r.act(Again, 0, 0)
	case CloseAll:
		r.closeAll(p.Slots)
	}
	r.ackBy(now)
	return true, r.do
}

// know notes how far another lane is.
func (p *Position) know(h Head) {
	for i := range p.Heads {
		if p.Heads[i].Gateway == h.Gateway {
			p.Heads[i].Seq = max(p.Heads[i].Seq, h.Seq)
			return
		}
	}
	p.Heads = append(p.Heads, h)
}

// refuse ends a socket that is open for the owner and must not be open here. Only its last
// frame counts.
func (r *Receiver) refuse(slot Slot) {
	s := r.sockets[slot]
	if s == nil {
		s = &Socket{State: Refused, Last: 1}
		r.sockets[slot] = s
	}
	if s.State < Ended {
		s.Last++
	}
	if s.State < Refused {
		s.State = Refused
		r.act(Cut, slot, 0)
	}
	r.do = append(r.do, Act{Kind: SendLast, Slot: slot, Seq: s.Last, Alone: true})
}

func (r *Receiver) closeAll(told []Slot) {
	for _, slot := range told {
		r.refuse(slot)
	}
	for slot, s := range r.sockets {
		if _, listed := slices.BinarySearch(told, slot); listed || s.State == Opening {
			continue // the object may still accept an opening one
		}
		if s.State == Opened {
			r.act(Cut, slot, 0)
		}
		r.drop(slot)
	}
}

// Accept opens a socket that the object has accepted.
func (r *Receiver) Accept(slot Slot) []Act {
	r.do = r.do[:0]
	if s := r.sockets[slot]; s != nil && s.State == Opening {
		s.State = Opened
	} else if s == nil {
		r.refuse(slot)
	}
	return r.do
}

// Acked notes that the socket's frames up to frame are acknowledged.
func (r *Receiver) Acked(slot Slot, frame uint64) []Act {
	r.do = r.do[:0]
	s := r.sockets[slot]
	switch {
	case s == nil:
	case s.State >= Ended && frame >= s.Last:
		r.drop(slot)
	case frame > s.Acked:
		s.Acked = min(frame, s.Last)
		r.act(FramesAcked, slot, s.Acked)
	}
	return r.do
}

// Probe notes that an owner's lane is at head, and whether nothing is missing anywhere (isQuiet).
func (r *Receiver) Probe(now time.Time, token, head uint64, isQuiet bool) []Act {
	r.do = r.do[:0]
	if token < r.fence {
		return nil
	}
	r.see(now)
	switch same := token == r.at.Token; {
	case !same && isQuiet: // the stream was acknowledged, and is forgotten here
	case !same || head > r.at.Received:
		r.miss(now, same, token)
	case isQuiet:
		if r.state = awaiting; head == r.at.Received {
			r.state = quiet
		}
	default:
		r.ackBy(now)
	}
	return r.do
}

// miss asks for the missing pushes, unless it did so a moment ago.
func (r *Receiver) miss(now time.Time, same bool, token uint64) {
	if r.missing && r.nothing != same && now.Before(r.resend) {
		return
	}
	r.fence = token
	r.missing, r.nothing, r.state, r.resend = true, !same, awaiting, now.Add(r.settings.Resend)
	r.askAgain()
}

func (r *Receiver) askAgain() {
	from := r.at.Received + 1
	if r.nothing {
		from = 0
	}
	r.do = append(r.do, Act{Kind: AskAgain, Token: r.fence, Seq: from})
}

// ackBy sets the time of the next acknowledgement, so that one acknowledges several pushes.
func (r *Receiver) ackBy(now time.Time) {
	if r.ack.IsZero() {
		r.ack = now.Add(r.settings.Ack)
	}
}

// Tick acknowledges, asks again for missing pushes, and has the object claimed, or the record asked, if
// pushes may be missing and the owner is silent. It is due at Wake.
func (r *Receiver) Tick(now time.Time) []Act {
	r.do = r.do[:0]
	if !r.ack.IsZero() && !now.Before(r.ack) {
		r.ack = time.Time{}
		r.act(AckAll, 0, r.at.Received)
	}
	if r.missing && !now.Before(r.resend) {
		r.resend = now.Add(r.settings.Resend)
		r.askAgain()
	}
	if r.at.Token != 0 && r.state != quiet && now.Sub(r.seen) >= r.settings.Silence {
		r.seen = now
		kind := Claim
		switch {
		case r.owned && len(r.sockets) == 0: // the new owner does not ask: it has nothing to learn here
			r.state = quiet
		case r.state == doubted:
			kind = Check
		}
		r.claimed = true
		r.act(kind, 0, r.doubts)
		r.act(AckAll, 0, r.at.Received) // the owner may have said quiet
	}
	return r.do
}

// Wake is when Tick is due; zero: never.
func (r *Receiver) Wake() time.Time {
	var wake time.Time
	sooner := func(at time.Time) {
		if wake.IsZero() || at.Before(wake) {
			wake = at
		}
	}
	if !r.ack.IsZero() {
		sooner(r.ack)
	}
	if r.missing {
		sooner(r.resend)
	}
	if r.at.Token != 0 && r.state != quiet {
		sooner(r.seen.Add(r.settings.Silence))
	}
	return wake
}
