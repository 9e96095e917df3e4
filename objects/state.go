package objects

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// State is an object's handle on itself: who it is, what it stores, who is
// connected. The constructor receives it and may keep it. It is valid during
// events only, on the goroutine that runs the event; anywhere else it panics.
type State struct {
	id      ID
	class   *Class
	data    *Data
	alarm   func() Alarm
	sockets *Sockets
	now     func() time.Time
	owner   Owner
	current *turn // nil between events
}

// ID is the object's id.
func (s *State) ID() ID { return s.id }

// Name is the name the object is addressed by, "" for a random id.
func (s *State) Name() string { return s.id.name }

// Owner tells which host runs this instance, for showing to people. It does not
// change during the life of an instance.
func (s *State) Owner() Owner { return s.owner }

// Owner is a host that owns an object.
type Owner struct {
	Host   string // the host's name
	Region string
	Epoch  uint64 // how often the object has changed hands
}

// Now is the owner's clock, the one that alarms are compared with.
func (s *State) Now() time.Time { return s.now() }

func (s *State) turn() *turn {
	if s == nil || s.current == nil {
		panic("objects: state used outside an event")
	}
	return s.current
}

// Sockets are the open sockets with this tag, or all of them without one, most
// recently accepted first (as Cloudflare's getWebSockets).
func (s *State) Sockets(tag ...string) []*Socket {
	s.turn()
	return s.sockets.list(tag)
}

// Accept takes the WebSocket that r wants to open; ServeHTTP calls it instead of
// writing a response. The gateway holds the socket from then on: it stays open
// while the object sleeps, moves, or its host dies. At most 10 tags of 256 bytes.
// An error (r is no upgrade, or a limit) is to be returned to the client.
func (s *State) Accept(r *http.Request, tags ...string) (*Socket, error) {
	t := s.turn()
	u, ok := r.Context().Value(upgradeKey{}).(*upgrade)
	if !ok {
		return nil, Errorf(Invalid, "not a WebSocket upgrade")
	}
	socket, err := s.sockets.accept(u.socket, tags)
	if err != nil {
		return nil, err
	}
	u.accepted = true
	t.undo = append(t.undo, func() { s.sockets.remove(socket.id) })
	return socket, nil
}

// SetAlarm has the Alarm handler run at the time, once; an alarm that was set
// before is replaced (as Cloudflare's setAlarm). A time in the past runs at
// once. It is part of the event: it is set when the event's writes are durable.
// It is kept in milliseconds, rounded up. The zero time, and one beyond the year
// 9999, fails the event. Panics if the class has no Alarm method.
func (s *State) SetAlarm(at time.Time) {
	if !s.class.alarms {
		panic("objects: class " + s.class.name + " sets an alarm but has no Alarm method")
	}
	t := s.turn()
	kept := at.UTC().Round(0).Add(time.Millisecond - 1).Truncate(time.Millisecond) // never early
	if at.IsZero() || kept.Year() < 1 || kept.Year() > 9999 {
		t.fail(Errorf(Invalid, "an alarm cannot be set to %v", at))
		return
	}
	t.top().alarm = &alarmChange{Alarm{At: kept}}
}

// DeleteAlarm removes the alarm. It does not stop a handler that runs.
func (s *State) DeleteAlarm() { s.turn().top().alarm = &alarmChange{} }

// Alarm is the time that was set, false if there is none. While the Alarm
// handler runs there is none, unless it sets one (as Cloudflare's getAlarm).
func (s *State) Alarm() (time.Time, bool) {
	a := s.turn().alarmNow()
	return a.At, !a.At.IsZero()
}

// Alarm is an object's alarm as its record keeps it. The zero Alarm is none.
type Alarm struct {
	At     time.Time `json:"at,omitzero"`      // what the author set
	Due    time.Time `json:"due,omitzero"`     // when to try again, after a failure
	Retry  int       `json:"retry,omitzero"`   // failures so far
	Lost   int       `json:"lost,omitzero"`    // owners in a row that were lost while it was due: it may be what ends them
	Parked bool      `json:"parked,omitempty"` // given up after the last retry, or too many lost owners; kept to be seen
}

// Next is when the alarm is to run; false if there is nothing to run.
func (a Alarm) Next() (time.Time, bool) {
	switch {
	case a.At.IsZero() || a.Parked:
		return time.Time{}, false
	case a.Due.IsZero():
		return a.At, true
	default:
		return a.Due, true
	}
}

// Equal tells whether two alarms are the same.
func (a Alarm) Equal(b Alarm) bool {
	return a.At.Equal(b.At) && a.Due.Equal(b.Due) && a.Retry == b.Retry && a.Lost == b.Lost && a.Parked == b.Parked
}

type alarmChange struct{ to Alarm }

func (t *turn) alarmNow() Alarm {
	t.top()
	for _, l := range slices.Backward(t.layers) {
		if c := l.alarm; c != nil {
			return c.to
		}
	}
	return t.alarm
}

// Tx is an explicit transaction. It is valid within the function that got it.
type Tx struct {
	t     *turn
	ended bool
}

func (tx *Tx) turn() *turn {
	if tx.ended || tx.t.over {
		panic("objects: transaction used after it has ended")
	}
	return tx.t
}

// Transact runs fn as a transaction within the event: if fn returns an error or
// panics, its writes and its alarm are undone, those made before it stay, and
// the object lives on (as Cloudflare's storage.transaction). Nested transactions
// are savepoints. Frames that fn has sent are not called back.
func Transact[T any](ctx context.Context, s *State, fn func(*Tx) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, fmt.Errorf("begin a transaction: %w", err)
	}
	t := s.turn()
	below := len(t.layers)
	t.begin()
	tx := &Tx{t: t}
	landed := false
	defer func() {
		tx.ended = true
		if !landed {
			t.layers = t.layers[:below]
		}
	}()
	out, err := fn(tx)
	if err != nil {
		return none, err
	}
	t.commit()
	landed = true
	return out, nil
}
