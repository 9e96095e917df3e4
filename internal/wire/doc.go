// Package wire is what gateways and hosts say to each other over NATS.
//
//	gateway ──hf.o.<class>.<id>──────────▶ the owner        answered on _HF.<gateway>.<n>
//	   ╰── nobody there? ──hf.claim.<region>.<class>, then hf.claim.any.<class>──▶ a host claims it
//	gateway ◀──_HF.<gateway>.h.push────── the owner         frames for sockets, one message a gateway
//	gateway ◀──_HF.<gateway>.h.which───── a new owner       which sockets do you hold?
//	gateway ──hf.beat────────────────────▶ all hosts        the gateway lives
//
// An object enters a subject as class and 64 hex digits, nothing else does; what
// a client sent travels inside the message. Messages are encoded as Protocol
// Buffers encode theirs; a type's fields method is its schema.
//
// # Once
//
// A request is known by its gateway and a number that grows. It may be sent many
// times under that number, to one owner after the other: an owner that has it in
// hand ignores the second, one whose record remembers it answers from there.
// Every request also says Low, the lowest number for this object that the gateway
// still waits for; below it an owner may forget.
//
// # Nearby
//
// Where gateway and host share a process, a request and its answer need not pass
// NATS: Nearby is that way. It is another way for the same messages.
//
// The package knows no JetStream: a request is a question, not a record.
package wire
