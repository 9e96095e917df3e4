package stream

import (
	"slices"
	"time"
)

// awaitsAnswers reports whether an answer is waited for. Gateways that were given up are not.
func (s *Sender) awaitsAnswers() bool {
	return slices.ContainsFunc(s.lanes, func(l *lane) bool { return !l.answered && l.tombstone.IsZero() })
}

// Taking reports whether the object is not to be served yet.
func (s *Sender) Taking() bool { return s.taking }

// Held notes a gateway's answer.
func (s *Sender) Held(now time.Time, gateway string, answer Answer) []Do {
	s.begin()
	l := s.find(gateway)
	if l == nil || l.answered {
		return nil
	}
	answer.Positions = answer.Positions[:min(len(answer.Positions), maxEarlier+1)] // no gateway of ours tells more
	l.answered, l.answer = true, answer.Positions
	for _, p := range answer.Positions {
		for _, h := range p.Heads {
			if slices.ContainsFunc(s.lanes, func(l *lane) bool { return l.mark == h.Gateway }) {
				s.know(p.Token, h)
			}
		}
	}
	if s.taking {
		for _, held := range answer.Sockets {
			if _, known := l.members[held.Slot]; known {
				l.members[held.Slot] = member{open, held.Acked}
			}
		}
		if !s.awaitsAnswers() {
			s.judge(now)
		}
		return s.asks()
	}
	l.lacked = true
	s.closeAll(now, l)
	s.rejudge(now)
	s.release(now)
	return s.asks()
}

// know notes how far an earlier owner's lane is known to be.
func (s *Sender) know(token uint64, h Head) {
	for i := range s.needs {
		if n := &s.needs[i]; n.token == token && n.Gateway == h.Gateway {
			n.Seq = max(n.Seq, h.Seq)
			return
		}
	}
	s.needs = append(s.needs, need{token, h})
}

// lacks reports whether a push of an earlier owner is known that the gateway does not have.
func (s *Sender) lacks(l *lane) bool {
	return slices.ContainsFunc(s.needs, func(n need) bool {
		return n.Gateway == l.mark && n.Seq > 0 && !slices.ContainsFunc(l.answer, func(p Position) bool {
			return p.Token == n.token && p.Received >= n.Seq
		})
	})
}

// Misses reports whether a gateway with these positions may lack something of an object that nobody owns and
// whose record has these entries. What is in no record and has come to another gateway is for that gateway: its
// lane is not quiet, so it has the object claimed.
func Misses(entries []Entry, gateway string, positions []Position) bool {
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Gateway == gateway && e.Tombstone.IsZero() })
	return i < 0 || !slices.ContainsFunc(positions, func(p Position) bool { return p.Token == entries[i].Token && p.Received >= entries[i].Head })
}

// judge decides on the sockets of the gateways that have answered, and has the object served.
func (s *Sender) judge(now time.Time) {
	s.taking = false
	for _, l := range s.lanes {
		switch {
		case !l.answered:
		case !l.tombstone.IsZero() || s.lacks(l):
			l.lacked = true
			s.closeAll(now, l)
		default:
			s.number(now, l, kept{kind: Adopt})
		}
	}
	s.rejudge(now)
	s.release(now)
}

// rejudge begins the lanes anew of gateways that turn out to lack something.
func (s *Sender) rejudge(now time.Time) {
	waits := false
	for _, l := range s.lanes {
		if l.answer != nil && s.lacks(l) {
			l.lacked = true
			s.closeAll(now, l)
		}
		waits = waits || !l.answered
	}
	if !waits { // no answer can add anything about earlier streams
		s.needs = nil
		for _, l := range s.lanes {
			l.answer = nil
		}
	}
}

// closeAll begins the lane anew without its sockets, and drops the waiting pushes: they are
// for those sockets.
func (s *Sender) closeAll(now time.Time, l *lane) {
	for slot, m := range l.members {
		if m.state == open {
			l.members[slot] = member{state: closing}
		}
	}
	k := kept{kind: CloseAll, slots: l.slots(closing)}
	if !l.tombstone.IsZero() {
		k.need = l.need
	}
	l.window, l.size, l.answer, l.owed = nil, 0, nil, 0
	s.number(now, l, k)
}

// Whole reports whether a gateway is known to have all pushes of earlier owners.
func (s *Sender) Whole(gateway string) bool {
	l := s.find(gateway)
	return l != nil && !l.lacked && !s.awaitsAnswers()
}
