package raw

import (
	"sync"

	"github.com/fasthttp/websocket"
	fiberws "github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"
)

const queue = 512 // queued frames per socket; a full queue blocks the room

// Room returns a handler that upgrades to a WebSocket; every other socket gets what one sends. All
// sockets are in one room, whatever the path: the least that a room can cost.
func Room() fiber.Handler {
	r := &room{members: make(map[*websocket.Conn]chan *websocket.PreparedMessage)}
	return fiberws.New(func(c *fiberws.Conn) { r.serve(c.Conn) })
}

type room struct {
	mu      sync.Mutex // guards what follows
	members map[*websocket.Conn]chan *websocket.PreparedMessage
}

// serve handles one socket until its client has gone.
func (r *room) serve(conn *websocket.Conn) {
	out := make(chan *websocket.PreparedMessage, queue) // leave closes it
	r.mu.Lock()
	r.members[conn] = out
	r.mu.Unlock()
	var writer sync.WaitGroup
	writer.Go(func() { write(conn, out) })
	for {
		kind, data, err := conn.ReadMessage()
		if err != nil {
			break
		}
		m, err := websocket.NewPreparedMessage(kind, data)
		if err != nil {
			break
		}
		r.tellOthers(conn, m)
	}
	r.leave(conn)
	writer.Wait()
}

func (r *room) tellOthers(from *websocket.Conn, m *websocket.PreparedMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for other, out := range r.members {
		if other != from {
			out <- m
		}
	}
}

func (r *room) leave(conn *websocket.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.members[conn])
	delete(r.members, conn)
}

// write drains out to its end, also after the client has gone, so that the room never waits
// for it.
func write(conn *websocket.Conn, out <-chan *websocket.PreparedMessage) {
	gone := false
	for m := range out {
		gone = gone || conn.WritePreparedMessage(m) != nil
	}
}
