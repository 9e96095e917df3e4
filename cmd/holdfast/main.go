// Command holdfast runs durable objects on NATS, and carries the demo: a room, a
// ticket counter, an echo, and the worker that shows them.
package main

import (
	"holdfast/app"
	"holdfast/examples/demo"
	"holdfast/examples/echo"
	"holdfast/examples/room"
	"holdfast/examples/ticket"
	"holdfast/objects"
)

func main() {
	app.Main(app.Config{
		Objects: []*objects.Implementation{ticket.Objects, room.Objects, echo.Objects},
		Demo:    demo.Worker,
	})
}
