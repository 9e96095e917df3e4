package objects

import (
	"context"
	"net/http"
	"time"

	"holdfast/objects/internal/engine"
)

// Tx is one event's transaction: what the object is, stores and holds, and the event's context. The context ends with the
// event, at the caller's deadline (15 s where it has none), and after 30 s where nobody waits; a caller that goes away does
// not end it.
//
// Its methods abort the event over what a programmer can avoid, so none needs its error checked. It belongs to the event's
// goroutine. After the event it logs an error and ends the goroutine that uses it.
type Tx struct {
	context.Context
	t *engine.Tx
}

// TxOf is the transaction of the event in which ServeHTTP runs, of r or of a request derived from it. It panics elsewhere.
func TxOf(r *http.Request) *Tx {
	tx, ok := r.Context().Value(engine.FaceKey{}).(*Tx)
	if !ok {
		panic("objects: the request is not that of an object's event")
	}
	return tx
}

// ID is the object's id.
func (tx *Tx) ID() ID { return idOf(tx.t.Key()) }

// Name is the name by which the object is addressed, "" for a random id.
func (tx *Tx) Name() string { return tx.t.Name() }

// Self is the object itself, to be handed to others. To ask it within its own event is Conflict.
func (tx *Tx) Self() Ref { return Ref{id: tx.ID(), name: tx.Name(), via: inEvent{}} }

// Object is the object of this class and name. Making a Ref does no I/O; a bad name is an error of what is done with it.
// Within an event the context of Do and Fetch is the Tx, or is derived from it; the Ref may be kept for later events.
func (tx *Tx) Object(class Class, name string) Ref { return way{inEvent{}}.Object(class, name) }

// ObjectByID is the object with this id.
func (tx *Tx) ObjectByID(id ID) Ref { return way{inEvent{}}.ObjectByID(id) }

// Sender is the object that makes this call, or this request, by its own event, or has told this message; false for a worker,
// an alarm, a socket and a task. Who it asks for says PrincipalOf.
func (tx *Tx) Sender() (Ref, bool) {
	key, name := tx.t.Sender()
	return Ref{id: idOf(key), name: name, via: inEvent{}}, key != ""
}

func (tx *Tx) caller() {}

// Now is the owner's clock when the event began, the one that alarms are compared with.
func (tx *Tx) Now() time.Time { return tx.t.Now() }

// Owner returns which host runs this instance, for showing to people. It does not change during the life of an instance.
func (tx *Tx) Owner() Owner { return Owner(tx.t.Owner()) }

// Owner is a host that owns an object.
type Owner struct {
	Host   string // the host's name
	Region string
	Epoch  uint64 // how often the object has changed hands
}

// Transact runs fn as a transaction within the event, a savepoint (as Cloudflare's transactionSync). If fn returns an error
// or panics, its writes, alarm and messages, and what it did to sockets, are rolled back and the rest of the event stands;
// the error is returned as it is. Fields of the struct stay as fn left them: change them after fn. They nest.
func (tx *Tx) Transact(fn func() error) error { return tx.t.Transact(fn) }

// DeleteAll deletes all keys, maps and blobs, the database, and the alarm (as Cloudflare's deleteAll). Sockets stay open, and
// messages that were told stay under way. To delete the keys alone, clear the map of all keys: NewMap[string, any]("").Clear(tx).
func (tx *Tx) DeleteAll() { tx.t.DeleteAll() }

// Sync waits until all that earlier events wrote is durable (as Cloudflare's sync), which Do and every answer do by
// themselves: it is for handlers that reach outside on their own. What this event writes is not among it. In a constructor and
// in Sleep it aborts.
func (tx *Tx) Sync() { tx.t.Sync() }

// Refuse is how ServeHTTP fails: the event is rolled back and answered as a call that returns err is, with the code's status,
// and code, message, details and reference as JSON. Return after it. An error status that ServeHTTP writes itself rolls
// nothing back: for a response of one's own, use Transact.
func (tx *Tx) Refuse(err error) { tx.t.Refuse(err) }

// Abort ends the event here and does not return: everything is rolled back, the caller gets err, and the instance is dropped
// even if err is an *Error (as Cloudflare's abort, but that what earlier events wrote is kept).
func (tx *Tx) Abort(err error, how ...AbortOption) {
	for _, option := range how {
		option(tx.t)
	}
	tx.t.Abort(err)
}

// AbortOption adds to what Abort does.
type AbortOption func(*engine.Tx)

// CloseSockets has Abort close the object's sockets with 1012: clients come back.
func CloseSockets() AbortOption { return (*engine.Tx).CloseAll }

// ForgetAlarm has an alarm that Abort ends not run again.
func ForgetAlarm() AbortOption { return (*engine.Tx).ForgetAlarm }

// SetAlarm has Alarm run at the time, once; an alarm set before is replaced (as Cloudflare's setAlarm). A past time is now.
// It is kept in milliseconds, rounded up. The zero time, one beyond the year 9999, and a class without Alarm, abort the
// event.
func (tx *Tx) SetAlarm(at time.Time) { tx.t.SetAlarm(at) }

// DeleteAlarm removes the alarm. It does not stop one that runs.
func (tx *Tx) DeleteAlarm() { tx.t.DeleteAlarm() }

// Alarm is the time that was set, false if there is none, if it was parked, and while Alarm runs, unless it has set one (as
// Cloudflare's getAlarm).
func (tx *Tx) Alarm() (time.Time, bool) { return tx.t.Alarm() }
