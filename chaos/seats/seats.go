// Package seats is a class of rooms that send numbers, so that a client knows what it has missed.
package seats

import (
	"net/http"
	"strconv"
	"time"

	"holdfast/objects"
)

// Seats are rooms whose sockets come back.
const Seats objects.Class = "seat"

// Next sends the room's next number to all sockets.
var Next = objects.NewCall[objects.None, int](Seats, "next")

// Objects returns the class with its code; away is how long a socket may be away.
func Objects(away time.Duration) *objects.Implementation {
	return objects.Implement(Seats, objects.New[room], objects.On(Next, (*room).next)).With(objects.Settings{
		Resume: away, ResumeWindow: 1 << 20,
	})
}

var number = objects.NewKey[int]("n")

type room struct{}

func (*room) next(tx *objects.Tx, _ objects.None) (int, error) {
	n := number.Get(tx) + 1
	number.Set(tx, n)
	tx.Broadcast(objects.Text(`{"n":` + strconv.Itoa(n) + `}`))
	return n, nil
}

// ServeHTTP accepts every socket.
func (*room) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	s, err := tx.Accept()
	if err != nil {
		tx.Refuse(err)
		return
	}
	s.Send(objects.JSON(map[string]string{"id": s.ID()}))
}

// WebSocketMessage sends the socket its id.
func (*room) WebSocketMessage(_ *objects.Tx, from objects.Socket, _ objects.Message) error {
	from.Send(objects.JSON(map[string]string{"id": from.ID()}))
	return nil
}
