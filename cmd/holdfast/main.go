// Command holdfast runs durable objects on NATS, and carries the demo: a room, a
// ticket counter, and the worker that shows them.
package main

import (
	"holdfast/app"
	"holdfast/examples/demo"
	"holdfast/examples/room"
	"holdfast/examples/ticket"
	"holdfast/objects"
)

func main() {
	app.Main(app.Config{
		Classes: []*objects.Class{ticket.Class, room.Class},
		Worker:  demo.Worker,
	})
}
