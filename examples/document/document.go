// Package document is a document that many people edit at once. The object stores and forwards binary updates without
// knowing their content: the clients merge them, as Yjs and Automerge do.
//
// A WebSocket at /document/{name}/live?after=N first gets all updates after number N, and then those of others. A frame
// to a client is the update's number, 8 bytes, and the update. A frame from a client begins with a byte: 0 is followed
// by an update, 1 by a number and a snapshot, which replaces all updates up to that number. A frame that is only a
// number asks the client for a snapshot.
//
// A client that lacks more than fits into a new socket reads it piece by piece before: GET /document/{name}?after=N
// returns some of the updates after N, each with its length, 4 bytes, before its number. The client repeats that until
// it gets nothing.
package document

import (
	"cmp"
	"encoding/binary"
	"net/http"
	"strconv"

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

// updates are the updates after the last snapshot, and the snapshot itself, which has the number of the last update in
// it.
var updates = objects.NewMap[uint64, []byte]("update")

const (
	isUpdate, isSnapshot = 0, 1 // the first byte of a client's frame

	manyUpdates = 200       // after so many, the object asks for a snapshot
	piece       = 256 << 10 // bytes of updates that are sent at once, without the last of them
)

type document struct{}

// ServeHTTP opens a socket and sends the updates that the client lacks, or answers with a piece of them.
func (*document) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	after, err := strconv.ParseUint(cmp.Or(r.URL.Query().Get("after"), "0"), 10, 64)
	if err != nil {
		tx.Refuse(objects.Errorf(objects.Invalid, "want after to be the number of an update"))
		return
	}
	some, whole := pieceAfter(tx, after)
	if r.URL.Path != "/live" {
		for _, m := range some {
			_, _ = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(m.Data)-8)), m.Data...)) // within an event it does not fail
		}
		return
	}
	if !whole {
		tx.Refuse(objects.Errorf(objects.TooLarge, "there is more than %d bytes after update %d: read it before", piece, after))
		return
	}
	s, err := tx.Accept()
	if err != nil {
		tx.Refuse(err)
		return
	}
	for _, m := range some {
		s.Send(m)
	}
}

// pieceAfter returns the updates after a number that are sent at once, and whether those are all.
func pieceAfter(tx *objects.Tx, after uint64) (some []objects.Message, whole bool) {
	bytes := 0
	for n, update := range updates.After(after).All(tx) {
		if bytes >= piece {
			return some, false
		}
		some = append(some, frame(n, update))
		bytes += len(update)
	}
	return some, true
}

func frame(n uint64, update []byte) objects.Message {
	return objects.Binary(append(binary.BigEndian.AppendUint64(nil, n), update...))
}

// WebSocketMessage handles an update or a snapshot.
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
