// Package echo returns its input, and keeps nothing: the cheapest possible object, to measure what an object costs.
package echo

import (
	"net/http"

	"holdfast/objects"
)

// Echoes are objects that answer with their input.
const Echoes objects.Class = "echo"

// Say sends bytes to the object, which returns them.
var Say = objects.NewCall[[]byte, []byte](Echoes, "say")

// Objects is the class with its code.
var Objects = objects.Implement(Echoes, objects.New[Echo], objects.On(Say, (*Echo).say))

// Echo answers calls with their input, and sends a message of one socket unchanged to all others.
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
