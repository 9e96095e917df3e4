package flow

import (
	"errors"
	"slices"
	"time"
)

// End is what follows some bytes.
type End uint8

// The ends.
const (
	More  End = iota // there are more bytes, or it is not known yet
	Whole            // nothing: that was all
	Cut              // nothing, although there was more
)

// MaxReason is the most that the reason of a cut has, in bytes.
const MaxReason = 256

// Segment is what one side tells the other.
type Segment struct {
	From   uint64 // where Data belongs
	Data   []byte
	End    End    // what follows Data
	Reason string // why it was cut

	Got   uint64 // of the other's bytes all before this have come; the end counts as one byte
	Room  uint64 // bytes before this may come
	Again bool   // bytes from Got on are missing
	Gone  bool   // nobody reads the other's bytes any more
}

// Settings are what both sides have agreed on.
type Settings struct {
	Window int // bytes that wait to be read, or to be acknowledged
	Data   int // bytes of a segment

	Ack    time.Duration // until bytes are acknowledged at the latest
	Resend time.Duration // without an acknowledgement, until bytes are sent again
	Alive  time.Duration // without anything to say, until a side speaks all the same
	Lost   time.Duration // without a word of the other, until it is taken for lost
}

// Default are the settings between gateways and hosts.
func Default() Settings {
	return Settings{
		Window: 256 << 10, Data: 32 << 10,
		Ack: 250 * time.Millisecond, Resend: time.Second, Alive: 5 * time.Second, Lost: 20 * time.Second,
	}
}

// Phase is where a side stands.
type Phase uint8

// The phases.
const (
	Opening Phase = iota // nothing was heard of the other side
	Talking
	Over // the response has arrived, or nobody reads it. The side only repeats that
	Lost // the other side is not heard any more
)

func (p Phase) String() string { return [...]string{"opening", "talking", "over", "lost"}[p] }

// edges lists the phases that may follow each phase.
var edges = [...][]Phase{Opening: {Talking, Over, Lost}, Talking: {Over, Lost}, Over: {}, Lost: {}}

// Side is one side of an exchange. Use New.
type Side struct {
	set   Settings
	opens bool
	phase Phase

	heard time.Time // when the other was heard last; the beginning, if it never was
	said  time.Time // when this side spoke last; zero: never
	ended time.Time // when it was over
	ackAt time.Time // when it has to speak for what it has heard or read; zero: it has not

	out outgoing
	in  incoming
}

// New is a side of an exchange that begins now.
func New(set Settings, opens bool, now time.Time) *Side {
	s := &Side{set: set, opens: opens, heard: now}
	s.in.room = uint64(set.Window)
	return s
}

// Phase is where the side stands.
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

// Write takes bytes that are to be sent, as many as there is room for, and says how many.
func (s *Side) Write(b []byte) int {
	if s.out.end != More || s.out.gone {
		return 0
	}
	n := min(len(b), s.set.Window-s.out.kept.n)
	s.out.kept.add(b[:n])
	s.out.wrote += uint64(n)
	return n
}

// Finish says that nothing more is written.
func (s *Side) Finish(end End, reason string) {
	if s.out.end == More {
		s.out.end, s.out.reason = end, reason[:min(len(reason), MaxReason)]
	}
}

// Finished reports whether nothing more is written.
func (s *Side) Finished() bool { return s.out.end != More }

// Unread reports whether the other reads no more, so that it is of no use to write.
func (s *Side) Unread() bool { return s.out.gone }

// Sent reports whether the other has all that was written, and its end; or wants nothing more.
func (s *Side) Sent() bool { return s.out.gone || s.out.end != More && s.out.acked > s.out.wrote }

// Read takes bytes that have come.
func (s *Side) Read(b []byte, now time.Time) int {
	n := s.in.kept.copy(b, 0)
	s.in.take(n, uint64(s.set.Window))
	if s.in.end == More && s.in.room-s.in.told >= uint64(max(1, s.set.Window/4)) {
		s.ackAt = now // the other may have stopped for want of room
	}
	return n
}

// Ended is what follows the bytes that were read: More while some are to come.
func (s *Side) Ended() (End, string) {
	if s.in.kept.n > 0 {
		return More, ""
	}
	return s.in.end, s.in.reason
}

// Leave says that nobody reads any more. For the side that opens the exchange is over with that.
func (s *Side) Leave(now time.Time) {
	if s.in.gone {
		return
	}
	s.in.gone = true
	s.in.take(s.in.kept.n, uint64(s.set.Window))
	s.in.kept = ring{}
	if s.in.end == More {
		s.ackAt = now
	}
	if s.opens {
		s.advance(Over, now)
	}
}

// Say is the segment to send now, if there is one. Ask again until there is none. Its Data is valid until the next call.
func (s *Side) Say(now time.Time) (seg Segment, ok bool) {
	if s.phase == Lost || s.phase == Opening && !s.opens {
		return seg, false
	}
	due := !s.ackAt.IsZero() && !now.Before(s.ackAt)
	if s.phase != Over {
		s.out.goBack(now, s.set.Resend)
		seg.From = s.out.sent
		due = s.out.next(&seg, s.set.Data, now) || due || !now.Before(s.said.Add(s.silence()))
	}
	if !due {
		return Segment{}, false
	}
	seg.Got, seg.Room, seg.Again, seg.Gone = s.in.got, s.in.room, s.in.again, s.in.gone
	s.in.told, s.in.toldGot, s.in.again = s.in.room, s.in.got, false
	s.said, s.ackAt = now, time.Time{}
	return seg, true
}

// silence is for how long the side may say nothing.
func (s *Side) silence() time.Duration {
	if s.phase == Opening {
		return s.set.Resend
	}
	return s.set.Alive
}

// Wake is when Say and Dead are to be asked again, if nothing happens before.
func (s *Side) Wake() time.Time {
	at := s.heard.Add(s.set.Lost)
	sooner := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	if s.phase == Over {
		at = s.ended.Add(s.linger())
	} else if s.phase == Talking || s.opens {
		sooner(s.said.Add(s.silence()))
		if due, waits := s.out.resendAt(s.set.Resend); waits {
			sooner(due)
		}
	}
	if !s.ackAt.IsZero() && (s.phase != Opening || s.opens) {
		sooner(s.ackAt)
	}
	return at
}

// linger is for how long a side that is over answers the other, which may not know.
func (s *Side) linger() time.Duration { return 4 * s.set.Resend }

// Dead reports whether the side may be forgotten. It notices that the other is lost.
func (s *Side) Dead(now time.Time) bool {
	if s.phase < Over && now.Sub(s.heard) >= s.set.Lost {
		s.advance(Lost, now)
	}
	return s.phase == Lost || s.phase == Over && now.Sub(s.ended) >= s.linger()
}

// errHostile is why a segment is refused.
var errHostile = errors.New("no side of ours says this")

// Hear takes what the other side says. It refuses, and ignores, what an honest one would not say.
func (s *Side) Hear(seg Segment, now time.Time) error {
	const far = 1 << 62
	switch {
	case len(seg.Data) > s.set.Data, len(seg.Reason) > MaxReason, seg.End > Cut, seg.From > far, seg.Got > far,
		seg.Got > s.out.most, seg.Room > seg.Got+uint64(s.set.Window):
		return errHostile
	case s.phase == Lost:
		return nil
	}
	s.heard = now
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
		s.in.gone = s.in.gone || !s.opens // nobody reads the rest of the request
	}
	return nil
}
