// Package gateway is the stateless front: HTTP and WebSockets on one side,
// per-object NATS subjects on the other. Any number may run, in any region.
//
// A request is copied into an envelope, sent to the object's subject and
// answered by whoever owns it; with nobody there, a host is asked to claim the
// object and the request is sent again. The gateway keeps no table of owners and
// writes no state: it has no JetStream.
//
// What it does keep is WebSockets. An object that accepts one gets frames from
// here and has frames delivered here, and may sleep, move, or lose its host
// meanwhile:
//
//	client ─▶ reader ─▶ pending, numbered ─▶ hf.o.<class>.<id> ─▶ owner
//	client ◀─ writer ◀─ bounded queue     ◀─ hf.g.<gateway>    ◀─ owner
//
// One goroutine reads a socket, and one writes it while there is something to
// write. They outlive Fiber's handler, with the library's own connection and none
// of Fiber's wrapper, and the gateway waits for them when it stops. A frame stays
// pending until an owner has settled it. A new owner asks every gateway that the
// record names for its sockets; one with a frame whose fate the old owner took to
// its grave is closed with 1012, the others go on.
//
// A worker is a user's own stateless code in front of the objects; it adds its
// routes to the router and reaches objects through Env.
package gateway
