package flow

import (
	"errors"
	"slices"
	"time"
)

// End says what follows bytes.
type End uint8

// The ends.
const (
	More  End = iota // more bytes, or not known yet
	Whole            // nothing: all bytes have come
	Cut              // nothing, although bytes are missing
)

// MaxReason is the largest reason of a cut, in bytes.
const MaxReason = 256

// Segment is one message between the sides.
type Segment struct {
	From   uint64 // offset of Data
	Data   []byte
	End    End    // what follows Data
	Reason string // of a Cut

	Got   uint64 // the other's bytes before this offset have come; the end counts as one byte
	Room  uint64 // the other may send bytes before this offset
	Again bool   // bytes from Got on are missing
	Gone  bool   // the other's bytes are not read any more
}

// Settings are the same on both sides.
type Settings struct {
	Window int // the most bytes that wait to be read, or to be acknowledged
	Data   int // the most bytes of data in a segment

	Ack    time.Duration // bytes are acknowledged within this
	Resend time.Duration // bytes are sent again when they are not acknowledged within this
	Alive  time.Duration // a side sends a segment at least this often
	Lost   time.Duration // the other side is lost when no segment of it comes for this
}

// Default returns the settings between gateways and hosts.
func Default() Settings {
	return Settings{
		Window: 256 << 10, Data: 32 << 10,
		Ack: 250 * time.Millisecond, Resend: time.Second, Alive: 5 * time.Second, Lost: 20 * time.Second,
	}
}

// Phase is the state of a side.
type Phase uint8

// The phases.
const (
	Opening Phase = iota // nothing has come from the other side
	Talking
	Over // the response has arrived, or is not read any more. The side only repeats that
	Lost // nothing comes from the other side any more
)

func (p Phase) String() string { return [...]string{"opening", "talking", "over", "lost"}[p] }

// edges lists the phases that may follow each phase.
var edges = [...][]Phase{Opening: {Talking, Over, Lost}, Talking: {Over, Lost}, Over: {}, Lost: {}}

// Side is one side of an exchange. Use New.
type Side struct {
	set   Settings
	opens bool
	phase Phase

	received time.Time // when a segment last came, at first the beginning
	spoke    time.Time // when a segment was last sent; zero: never
	ended    time.Time // when the phase Over began
	ackAt    time.Time // when received or read bytes must be acknowledged; zero: no need

	out outgoing
	in  incoming
}

// New returns a side of an exchange that begins now.
func New(set Settings, opens bool, now time.Time) *Side {
	s := &Side{set: set, opens: opens, received: now}
	s.in.room = uint64(set.Window)
	return s
}

// Phase returns the state of the side.
func (s *Side) Phase() Phase { return s.phase }

// advance changes the phase, if an edge leads there.
func (s *Side) advance(to Phase, now time.Time) {
	if !slices.Contains(edges[s.phase], to) {
		return
	}
	if s.phase = to; to == Over {
		s.ended = now
	}
}

// Write queues bytes to send, as many as there is room for, and returns how many.
func (s *Side) Write(b []byte) int {
	if s.out.end != More || s.out.gone {
		return 0
	}
	n := min(len(b), s.set.Window-s.out.kept.n)
	s.out.kept.add(b[:n])
	s.out.wrote += uint64(n)
	return n
}

// Finish ends the bytes to send.
func (s *Side) Finish(end End, reason string) {
	if s.out.end == More {
		s.out.end, s.out.reason = end, reason[:min(len(reason), MaxReason)]
	}
}

// Finished reports whether Finish was called.
func (s *Side) Finished() bool { return s.out.end != More }

// Unread reports whether the other has stopped reading, so that writing is useless.
func (s *Side) Unread() bool { return s.out.gone }

// Sent reports whether the other has all bytes and their end, or has stopped reading.
func (s *Side) Sent() bool { return s.out.gone || s.out.end != More && s.out.acked > s.out.wrote }

// Read takes received bytes, and returns how many.
func (s *Side) Read(b []byte, now time.Time) int {
	n := s.in.kept.copy(b, 0)
	s.in.markRead(n)
	if s.in.end == More && s.in.room-s.in.sentRoom >= uint64(max(1, s.set.Window/4)) {
		s.ackAt = now // the other may have stopped for want of room
	}
	return n
}

