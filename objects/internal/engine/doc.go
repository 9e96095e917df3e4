// Package engine runs the events of one object, without I/O.
//
// A host gives an [Instance] the object's storage, alarm and sockets ([World]), runs events on it one at a time, and
// gets an [Outcome] for each: the writes to make durable, the messages to send after that, and the answer. An event is
// one [Tx], and a failed event leaves nothing behind: storage is written in layers above [Data], and every change of a
// socket is noted so that it can be undone.
// be taken back.
//
//	host, objectstest  ──World──▶  Instance ──Tx──▶ objects.Tx, Key, Socket ──▶ the author's handler
//	                   ◀─Outcome─
//
// Limits are checked inside of the event's transaction, so they are the same wherever objects run, and an event beyond
// a limit is rolled back whole: its writes, its alarm, its messages, and its changes of sockets.
//
// Package objects is built on this package and adds types. The methods of an author's struct, and the form of errors,
// reach the engine through [Author].
package engine
