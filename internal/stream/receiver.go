package stream

import (
	"slices"
	"time"

	"holdfast/internal/planted"
)

// Receiver is the gateway's half of the stream of one object. It has nothing worth
// keeping when it is Empty. What its methods return is valid until the next call.
type Receiver struct {
	settings *Settings  // shared by many; not changed
	fence    uint64     // the newest owner that was seen; nothing is taken of an earlier one
	at       Position   // in the stream that is taken; zero: none yet
	earlier  []Position // in those before, oldest first
	quiet    bool       // the owner has said that nothing is missing anywhere
	seen     time.Time  // when the owner was seen, or the object was last claimed
	claimed  bool       // nothing was seen since a claim
	owned    bool       // and the claim has found an owner that is newer than what was seen
	older    uint8      // claims in a row that have found an owner older than what was seen
	sockets  map[Slot]*Socket

	ack     time.Time // when an acknowledgement is due; zero: none
	missing bool      // something was asked for and has not come
	nothing bool      // of the stream that it is in
	resend  time.Time // when to ask again

	do []Act
}

// maxEarlier is how many earlier owners are remembered. A gateway that has forgotten
// one lacks whatever others know of it.
const maxEarlier = 4

// Socket is one socket at its gateway.
type Socket struct {
	State   SocketState
	Last    uint64 // number of the newest frame
	Settled uint64 // frames up to this one are acknowledged
}

// SocketState is where a socket is. One that has been forgotten has none.
type SocketState uint8

// The states of a socket.
const (
	Opening SocketState = iota // the object was asked for it
	Opened                     // the stream has said yes
	Ended                      // its last frame is not acknowledged yet
	Refused                    // likewise, and no other frame of it is told any more
)

// Act is something that the gateway must do, in order.
type Act struct {
	Kind  ActKind
	Slot  Slot
	Token uint64 // of AckAll and AskAgain: whom to tell
	Seq   uint64
	Alone bool // of Tell: no other frame of the socket counts any more
}

// ActKind is what an Act asks for.
type ActKind uint8

// The kinds of Act.
const (
	AckAll   ActKind = 1 + iota // tell the owner that all up to Seq has come
	AskAgain                    // ask the owner to send all from Seq on; 0: nothing has come
	Cut                         // end the connection with 1012
	Tell                        // the socket's last frame has number Seq: send it until it is acknowledged
	Drop                        // forget the socket
	Settle                      // frames up to Seq are acknowledged
	Again                       // send all pending frames again, of every socket
	Claim                       // see that the object has an owner
)

// NewReceiver is for an object of which the gateway holds no socket yet.
func NewReceiver(settings *Settings) *Receiver {
	return &Receiver{settings: settings, sockets: make(map[Slot]*Socket)}
}

// Fence is the token of the newest owner that was seen.
func (r *Receiver) Fence() uint64 { return r.fence }

// Empty reports whether there is no socket, and nothing that the owner does not know.
func (r *Receiver) Empty() bool {
	return len(r.sockets) == 0 && r.ack.IsZero() && (r.at.Token == 0 || r.quiet)
}

func (r *Receiver) act(kind ActKind, slot Slot, seq uint64) {
	r.do = append(r.do, Act{Kind: kind, Slot: slot, Token: r.at.Token, Seq: seq})
}

// Opening notes a socket that the object is about to be asked for.
func (r *Receiver) Opening(slot Slot) { r.sockets[slot] = &Socket{} }

// Frame numbers the socket's next frame; it is false if there is to be none.
func (r *Receiver) Frame(slot Slot) (uint64, bool) {
	s := r.sockets[slot]
	if s == nil || s.State != Opened {
		return 0, false
	}
	s.Last++
	return s.Last, true
}

