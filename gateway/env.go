package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	pathpkg "path"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/nats-io/nats.go"

	shared "holdfast/internal/metrics"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// Env is what a worker has: the objects, and the connection for stores of its own.
type Env struct{ g *Gateway }

// Region is the gateway's region.
func (e *Env) Region() string { return e.g.cfg.Region }

// Version is the program's.
func (e *Env) Version() string { return e.g.cfg.Version }

// Peers are the gateways that a page may offer.
func (e *Env) Peers() []Peer { return e.g.cfg.Peers }

// NATS is the gateway's connection.
func (e *Env) NATS() *nats.Conn { return e.g.cfg.NATS }

// Log is the gateway's logger.
func (e *Env) Log() *slog.Logger { return e.g.log }

// Object is the object of this class and name, to call from anywhere.
func (e *Env) Object(class, name string) (objects.Ref, error) {
	return e.object(nil, class, name)
}

// ObjectFor is Object for the handler of a request: it passes the request's
// Idempotency-Key on and writes who answered into the response's headers.
func (e *Env) ObjectFor(c *fiber.Ctx, class, name string) (objects.Ref, error) {
	return e.object(c, class, name)
}

func (e *Env) object(c *fiber.Ctx, class, name string) (objects.Ref, error) {
	id, err := objects.NameID(class, name)
	if err != nil {
		return objects.Ref{}, err
	}
	return objects.NewRef(id, &caller{e.g, c}), nil
}

// Param is a path parameter, decoded once: what the client meant.
func (e *Env) Param(c *fiber.Ctx, name string) (string, error) {
	value, err := url.PathUnescape(c.Params(name))
	if err != nil {
		return "", objects.Errorf(objects.Invalid, "the path cannot be decoded: %v", err)
	}
	return utils.CopyString(value), nil
}

// Forward has the object answer the request as its ServeHTTP likes, under the
// given path; an upgrade opens a WebSocket that the object accepts.
func (e *Env) Forward(c *fiber.Ctx, class, name, path string) error {
	id, err := objects.NameID(class, name)
	if err != nil {
		return err
	}
	return e.g.forward(c, id, place{path: (&url.URL{Path: path}).EscapedPath()})
}

// Mount has the objects of a class answer every request at and below a path whose
// last segment names the object, as "/rooms/:name": of GET /rooms/lobby/a%2Fb/ the
// object lobby sees the path /a%2Fb/, as it was sent, and in X-Forwarded-Prefix
// /rooms/lobby. Nothing else of this gateway lets HTTP reach objects: middleware that
// the router has got before stands in front of them. It panics if the path or the
// class cannot be.
func (e *Env) Mount(r fiber.Router, path, class string) {
	if !slices.Contains(e.g.cfg.Classes, class) {
		panic(fmt.Sprintf("gateway: mount %s: this program has no class %q", path, class))
	}
	parent, param := pathpkg.Split(path)
	name, named := strings.CutPrefix(param, ":")
	if !named || name == "" || !strings.HasPrefix(parent, "/") || strings.ContainsAny(path, "*+?") {
		panic(fmt.Sprintf("gateway: mount %s: the path must end with a segment that names the object, as /rooms/:name", path))
	}
	reach := func(c *fiber.Ctx) error {
		name, err := e.Param(c, name)
		if err != nil {
			return err
		}
		id, err := objects.NameID(class, name)
		if err != nil {
			return err
		}
		return e.g.forward(c, id, placeOf(c, strings.Count(strings.TrimSuffix(c.Route().Path, "/*"), "/")))
	}
	r.All(path, reach)
	r.All(path+"/*", reach)
	e.g.mounts = append(e.g.mounts, path)
}

// caller carries calls, on behalf of a request if there is one.
type caller struct {
	g *Gateway
	c *fiber.Ctx
}

// Call has the object's owner run a call.
func (c *caller) Call(ctx context.Context, id objects.ID, call string, input []byte) ([]byte, error) {
	req := &wire.Request{Kind: wire.Call, Call: call, Body: input}
	if c.c != nil {
		req.Key = utils.CopyString(c.c.Get("Idempotency-Key"))
	}
	reply, err := c.g.ask(ctx, c.c, id, req)
	if err != nil {
		return nil, err
	}
	return reply.Body, nil
}

// ask sends a request to an object, counts it, and says on the response, if there
// is one, who answered. A reply with a code is an error.
func (g *Gateway) ask(ctx context.Context, c *fiber.Ctx, id objects.ID, req *wire.Request) (*wire.Reply, error) {
	if err := checkKey(req.Key); err != nil {
		return nil, err
	}
	began := time.Now()
	reply, err := g.client.Do(ctx, id, req)
	counters := g.metrics.of(id.Class())
	counters.latency.Observe(time.Since(began).Seconds())
	if c != nil {
		g.sign(c, id, reply)
	}
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		g.metrics.requests.WithLabelValues(id.Class(), shared.CodeLabel(objects.CodeOf(err))).Inc()
		return reply, err
	}
	counters.ok.Inc()
	return reply, nil
}

// forward carries an HTTP request, or an upgrade, to an object and its answer back.
func (g *Gateway) forward(c *fiber.Ctx, id objects.ID, at place) error {
	req, err := envelope(c, at)
	if err != nil {
		return err
	}
	if upgrades(c) {
		if err := handshake(c); err != nil {
			return err
		}
		req.Key = "" // each connection is a socket of its own
		return g.upgrade(c, id, req, at.prefix)
	}
	reply, err := g.ask(c.UserContext(), c, id, req)
	if err != nil {
		return err
	}
	return respond(c, reply, at.prefix)
}
