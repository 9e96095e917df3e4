// Package host owns objects and runs them.
//
// A host keeps one lease. Under it, in one incarnation, it claims objects that
// gateways ask for, and listens on the subject of each object that it owns:
//
//	hf.o.<class>.<id> ─▶ inbox ─▶ mailbox ─▶ handler ─▶ Data, in memory
//	                  (dispatch)  (one event at a time)    │
//	                                                       ▼
//	 replies, frames ◀── held until it is durable ◀── one put of the record at a time
//
// What the events in the mailbox write is put when it is empty, or soon after the
// first. While a put is under way the next events run, and pile up; when it has landed,
// everything it covered leaves in order, and what has changed meanwhile is the
// next put. So a hot object is bounded by its events, not by the store.
//
// Nothing an event wants sent leaves before what it wrote, and all that it could
// have read, is durable. If the record turns out to be somebody else's, or the
// lease can no longer be trusted, the instance is dropped with all that was held;
// gateways are told that the object has moved and ask the next owner, under the
// same number, which the record remembers if the put had landed.
//
// What decides (package owner) knows nothing of NATS; this package asks it what
// to do after every event, and does that.
package host
