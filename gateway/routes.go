package gateway

import (
	"bytes"
	"context"
	"log"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"holdfast/objects"
)

// routes are the gateway's own and the worker's.
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
		// A form is a body like any other: parsed and written again it would not be what was sent.
		DisablePreParseMultipartForm: true,
		// A connection that waits, and every WebSocket, would keep a buffer of that size.
		ReduceMemoryUsage: true,
	})
	// A hub that writes to a connection which fasthttp has taken back writes to
	// somebody else's: keep them, and close them ourselves.
	app.Server().KeepHijackedConns = true
	app.Server().NoDefaultServerHeader = true
	app.Server().Logger = log.New(logWriter{g}, "", 0)
	g.guard(app)

	app.Use(func(c *fiber.Ctx) error {
		c.Set("Holdfast-Region", g.cfg.Region)
		return c.Next()
	})
	app.Use(scoped)
	app.Use(catch)
	app.Get("/healthz", func(c *fiber.Ctx) error { return c.JSON(fiber.Map{"ok": true, "region": g.cfg.Region}) })
	app.Get("/readyz", g.ready)
	app.Get("/metrics", adaptor.HTTPHandler(promhttp.HandlerFor(g.cfg.Metrics, promhttp.HandlerOpts{})))
	app.Use(g.sameOrigin)
	if g.cfg.Worker != nil {
		g.cfg.Worker(app, newEnv(g))
	}
	return app
}

// logWriter brings fasthttp's log into ours.
type logWriter struct{ g *Gateway }

func (w logWriter) Write(line []byte) (int, error) {
	w.g.log.Debug("fasthttp", "text", string(bytes.TrimSpace(line)))
	return len(line), nil
}

// ready tells whether requests can be answered: NATS is reached, and every class has a host.
func (g *Gateway) ready(c *fiber.Ctx) error {
	if g.isStopping() {
		return objects.Errorf(objects.Unavailable, "the gateway is stopping")
	}
	if !g.cfg.NATS.IsConnected() {
		return objects.Errorf(objects.Unavailable, "NATS is not reached (%s)", strings.ToLower(g.cfg.NATS.Status().String()))
	}
	ctx, cancel := context.WithTimeout(c.UserContext(), 2*time.Second)
	defer cancel()
	all, ctx := errgroup.WithContext(ctx)
	for _, class := range g.cfg.Classes {
		all.Go(func() error { return g.client.Served(ctx, class) })
	}
	if err := all.Wait(); err != nil {
		return objects.Errorf(objects.Unavailable, "%v", err)
	}
	return c.JSON(fiber.Map{"ok": true, "region": g.cfg.Region})
}
