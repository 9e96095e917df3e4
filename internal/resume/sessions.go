package resume

import (
	"crypto/subtle"
	"slices"
	"time"
)

// DefaultWindow is Settings.Bytes of a class that does not say it.
const DefaultWindow = 256 << 10

// Settings are those of a class. A class without them has no sessions.
type Settings struct {
	Bytes int           // of the window of one object
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
	Secret []byte // what the client shows when it comes back

	At    Place     // where it is; the zero Place: it is away
	Until time.Time // when its time to come back is over, if it is away
	Sent  uint64    // messages to it so far
	Heard uint64    // messages of its client that were taken
	Lost  bool      // more messages than these may have been sent to it, and taken of its client

	told  string // the gateway that has told this owner of it; "": this owner has opened it, or has had it come back
	set   uint32 // its place in sets
	since uint64 // entries of the window up to this one are not its own
}

// Number stands for a session at its owner; 0 for none.
type Number uint32

// Sessions are those of one object at its owner. What its methods return is valid until the next call.
type Sessions struct {
	settings Settings
	byID     map[string]*Session
	at       map[Place]*Session
	sets     []*Session // by place in sets; nil: the place is free
	detached map[Place]struct{}
	window   window
}

// New makes the Sessions of an object that has none.
func New(settings Settings) *Sessions {
	return &Sessions{settings: settings, byID: make(map[string]*Session), at: make(map[Place]*Session), detached: make(map[Place]struct{})}
}

// Len is the number of sessions.
func (s *Sessions) Len() int { return len(s.byID) }

// Empty reports whether there is nothing to keep.
func (s *Sessions) Empty() bool { return len(s.byID) == 0 && len(s.detached) == 0 }

// Find is the session with an id; nil if there is none.
func (s *Sessions) Find(id string) *Session { return s.byID[id] }

// In is the session whose socket is there; nil if there is none.
func (s *Sessions) In(at Place) *Session { return s.at[at] }

// Detached reports whether a session has left the place, of which an end is still to be heard.
func (s *Sessions) Detached(at Place) bool {
	_, detached := s.detached[at]
	return detached
}

// Forget forgets a detached place, of which the end was heard.
func (s *Sessions) Forget(at Place) { delete(s.detached, at) }

// Detach notes what a record says: that a session has left the place.
func (s *Sessions) Detach(at Place) { s.detached[at] = struct{}{} }

// Open begins a session. Its number is what Add knows it by.
func (s *Sessions) Open(id string, secret []byte, at Place) Number {
	return s.add(Session{ID: id, Secret: secret, At: at})
}

// Adopt takes over a session: one that is away as the record has it, or one that a gateway has told of. What one that is
// away was sent meanwhile is known only if it was handed over (TakeOver). It returns 0 for one that is known already: the
// place of the other is detached.
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

// Add notes a message to sessions. The data is not copied.
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

// Took notes that a message of the session's client was taken.
func (s *Sessions) Took(at Place) {
	if one := s.at[at]; one != nil {
		one.Heard++
	}
}

// Left notes that the connection of the session there was lost. It returns the session, which may come back;
// nil if there is none. Whole reports of a gateway whether all has come to it that earlier owners have sent.
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

// Jump is what is added to a count that is not known. So the count that the client has is behind, by more than there can
// be messages, until it has heard of the new one, however often it has to come back for that.
const Jump = 1 << 32

// judge decides whether the session lacks what an earlier owner has sent.
func (s *Session) judge(whole func(gateway string) bool) {
	if s.told != "" && !whole(s.told) {
		s.Lost = true
	}
	s.told = ""
	s.jump()
}

// jump counts what is not known.
func (s *Session) jump() {
	if s.Lost {
		s.Sent, s.Heard, s.Lost = s.Sent+Jump, s.Heard+Jump, false
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

// Return is how a session comes back. What is missing between the client's count and From is a gap.
type Return struct {
	Before   Place     // where it was, which is detached now; zero: nowhere
	From     uint64    // messages to it before those that follow
	Messages []Message // that follow
	Heard    uint64    // messages of its client that were taken
}

// Resume has a session come back to another place. Its client has received so many messages.
func (s *Sessions) Resume(one *Session, received uint64, at Place, whole func(gateway string) bool) Return {
	one.Lost = one.Lost || received > one.Sent
	one.judge(whole)
	r := Return{Before: one.At, Heard: one.Heard}
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

// Due are the sessions that are away and whose time is over.
func (s *Sessions) Due(now time.Time) (due []*Session) {
	for _, one := range s.byID {
		if !one.Until.IsZero() && !now.Before(one.Until) {
			due = append(due, one)
		}
	}
	return due
}

// Next is when the time of a session is over that is away; zero: none is away.
func (s *Sessions) Next() (next time.Time) {
	for _, one := range s.byID {
		if !one.Until.IsZero() && (next.IsZero() || one.Until.Before(next)) {
			next = one.Until
		}
	}
	return next
}

// Trim drops what the window has kept for long enough. It reports whether anything is left.
func (s *Sessions) Trim(now time.Time) bool {
	s.window.trim(s.settings, now)
	return len(s.window.entries) > 0
}
