package stream

import (
	"hash/fnv"
	"time"
)

// Slot names a socket at its gateway. A gateway's incarnation counts them and never
// uses one again.
type Slot uint32

// Mark stands for a gateway in heads. Two gateways with one mark make an owner think
// that they lack something; they never hide it.
type Mark uint32

// MarkOf derives the mark from a gateway's name.
func MarkOf(gateway string) Mark {
	h := fnv.New32a()
	h.Write([]byte(gateway)) // never fails
	return Mark(h.Sum32())
}

// Head is how far the lane of a gateway is.
type Head struct {
	Gateway Mark
	Seq     uint64
}

// Kind is what a push does to the lane as a whole.
type Kind uint8

// The kinds. All but More begin the lane anew: nothing before them is missing.
const (
	More Kind = iota
	// Adopt keeps the gateway's sockets.
	Adopt
	// CloseAll ends all sockets. Those listed have their end told.
	CloseAll
)

// Push is one number of a lane.
type Push struct {
	Seq   uint64
	Kind  Kind
	Slots []Slot // of CloseAll, rising
	Heads []Head // of the other lanes, and of this one if it is further than Seq; valid until the Sender's next call
	Body  []byte // acknowledgements of frames and operations on sockets, as the host has encoded them
}

// Position is how far a gateway is in one owner's stream, and how far it knows the others to be.
type Position struct {
	Token    uint64
	Received uint64
	Heads    []Head
}

// HeldSocket is a socket at its gateway. Frames up to Acked are acknowledged.
type HeldSocket struct {
	Slot  Slot
	Acked uint64
}

// Answer is a gateway's answer to a new owner.
type Answer struct {
	Positions []Position // oldest owner first
	Sockets   []HeldSocket
}

// Entry is a record's entry of one gateway.
type Entry struct {
	Gateway   string
	Token     uint64    // of the owner that made the entry
	Head      uint64    // of the gateway's lane then
	Slots     []Slot    // its sockets, rising
	Tombstone time.Time // when the gateway was given up; zero: it was not
}

// Settings are the times and bounds of both halves.
type Settings struct {
	Window int           // bytes of one lane that are kept until acknowledged; the newest event is always kept whole
	Keep   time.Duration // the longest time for which they are kept

	Probe     time.Duration // an owner probes a lane that has not acknowledged for so long, then twice as long, up to Again
	Again     time.Duration
	Ask       time.Duration // between questions to a gateway before the object is served; then Again
	Wait      time.Duration // the longest time for which the object is not served for want of answers
	Tombstone time.Duration // between questions to a gateway that was given up
	Forget    time.Duration // after which a gateway that was given up cannot come back

	Resend  time.Duration // between a gateway's requests for what is missing
	Ack     time.Duration // how long an acknowledgement waits for others
	Silence time.Duration // after which a gateway has an object claimed whose lane is not quiet
}

// Defaults are the settings of the product.
func Defaults() Settings {
	return Settings{
		Window: 1 << 20, Keep: 12 * time.Second,
		Probe: 400 * time.Millisecond, Again: time.Second, Ask: 250 * time.Millisecond, Wait: time.Second,
		Tombstone: 10 * time.Second, Forget: 10 * time.Minute,
		Resend: 200 * time.Millisecond, Ack: 100 * time.Millisecond, Silence: 2 * time.Second,
	}
}
