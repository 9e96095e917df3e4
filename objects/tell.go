package objects

import (
	"time"
	"unicode/utf8"

	"holdfast/objects/internal/engine"
)

// Limits of told messages.
const (
	MaxTold    = 10_000   // messages that one object has under way, without parked ones
	MaxTell    = 64 << 10 // bytes of a told message's input
	MaxTellKey = 256      // bytes of a key given by Keyed
)

// Tell sends the object a message, as part of the transaction: if the event commits, the message is delivered, through
// crashes of either side, and runs once, as an event of its own; if the event fails, nothing is sent. The handler's answer is
// dropped: for an answer the receiver tells the sender in return.
//
// An object that tells Tx.Self with After or At sets a timer. It may have any number of timers (Cloudflare's alarm is one, and
// is kept as Tx.SetAlarm).
//
// Undelayed messages from one object to another run in the order of their Tells; a message that waits to be tried again
// holds up those behind it. If the receiver cannot be reached, is Overloaded or full, the message is tried until it gets
// through. If its handler fails, it is tried six times more, after 2 s, doubling. Then, or at once if the handler refused it
// by Errorf, it is parked: the next message goes on, `holdfast get` shows the parked one, and the sender's Undelivered runs.
//
// An object has at most MaxTold messages under way; one more aborts the event as Overloaded. A bad name, a Ref of another
// class, and an input that does not encode or has more than MaxTell bytes abort it too.
func (c Call[In, Out]) Tell(tx *Tx, to Ref, in In, how ...TellOption) {
	if err := c.checkTold(to); err != nil {
		tx.t.Abort(err)
	}
	input, err := encode(in)
	if err != nil {
		tx.t.Abort(Errorf(Invalid, "call %s: encode the input: %w", c.name, err))
	}
	m := Told{To: to.id, Call: c.name, now: tx.Now()}
	for _, option := range how {
		option(&m)
	}
	if len(m.Key) > MaxTellKey || !utf8.ValidString(m.Key) {
		tx.t.Abort(Errorf(Invalid, "call %s: the key %.80q has more than %d bytes or is not UTF-8", c.name, m.Key, MaxTellKey))
	}
	at := m.At.UTC().Round(0).Add(time.Millisecond - 1).Truncate(time.Millisecond) // never early
	if m.At.IsZero() {
		at = time.Time{}
	} else if at.Year() < 1 || at.Year() > 9999 {
		tx.t.Abort(Errorf(Invalid, "call %s: it cannot be delivered at %v", c.name, m.At))
	}
	name := to.name
	if to.id == tx.ID() {
		name = ""
	}
	tx.t.Tell(engine.Told{To: to.id.key, Name: name, Near: to.near, Call: c.name, Key: m.Key, At: at, Body: input})
}

func (c Call[In, Out]) checkTold(to Ref) error {
	switch {
	case c.err != nil:
		return c.err
	case to.err != nil:
		return to.err
	case to.id.key == "":
		return Errorf(Invalid, "call %s: the reference is empty", c.name)
	case to.id.class != c.class:
		return Errorf(Invalid, "call %s is of class %s, and the object of class %s", c.name, c.class, to.id.class)
	}
	return nil
}

// TellOption changes how Tell delivers.
type TellOption func(*Told)

// At has the message delivered at a time, never early; a past time is now. The time is kept in milliseconds, rounded up.
// Delayed messages are delivered in the order of their times; one to another object joins the order of the pair then.
func At(t time.Time) TellOption { return func(m *Told) { m.At = t } }

// After is At(tx.Now().Add(d)).
func After(d time.Duration) TellOption { return func(m *Told) { m.At = m.now.Add(d) } }

// Keyed gives the message a key. An object has one pending message of a key: a later Tell replaces it, and Tx.Cancel removes
// it. A message to another object is pending until it is due, a message to the object itself until it runs.
func Keyed(key string) TellOption { return func(m *Told) { m.Key = key } }

// Told is a message that is not delivered yet.
type Told struct {
	Key   string // Keyed
	To    ID
	Call  string
	At    time.Time // when the message is due, or tried next; zero: at once
	Tries int       // how often its handler has failed
	Err   *Error    // of the last try

	now time.Time // of the event
}

func toldOf(m engine.Told) Told {
	told := Told{Key: m.Key, To: idOf(m.To), Call: m.Call, At: m.When(), Tries: m.Tries}
	if m.Err != nil {
		told.Err = &Error{Code: Code(m.Err.Code), Message: m.Err.Message, Reference: m.Err.Reference}
	}
	return told
}

// ToldOf converts a message that hosts keep. For hosts.
func ToldOf(m engine.Told) Told { return toldOf(m) }

// Cancel removes the pending message of this key. It returns false if there is none: never told, already sent, or running.
func (tx *Tx) Cancel(key string) bool { return tx.t.Cancel(key) }

// Pending returns the pending message of this key, or the parked one.
func (tx *Tx) Pending(key string) (Told, bool) {
	m, ok := tx.t.Pending(key)
	if !ok {
		return Told{}, false
	}
	return toldOf(m), true
}

// Undeliverer is implemented by a class that is told of its parked messages.
type Undeliverer interface {
	// Undelivered runs when a message of this object is parked, in the commit that parks it; m.Err says why. If Undelivered
	// fails, the message stays parked, and Undelivered runs again, as Alarm does.
	Undelivered(tx *Tx, m Told) error
}
