// Package host owns objects and runs them.
//
// A host keeps one lease. Under it, in one incarnation, it claims objects that
// gateways ask for, and listens on the subject of each object that it owns:
//
//	hf.o.<class>.<id> ─▶ inbox ─▶ mailbox ─▶ event loop ─▶ memory
//	                  (dispatch)  (one event at a time)      │
//	                                                         ▼
//	 replies, pushes ◀── outbox, until it is durable ◀── committer: one put of the record at a time
//
// What the events in the mailbox write is put when the mailbox is empty, or soon after
// the first write. While a put is under way the next events run, and pile up; when the
// put has landed, everything it covered leaves in order, and what has changed meanwhile
// is the next put. So a hot object is bounded by its events, not by the store.
//
// Nothing an event wants sent leaves before what it wrote, and all that it could
// have read, is durable. If the record turns out to be somebody else's, or the
// lease can no longer be trusted, the instance is dropped with all of the outbox;
// gateways are told that the object has moved and ask the next owner, under the
// same number, which the record remembers if the put had landed.
//
// Package owner decides, and knows nothing of NATS. This package asks package owner
// what to do after every event, and does that.
//
// # Parts
//
// An object coordinates parts. Each part has a file; nothing but its methods uses its fields.
// Its methods take values and the time, and return values: what to send, what to write, when
// to look again. The object holds the lock, runs the event, asks the store and sends.
//
//	mailbox    what waits for the object, and its stage
//	claim      the record that is being claimed; nil once the object is served
//	term       the result of the claim: epoch, token, since when
//	memory     state, alarm, remembered answers, the instance
//	committer  package owner's state, the put under way, the batch, the wake-up
//	outbox     outputs that may not leave yet
//	sockets    open sockets, ends that the object has yet to be told, sessions, conflated values, streams to gateways
//	questions  the object's asks that are not settled
//	told       messages that the object has told others and itself
//	tasks      tasks and streams that the object's events have begun
//	upkeep     the merge and the purge beside the object's commits
//	waiters    goroutines and gateways that wait for something about the object
//
// Where the doing fills a file, the file has the name of what is done: commit.go is the
// goroutine at the store, links.go the lanes to gateways, sockets_lanes.go the sockets' side
// of these, tells.go and tells_receive.go the told messages, resume.go the sockets that come
// back.
//
// # Stages
//
//	claiming ──▶ serving ──▶ draining ──▶ gone
//	    ╰───────────┴────────────────────▶
//
// A claim answers once, at the end of claiming. A mailbox takes requests while its
// object is serving, and what the server had sent before while it is draining; the
// drain marker is behind all of that. An object that is claiming and is to be released
// goes on to gone by itself. A panic outside of the author's code takes an object to
// gone from any stage.
//
// # Locks
//
// Whoever holds one of these takes only those to its right:
//
//	object.mu, mailbox.mu, idleQueue.mu
//	object.mu, wire.Nearby's, wire.Client's
//
//	restrictions.mu, lease.Others's
//
// incarnation.mu, slowEvents.mu and that of warnings are held alone, but for idleQueue.mu
// in incarnation.object, that of warnings in incarnation.trackGateway, and mailbox.mu in
// slowEvents.longest. The token in incarnation.evicting comes before all locks. No
// lock is held while the store is asked: an object's obligations to the store are in
// its committer, and one goroutine carries them out. Outputs are published under
// object.mu, which keeps their order; the dispatcher and claims of objects that are
// served need incarnation.mu and mailbox.mu only, under which nothing is sent.
package host
