package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"holdfast/objects"
)

// Messages between owners and gateways about sockets. Package stream decides when they are sent.
//
// A lane is the stream between one owner and one gateway about one object. The host's
// incarnation counts its lanes, so that their numbers take a few bytes where the
// object's key takes 69. A gateway's incarnation counts its sockets likewise: a slot.

// LanePush is one number of a lane, and Next are the bodies of the numbers behind it, which are of no kind but More.
type LanePush struct {
	Lane   uint32
	Seq    uint64
	Kind   uint8  // of the first number, as package stream has it
	Object string // the object's Key
	Token  uint64 // of the owner's claim
	Host   string // the incarnation to answer; in the push with which a lane begins
	Slots  Slots  // of Kind
	Heads  []Reached
	LaneBody
	Next    []LaneBody
	Encoded [][]byte // written in the place of LaneBody and of Next: they have been encoded
}

// MayJoin reports whether bodies of so many bytes together, encoded, may be of one message, which must not name more than
// MaxNamed slots. An operation that names many has leastOp bytes at the least, and may name all sockets of an object.
func MayJoin(size int) bool { return size <= MaxNamed/objects.MaxSockets*leastOp }

// leastOp are the number and length of an operation, its Op, and the number, length, first slot, zero and count of its Slots.
const leastOp = 2 + 2 + 7

// LaneBody is the content of a push.
type LaneBody struct {
	Acks []Reached // frames of sockets, by slot
	Ops  []LaneOp
}

func (b *LaneBody) fields(c *coder) {
	c.reached(9, &b.Acks)
	parts(c, 10, &b.Ops)
}

func (p *LanePush) fields(c *coder) {
	number(c, 1, &p.Lane)
	number(c, 2, &p.Seq)
	number(c, 3, &p.Kind)
	text(c, 4, &p.Object)
	number(c, 5, &p.Token)
	text(c, 6, &p.Host)
	c.slots(7, &p.Slots)
	c.reached(8, &p.Heads)
	if !c.reads && len(p.Encoded) > 0 {
		c.out = append(c.out, p.Encoded[0]...)
		for _, next := range p.Encoded[1:] {
			c.out = protowire.AppendBytes(protowire.AppendTag(c.out, laneNext, protowire.BytesType), next)
		}
		return
	}
	p.LaneBody.fields(c)
	parts(c, laneNext, &p.Next)
}

const laneNext = 11

// Op is the kind of a LaneOp.
type Op uint8

// The operations on sockets.
const (
	OpMessage Op = 1 + iota
	OpClose
	OpAttach
	OpOpen // the object has accepted the socket
)

// LaneOp is one operation on sockets of one gateway.
type LaneOp struct {
	Op     Op
	Slots  Slots
	Binary bool
	Data   []byte // a message, or an attachment
	Code   int
	Reason string
	Fault  objects.Code // of OpClose: the failure; "": none
	Accepted
	AutoRequest, AutoResponse string // of OpOpen: the gateway answers this request by itself
	Counts                           // of OpOpen, for a session
	Back                      bool   // the session has come back
	Return                    uint64 // milliseconds for which the session may be away
}

// Counts are a session's counts of messages.
type Counts struct {
	Sent  uint64 // to its client
	Taken uint64 // from its client, and taken by the object
}

func (n *Counts) fields(c *coder) {
	number(c, 40, &n.Sent)
	number(c, 41, &n.Taken)
}

func (o *LaneOp) fields(c *coder) {
	number(c, 1, &o.Op)
	c.slots(2, &o.Slots)
	c.bool(3, &o.Binary)
	c.bytes(4, &o.Data)
	number(c, 5, &o.Code)
	text(c, 6, &o.Reason)
	text(c, 7, &o.Fault)
	o.Accepted.fields(c)
	text(c, 30, &o.AutoRequest)
	text(c, 31, &o.AutoResponse)
	o.Counts.fields(c)
	c.bool(50, &o.Back)
	number(c, 51, &o.Return)
}

// Accepted is the object's description of an accepted socket. The gateway keeps it for the
// next owner.
type Accepted struct {
	Tags        []string
	Order       uint64 // among the object's sockets
	Conflated   bool
	Subprotocol string

	Session string // id of the socket's session; "": the socket cannot come back
	Secret  []byte // the session's client shows it to come back
}

