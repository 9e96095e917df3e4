// Package room is a place in which everybody sees everybody: what one person
// sends, all others get, at once.
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
// The room stores nothing: who a person is lives in the attachment of their socket,
// so it may sleep between two moves of a cursor, and nobody notices. While it is
// awake it remembers what it has read there.
package room

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"holdfast/objects"
)

// Rooms are places in which everybody sees everybody.
const Rooms objects.Class = "room"

// Objects is the class with its code.
var Objects = objects.Implement(Rooms, open).With(objects.Settings{Resume: awayFor, ResumeWindow: missable})

const (
	awayFor  = 30 * time.Second // how long one may be away and come back as the same person
	missable = 1 << 20          // bytes that are kept for those who are away: fifty cursors for some seconds

	maxListed  = 100 // people whom a newcomer is told of, and up to whom every newcomer is told of
	maxStrikes = 3   // frames that are no JSON objects, forgiven per person

	// What the gateway answers without the room.
	anyoneThere = `{"type":"ping"}`
	stillHere   = `{"type":"pong"}`
)

// Room is one room.
type Room struct {
	seats map[string]seat // as attached, by the socket's id
	names names           // of the people in them
}

// open makes a Room. If it has come to another host, the people in it are told.
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

// person is what everybody may know of somebody.
type person struct {
	UserID string `json:"userId"`
	Name   string `json:"name"`
	Color  string `json:"color"`
	Region string `json:"region"` // where they came in
}

// seat is what the room keeps in a socket's attachment.
type seat struct {
	person
	Strikes int    `json:"strikes,omitempty"`
	Epoch   uint64 `json:"epoch"` // of the owner they know
}

// owner is who runs the room, as people are told.
type owner struct {
	Owner       string `json:"owner"`
	OwnerRegion string `json:"ownerRegion"`
	Epoch       uint64 `json:"epoch"`
}

type hello struct {
	Type string `json:"type"`
	person
	owner
	People int      `json:"people"`
	Peers  []person `json:"peers"`
}

type join struct {
	Type string `json:"type"`
	person
}

type leave struct {
	Type   string `json:"type"`
	UserID string `json:"userId"`
}

type peopleAre struct {
	Type   string `json:"type"`
	People int    `json:"people"`
}

type who struct {
	Type   string `json:"type"`
	UserID string `json:"userId"`
}

type again struct {
	Type string `json:"type"`
}

type personIs struct {
	Type string `json:"type"`
	person
}

type ownerIs struct {
	Type string `json:"type"`
	owner
}

type ping struct {
	Type string          `json:"type"`
	T    json.RawMessage `json:"t,omitempty"` // the sender's, given back as it is
}

type cursor struct {
	Type string `json:"type"`
}

type pong struct {
	Type string          `json:"type"`
	T    json.RawMessage `json:"t,omitempty"`
	owner
}

type complaint struct {
	Type    string       `json:"type"`
	Code    objects.Code `json:"code"`
	Message string       `json:"message"`
}

// ServeHTTP lets a person in.
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
		asked := req.Header.Get("X-Forwarded-Prefix") + req.URL.EscapedPath() // as the client has it, below a mount too
		http.Error(w, "This room speaks WebSocket. Try: wscat -c ws://"+req.Host+asked, http.StatusUpgradeRequired)
	case err != nil:
		tx.Refuse(err)
	default:
		r.welcome(tx, socket)
	}
}

func (r *Room) welcome(tx *objects.Tx, socket objects.Socket) {
	name, color := r.names.pick()
	me := person{UserID: strings.ToLower(rand.Text()[:8]), Name: name, Color: color, Region: socket.Region()}
	r.attach(socket, seat{person: me, Epoch: tx.Owner().Epoch})
	r.greet(tx, socket, me)
	if len(r.seats) > maxListed {
		r.tellCount(tx)
		return
	}
	news := objects.JSON(join{"join", me})
	news.Conflate = doorKey(me.UserID)
	tx.Broadcast(news, socket)
}

