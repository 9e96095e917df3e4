// Package objects is for authors of durable objects.
//
// A durable object is a named address at which a piece of state lives, exactly once. You declare a class and its calls,
// write a struct that answers them, and join the two:
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
// Anybody with a [Caller] (a worker's Env, a test's World) then asks the object:
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
// transaction, and its handler gets the [Tx]. The event's writes, its alarm, its messages to other objects and to sockets
// take effect together or not at all: an error or a panic rolls everything back. Answers and messages leave after the
// commit. If the commit is refused because another host owns the object now, nothing has left, the instance is dropped, and
// the event runs again at the new owner.
//
// A Tx ends with its event. Any goroutine may use it as a context; only the event's goroutine may use the rest of it, while
// the event runs. A use after the event logs an error and ends the using goroutine: it can neither write nor take the
// process down. A struct must not keep a Tx.
//
// # Outside the transaction
//
//	Call.Do    asks another object now. Not part of the transaction: its effects stay if the event fails.
//	Call.Tell  sends an object a message. Part of the transaction: delivered after the commit, run once, at a time if wanted.
//	Tx.Go      runs a function after the commit, outside of events. The function reaches the object by calls. Lost if the host dies.
//	Tx.Stream  runs a function after the commit, as Go does, that writes the response of an HTTP request.
//
// Use Tell for effects that must happen, Do for answers that the event needs, and Go for long work, with a timer (Tell to
// Self with [After] and [Keyed]) in case Go is lost.
//
// # HTTP
//
// A class that implements [http.Handler] answers the requests that a worker forwards, as Cloudflare's fetch. [TxOf] gives
// ServeHTTP its transaction. The response leaves when the event has committed; [Tx.Refuse] rolls the event back instead.
// [Tx.Stream] writes a response while the client reads it, and reads a request's body that is too large for an event.
//
// # WebSockets
//
// ServeHTTP takes a WebSocket with [Tx.Accept]. The gateway holds it from then on: it stays open while the object sleeps, moves, or
// its host dies. A class that implements [WebSocketMessager] and [WebSocketCloser] receives the client's messages and the
// socket's end; [Socket.Send] and [Tx.Broadcast] answer, and [Socket.Attach] keeps data with a socket. With Settings.Resume a
// client that has lost its connection comes back as the same socket.
//
// # Time
//
// Two things wake a sleeping object at a time: its one alarm ([Tx.SetAlarm], for a class that implements [Alarmer]), and
// timers, of which it may have any number (Tell to [Tx.Self] with [At] or [After]). Both are part of the event that sets
// them, outlive every process, and never come early. [Tx.Now] is the clock that they are compared with.
//
// # Storage
//
// A [Key] is one value, a [Map] many values in the order of their keys, a [Blob] bytes of any size. Package objects/sqlite
// gives an object a database. All of them are part of the event's transaction. With Settings.History [Tx.Restore] puts all
// of them back to an earlier time.
//
// # Memory
//
// The fields of the struct are a cache. After ten seconds without an event the instance is dropped, its sockets stay open,
// and the next event constructs it again. A panic, or an error that is not an [Error], drops the instance too, so that memory
// never disagrees with storage. A refusal made by [Errorf] keeps the instance: the handler vouches that it has not changed its
// fields. A class that implements [Sleeper] may save state before its instance is dropped for idleness, a move or a shutdown.
//
// # Limits
//
// The constants that begin with Max are the limits of the live system. [Implementation.With] gives a class [Settings] of its own:
// lower limits, how long it stays awake, how long an event may take.
//
// # When something fails
//
//	the handler returns Errorf(...)    rolled back; the caller gets code, message and details; memory kept
//	it returns another error, panics   rolled back; the caller gets Internal and a reference, also in the log; memory dropped
//	its host dies                      committed or rolled back, never half; in the second case the event runs again at the next owner
//	the commit's fate is not known     the caller waits; only if it never becomes known it gets Unknown
//	the caller goes away               the event runs to its end; its writes stay
//	a value does not decode            the event is aborted: it ends at that line, as by a panic
//
// Storage and sockets return no errors: a value that cannot be read, decoded or encoded, or exceeds a limit, aborts the
// event. So a handler never goes on with a wrong value. Two exceptions return errors as their Go interfaces do: the reader
// of a blob, and a statement of SQL.
//
// Package objectstest runs objects in a test, with a clock of its own and the limits of the live system. Packages gateway and
// client reach objects. The pages in docs begin with a first object.
package objects
