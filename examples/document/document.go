// Package document is a document that many people edit at once. The object keeps and passes on binary updates, and knows
// nothing of what is in them: what merges them is in the clients, as Yjs and Automerge do.
//
// A WebSocket at /document/{name}/live is first told all updates, and then those of others. Frames to a client are the
// update's number, 8 bytes, and the update. Frames from a client begin with a byte: 0 is followed by an update, 1 by a number
// and a snapshot, which takes the place of all updates up to that number. A client is asked for a snapshot by a frame that is
// a number alone.
package document

import (
	"encoding/binary"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"holdfast/gateway"
	"holdfast/objects"
)

// Documents are single documents.
const Documents objects.Class = "document"

// Objects is the class with its code.
var Objects = objects.Implement(Documents, objects.New[document])

// Worker adds the documents' routes.
func Worker(r fiber.Router, env *gateway.Env) { env.Mount(r, "/document/:name", Documents) }

// updates are those that are not part of a snapshot, and the snapshot itself, which has the number up to which it reaches.
var updates = objects.NewMap[uint64, []byte]("update")

const (
	isUpdate, isSnapshot = 0, 1 // how a client's frame begins

	manyUpdates = 200 // after which a snapshot is asked for
)

type document struct{}

// ServeHTTP opens a socket, and sends all that there is.
func (*document) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	s, err := tx.Accept()
	if err != nil {
		tx.Refuse(err)
		return
	}
	for n, update := range updates.All(tx) {
		s.Send(frame(n, update))
	}
}

func frame(n uint64, update []byte) objects.Message {
	return objects.Binary(append(binary.BigEndian.AppendUint64(nil, n), update...))
}

// WebSocketMessage is an update or a snapshot.
func (*document) WebSocketMessage(tx *objects.Tx, s objects.Socket, m objects.Message) error {
	last, _, _ := updates.Last(tx)
	switch {
	case m.Binary && len(m.Data) > 1 && m.Data[0] == isUpdate:
		n, update := last+1, m.Data[1:]
		updates.Set(tx, n, update)
		tx.Broadcast(frame(n, update), s)
		if updates.Count(tx)%manyUpdates == 0 {
			s.Send(frame(n, nil))
		}
		return nil
	case m.Binary && len(m.Data) > 9 && m.Data[0] == isSnapshot:
		n := binary.BigEndian.Uint64(m.Data[1:])
		if n > last {
			return objects.Errorf(objects.Invalid, "the snapshot has %d updates, and there are %d", n, last)
		}
		updates.To(n).Clear(tx)
		updates.Set(tx, n, m.Data[9:])
		return nil
	}
	return objects.Errorf(objects.Invalid, "want a binary frame: a byte, and an update or a snapshot")
}
