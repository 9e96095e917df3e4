package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"holdfast/objects"
)

// routes returns the gateway's own routes and the worker's.
func (g *Gateway) routes() *fiber.App {
	app := fiber.New(fiber.Config{
		DisableStartupMessage: true,
		BodyLimit:             g.cfg.Limits.Body,
		ReadBufferSize:        g.cfg.Limits.Header,
		ReadTimeout:           headTime,
		WriteTimeout:          time.Minute,
		IdleTimeout:           g.cfg.Idle,
		ErrorHandler:          g.fail,
		RequestMethods:        methods,
		// Forms are not parsed: parsed and written again, a form would differ from what the client sent.
		DisablePreParseMultipartForm: true,
		// Otherwise each waiting connection, and each WebSocket, would keep a buffer of that size.
		ReduceMemoryUsage: true,
	})
	// fasthttp must not reuse hijacked connections: a hub that still writes to one would write to another client. The
	// hub closes them.
	app.Server().KeepHijackedConns = true
	app.Server().NoDefaultServerHeader = true
	app.Server().Logger = log.New(logWriter{g}, "", 0)
	g.guard(app)

	app.Use(g.scoped, catch)
	app.Get("/healthz", func(c *fiber.Ctx) error { return c.JSON(fiber.Map{"ok": true, "region": g.cfg.Region}) })
	app.Get("/readyz", g.ready)
	app.Use(g.ownName, g.sameOrigin)
	if g.cfg.Worker != nil {
		g.cfg.Worker(app, newEnv(g))
	}
	app.Get("/metrics", func(*fiber.Ctx) error { // a worker may have a page of that name
		return objects.Errorf(objects.NotFound, "metrics are not for clients: they are at the operations listener, whose address the process prints as it starts (--ops-listen)")
	})
	return app
}

// logWriter writes fasthttp's log to the gateway's.
type logWriter struct{ g *Gateway }

func (w logWriter) Write(line []byte) (int, error) {
	w.g.log.Debug("fasthttp", "text", string(bytes.TrimSpace(line)))
	return len(line), nil
}

// ready answers /readyz for anybody, without reasons. Requests that come while one is being answered share its answer,
// so a crowd costs no more than one.
func (g *Gateway) ready(c *fiber.Ctx) error {
	_, err, _ := g.asking.Do("ready", func() (any, error) {
		if err := g.reached(); err != nil {
			return nil, err
		}
		for _, err := range g.rollCall(context.Background()) {
			if err == nil {
				return nil, nil
			}
		}
		if len(g.cfg.Classes) == 0 {
			return nil, nil
		}
		return nil, errNoHost
	})
	if err != nil || g.isStopping() {
		return objects.Errorf(objects.Unavailable, "the gateway can answer no request now: the operations listener says why")
	}
	return c.JSON(fiber.Map{"ok": true, "region": g.cfg.Region})
}

var errNoHost = errors.New("no host of any class answers")

// Ready returns nil if the gateway can answer requests: it is not stopping, NATS is reached, and at least one class, if
// there are any, has a host. classes has for each class "ok", or the reason why none of its objects can be reached.
func (g *Gateway) Ready(ctx context.Context) (classes map[string]string, err error) {
	if err := g.reached(); err != nil {
		return nil, err
	}
	classes = make(map[string]string)
	none := len(g.cfg.Classes) > 0
	for class, err := range g.rollCall(ctx) {
		classes[class] = "ok"
		if err != nil {
			classes[class] = err.Error()
		}
		none = none && err != nil
	}
	if none {
		return classes, errNoHost
	}
	return classes, nil
}

// reached returns nil if the gateway takes requests and NATS is there to carry them.
func (g *Gateway) reached() error {
	if g.isStopping() {
		return errors.New("the gateway is stopping")
	}
	if !g.cfg.NATS.IsConnected() {
		return fmt.Errorf("NATS is not reached (%s)", strings.ToLower(g.cfg.NATS.Status().String()))
	}
	return nil
}

// rollCall asks for a host of each class, at once, for at most two seconds, and yields
// the answers as they come.
func (g *Gateway) rollCall(ctx context.Context) iter.Seq2[string, error] {
	type answer struct {
		class string
		err   error
	}
	return func(yield func(string, error) bool) {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		answers := make(chan answer, len(g.cfg.Classes))
		var all sync.WaitGroup
		defer all.Wait()
		defer cancel()
		for _, class := range g.cfg.Classes {
			all.Go(func() { answers <- answer{class, g.client.Served(ctx, class)} })
		}
		for range g.cfg.Classes {
			if a := <-answers; !yield(a.class, a.err) {
				return
			}
		}
	}
}
