package objects

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"holdfast/objects/internal/engine"
)

// State is an object's handle on itself: who it is, what it stores, who is
// connected. The constructor receives it and may keep it. It is valid during
// events only, on the goroutine that runs the event; anywhere else it panics.
type State struct {
	id      ID
	class   *Class
	owner   Owner
	current *engine.Tx // nil between events
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
func (s *State) Now() time.Time { return s.tx().Now() }

func (s *State) tx() *engine.Tx {
	if s == nil || s.current == nil {
		panic("objects: state used outside an event")
	}
	return s.current
}

// Sockets are the open sockets with this tag, or all of them without one, most
// recently accepted first (as Cloudflare's getWebSockets).
func (s *State) Sockets(tag ...string) []*Socket {
	switch len(tag) {
	case 0:
		return s.listed("", true)
	case 1:
		return s.listed(tag[0], false)
	}
	panic("objects: sockets are listed by one tag")
}

func (s *State) listed(tag string, all bool) []*Socket {
	tx := s.tx()
	found := tx.Sockets(make([]*engine.Socket, 0, tx.Open()), tag, all)
	sockets := make([]*Socket, len(found))
	for i, of := range found {
		sockets[i] = s.socket(of)
	}
	return sockets
}

// Accept takes the WebSocket that r wants to open; ServeHTTP calls it instead of
// writing a response. The gateway holds the socket from then on: it stays open
// while the object sleeps, moves, or its host dies. At most 10 tags of 256 bytes.
// An error (r is no upgrade, or a limit) is to be returned to the client.
func (s *State) Accept(_ *http.Request, tags ...string) (*Socket, error) {
	socket, err := s.tx().Accept(tags)
	if err != nil {
		return nil, err
	}
	return s.socket(socket), nil
}

// SetAlarm has the Alarm handler run at the time, once; an alarm that was set
// before is replaced (as Cloudflare's setAlarm). A time in the past runs at
// once. It is part of the event: it is set when the event's writes are durable.
// It is kept in milliseconds, rounded up. The zero time, and one beyond the year
// 9999, aborts the event. Panics if the class has no Alarm method.
func (s *State) SetAlarm(at time.Time) {
	if !s.class.alarms {
		panic("objects: class " + s.class.Name() + " sets an alarm but has no Alarm method")
	}
	s.tx().SetAlarm(at)
}

// DeleteAlarm removes the alarm. It does not stop a handler that runs.
func (s *State) DeleteAlarm() { s.tx().DeleteAlarm() }

// Alarm is the time that was set, false if there is none, or if it was parked.
// While the Alarm handler runs there is none, unless it sets one (as Cloudflare's
// getAlarm).
func (s *State) Alarm() (time.Time, bool) { return s.tx().Alarm() }

// Tx is an explicit transaction. It is valid within the function that got it.
type Tx struct {
	t     *engine.Tx
	ended bool
}

func (tx *Tx) tx() *engine.Tx {
	if tx.ended {
		panic("objects: transaction used after it has ended")
	}
	return tx.t
}

// Transact runs fn as a transaction within the event: if fn returns an error or
// panics, its writes and its alarm are undone, and so is what it sent and did to
// sockets; what was done before it stays, and the object lives on (as Cloudflare's
// storage.transaction). Nested transactions are savepoints.
func Transact[T any](ctx context.Context, s *State, fn func(*Tx) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, fmt.Errorf("begin a transaction: %w", err)
	}
	t := s.tx()
	tx := &Tx{t: t}
	defer func() { tx.ended = true }()
	out := none
	err := t.Transact(func() (err error) {
		out, err = fn(tx)
		return err
	})
	if err != nil {
		return none, err
	}
	return out, nil
}
