// Package asks decides what two objects owe each other when an event of one asks the other, so that a question has one
// effect however often the event that asks it runs. It is pure: its methods take events and the time, and return
// actions. Package host does them; a test explores every order in which owners die, messages come late or not at
// all, and puts land.
//
// The callee keeps the answer of a question that changed something, in the commit of that change, until the caller's owner
// has said that it is settled: that the event which asked is durable in the caller's record, and will not run again.
//
//	caller's owner                              callee's owner
//	gate: all that the event can have read
//	is durable, the lease holds
//	        ──── ask {id, caller, token, n} ───▶ kept already: the same answer
//	                                             else run; effect and answer are one commit
//	        ◀─── answer, kept ──────────────────
//	the event ends, and is committed even
//	if it wrote nothing
//	        ──── settled {token, low, open} ───▶ forget the answers below low that are not open
//
// The rules:
//
//   - A question is known by its content (Run.Name), not by its time or owner: the same question in the same event is the same
//     at every owner, in any order, from any goroutine.
//   - An owner of the caller numbers its asks, and signs them with its token. Its messages about settled asks are a state, not a
//     difference, so a lost message does no harm. They go over the connection that carried the asks, and no other:
//     so they come after every copy of the asks. Asks that an earlier connection carried stay open for as long as a copy lives.
//   - An owner whose term is young may have a predecessor whose asks are still on their way. If the event that asks may have
//     run before, its ask is a fence: the callee notes the caller's token, durably, before it answers, and turns away asks of
//     older owners.
//   - Nothing is forgotten to make room: a full callee refuses. Answers that a crash leaves behind expire.
package asks
