package stream

// Verdict is what to do with a frame.
type Verdict uint8

// The verdicts.
const (
	Take    Verdict = 1 + iota // handle it
	Ignore                     // it was taken, or counts no more
	Gap                        // frames before it are missing
	Told                       // the end that it tells was told: acknowledge it, in a push of its own
	Unknown                    // the socket is not among the object's: it cannot stay open
)

// Frame decides on a socket's frame; its last one tells its end.
func (s *Sender) Frame(gateway string, slot Slot, seq uint64, last bool) Verdict {
	l := s.find(gateway)
	if l == nil {
		l = &lane{answered: true}
	}
	m, known := l.members[slot]
	switch {
	case !known && last && l.answered && l.tombstone.IsZero() && l.acked == l.head:
		return Told // an earlier acknowledgement is not on its way
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
