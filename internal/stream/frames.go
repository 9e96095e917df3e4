package stream

// Verdict is what to do with a frame.
type Verdict uint8

// The verdicts.
const (
	Take         Verdict = 1 + iota // handle the frame
	Ignore                          // the frame was taken before, or the socket's frames do not count any more
	Gap                             // frames before it are missing
	AlreadyEnded                    // the object was told this end: acknowledge the frame, in a push of its own
	Unknown                         // the socket is not among the object's: it cannot stay open
)

// Frame decides on a socket's frame. The last frame of a socket reports its end.
func (s *Sender) Frame(gateway string, slot Slot, seq uint64, last bool) Verdict {
	l := s.find(gateway)
	if l == nil {
		l = &lane{answered: true}
	}
	m, known := l.members[slot]
	switch {
	case !known && last && l.answered && l.tombstone.IsZero() && l.acked == l.head:
		return AlreadyEnded // an earlier acknowledgement is not on its way
	case !known && !last && l.answered && l.tombstone.IsZero():
		return Unknown
	case !known, m.state == ending, m.state == closing && !last, m.state == open && seq <= m.last:
		return Ignore
	case m.state == open && seq > m.last+1:
		return Gap
	}
	m.last = seq
	if last {
		m.state = ending
	}
	l.members[slot] = m
	return Take
}

// Has reports whether the socket counts: the object has not been told its end.
func (s *Sender) Has(gateway string, slot Slot) bool {
	l := s.find(gateway)
	if l == nil {
		return false
	}
	_, known := l.members[slot]
	return known
}

// Awaits reports whether the gateway owes an answer or an acknowledgement.
func (s *Sender) Awaits(gateway string) bool {
	l := s.find(gateway)
	return l != nil && l.waits() && l.tombstone.IsZero()
}
