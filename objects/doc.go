// Package objects is what the author of a durable object imports.
//
// A durable object is a named address at which a piece of state lives, exactly once. You declare a class and what can be
// asked of it, write a struct that answers, and join the two:
//
//	const Tickets objects.Class = "ticket"
//
//	var Claim = objects.NewCall[objects.None, int](Tickets, "claim")
//
//	var Objects = objects.Implement(Tickets, objects.New[Counter], objects.On(Claim, (*Counter).claim))
//
//	var count = objects.NewKey[int]("count")
//
//	type Counter struct{}
//
//	func (c *Counter) claim(tx *objects.Tx, _ objects.None) (int, error) {
//		n := count.Get(tx) + 1
//		count.Set(tx, n)
//		return n, nil
//	}
//
// Anybody who has a way to objects (a worker's Env, a test's World) then asks it:
//
//	n, err := ticket.Claim.Do(ctx, env.Object(ticket.Tickets, "global"), nil)
//
// Declarations hold no code. A package may ask objects that it does not link, and a method may refer to every class and
// call, its own included.
//
// # One event
//
// HTTP requests, calls (Do), told messages (Tell), WebSocket messages and closes, and alarms are events. The events of one
// object run one at a time, and never interleave: while a handler waits, nothing else of its object runs. Each is a
// transaction, and its handler gets the [Tx]. What the event writes, the alarm it sets, what it tells other objects and what
// it sends take effect together or not at all: an error or a panic rolls everything back. Answers and messages leave after
// the commit. If the commit is refused because another host owns the object now, nothing has left, the instance is dropped,
// and the event runs again at the new owner.
//
// A Tx ends with its event. As a context it may be used anywhere; all else of it only by the event's goroutine, while the
// event runs. Afterwards it logs an error and ends the goroutine that uses it: it can neither write nor take the process
// down. A struct must not keep it.
//
// # Outside the transaction
//
//	Call.Do    asks another object now. Not part of the transaction: its effects stay if the event fails.
//	Call.Tell  sends an object a message. Part of the transaction: delivered after the commit, run once, at a time if wanted.
//	Tx.Go      runs a function after the commit, outside of events. It returns to the object by calls. Lost if the host dies.
//	Tx.Stream  runs a function after the commit, as Go does, that writes the response of an HTTP request.
//
// Use Tell for what must happen, Do for what must be known now, and Go for what takes long, with a timer (Tell to Self with
// [After] and [Keyed]) in case Go is lost.
//
// # HTTP
//
// A class that implements [http.Handler] answers what a worker forwards, as Cloudflare's fetch. [TxOf] gives ServeHTTP its
// transaction. The response leaves when the event has committed; [Tx.Refuse] rolls the event back instead. [Tx.Stream] writes
// a response while the client reads it, and reads a request's body that is larger than an event takes.
//
// # WebSockets
//
// ServeHTTP takes a WebSocket with [Tx.Accept]. The gateway holds it from then on: it stays open while the object sleeps, moves, or
// its host dies. A class that implements [WebSocketMessager] and [WebSocketCloser] hears it; [Socket.Send] and [Tx.Broadcast]
// answer, and [Socket.Attach] keeps something with it. With Settings.Resume a client that has lost its connection comes back as
// the same socket.
//
// # Time
//
// An object that sleeps is woken when its time has come: by its one alarm ([Tx.SetAlarm], for a class that implements [Alarmer]), or
// by timers, of which it may have any number (Tell to [Tx.Self] with [At] or [After]). Both are part of the event that sets
// them, outlive every process, and never come early. [Tx.Now] is the clock that they are compared with.
//
// # Storage
//
// A [Key] is one value, a [Map] many values in the order of their keys, a [Blob] bytes of any size. Package objects/sqlite
// gives an object a database. All of them are part of the event's transaction. With Settings.History the object can be put
// back to what all of them were at an earlier time: [Tx.Restore].
//
// # Memory
//
// The fields of the struct are a cache. After ten seconds without an event the instance is dropped, its sockets stay open,
// and the next event constructs it again. A panic, or an error that is not an [Error], drops it too, so that memory never
// disagrees with storage. A refusal made by [Errorf] keeps it: it is the handler's word that its fields are as they were. A class
// that implements [Sleeper] may save something before its instance is dropped for idleness, a move or a shutdown.
//
// # Limits
//
// The constants that begin with Max are the limits of the live system. [Implementation.With] gives a class [Settings] of its own:
// lower limits, how long it stays awake, how long an event may take.
//
// # When something fails
//
//	the handler returns Errorf(...)    rolled back; the caller gets code, message and details; memory kept
//	it returns another error, panics   rolled back; the caller gets Internal and a reference that the log has; memory dropped
//	its host dies                      committed or rolled back, never half; in the second case the event runs again at the next owner
//	the commit's fate is not known     the caller waits; only if it never becomes known it gets Unknown
//	the caller goes away               the event runs to its end; what it wrote stays
//	a value does not decode            the event is aborted: it ends at that line, as by a panic
//
// Storage and sockets return no errors: what cannot be read, decoded or encoded, or exceeds a limit, aborts the event. So a
// handler never goes on with a wrong value. Two exceptions return errors as their Go interfaces do: the reader of a blob, and
// a statement of SQL.
//
// Package objectstest runs objects in a test, with a clock of its own and the limits of the live system. Packages gateway and
// client reach objects. The pages in docs begin with a first object.
package objects
