// Package tells decides how told messages get from one object to another: at least once, run once, in order per pair. It is
// pure: it takes values and the time, and returns values. Hosts and objectstest do the actions.
//
// A message is written with the event that tells it, under a reserved key of the sender:
//
//	TimersAt   to others, while it is not due; to the object itself, until it has run
//	OutboxAt   to others, once it is due; only then it gets its place in the order: the key is its number
//	ParkedAt   given up: its handler has refused it, or has failed too often
//
// An [Outbox] is the sender's view of these keys, and of what is under way:
//
//	commit        the message is durable: it may leave. One batch is under way for each receiver, no second one
//	answer        handled up to a number: the next batch may leave; the keys are removed with a later commit
//	removed       durable, and nothing is left for the receiver: Forget
//	not reached   the batch is sent again, after a back-off, for ever
//	failed        the first message that was not handled is tried again seven times in all, then it is parked
//	parked        durable: the next batch may leave
//
// The receiver runs each message as an event of its own. In the commit of its effect it notes the number, one for each
// sender ([Mark]); a message that is not above the mark was handled before. Born distinguishes the lives of a sender whose record was
// removed in between. The receiver drops the mark when the sender says Forget, never by itself. A receiver that may have missed
// a Forget asks the sender.
//
// A sender is young for as long as copies may arrive that an earlier owner, or another connection, has sent. A young
// sender says no Forget, and parks nothing: such a copy could still be run.
package tells
