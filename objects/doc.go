// Package objects is what the author of a durable object imports.
//
// A durable object is a named address at which a piece of state lives, exactly
// once. A class is a struct with a constructor; what it can do is said by the
// interfaces it implements and the calls it is defined with:
//
//	typed calls         objects.On(Claim, (*Counter).claim)
//	HTTP                ServeHTTP(w, r)                       (net/http's Handler is fetch)
//	WebSockets          State.Accept, WebSocketMessage, WebSocketClose
//	one alarm           State.SetAlarm, Alarm
//	private storage     Key.Get, Key.Set, List
//
// # One event, from end to end
//
// Requests, calls, frames, closes and alarms are events. The events of one
// object run one at a time. What an event writes lands together or not at all:
// an error or a panic rolls the event back, and [Transact] is a savepoint within
// it. What an event sends (its reply and its frames) leaves only after what it
// wrote, and all it could have read, is durable. If that write is refused
// because another host owns the object now, nothing is sent, the instance is
// dropped, and the request runs at the new owner.
//
// # Memory
//
// Fields of the struct are a cache. After ten idle seconds the instance is
// dropped (its sockets stay open); the next event constructs it again. A panic,
// or an error that is not an [Error], drops it too, so that memory never
// disagrees with storage. A refusal made by [Errorf] keeps it: it is the
// handler's word that its fields are as they were.
//
// The package knows neither NATS nor a web framework. Package objectstest runs
// objects without either; package objects/host runs them for real, driving an
// [Instance] and obeying its [Outcome].
package objects
