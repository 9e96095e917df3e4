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

// routes returns the gateway's own and the worker's.
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
		// A form is a body like any other: parsed and written again it would differ from the client's.
		DisablePreParseMultipartForm: true,
		// A connection that waits, and every WebSocket, would keep a buffer of that size.
		ReduceMemoryUsage: true,
	})
	// A hub that writes to a connection which fasthttp has taken back writes to
	// another client's: keep them, and close them ourselves.
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

// logWriter brings fasthttp's log into ours.
type logWriter struct{ g *Gateway }

func (w logWriter) Write(line []byte) (int, error) {
	w.g.log.Debug("fasthttp", "text", string(bytes.TrimSpace(line)))
	return len(line), nil
}

// ready returns the answer to /readyz for anybody: whether, not why. A question that comes
// while one is on its way shares its answer, so that a crowd costs no more than one.
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

// Ready returns nil if the gateway can answer any request: it is not stopping, NATS is
// reached, and a class has a host, if there are classes. For each class it tells "ok", or
// why no object of it can be reached.
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