func (a *Accepted) fields(c *coder) {
	c.texts(20, &a.Tags)
	number(c, 21, &a.Order)
	c.bool(22, &a.Conflated)
	text(c, 23, &a.Subprotocol)
	text(c, 24, &a.Session)
	c.bytes(25, &a.Secret)
}

// LaneHeads reports the heads of one gateway's lanes.
type LaneHeads struct {
	Host  string
	Heads []Reached // lanes with unacknowledged pushes
	Quiet []Reached // lanes of objects whose pushes are all acknowledged

	Ended []Ended // incarnations that have ended lately
}

// MaxEnded is how many incarnations a LaneHeads says to have ended. One that is left out ends with others that are named.
const MaxEnded = 64

// Ended is an incarnation whose lease has ended, or seems to have.
type Ended struct {
	Incarnation string
	Beat        uint64 // how often the lease had been renewed, as far as the sender knows
}

func (e *Ended) fields(c *coder) {
	text(c, 1, &e.Incarnation)
	number(c, 2, &e.Beat)
}

func (h *LaneHeads) fields(c *coder) {
	text(c, 1, &h.Host)
	c.reached(2, &h.Heads)
	c.reached(3, &h.Quiet)
	parts(c, 4, &h.Ended)
}

// LaneAcks reports how far a gateway is in lanes of one host, and from which number on it asks for
// pushes again; 0: it has nothing of the lane.
type LaneAcks struct {
	Gateway string
	Acks    []Reached
	Resend  []Reached

	Answered []LaneAnswered
}

func (a *LaneAcks) fields(c *coder) {
	text(c, 1, &a.Gateway)
	c.reached(2, &a.Acks)
	c.reached(3, &a.Resend)
	parts(c, 4, &a.Answered)
}

// LaneAnswered reports automatic answers of a gateway to sockets of an object.
type LaneAnswered struct {
	Lane uint32
	At   []Reached // Unix milliseconds, by slot
}

func (a *LaneAnswered) fields(c *coder) {
	number(c, 1, &a.Lane)
	c.reached(2, &a.At)
}

// Which asks a gateway for its positions and sockets of an object, for the owner with the token.
type Which struct {
	Lane   uint32
	Object string
	Token  uint64
	Host   string
}

func (w *Which) fields(c *coder) {
	number(c, 1, &w.Lane)
	text(c, 2, &w.Object)
	number(c, 3, &w.Token)
	text(c, 4, &w.Host)
}

// Held answers Which.
type Held struct {
	Lane      uint32
	Gateway   string
	Object    string
	Token     uint64
	Region    string
	Positions []LanePosition
	Sockets   []LaneSocket
}

func (h *Held) fields(c *coder) {
	number(c, 1, &h.Lane)
	text(c, 2, &h.Gateway)
	text(c, 3, &h.Object)
	number(c, 4, &h.Token)
	text(c, 5, &h.Region)
	parts(c, 6, &h.Positions)
	parts(c, 7, &h.Sockets)
}

// LanePosition is how far a gateway is in one owner's stream.
type LanePosition struct {
	Token    uint64
	Received uint64
	Heads    []Reached
}

func (p *LanePosition) fields(c *coder) {
	number(c, 1, &p.Token)
	number(c, 2, &p.Received)
	c.reached(3, &p.Heads)
}

// LaneSocket is one socket at its gateway.
type LaneSocket struct {
	Slot       uint32
	Acked      uint64 // frames up to this one are acknowledged
	Attachment []byte
	Principal  []byte
	Answered   int64 // time of the gateway's last automatic answer, in Unix milliseconds; 0: never
	Accepted
	AutoRequest, AutoResponse string // of a session, which keeps them when it comes back
	Counts                           // of a session
	Lost                      bool   // messages to the session are missing
}

func (s *LaneSocket) fields(c *coder) {
	number(c, 1, &s.Slot)
	number(c, 2, &s.Acked)
	c.bytes(3, &s.Attachment)
	c.bytes(4, &s.Principal)
	number(c, 5, &s.Answered)
	s.Accepted.fields(c)
	text(c, 30, &s.AutoRequest)
	text(c, 31, &s.AutoResponse)
	s.Counts.fields(c)
	c.bool(50, &s.Lost)
}

