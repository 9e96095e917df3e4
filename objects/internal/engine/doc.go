// Package engine runs the events of one object, without I/O.
//
// A host gives an [Instance] what the object has ([World]: storage, alarm, sockets), runs events on it one at a time, and
// gets an [Outcome] for each: what to make durable, what to send then, and the answer. An event is one [Tx], and nothing of
// a failed event is left: storage is written in layers above [Data], and every change of a socket is noted so that it can
// be taken back.
//
//	host, objectstest  ──World──▶  Instance ──Tx──▶ objects.Tx, Key, Socket ──▶ the author's handler
//	                   ◀─Outcome─
//
// Limits are checked inside of the event's transaction, so that whoever runs objects has the same ones and an event beyond
// a limit is rolled back whole: its writes, its alarm, its messages, and what it did to sockets.
//
// Package objects stands on this package and gives it types: what an author's struct can do, and what an error is, reaches
// the engine through [Author].
package engine
