// Package echo says what it is told, and keeps nothing: an object at its cheapest,
// to measure what an object costs.
package echo

import (
	"net/http"

	"holdfast/objects"
)

// Echoes are objects that answer with their input.
const Echoes objects.Class = "echo"

// Say asks the object to say something back.
var Say = objects.NewCall[[]byte, []byte](Echoes, "say")

// Objects is the class with its code.
var Objects = objects.Implement(Echoes, objects.New[Echo], objects.On(Say, (*Echo).say))

// Echo answers calls with what they brought, and sends what one socket says to all
// others as it is.
type Echo struct{}

func (*Echo) say(_ *objects.Tx, words []byte) ([]byte, error) { return words, nil }

// ServeHTTP takes a WebSocket.
func (*Echo) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	if _, err := tx.Accept(); err != nil {
		tx.Refuse(err)
	}
}

// WebSocketMessage sends a message to all sockets but the one it came from.
func (*Echo) WebSocketMessage(tx *objects.Tx, from objects.Socket, m objects.Message) error {
	tx.Broadcast(m, from)
	return nil
}
