package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"net/url"
	pathpkg "path"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/nats-io/nats.go"

	"holdfast/internal/ask"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// Env is what a worker has: access to objects, and the NATS connection for stores of its own. In a handler
// c.UserContext() carries the request's deadline, Idempotency-Key and principal to every call of an object.
type Env struct {
	objects.Caller
	g *Gateway
}

func newEnv(g *Gateway) *Env { return &Env{objects.NewCaller(ask.Transport(g.ask)), g} }

// Region returns the gateway's region.
func (e *Env) Region() string { return e.g.cfg.Region }

// Version returns the program's version.
func (e *Env) Version() string { return e.g.cfg.Version }

// Peers returns the gateways that a page may offer.
func (e *Env) Peers() []Peer { return e.g.cfg.Peers }

// NATS returns the gateway's connection.
func (e *Env) NATS() *nats.Conn { return e.g.cfg.NATS }

// Log returns the gateway's logger.
func (e *Env) Log() *slog.Logger { return e.g.log }

// SetPrincipal sets the principal of the request, for every object that it asks from then on.
func SetPrincipal(c *fiber.Ctx, p objects.Principal) {
	c.SetUserContext(objects.WithPrincipal(c.UserContext(), p))
}

// Forward has the object answer the request with its ServeHTTP, under the given path, which begins with a slash; an
// upgrade opens a WebSocket if the object accepts it. The object gets the headers that the worker has left. A class
// that the program does not have, and a path without a slash, are the worker's mistakes: the log names them, and the
// client gets Internal at once.
func (e *Env) Forward(c *fiber.Ctx, to objects.Ref, path string) error {
	if err := to.Err(); err != nil {
		return err
	}
	if err := e.mustHave(to.ID().Class()); err != nil {
		return fmt.Errorf("gateway: forward: %w", err)
	}
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("gateway: forward to class %s: the path %.80q does not begin with a slash", to.ID().Class(), path)
	}
	return e.g.forward(c, ask.AddressOf(to), place{path: (&url.URL{Path: path}).EscapedPath()})
}

// Has reports whether the program has a class, so that a worker may add routes to its objects. A gateway that was given
// no classes has every class.
func (e *Env) Has(class objects.Class) bool {
	return len(e.g.cfg.Classes) == 0 || slices.Contains(e.g.cfg.Classes, string(class))
}

// mustHave returns an error for a class that the program does not have.
func (e *Env) mustHave(class objects.Class) error {
	if e.Has(class) {
		return nil
	}
	return fmt.Errorf("this program has no class %q; it has: %s", class, strings.Join(e.g.cfg.Classes, ", "))
}

// Mount has the objects of a class answer every request at and below a path whose last segment names the object, as
// "/rooms/:name": of GET /rooms/lobby/a%2Fb/ the object lobby sees the path /a%2Fb/, as it was sent, and /rooms/lobby
// in X-Forwarded-Prefix. Without Mount the gateway has no route to objects but those of the worker. Middleware that was
// added to the router before runs first. Mount panics if the path or the class is not valid.
func (e *Env) Mount(r fiber.Router, path string, class objects.Class) {
	if err := e.mustHave(class); err != nil {
		panic(fmt.Sprintf("gateway: mount %s: %v", path, err))
	}
	parent, param := pathpkg.Split(path)
	name, named := strings.CutPrefix(param, ":")
	if !named || name == "" || !strings.HasPrefix(parent, "/") || strings.ContainsAny(path, "*+?") {
		panic(fmt.Sprintf("gateway: mount %s: the path must end with a segment that names the object, as /rooms/:name", path))
	}
	nameOf := Param(name)
	reach := func(c *fiber.Ctx) error {
		name, err := nameOf(c)
		if err != nil {
			return err
		}
		to := e.Object(class, name)
		if err := to.Err(); err != nil {
			return err
		}
		return e.g.forward(c, ask.AddressOf(to), placeOf(c, strings.Count(strings.TrimSuffix(c.Route().Path, "/*"), "/")))
	}
	r.All(path, reach)
	r.All(path+"/*", reach)
	e.g.mounts = append(e.g.mounts, path)
}

// forward handles a request that a worker hands on to an object: it refuses the request, or copies it, asks the object and
// answers. An upgrade is answered with a socket.
func (g *Gateway) forward(c *fiber.Ctx, to wire.Address, at place) error {
	ctx := c.UserContext()
	s := scopeOf(ctx)
	opens := upgrades(c)
	if opens {
		if err := handshake(c); err != nil {
			return err
		}
		leave, err := enter(c, s.client)
		if err != nil {
			return err
		}
		defer leave()
	}
	req, err := envelope(c, s.client, at)
	if err != nil {
		return err
	}
	if _, err := identify(ctx, to, req); err != nil {
		return err
	}
	switch {
	case opens && g.offline:
		return g.upgradeOffline(c, s, to, req, at.prefix)
	case opens:
		return g.upgrade(c, s, to, req, at.prefix)
	}
	req.Takes = g.takes(c)
	reply, err := g.send(ctx, s, to, req)
	if err != nil {
		return err
	}
	if reply.Rest != nil {
		return g.stream(c, reply, at.prefix)
	}
	return respond(c, reply, at.prefix)
}

// enter counts the WebSocket that is to be opened for its client's address. leave takes the count back if the WebSocket
// was not opened.
func enter(c *fiber.Ctx, client netip.Addr) (leave func(), err error) {
	held, ours := c.Context().Conn().(*conn)
	if !ours {
		return func() {}, nil
	}
	charged, err := held.among.takes(held, client)
	if err != nil {
		return nil, err
	}
	return func() {
		if charged && c.Response().StatusCode() != fiber.StatusSwitchingProtocols {
			held.among.discharge(held)
		}
	}, nil
}

// Life is an object's state.
type Life struct {
	Host   string // the owner
	Region string // of the host
	Epoch  uint64

	Awake       bool          // the instance is in memory
	Since       time.Duration // how long Awake has been so
	Woken       string        // kind of the event for which the last instance was constructed: "call", "fetch", "message", "closed", "alarm", "told"; "": none yet
	Constructed uint64        // instances, by this owner
	Sockets     uint64        // open ones
}

// Look asks the owner of an object for the object's state. It runs no event: an object that sleeps stays asleep. The
// error is NotFound if nobody owns the object.
func (e *Env) Look(ctx context.Context, to objects.Ref) (Life, error) {
	if err := to.Err(); err != nil {
		return Life{}, err
	}
	reply, err := e.g.ask(ctx, ask.AddressOf(to), &wire.Request{Kind: wire.Look})
	if err != nil {
		return Life{}, err
	}
	l := Life{Host: reply.Owner.Host, Region: reply.Owner.Region, Epoch: reply.Owner.Epoch}
	if said := reply.Life; said != nil {
		l.Awake, l.Woken, l.Constructed, l.Sockets = said.Awake, said.Woken, said.Constructed, said.Sockets
		l.Since = time.Duration(min(said.Since, math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
	}
	return l, nil
}
