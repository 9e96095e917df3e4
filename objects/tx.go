package objects

import (
	"context"
	"net/http"
	"time"

	"holdfast/objects/internal/engine"
)

// Tx is one event's transaction: the object's identity, storage and sockets, and the event's context. The context ends with
// the event, at the caller's deadline (15 s if the caller has none), and after 30 s if nobody waits for the answer; a caller
// that goes away does not end it.
//
// Methods of a Tx abort the event over mistakes that a programmer can avoid, so most return no error. A Tx belongs to the
// event's goroutine. A use after the event logs an error and ends the using goroutine.
type Tx struct {
	context.Context
	t *engine.Tx
}

// TxOf returns the transaction of ServeHTTP's event, from its request r or a request derived from it. It panics for any
// other request.
func TxOf(r *http.Request) *Tx {
	tx, ok := r.Context().Value(engine.FaceKey{}).(*Tx)
	if !ok {
		panic("objects: the request is not that of an object's event")
	}
	return tx
}

// ID returns the object's id.
func (tx *Tx) ID() ID { return idOf(tx.t.Key()) }

// Name returns the object's name, "" for a random id.
func (tx *Tx) Name() string { return tx.t.Name() }

// Self returns the object's own Ref, for Tell and to hand to others. Do and Fetch on it within its own event are
// Conflict.
func (tx *Tx) Self() Ref { return Ref{id: tx.ID(), name: tx.Name(), via: inEvent{}} }

// Object returns a Ref to the object of this class and name. Making a Ref does no I/O; a bad name is an error of the Ref's
// use. Within an event the context of Do and Fetch is the Tx, or is derived from it; the Ref may be kept for later events.
func (tx *Tx) Object(class Class, name string) Ref { return way{inEvent{}}.Object(class, name) }

// ObjectByID returns a Ref to the object with this id.
func (tx *Tx) ObjectByID(id ID) Ref { return way{inEvent{}}.ObjectByID(id) }

// Sender returns the object whose event made this call or request, or told this message; false for a worker, an alarm, a
// socket and a task. PrincipalOf returns the principal that it asks for.
func (tx *Tx) Sender() (Ref, bool) {
	key, name := tx.t.Sender()
	return Ref{id: idOf(key), name: name, via: inEvent{}}, key != ""
}

func (tx *Tx) caller() {}

// Now returns the owner's clock when the event began, the one that alarms are compared with.
func (tx *Tx) Now() time.Time { return tx.t.Now() }

// Owner returns the host that runs this instance, to show to people. It does not change during the life of an instance.
func (tx *Tx) Owner() Owner { return Owner(tx.t.Owner()) }

// Owner is a host that owns an object.
type Owner struct {
	Host   string // the host's name
	Region string
	Epoch  uint64 // how often the object has changed hands
}

// Transact runs fn as a transaction within the event, a savepoint (as Cloudflare's transactionSync). If fn returns an error
// or panics, its writes, alarm, messages and changes to sockets are rolled back and the rest of the event stands; Transact
// returns the error unchanged. The struct's fields are not rolled back: change them after fn. Calls of Transact may nest.
func (tx *Tx) Transact(fn func() error) error { return tx.t.Transact(fn) }

// DeleteAll deletes all keys, maps and blobs, the database, and the alarm (as Cloudflare's deleteAll). Sockets stay open, and
// told messages stay under way. To delete only the keys, clear the map of all keys: NewMap[string, any]("").Clear(tx).
func (tx *Tx) DeleteAll() { tx.t.DeleteAll() }

// Sync waits until the writes of all earlier events are durable (as Cloudflare's sync). Do and every answer do so by
// themselves: Sync is for handlers that talk to other systems. It does not wait for this event's writes. In a constructor and
// in Sleep it aborts.
func (tx *Tx) Sync() { tx.t.Sync() }

// Refuse fails ServeHTTP: the event is rolled back, and the response has the code's status and the code, message, details and
// reference as JSON. Return after it. An error status that ServeHTTP writes itself rolls nothing back: for a response of your
// own, use Transact.
func (tx *Tx) Refuse(err error) { tx.t.Refuse(err) }

// Abort ends the event here and does not return: everything is rolled back, the caller gets err, and the instance is dropped
// even if err is an *Error (as Cloudflare's abort, except that the writes of earlier events are kept).
func (tx *Tx) Abort(err error, how ...AbortOption) {
	for _, option := range how {
		option(tx.t)
	}
	tx.t.Abort(err)
}

// AbortOption is an option of Abort.
type AbortOption func(*engine.Tx)

// CloseSockets has Abort close the object's sockets with 1012: clients come back.
func CloseSockets() AbortOption { return (*engine.Tx).CloseAll }

// ForgetAlarm has an alarm that Abort ends not run again.
func ForgetAlarm() AbortOption { return (*engine.Tx).ForgetAlarm }

// SetAlarm has Alarm run at the time, once; an alarm set before is replaced (as Cloudflare's setAlarm). A past time is now.
// The time is kept in milliseconds, rounded up. The zero time, a time beyond the year 9999, and a class without Alarm abort
// the event.
func (tx *Tx) SetAlarm(at time.Time) { tx.t.SetAlarm(at) }

// DeleteAlarm removes the alarm. It does not stop a running Alarm.
func (tx *Tx) DeleteAlarm() { tx.t.DeleteAlarm() }

// Alarm returns the time of the alarm, and false if there is none, if it is parked, and while Alarm runs, unless Alarm has
// set one (as Cloudflare's getAlarm).
func (tx *Tx) Alarm() (time.Time, bool) { return tx.t.Alarm() }
