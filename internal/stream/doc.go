// Package stream decides how an object's output reaches its sockets: once, in order,
// and without an unnoticed gap. The package is pure. A Sender is the owner's half for
// one object, a Receiver the gateway's half; both take values and the time and return
// the actions to do. A test explores the faults of networks, hosts and gateways.
//
// Everything that an owner tells one gateway about one object (a socket is open, a
// message, an attachment, a close, the acknowledgement of a frame) is one numbered
// stream, a lane. The owner keeps what the gateway has not acknowledged and sends it
// again, from there on, when the gateway asks. An acknowledgement of a frame is in
// the same push as the outputs of that frame, so neither arrives without the other.
//
// # A gap while the owner stays
//
// A gateway takes number n+1 after n. Anything else makes it ask for what is missing.
// An owner probes a lane that has not acknowledged; when every lane has, it says
// quiet, once, and nothing is sent for the object any more. A gateway whose lane is
// not quiet and that hears nothing has the object claimed; a gateway without sockets does
// so, too, until a newer owner than it knows has had time to ask. If the owner does not
// keep the missing numbers any more, it begins the lane anew with CloseAll: the sockets
// close with 1012 and their clients connect again.
//
// # A new owner
//
// Each push says how far the other lanes are (heads). The record says, for each
// gateway, how far its lane was, and which of its sockets are open. A new owner asks
// every gateway in the record what it has (Which). From the question on, a gateway
// takes nothing from an earlier owner. A gateway that has everything that the record
// or any gateway knows of keeps its sockets (Adopt), and sends again the frames that
// are not acknowledged; one that lacks something closes them (CloseAll).
//
//	asked ──has everything──▶ adopted ◀──first socket── empty
//	  │  ╰──lacks something──▶ closed                     ▲
//	  ╰──no answer in time──▶ silent ──answers──▶ closed │
//	any ──given up──▶ tombstone ──acknowledges─────────────────╯
//
// Number 1 of a lane in the record is taken from the start, so that a later owner
// sees that a silent gateway lacks it. The owner goes on asking; the late answer may show
// that a gateway adopted earlier lacks something, and that gateway's lane begins anew, too.
//
// # An owner that dies unheard
//
// The first push on a quiet lane may be lost together with its owner. A gateway that hears that
// a host has ended, or that was cut off itself, doubts its quiet lanes (Doubt): an owner that
// lives says quiet again. If none does, the record says whether the gateway lacks something
// (Misses), and only then is the object claimed.
//
// # The end of a socket
//
// The object is told the end of each socket once: by the socket's last frame, or because
// the owner gives up the gateway. CloseAll lists the sockets whose end the object has
// not been told: the gateway sends a last frame for each, also for one that it has
// never held, and forgets all others. The owner takes no other frame of a listed socket,
// and takes the last one at any number. A gateway that has everything holds every socket
// of the record, so Adopt needs no list.
//
// An event that opens or ends a socket, or whose answer does not come through a lane,
// is part of a put. The entries of a record are made when the put is decided on.
//
// # What is not here
//
// Outputs are not kept in the record. An owner that dies between a put and the pushes
// that the put lets go closes the sockets of that object. An outbox would be a field of
// Entry: the bodies of the newest event, sent again by the next owner under the token
// and number of the one that made them, before Adopt.
package stream
