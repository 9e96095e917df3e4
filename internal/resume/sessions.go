package resume

import (
	"crypto/subtle"
	"slices"
	"time"
)

// DefaultWindow is Settings.Bytes of a class that does not set it.
const DefaultWindow = 256 << 10

// Settings are a class's settings of sessions. A class without them has none.
type Settings struct {
	Bytes int           // size of one object's window
	Time  time.Duration // how long a session may be away, and how long the window keeps a message
}

// Place is a socket: a gateway and the slot there.
type Place struct {
	Gateway string
	Slot    uint32
}

// Session is a socket that may come back.
type Session struct {
	ID     string
	Secret []byte // the client shows it to come back

	At    Place     // the session's socket; the zero Place: the session is away
	Until time.Time // end of the time to come back, of a session that is away
	Sent  uint64    // messages to the client so far
	Taken uint64    // messages of the client that the object has taken
	Lost  bool      // Sent and Taken may be too low

	told  string // the gateway that reported the session to this owner; "": this owner opened or resumed it
	set   uint32 // index in Sessions.sets
	since uint64 // entries of the window up to this one are not for the session
}

// Number stands for a session at its owner; 0 for none.
type Number uint32

// Sessions are the sessions of one object at its owner. Values that its methods return are valid until the next call.
type Sessions struct {
	settings Settings
	byID     map[string]*Session
	at       map[Place]*Session
	sets     []*Session // by bit in a set; nil: the bit is free
	detached map[Place]struct{}
	window   window
}

// New makes the Sessions of an object that has none.
func New(settings Settings) *Sessions {
	return &Sessions{settings: settings, byID: make(map[string]*Session), at: make(map[Place]*Session), detached: make(map[Place]struct{})}
}

// Len returns the number of sessions.
func (s *Sessions) Len() int { return len(s.byID) }

// Empty reports whether there is nothing to keep.
func (s *Sessions) Empty() bool { return len(s.byID) == 0 && len(s.detached) == 0 }

// Find returns the session with an id, nil if there is none.
func (s *Sessions) Find(id string) *Session { return s.byID[id] }

// In returns the session whose socket is at a place, nil if there is none.
func (s *Sessions) In(at Place) *Session { return s.at[at] }

// Detached reports whether a session has left the place and the end of its socket there has not come yet.
func (s *Sessions) Detached(at Place) bool {
	_, detached := s.detached[at]
	return detached
}

// Forget forgets a detached place when the end of its socket has come.
func (s *Sessions) Forget(at Place) { delete(s.detached, at) }

// Detach notes that a session has left the place.
func (s *Sessions) Detach(at Place) { s.detached[at] = struct{}{} }

// Open begins a session and returns its number for Add.
func (s *Sessions) Open(id string, secret []byte, at Place) Number {
	return s.add(Session{ID: id, Secret: secret, At: at})
}

// Adopt takes over a session of an earlier owner: one that is away, from the record, or one that a gateway has reported.
// Messages to a session that is away are known only if the earlier owner handed them over (TakeOver). If the session is
// known already, Adopt detaches the new one's place and returns 0.
func (s *Sessions) Adopt(session Session) Number {
	if s.byID[session.ID] != nil {
		s.Detach(session.At)
		return 0
	}
	if session.told = session.At.Gateway; session.told == "" {
		session.Lost = true // TakeOver may know better
	}
	return s.add(session)
}

func (s *Sessions) add(session Session) Number {
	one := &session
	i := slices.Index(s.sets, nil)
	if i < 0 {
		i = len(s.sets)
		s.sets = append(s.sets, nil)
	}
	s.sets[i] = one
	one.set, one.since = uint32(i), s.window.last
	s.byID[one.ID] = one
	if one.At != (Place{}) {
		s.at[one.At] = one
	}
	return Number(i + 1)
}

