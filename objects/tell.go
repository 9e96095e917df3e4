package objects

import (
	"time"
	"unicode/utf8"

	"holdfast/objects/internal/engine"
)

// Limits of told messages.
const (
	MaxTold    = 10_000   // messages that one object has under way, parked ones apart
	MaxTell    = 64 << 10 // bytes of a told message's input
	MaxTellKey = 256      // bytes of a key given by Keyed
)

// Tell tells the object something, as part of the transaction: if the event commits, the message is delivered, through
// crashes of either side, and runs once, as an event of its own; if it fails, nothing was told. Its answer goes nowhere: an
// object that has to know is told in return.
//
// To wake itself an object tells Tx.Self; with After or At that is a timer, of which it may have any number (Cloudflare's
// alarm is one, and is kept as Tx.SetAlarm).
//
// Messages from one object to another that are not delayed run in the order in which they were told; one that waits to be
// tried again holds up those behind it. If the receiver cannot be reached, is Overloaded or full, it is tried until it gets
// through. If its handler fails, it is tried six times more, after 2 s, doubling. Then, or at once if the handler refused it
// by Errorf, it is parked: the next goes on, `holdfast get` shows it, and the sender's Undelivered runs.
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

// At has the message delivered at a time, never early; a past time is now. It is kept in milliseconds, rounded up. Delayed
// messages are delivered in the order of their times, and those to others join the order of the pair then.
func At(t time.Time) TellOption { return func(m *Told) { m.At = t } }

// After is At(tx.Now().Add(d)).
func After(d time.Duration) TellOption { return func(m *Told) { m.At = m.now.Add(d) } }

// Keyed gives the message a key. An object has one pending message of a key: a later Tell replaces it, and Tx.Cancel removes
// it, exactly. A message to another object is pending until it is due, one to the object itself until it runs.
func Keyed(key string) TellOption { return func(m *Told) { m.Key = key } }

// Told is a message that is not delivered yet.
type Told struct {
	Key   string // Keyed
	To    ID
	Call  string
	At    time.Time // when it is due, or tried next; zero: at once
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

// ToldOf is a message as hosts keep it. For hosts.
func ToldOf(m engine.Told) Told { return toldOf(m) }

// Cancel removes the pending message of this key; false if there is none, because there never was, it has left, or it runs
// just now.
func (tx *Tx) Cancel(key string) bool { return tx.t.Cancel(key) }

// Pending is the pending message of this key, or the parked one.
func (tx *Tx) Pending(key string) (Told, bool) {
	m, ok := tx.t.Pending(key)
	if !ok {
		return Told{}, false
	}
	return toldOf(m), true
}

// Undeliverer is implemented by a class that wants to know of its parked messages.
type Undeliverer interface {
	// Undelivered runs when a message of this object was parked, in the commit that parks it; m.Err says why. If it fails, the
	// message is parked, and Undelivered runs again, as Alarm does.
	Undelivered(tx *Tx, m Told) error
}
