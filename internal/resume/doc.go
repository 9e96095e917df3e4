// Package resume decides how a WebSocket comes back after its connection was lost: as the
// same socket to its object, without a message missing or doubled, or with word of how many
// are missing. It is pure. Sessions is the owner's half for one object, Client the other
// end; both take values and the time and return what has to be done. A test explores what
// connections, gateways and owners can do to them.
//
// A session is a socket that may come back. Its messages are counted, both ways, by either
// end alone: no message carries a number. A client that comes back says how many it has
// received. The owner sends the missing ones from its window, which is bounded in bytes and
// time, and then new ones; it says how many of the client's messages it has taken, and the
// client sends the others again.
//
//	      ╭──────────comes back──────────╮
//	      ▼                              │
//	at a gateway ──connection lost──▶ away ──time over──▶ ended
//	      │  ╰──comes back elsewhere──▶ at another gateway
//	      ╰──closed by either side────────────────────────▶ ended
//
// The place that a session has left is detached: frames from there count for nothing, and
// the end of the socket there ends no session.
//
// # A new owner
//
// Sessions that are away and detached places are in the object's record. A session at a
// gateway is not: the gateway reports it to a new owner, with both counts, so the death of
// an owner costs that session nothing. The window dies with the owner, and so do the counts
// of messages to sessions that are away, unless the owner hands the object over in order:
// then the next owner gets the counts and the newest part of the window. Messages missing
// beyond the window are a gap. The client is told how many, if the owner knows the number.
package resume
