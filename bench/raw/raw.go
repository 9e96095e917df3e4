// Package raw measures the limits of the machine: the same routes as Holdfast's with as
// little as possible behind them.
//
//	fiber   POST /echo/{name} answered by Fiber alone, and GET /room/{name}, a room of sockets
//	        and a mutex in one process
//	nats    POST /echo/{name} through one NATS request and its reply
//
// Nothing here has an owner or durable state.
package raw

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/nats-io/nats.go"

	"holdfast/embedded"
)

const (
	subject   = "raw.echo"
	replyTime = 10 * time.Second // longer than any run of the load generator waits
)

// Fiber runs the echo and the room on ln until ctx ends, with nothing behind them. It calls
// ready when connections are taken.
func Fiber(ctx context.Context, ln net.Listener, ready func() error) error {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Post("/echo/:name", func(c *fiber.Ctx) error { return c.Send(c.BodyRaw()) })
	app.Get("/room/:name", Room())
	return serve(ctx, app, ln, ready)
}

// NATS is Fiber with NATS behind it: each request becomes a NATS request on one connection, and a
// responder on another answers. The server is in this process.
func NATS(ctx context.Context, ln net.Listener, ready func() error) error {
	server, err := embedded.Start(ctx, embedded.Config{})
	if err != nil {
		return err
	}
	defer server.Close()
	asks, err := server.Dial()
	if err != nil {
		return err
	}
	defer asks.Close()
	answers, err := server.Dial()
	if err != nil {
		return err
	}
	defer answers.Close()
	_, err = answers.Subscribe(subject, func(m *nats.Msg) {
		_ = m.Respond(m.Data) // the client misses the answer and reports it
	})
	if err == nil {
		err = answers.Flush()
	}
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", subject, err)
	}
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Post("/echo/:name", func(c *fiber.Ctx) error {
		reply, err := asks.Request(subject, slices.Clone(c.BodyRaw()), replyTime)
		if err != nil {
			return err
		}
		return c.Send(reply.Data)
	})
	return serve(ctx, app, ln, ready)
}

func serve(ctx context.Context, app *fiber.App, ln net.Listener, ready func() error) error {
	done := make(chan error, 1)
	go func() { done <- app.Listener(ln) }() // ln listens already, so early connections wait
	if err := ready(); err != nil {
		return errors.Join(err, app.Shutdown(), <-done)
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.Join(app.Shutdown(), <-done)
	}
}
