// Package flow is how two sides carry bytes to each other over messages that may be lost, come late, twice or out of order:
// a response that is written while it is read, and the body of its request.
//
//	the side that opens (who asks)         the other side (who answers)
//	  reads the response   ◀── bytes ───   writes it
//	  writes the body      ─── bytes ──▶   reads it
//
// Both sides are a Side. It does nothing by itself: it takes segments, bytes and the time, and says which segment to send
// next and when to ask it again. Every segment says all: some bytes and where they belong, how far the other's bytes have
// come, and how many more may come. So a segment may replace any number of lost ones, and one that comes twice says nothing
// new.
//
// A side keeps what it has sent until the other has it, at most a window. It sends again when nothing was acknowledged for a
// while, or when the other has noticed a gap. The other takes bytes in order alone, and at most a window of bytes that
// nobody has read: a reader that stops costs each side one window, and nothing else.
//
// The side that opens speaks first, and the other is silent until then, so nobody is sent anything who has not asked for it.
// Both speak from time to time when there is nothing to say. A side that hears nothing for long takes the other for lost.
// An exchange is over when the response has arrived: whole, or cut with a reason.
//
// What the other side says is not believed beyond its bounds: Hear refuses what no honest side says, and changes nothing.
package flow
