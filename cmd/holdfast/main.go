// Command holdfast runs durable objects on NATS, and carries the demo: a room, a
// ticket counter and others to play with, and the worker that shows them.
package main

import (
	"holdfast/app"
	"holdfast/examples/demo"
)

func main() {
	app.Main(app.Config{
		Objects: demo.Objects,
		Demo:    demo.Worker,
	})
}
