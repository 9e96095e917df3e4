package host

import (
	"math"
	"time"

	"holdfast/internal/stream"
	"holdfast/internal/wire"
)

// The streams of an object's sockets to gateways: their lanes, and what is awaited of gateways.

// tick repeats the questions that gateways have not answered, if that is due. It reports whether nothing is awaited any
// more.
func (s *sockets) tick(now time.Time) (do []stream.Do, quiet bool) {
	if wake := s.Wake(); !wake.IsZero() && !now.Before(wake) {
		do = s.Tick(now)
	}
	if quiet = s.Wake().IsZero(); quiet {
		s.awaits = false
	}
	return do, quiet
}

// laneTo returns the number of the lane to a gateway, if there is one.
func (s *sockets) laneTo(gateway string) (lane uint32, known bool) {
	lane, known = s.lanes[gateway]
	return lane, known
}

// addLane notes the number of the lane to a gateway.
func (s *sockets) addLane(gateway string, lane uint32) {
	if s.lanes == nil {
		s.lanes = make(map[string]uint32)
	}
	s.lanes[gateway] = lane
}

// beginsToAwait reports whether something is awaited of gateways, and was not before: then links must watch the stream.
func (s *sockets) beginsToAwait() bool {
	if s.awaits || s.Wake().IsZero() {
		return false
	}
	s.awaits = true
	return true
}

// nextPush returns an empty message, in the memory of the one before.
func (s *sockets) nextPush() *wire.LanePush {
	if s.lanePush == nil {
		s.lanePush = new(wire.LanePush)
	}
	return s.lanePush
}

// kept returns how many bytes are kept for gateways.
func (s *sockets) kept() (kept int) {
	for gateway := range s.lanes {
		kept += s.Kept(gateway)
	}
	return kept
}

// dropLargest drops what the largest lane keeps.
func (s *sockets) dropLargest() []stream.Do {
	largest := ""
	for gateway := range s.lanes {
		if largest == "" || s.Kept(gateway) > s.Kept(largest) {
			largest = gateway
		}
	}
	s.Shed(largest)
	return nil
}

// noteAllAnswered notes when a gateway has answered sockets by itself.
func (s *sockets) noteAllAnswered(gateway string, at []wire.Reached) []stream.Do {
	for _, a := range at {
		s.noteAnswered(gateway, a.Of, int64(min(a.Seq, math.MaxInt64)))
	}
	return nil
}

// hurry asks a gateway at once if it owes an answer.
func (s *sockets) hurry(now time.Time, gateway string) []stream.Do {
	s.Hurry(now, gateway)
	return nil
}

// hurryAll asks every gateway at once that owes an answer.
func (s *sockets) hurryAll(now time.Time) []stream.Do {
	for gateway := range s.lanes {
		s.Hurry(now, gateway)
	}
	return nil
}

// noteHeld handles a gateway's answer to a new owner of the object with this key. The list of the gateway's sockets is
// kept until the object is served.
func (s *sockets) noteHeld(now time.Time, object string, h *wire.Held) []stream.Do {
	if h.Token != s.Token() || h.Object != object {
		return nil
	}
	if s.Taking() {
		if s.held == nil {
			s.held = make(map[string]*wire.Held)
		}
		s.held[h.Gateway] = h
	}
	answer := stream.Answer{Positions: make([]stream.Position, len(h.Positions))}
	for i, p := range h.Positions {
		answer.Positions[i] = stream.Position{Token: p.Token, Received: p.Received}
		for _, r := range p.Heads {
			answer.Positions[i].Heads = append(answer.Positions[i].Heads, stream.Head{Gateway: stream.Mark(r.Of), Seq: r.Seq})
		}
	}
	for _, one := range h.Sockets {
		answer.Sockets = append(answer.Sockets, stream.HeldSocket{Slot: stream.Slot(one.Slot), Acked: one.Acked})
	}
	return s.Held(now, h.Gateway, answer)
}