// greet tells a person who they are, and who is there.
func (r *Room) greet(tx *objects.Tx, socket objects.Socket, me person) {
	peers := make([]person, 0, min(len(r.seats), maxListed))
	for _, other := range tx.Sockets() {
		if s, ok := r.seats[other.ID()]; ok && other != socket && len(peers) < maxListed {
			peers = append(peers, s.person)
		}
	}
	socket.Send(objects.JSON(hello{"hello", me, ownerOf(tx), len(r.seats), peers}))
}

// doorKey is the key of what is told of a person's coming and going: of both, the newest counts.
func doorKey(userID string) string { return "door " + userID }

// tellCount tells everybody how many they are.
func (r *Room) tellCount(tx *objects.Tx) {
	news := objects.JSON(peopleAre{"people", len(r.seats)})
	news.Conflate = "people"
	tx.Broadcast(news)
}

// WebSocketMessage relays what a person sends.
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

// WebSocketClose tells the others who has gone.
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

// introduce tells one person who another is.
func (r *Room) introduce(to objects.Socket, userID string) {
	for _, s := range r.seats {
		if s.UserID == userID {
			to.Send(objects.JSON(personIs{"person", s.person}))
			return
		}
	}
}

// strike complains about a frame, and shows the door if there have been too many.
func (r *Room) strike(from objects.Socket, s seat) error {
	if s.Strikes == maxStrikes {
		return objects.Errorf(objects.Invalid, "too many messages that were no JSON objects")
	}
	s.Strikes++
	r.attach(from, s)
	from.Send(objects.JSON(complaint{"error", objects.Invalid,
		fmt.Sprintf(`a message must be a JSON object, such as {"type":"ripple","x":1,"y":2} (%d of %d)`, s.Strikes, maxStrikes)}))
	return nil
}

// announceMove tells everybody who still knows an earlier owner.
func (r *Room) announceMove(tx *objects.Tx) {
	news := objects.JSON(ownerIs{"owner", ownerOf(tx)})
	for _, socket := range tx.Sockets() {
		if s, ok := r.seats[socket.ID()]; ok && s.Epoch != tx.Owner().Epoch {
			s.Epoch = tx.Owner().Epoch
			r.attach(socket, s)
			socket.Send(news)
		}
	}
}

func ownerOf(tx *objects.Tx) owner {
	o := tx.Owner()
	return owner{o.Host, o.Region, o.Epoch}
}

func (r *Room) attach(socket objects.Socket, s seat) {
	socket.Attach(s)
	r.sit(socket, s)
}

// sit remembers who is behind a socket.
func (r *Room) sit(socket objects.Socket, s seat) {
	if _, sat := r.seats[socket.ID()]; !sat {
		r.names.take(s.Name, s.Color)
	}
	r.seats[socket.ID()] = s
}

// isObject reports whether data is one JSON object, and text that a browser accepts.
func isObject(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) && json.Valid(data) && utf8.Valid(data)
}

// isA decodes only what could be a frame of the type.
func isA[F any](kind string, object []byte) (f F, ok bool) {
	ok = bytes.Contains(object, []byte(`"`+kind+`"`)) && json.Unmarshal(object, &f) == nil
	return f, ok
}

// signed is the object with the sender's userId added at its end. Everything else
// stays as it was sent, unless the object may hold a userId already.
func signed(object []byte, userID string) []byte {
	if bytes.Contains(object, []byte("userId")) || bytes.Contains(object, []byte(`\u`)) {
		object = without(object, "userId")
	}
	object = bytes.TrimRight(object, " \t\r\n")
	object = bytes.TrimRight(object[:len(object)-1], " \t\r\n") // less the closing brace
	out := make([]byte, 0, len(object)+len(`,"userId":""}`)+len(userID))
	out = append(out, object...)
	if out[len(out)-1] != '{' {
		out = append(out, ',')
	}
	return fmt.Appendf(out, `"userId":%q}`, userID)
}

// without is the object less one field.
func without(object []byte, field string) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(object, &fields) != nil {
		panic("room: a valid object did not decode")
	}
	delete(fields, field)
	return objects.JSON(fields).Data
}