// Ended returns the end of the received bytes, More while some are to be read or to come.
func (s *Side) Ended() (End, string) {
	if s.in.kept.n > 0 {
		return More, ""
	}
	return s.in.end, s.in.reason
}

// Leave stops reading. It ends the exchange for the side that opens.
func (s *Side) Leave(now time.Time) {
	if s.in.gone {
		return
	}
	s.in.gone = true
	s.in.markRead(s.in.kept.n)
	s.in.kept = ring{}
	if s.in.end == More {
		s.ackAt = now
	}
	if s.opens {
		s.advance(Over, now)
	}
}

// Next returns a segment to send now, and false if there is none. Call it until there is none. The segment's Data is valid until
// the next call.
func (s *Side) Next(now time.Time) (seg Segment, ok bool) {
	if s.phase == Lost || s.phase == Opening && !s.opens {
		return seg, false
	}
	due := !s.ackAt.IsZero() && !now.Before(s.ackAt)
	if s.phase != Over {
		s.out.goBack(now, s.set.Resend)
		seg.From = s.out.sent
		due = s.out.next(&seg, s.set.Data, now) || due || !now.Before(s.spoke.Add(s.silence()))
	}
	if !due {
		return Segment{}, false
	}
	seg.Got, seg.Room, seg.Again, seg.Gone = s.in.got, s.in.room, s.in.again, s.in.gone
	s.in.sentRoom, s.in.sentGot, s.in.again = s.in.room, s.in.got, false
	s.spoke, s.ackAt = now, time.Time{}
	return seg, true
}

// silence returns the longest time between two segments.
func (s *Side) silence() time.Duration {
	if s.phase == Opening {
		return s.set.Resend
	}
	return s.set.Alive
}

// Wake returns when Next and Dead must be called again, if nothing happens before.
func (s *Side) Wake() time.Time {
	at := s.received.Add(s.set.Lost)
	sooner := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	if s.phase == Over {
		at = s.ended.Add(s.linger())
	} else if s.phase == Talking || s.opens {
		sooner(s.spoke.Add(s.silence()))
		if due, waits := s.out.resendAt(s.set.Resend); waits {
			sooner(due)
		}
	}
	if !s.ackAt.IsZero() && (s.phase != Opening || s.opens) {
		sooner(s.ackAt)
	}
	return at
}

// linger returns how long a side that is over goes on answering the other, which may not know.
func (s *Side) linger() time.Duration { return 4 * s.set.Resend }

// Dead reports whether the side may be forgotten. It notices that the other is lost.
func (s *Side) Dead(now time.Time) bool {
	if s.phase < Over && now.Sub(s.received) >= s.set.Lost {
		s.advance(Lost, now)
	}
	return s.phase == Lost || s.phase == Over && now.Sub(s.ended) >= s.linger()
}

// errHostile is the error of a refused segment.
var errHostile = errors.New("no side of ours says this")

// Receive takes a segment of the other side. It ignores a segment that an honest side would not send, and returns an error.
func (s *Side) Receive(seg Segment, now time.Time) error {
	const far = 1 << 62
	switch {
	case len(seg.Data) > s.set.Data, len(seg.Reason) > MaxReason, seg.End > Cut, seg.From > far, seg.Got > far,
		seg.Got > s.out.most, seg.Room > seg.Got+uint64(s.set.Window):
		return errHostile
	case s.phase == Lost:
		return nil
	}
	s.received = now
	if s.phase == Opening {
		s.advance(Talking, now)
	}
	s.out.onSegment(seg, now)
	switch s.in.onSegment(seg, s.set, now) {
	case atOnce:
		s.ackAt = now
	case soon:
		if s.ackAt.IsZero() {
			s.ackAt = now.Add(s.set.Ack)
		}
	}
	if s.opens && s.in.end != More || !s.opens && s.Sent() {
		s.advance(Over, now)
		s.in.gone = s.in.gone || !s.opens // the rest of the request is not read
	}
	return nil
}
