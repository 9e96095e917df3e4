// Package conformance is one table of what an object's author may rely on, run over objectstest, and over real
// hosts on one NATS server and on three. Cases with a number are those of docs/conformance.md. A
// test of an author's that passes in objectstest means something only while both behave alike: a case that would have to
// differ does not belong here, it is a fault of one of them.
package conformance
