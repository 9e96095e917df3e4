// Package sockets holds WebSockets for objects, in gateways and in programs that
// open sockets with package client. An object that accepts a socket gets frames from here and
// has frames delivered here, and may sleep, move, or lose its host meanwhile:
//
//	client ─▶ reader ─▶ uplink, numbered ─▶ hf.o.<class>.<id> ─▶ owner
//	client ◀─ writer ◀─ outbox, bounded  ◀─ _HF.h.<gateway>.> ◀─ owner
//
// A socket is at one stage of its life:
//
//	asking ─▶ accepted ─▶ open ─▶ closing ─▶ closed ─▶ gone
//
// A goroutine reads a socket while it is open, and one writes it while there is
// something to write. The outbox writes in order and the close last. It is bounded by bytes; a
// client for which more would wait is closed with 1013.
//
// The uplink keeps a frame until an owner has acknowledged it. It keeps at most a window of frames; the client is not
// read while the window is full. An owner acknowledges by number alone. A refusal also closes the socket. The close is
// the last frame, and is sent again like any other until it is acknowledged, so no object keeps a socket that has
// ended. Frames that no owner took are sent again when an owner has been found, with growing pauses between attempts
// without an acknowledgement.
//
// All messages of owners come through one subscription. A new owner asks every
// gateway that the record names for its sockets, and is answered after everything
// that the former owner had sent (see package stream).
//
// A gateway whose beats were not confirmed for five beats closes all its sockets
// with 1012: hosts have told the objects by then that these sockets ended.
package sockets