// Add notes a message to sessions. It does not copy the data.
func (s *Sessions) Add(now time.Time, m Message, to []Number) {
	var sent set
	for _, n := range to {
		if one := s.numbered(n); one != nil {
			one.Sent++
			sent = sent.with(one.set)
		}
	}
	if sent != nil {
		s.window.add(s.settings, entry{at: now, Message: m, to: sent})
	}
}

func (s *Sessions) numbered(n Number) *Session {
	if n == 0 || int(n) > len(s.sets) {
		return nil
	}
	return s.sets[n-1]
}

// Took notes that a message of the client at a place was taken.
func (s *Sessions) Took(at Place) {
	if one := s.at[at]; one != nil {
		one.Taken++
	}
}

// Left notes that the connection of the session at a place was lost. It returns the session, which may come back,
// nil if there is none. whole reports whether a gateway has all that earlier owners have sent to it.
func (s *Sessions) Left(now time.Time, at Place, whole func(gateway string) bool) *Session {
	one := s.at[at]
	if one == nil {
		return nil
	}
	one.judge(whole)
	delete(s.at, at)
	one.At, one.Until = Place{}, now.Add(s.settings.Time)
	return one
}

// Jump is added to a count that is not known. The client's count is then behind by more than there can be messages, until
// the client has got the new count, however often it has to come back for it.
const Jump = 1 << 32

// judge decides whether the session lacks messages of an earlier owner.
func (s *Session) judge(whole func(gateway string) bool) {
	if s.told != "" && !whole(s.told) {
		s.Lost = true
	}
	s.told = ""
	s.jump()
}

// jump adds Jump to the counts if they may be too low.
func (s *Session) jump() {
	if s.Lost {
		s.Sent, s.Taken, s.Lost = s.Sent+Jump, s.Taken+Jump, false
	}
}

// End ends a session.
func (s *Sessions) End(id string) {
	one := s.byID[id]
	if one == nil {
		return
	}
	delete(s.byID, id)
	if one.At != (Place{}) {
		delete(s.at, one.At)
	}
	s.sets[one.set] = nil
	if len(s.byID) == 0 {
		s.sets, s.window = nil, window{}
	}
}

// Knows reports whether the secret is the session's.
func (s *Session) Knows(secret []byte) bool {
	return len(s.Secret) > 0 && subtle.ConstantTimeCompare(s.Secret, secret) == 1
}

// Return is a session's return. The difference between the client's count and From is a gap.
type Return struct {
	Before   Place     // the place that the session has left, detached now; zero: none
	From     uint64    // messages to the client before Messages
	Messages []Message // to send again
	Taken    uint64    // messages of the client that the object has taken
}

// Resume moves a session to another place. received is the client's count of messages.
func (s *Sessions) Resume(one *Session, received uint64, at Place, whole func(gateway string) bool) Return {
	one.Lost = one.Lost || received > one.Sent
	one.judge(whole)
	r := Return{Before: one.At, Taken: one.Taken}
	if one.At != (Place{}) {
		delete(s.at, one.At)
		s.Detach(one.At)
	}
	one.At, one.Until = at, time.Time{}
	s.at[at] = one
	r.Messages = s.window.newest(one, one.Sent-min(received, one.Sent))
	r.From = one.Sent - uint64(len(r.Messages))
	return r
}

// Due returns the sessions that are away and whose time to come back is over.
func (s *Sessions) Due(now time.Time) (due []*Session) {
	for _, one := range s.byID {
		if !one.Until.IsZero() && !now.Before(one.Until) {
			due = append(due, one)
		}
	}
	return due
}

// Next returns when Due returns a session next; zero: no session is away.
func (s *Sessions) Next() (next time.Time) {
	for _, one := range s.byID {
		if !one.Until.IsZero() && (next.IsZero() || one.Until.Before(next)) {
			next = one.Until
		}
	}
	return next
}

// Trim drops messages older than Settings.Time from the window. It reports whether any are left.
func (s *Sessions) Trim(now time.Time) bool {
	s.window.trim(s.settings, now)
	return len(s.window.entries) > 0
}
