package auth

import (
	"net/http"
	"strings"

	"holdfast/objects"
)

// Rooms belong to users: the room ada is ada's. She and her guests talk there.
const Rooms objects.Class = "private-room"

var (
	// Invite adds a guest. Only the owner of the room may.
	Invite = objects.NewCall[Guest, objects.None](Rooms, "invite")

	// Remove removes a guest, at once.
	Remove = objects.NewCall[Guest, objects.None](Rooms, "remove")
)

var rooms = objects.Implement(Rooms, objects.New[room], objects.On(Invite, (*room).invite), objects.On(Remove, (*room).remove))

// Guest is a user who may enter a room.
type Guest struct {
	Name string `json:"name"`
}

// Said is a message to a socket of a room.
type Said struct {
	From string `json:"from"`
	Text string `json:"text"`
}

const (
	maxGuests = 100
	maxText   = 1000
)

var guests = objects.NewMap[string, bool]("guest")

type room struct{}

// owned refuses everybody but the owner. The room does not rely on a check by a worker: the worker says who sends a
// request, and the object decides what that user may do.
func owned(tx *objects.Tx) error {
	switch objects.PrincipalOf(tx).ID {
	case "":
		return objects.Errorf(objects.Unauthorized, "log in first")
	case tx.Name():
		return nil
	}
	return objects.Errorf(objects.Forbidden, "this is the room of %s", tx.Name())
}

func (*room) invite(tx *objects.Tx, g Guest) (objects.None, error) {
	if err := owned(tx); err != nil {
		return nil, err
	}
	if !validName(g.Name) {
		return nil, objects.Errorf(objects.Invalid, "nobody is called so")
	}
	if guests.Count(tx) == maxGuests {
		return nil, objects.Errorf(objects.TooMany, "a room has %d guests at the most", maxGuests)
	}
	guests.Set(tx, g.Name, true)
	return nil, nil
}

// remove also closes the sockets of the user.
func (*room) remove(tx *objects.Tx, g Guest) (objects.None, error) {
	if err := owned(tx); err != nil {
		return nil, err
	}
	if g.Name == tx.Name() || !guests.Delete(tx, g.Name) {
		return nil, objects.Errorf(objects.NotFound, "no guest is called so")
	}
	for _, s := range tx.SocketsTagged(g.Name) {
		s.Close(objects.Forbidden.CloseCode(), "you are no guest any more")
	}
	return nil, nil
}

// ServeHTTP lets the owner and guests in.
func (*room) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	who := objects.PrincipalOf(tx).ID
	if err := owned(tx); err != nil && !guests.Get(tx, who) {
		tx.Refuse(err)
		return
	}
	if _, err := tx.Accept(objects.Subprotocols("room"), objects.Tags(who)); err != nil {
		tx.Refuse(err)
	}
}

// WebSocketMessage sends a text to all. The sender's name belongs to the socket, from its login.
func (*room) WebSocketMessage(tx *objects.Tx, s objects.Socket, m objects.Message) error {
	text := strings.TrimSpace(string(m.Data))
	if m.Binary || text == "" || len(text) > maxText {
		return objects.Errorf(objects.Invalid, "want text of at most %d bytes", maxText)
	}
	tx.Broadcast(objects.JSON(Said{From: s.Principal().ID, Text: text}))
	return nil
}
