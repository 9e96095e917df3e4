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
//	ask.go       sent, and answered                   or upgrade.go, for a WebSocket
//	respond.go   written
//
// The gateway also keeps WebSockets, with package sockets, which package client uses too. A WebSocket outlives Fiber's
// handler: it keeps the library's own connection and none of Fiber's wrapper. A gateway that stops waits for its
// WebSockets.
//
// A worker is a user's own stateless code in front of the objects; it adds its
// routes to the router and reaches objects through Env.
package gateway
