// Package wire has the messages between gateways and hosts over NATS, and the client that sends requests.
//
//	gateway ──hf.o.<class>.<id>──────────▶ the owner        answered on _HF.<gateway>.<n>.<copy>
//	   │ nobody there?
//	   ├──hf.claim.<region>.<class>──────▶ one host of the region claims it
//	   │ no host there, or it is frozen?
//	   ├──hf.hosts.<class>───────────────▶ all hosts that run the class say that they are there
//	   ╰──hf.host.<incarnation>──────────▶ the first of them claims it
//	gateway ◀──_HF.h.<gateway>.push────── the owner         frames for sockets, one message a gateway
//	gateway ◀──_HF.h.<gateway>.which───── a new owner       which sockets do you hold?
//	gateway ──hf.beat────────────────────▶ all hosts        the gateway lives
//
// An object enters a subject as class and 64 hex digits. Apart from that only names
// that Holdfast makes itself enter one; what a client sent travels inside the message.
// Messages are encoded as Protocol Buffers encode theirs; a type's fields method is
// its schema.
//
// # Once
//
// A request is known by its gateway and a number that grows. It may be sent many
// times under that number, to one owner after the other. The last token of the reply
// subject numbers the copies. An owner that has the request in its queue or is running
// it drops the older copy and answers the newest; one whose record remembers the
// answer gives it (Reply.Kept). Every request also says Low, the lowest number for
// this object that the gateway still waits for: an owner drops requests below it and
// may forget their answers. While one request is late and hundreds overtake it, some of
// these say which ones are open (Request.Open), and the owner may forget the answers to
// all others. An answer is kept for Timing.Request + CopyLife at most, and a record with
// answers in it is not empty.
//
// A request names the owner that it is for, by its token (Request.For). Another owner
// does not run it but says Moved, with its own token. An owner runs a request that
// names nobody, unless it took the object over less than CopyLife ago. So a request that was
// sent to a predecessor never runs twice, however late a copy comes. Type fate has the
// client's half of the rules, and a test explores both.
//
// A request with which two owners in a row were lost is not sent to a third: the request may
// be what ends them.
//
// # Tokens
//
// A token is generation<<48 | revision of the claim; it grows with every claim of an
// object. Tokens are compared with < only. A client refuses a token whose revision is
// more than 2^32 beyond the highest one seen in its generation, and logs that once a
// minute at most. The answer to a claim replaces the token that the client knows: a
// forged one that passed makes an object unreachable for one silence.
//
// # Nearby
//
// Where gateway and host share a process, Nearby carries requests and answers without
// NATS. The messages are the same. A copy over Nearby arrives at once; after a copy went
// over NATS the next ones do, too, so that no copy overtakes another on its way to one
// owner.
//
// The package knows no JetStream: a request is a question, not a record.
package wire