// Reached is a position: of a gateway's lane by the gateway's mark, of a lane by its number,
// of a socket by its slot.
type Reached struct {
	Of  uint32
	Seq uint64
}

// reached is a list of positions, in one field.
func (c *coder) reached(number protowire.Number, list *[]Reached) {
	var packed []byte
	if !c.reads {
		for _, r := range *list {
			packed = protowire.AppendVarint(protowire.AppendVarint(packed, uint64(r.Of)), r.Seq)
		}
		c.bytes(number, &packed)
		return
	}
	c.bytes(number, &packed)
	for len(packed) > 0 && c.room(len(*list)) {
		of, n := protowire.ConsumeVarint(packed)
		seq, m := protowire.ConsumeVarint(packed[max(0, n):])
		if n < 0 || m < 0 || of > math.MaxUint32 {
			c.fail(fmt.Errorf("field %d holds no list of what was reached", number))
			return
		}
		packed = packed[n+m:]
		*list = append(*list, Reached{uint32(of), seq})
	}
}

// Slots are sockets of one gateway, rising, in one field: a message to a room is for many
// sockets, mostly with consecutive slots. Each slot is written as its difference to the one
// before. A zero and a count stand for so many consecutive slots.
type Slots []byte

// shortRun is the longest run that is written slot by slot, because a run is no shorter.
const shortRun = 2

// SlotsOf sorts slots and writes each once.
func SlotsOf[S ~uint32](slots []S) Slots {
	if !slices.IsSorted(slots) {
		slots = slices.Sorted(slices.Values(slots))
	}
	var packed Slots
	var before S
	for first := 0; first < len(slots); {
		end := first + 1
		for end < len(slots) && slots[end]-slots[end-1] <= 1 {
			end++
		}
		packed = binary.AppendUvarint(packed, uint64(slots[first]-before))
		if run := slots[end-1] - slots[first]; run > shortRun {
			packed = binary.AppendUvarint(append(packed, 0), uint64(run))
		} else {
			packed = append(packed, []byte{1, 1}[:run]...)
		}
		before, first = slots[end-1], end
	}
	return packed
}

// runs yields the first slot and the length of each run, as far as the slots have the form
// that SlotsOf makes. It returns false if they do not.
func (s Slots) runs(yield func(first, count uint64) bool) bool {
	number := func(at int) (uint64, int) { // the number at an offset, and the offset of the next one
		n, size := binary.Uvarint(s[at:])
		return n, at + size
	}
	var slot uint64
	for at := 0; at < len(s); {
		more, next := number(at)
		count := uint64(1)
		if next > at && more == 0 && at > 0 {
			more, at = 1, next
			count, next = number(at)
		}
		if next <= at || count == 0 || more > math.MaxUint32-slot || count-1 > math.MaxUint32-slot-more {
			return false
		}
		if !yield(slot+more, count) {
			return true
		}
		slot, at = slot+more+count-1, next
	}
	return true
}

// All yields the slots of a decoded message, or of SlotsOf.
func (s Slots) All() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		s.runs(func(first, count uint64) bool {
			for slot := first; slot < first+count; slot++ {
				if !yield(uint32(slot)) {
					return false
				}
			}
			return true
		})
	}
}

// Len returns the number of slots.
func (s Slots) Len() (n int) {
	s.runs(func(_, count uint64) bool {
		n += int(count)
		return true
	})
	return n
}

// MaxNamed is the most slots that all operations of one message may name together. Without
// it a short message could give its receiver hours of work.
const MaxNamed = 1 << 20

var errSlots = errors.New("slots that do not rise, or are no numbers")

// slots reads only the form that SlotsOf makes, with at most as many slots as an object may have sockets.
func (c *coder) slots(number protowire.Number, s *Slots) {
	c.bytes(number, (*[]byte)(s))
	if !c.reads {
		return
	}
	total := uint64(0)
	rising := s.runs(func(_, count uint64) bool {
		total += count
		return total <= objects.MaxSockets
	})
	c.named += int(min(total, MaxNamed+1))
	switch {
	case !rising:
		c.fail(errSlots)
	case total > objects.MaxSockets, c.named > MaxNamed:
		c.fail(errMany)
	}
}
