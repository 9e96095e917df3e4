// Package link puts distance between processes that stand next to each other.
//
// Every gateway and every host talks to the rest through one NATS connection, so that
// connection is where a region is emulated: each direction of it is held back by half a
// round trip. Requests, reads, writes and frames then all pay what they would pay on the
// real way, and nothing above the connection knows about it.
//
//	nats.go -- Write --> [ lane: due in rtt/2 ] --> socket or pipe --> server
//	nats.go <-- Read -- [ lane: due in rtt/2 ] <-- socket or pipe <-- server
//
// What a link promises: bytes arrive in order and never early; bandwidth is unlimited; a
// writer does not wait for the delay, only for room once 8 MiB are under way; what was
// written before Close still arrives; the end of the stream arrives after the last byte.
// The package does not simulate loss, jitter, congestion, or the round trip of a TCP handshake.
//
// How long the way is comes from a table of measured round trips between named regions
// (see [RTT] for the source), or from a [Setting]: the table, one figure for all, or none.
package link
