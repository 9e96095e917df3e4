// Package resume decides how a WebSocket comes back after its connection was lost: as the
// same socket to its object, without a message missing or doubled, or with word of how many
// are missing. It is pure. Sessions is the owner's half for one object, Client the other
// end; both take values and the time and return what has to be done. A test explores what
// connections, gateways and owners can do to them.
//
// A session is a socket that may come back. Its messages are counted, both ways, by either
// end alone: no message carries a number. Who comes back says how many it has received. The
// owner sends what is missing from its window, which is bounded in bytes and time, and then
// what is new; it says how many of the client's messages it has taken, and the client sends
// the others again.
//
//	      ╭──────────comes back──────────╮
//	      ▼                              │
//	at a gateway ──connection lost──▶ away ──time over──▶ ended
//	      │  ╰──comes back elsewhere──▶ at another gateway
//	      ╰──closed by either side────────────────────────▶ ended
//
// Where a session was before it came back is detached: what is still heard of that place
// means nothing, and its end is the end of no session.
//
// # A new owner
//
// A session that is away, and a place that is detached, are in the object's record. A
// session at a gateway is not: the gateway tells a new owner of it, with both counts, so an
// owner that dies costs a session that stays at its gateway nothing. The window dies with
// the owner, and so does the knowledge of what was sent to sessions that are away, unless the
// owner hands the object over in order: then the next owner gets both, of the window the
// newest part. What is missing beyond the window is a gap. The client is told how many
// messages are missing, if the owner knows that.
package resume