// End ends a socket, or the wish for one. The object hears of the end of a socket that
// was open: of any other it has not seen, or the stream will say so.
func (r *Receiver) End(slot Slot) []Act {
	r.do = r.do[:0]
	switch s := r.sockets[slot]; {
	case s == nil:
	case s.State == Opening:
		r.drop(slot)
	case s.State == Opened:
		s.State = Ended
		s.Last++
		r.act(Tell, slot, s.Last)
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

// disowned is how many claims in a row, each made after the answer to the one before, must find an owner
// older than what was seen.
const disowned = 2

// Owned notes that the object, which was claimed, has an owner with this token. One that
// is known here is still to say quiet; a newer one asks who has anything to tell it. An older one that
// still owns the object shows that what was seen is no owner's: somebody has forged it, or the bucket of records
// was made anew. Then the older one's stream is taken again. If it is forgotten here, nobody can tell what is missing, and
// the sockets end.
func (r *Receiver) Owned(token uint64) []Act {
	r.do = r.do[:0]
	newest := max(r.fence, r.at.Token)
	r.owned = r.claimed && token > newest
	if !r.claimed || token == 0 || token >= newest {
		return nil
	}
	r.claimed = false // the next answer counts only if it is to another claim
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

// Which answers a new owner's question; it is false if a newer owner has been seen.
func (r *Receiver) Which(now time.Time, token uint64) (Answer, bool) {
	if token < r.fence {
		return Answer{}, false
	}
	r.see(now)
	r.fence, r.quiet = token, false // what it decides is still to come
	if token != r.at.Token {
		r.missing = false // what an earlier owner would send is not taken any more
	}
	var a Answer
	a.Positions = append(a.Positions, r.earlier...)
	if r.at.Token != 0 {
		a.Positions = append(a.Positions, r.at)
	}
	for slot, s := range r.sockets {
		if s.State == Opened || s.State == Ended {
			a.Sockets = append(a.Sockets, HeldSocket{slot, s.Settled})
		}
	}
	slices.SortFunc(a.Sockets, func(a, b HeldSocket) int { return int(a.Slot) - int(b.Slot) })
	return a, true
}

// Push decides on a push. If it is to be taken, its body is worked through with Accept
// and Acked after what is returned has been done.
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
	r.quiet, r.missing = false, false
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

// refuse ends a socket that the owner counts and that is not to be open here: nothing
// is told of it but that.
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
	r.do = append(r.do, Act{Kind: Tell, Slot: slot, Seq: s.Last, Alone: true})
}

func (r *Receiver) closeAll(told []Slot) {
	for _, slot := range told {
		r.refuse(slot)
	}
	for slot, s := range r.sockets {
		if _, listed := slices.BinarySearch(told, slot); listed || s.State == Opening {
			continue // the object may still accept one that opens
		}
		if s.State == Opened {
			r.act(Cut, slot, 0)
		}
		r.drop(slot)
	}
}

// Accept opens a socket that the stream says is open.
func (r *Receiver) Accept(slot Slot) []Act {
	r.do = r.do[:0]
	if s := r.sockets[slot]; s != nil && s.State == Opening {
		s.State = Opened
	} else if s == nil {
		r.refuse(slot)
	}
	return r.do
}

// Acked settles frames.
func (r *Receiver) Acked(slot Slot, frame uint64) []Act {
	r.do = r.do[:0]
	s := r.sockets[slot]
	switch {
	case s == nil:
	case s.State >= Ended && frame >= s.Last:
		r.drop(slot)
	case frame > s.Settled:
		s.Settled = min(frame, s.Last)
		r.act(Settle, slot, s.Settled)
	}
	return r.do
}

// Probe is an owner's word that its lane is at head, and whether all is quiet.
func (r *Receiver) Probe(now time.Time, token, head uint64, quiet bool) []Act {
	r.do = r.do[:0]
	if token < r.fence {
		return nil
	}
	r.see(now)
	switch same := token == r.at.Token; {
	case !same && quiet: // of a stream that was acknowledged, and forgotten here
	case !same || head > r.at.Received:
		r.miss(now, same, token)
	case quiet:
		r.quiet = head == r.at.Received
	default:
		r.ackBy(now)
	}
	return r.do
}

// miss asks for what is missing, unless that was done a moment ago.
func (r *Receiver) miss(now time.Time, same bool, token uint64) {
	if r.missing && r.nothing != same && now.Before(r.resend) {
		return
	}
	r.fence = token
	r.missing, r.nothing, r.quiet, r.resend = true, !same, false, now.Add(r.settings.Resend)
	r.askAgain()
}

func (r *Receiver) askAgain() {
	from := r.at.Received + 1
	if r.nothing {
		from = 0
	}
	r.do = append(r.do, Act{Kind: AskAgain, Token: r.fence, Seq: from})
}

// ackBy has what has come acknowledged, with what else comes soon.
func (r *Receiver) ackBy(now time.Time) {
	if r.ack.IsZero() {
		r.ack = now.Add(r.settings.Ack)
	}
}

// Tick acknowledges, asks again for what is missing, and sees to it that a stream in
// which something may be missing has an owner. It is due at Wake.
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
	if r.at.Token != 0 && !r.quiet && now.Sub(r.seen) >= r.settings.Silence {
		r.seen = now
		r.quiet = r.owned && len(r.sockets) == 0 // the new owner does not ask: it has nothing to learn here
		r.claimed = true
		r.act(Claim, 0, 0)
		r.act(AckAll, 0, r.at.Received) // the owner may have said quiet
	}
	return r.do
}

// Wake is when Tick is due; zero: it is not.
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
	if r.at.Token != 0 && !r.quiet {
		sooner(r.seen.Add(r.settings.Silence))
	}
	return wake
}
