// Package room is a room in which people see each other live: the messages of one person go to all others, at
// once.
//
// Nobody logs in. Whoever connects is given a name and a colour, and is told who
// is there already:
//
//	{"type":"hello","userId":"k3f9x2ab","name":"amber-otter","color":"#c47d04","region":"fra",
//	 "owner":"host-1","ownerRegion":"fra","epoch":1,"people":3,"peers":[{"userId","name","color","region"}]}
//
// people is how many there are, peers the hundred others who came last. The others get
// {"type":"join", ...} with the fields of a peer, and {"type":"leave","userId"} in the end.
// In between every JSON object that a person sends goes to all others with the sender's
// userId added:
//
//	{"type":"cursor","x":10,"y":20}  becomes  {"type":"cursor","x":10,"y":20,"userId":"k3f9x2ab"}
//
// The room itself answers four of them, and tells nobody else:
//
//	{"type":"ping"}               with {"type":"pong"}; the gateway does so, and does not wake the room
//	{"type":"ping","t":1}         with {"type":"pong","t":1} and the owner
//	{"type":"who","userId":"..."} with {"type":"person", ...}, if somebody has this userId
//	{"type":"hello"}              with hello once more: who may have missed something begins anew
//
// Of the cursors of one person only the newest counts: who connects with ?conflated gets
// the newest of everybody, their own among them, in one frame that is a JSON array, at
// most 30 times a second. Joins and leaves come like that, too. In a room of more than a
// hundred nobody is told who comes: all get {"type":"people","people":101}, of which the newest
// counts. When another host takes the room over, all get {"type":"owner", ...}.
//
// A client that asks for it (resume, in clients/js) and loses its connection comes back within half
// a minute as the same person. Nobody is told that they were away, and they get what was said meanwhile.
//
// The room stores nothing: a person's name is in the attachment of their socket, so the room may sleep
// between two moves of a cursor. While it is awake it remembers the attachments that it has read.
package room

import (
	"net/http"
	"time"

	"holdfast/objects"
)

// Rooms are rooms in which people see each other live.
const Rooms objects.Class = "room"

// Objects is the class with its code.
var Objects = objects.Implement(Rooms, open).With(objects.Settings{Resume: awayFor, ResumeWindow: missable})

const (
	awayFor  = 30 * time.Second // how long a person may be away and still come back as the same one
	missable = 1 << 20          // bytes that are kept for people who are away: fifty cursors for some seconds

	maxListed  = 100 // people in a greeting, and the size of a room up to which every newcomer is announced
	maxStrikes = 3   // frames that are no JSON objects, forgiven per person

	// The gateway answers this without the room.
	anyoneThere = `{"type":"ping"}`
	stillHere   = `{"type":"pong"}`
)

// Room is one room.
type Room struct {
	seats map[string]seat // as attached, by the socket's id
	names names           // of the people in them
}

// open makes a Room. If the room has moved to another host, the people in it are told.
func open(tx *objects.Tx) *Room {
	r := &Room{make(map[string]seat), newNames()}
	for _, socket := range tx.Sockets() {
		var s seat
		if socket.Attachment(&s) {
			r.sit(socket, s)
		}
	}
	r.announceMove(tx)
	return r
}

// ServeHTTP opens a person's socket.
func (r *Room) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	tx := objects.TxOf(req)
	how := []objects.AcceptOption{objects.AutoResponse(anyoneThere, stillHere)}
	if req.URL.Query().Has("conflated") {
		how = append(how, objects.Conflated())
	}
	socket, err := tx.Accept(how...)
	switch {
	case objects.CodeOf(err) == objects.Invalid:
		w.Header().Set("Upgrade", "websocket")
		asked := req.Header.Get("X-Forwarded-Prefix") + req.URL.EscapedPath() // the path that the client sees, also below a mount
		http.Error(w, "This room speaks WebSocket. Try: wscat -c ws://"+req.Host+asked, http.StatusUpgradeRequired)
	case err != nil:
		tx.Refuse(err)
	default:
		r.welcome(tx, socket)
	}
}

// WebSocketMessage forwards a person's messages.
func (r *Room) WebSocketMessage(tx *objects.Tx, from objects.Socket, m objects.Message) error {
	sender, ok := r.seats[from.ID()]
	if !ok {
		return nil // never let in
	}
	if m.Binary || !isObject(m.Data) {
		return r.strike(from, sender)
	}
	if p, ok := isA[ping]("ping", m.Data); ok && p.Type == "ping" {
		from.Send(objects.JSON(pong{"pong", p.T, ownerOf(tx)}))
		return nil
	}
	if w, ok := isA[who]("who", m.Data); ok && w.Type == "who" {
		r.introduce(from, w.UserID)
		return nil
	}
	if a, ok := isA[again]("hello", m.Data); ok && a.Type == "hello" {
		r.greet(tx, from, sender.person)
		return nil
	}
	news := objects.Message{Data: signed(m.Data, sender.UserID)}
	if c, ok := isA[cursor]("cursor", m.Data); ok && c.Type == "cursor" {
		news.Conflate = sender.UserID
	}
	tx.Broadcast(news, from)
	return nil
}

// WebSocketClose tells the others that a person has left.
func (r *Room) WebSocketClose(tx *objects.Tx, gone objects.Socket, _ objects.Close) error {
	s, sat := r.seats[gone.ID()]
	if sat {
		delete(r.seats, gone.ID())
		r.names.free(s.Name, s.Color)
	}
	if sat || gone.Attachment(&s) { // whose gateway died with the last owner has not sat down here
		news := objects.JSON(leave{"leave", s.UserID})
		news.Conflate = doorKey(s.UserID)
		tx.Broadcast(news, gone)
		if len(r.seats) >= maxListed {
			r.tellCount(tx)
		}
	}
	return nil
}
