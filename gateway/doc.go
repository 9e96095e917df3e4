// Package gateway is the stateless front: HTTP and WebSockets on one side,
// per-object NATS subjects on the other. Any number may run, in any region.
//
// A request is copied into an envelope, sent to the object's subject and
// answered by whoever owns it; with nobody there, a host is asked to claim the
// object and the request is sent again. The gateway keeps no table of owners and
// writes no state: it has no JetStream.
//
// The way of a request goes forward, a file a step:
//
//	conns.go     is there room for one more?          limits.go, address.go
//	guard.go     may a route see it?                  origin.go
//	the worker   who asks, and for which object?      env.go, handle.go
//	envelope.go  copied; what is Fiber's stays here
//	ask.go       sent, and answered                   or socket.go, for a WebSocket
//	respond.go   written
//
// What it does keep is WebSockets. An object that accepts one gets frames from
// here and has frames delivered here, and may sleep, move, or lose its host
// meanwhile:
//
//	client ─▶ reader ─▶ uplink, numbered ─▶ hf.o.<class>.<id> ─▶ owner
//	client ◀─ writer ◀─ outbox, bounded  ◀─ _HF.h.<gateway>.> ◀─ owner
//
// A socket is at one stage of its life:
//
//	asking ─▶ accepted ─▶ open ─▶ closing ─▶ closed ─▶ gone
//	   ╰────▶ abandoned ─────────────────────────────▶ gone
//
// A goroutine reads a socket while it is open, and one writes it while there is
// something to write. They outlive Fiber's handler, with the library's own
// connection and none of Fiber's wrapper, and the gateway waits for them when it
// stops. The outbox writes in order and the close last. It is bounded by bytes; a
// client for which more would wait is closed with 1013.
//
// The uplink keeps a frame until an owner has acknowledged it. At most a window of
// frames is kept; the client is not read while the window is full. An owner
// acknowledges by number alone. A refusal closes the socket besides. The close is
// the last frame, and is told like any other until it is acknowledged, so no object
// keeps a socket that has ended. Frames that nobody took are sent again when an
// owner has been found; attempts that bring nothing are further and further apart.
//
// All that owners say comes through one subscription. A new owner asks every
// gateway that the record names for its sockets, and is answered after everything
// that the former owner had said. A socket with a frame in flight, of which nobody
// knows whether it was handled, is closed with 1012; the others stay open.
//
// A gateway whose beats were not confirmed for five beats closes all its sockets
// with 1012: hosts have told the objects by then that these sockets ended.
//
// A worker is a user's own stateless code in front of the objects; it adds its
// routes to the router and reaches objects through Env.
package gateway
