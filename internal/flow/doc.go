// Package flow is how two sides carry bytes to each other over messages that may be lost, come late, twice or out of order:
// a response that is written while it is read, and the body of its request.
//
//	the side that opens (who asks)         the other side (who answers)
//	  reads the response   ◀── bytes ───   writes it
//	  writes the body      ─── bytes ──▶   reads it
//
// Both sides are a Side. A Side does no I/O: it takes segments, bytes and the time, and returns the segment to send next and
// when to ask for one again. Every segment carries the whole state: some bytes and their offset, how many of the other's
// bytes have come, and how many more may come. So a segment replaces any number of lost ones, and may come twice.
//
// A side keeps what it has sent until the other has it, at most a window. It sends again when nothing was acknowledged for a
// while, or when the other has noticed a gap. The other takes bytes only in order, and at most a window of unread bytes: a
// reader that stops costs each side one window, and nothing else.
//
// The side that opens sends first, and the other sends nothing until then, so nobody gets a response without having asked.
// Both send from time to time when nothing has changed. A side that receives nothing for long takes the other for lost.
// An exchange is over when the response has arrived: whole, or cut with a reason.
//
// The other side is not trusted: Receive refuses a segment that no honest side sends, and then changes nothing.
package flow
