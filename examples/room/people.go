package room

import (
	"crypto/rand"
	"fmt"
	"strings"

	"holdfast/objects"
)

// The people in the room, and the messages that the room sends them.

// seat is the content of a socket's attachment.
type seat struct {
	person
	Strikes int    `json:"strikes,omitempty"`
	Epoch   uint64 `json:"epoch"` // of the owner they know
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

// greet tells a person their own name, and who is present.
func (r *Room) greet(tx *objects.Tx, socket objects.Socket, me person) {
	peers := make([]person, 0, min(len(r.seats), maxListed))
	for _, other := range tx.Sockets() {
		if s, ok := r.seats[other.ID()]; ok && other != socket && len(peers) < maxListed {
			peers = append(peers, s.person)
		}
	}
	socket.Send(objects.JSON(hello{"hello", me, ownerOf(tx), len(r.seats), peers}))
}

// doorKey returns the key of messages about a person's coming and going: only the newest counts.
func doorKey(userID string) string { return "door " + userID }

// tellCount tells everybody how many people there are.
func (r *Room) tellCount(tx *objects.Tx) {
	news := objects.JSON(peopleAre{"people", len(r.seats)})
	news.Conflate = "people"
	tx.Broadcast(news)
}

// introduce tells one person about another.
func (r *Room) introduce(to objects.Socket, userID string) {
	for _, s := range r.seats {
		if s.UserID == userID {
			to.Send(objects.JSON(personIs{"person", s.person}))
			return
		}
	}
}

// strike complains about a frame, and refuses the person after too many.
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

// announceMove tells everybody who knows only an earlier owner.
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

func (r *Room) attach(socket objects.Socket, s seat) {
	socket.Attach(s)
	r.sit(socket, s)
}

// sit remembers a person by the id of their socket.
func (r *Room) sit(socket objects.Socket, s seat) {
	if _, sat := r.seats[socket.ID()]; !sat {
		r.names.take(s.Name, s.Color)
	}
	r.seats[socket.ID()] = s
}
