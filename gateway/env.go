package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	pathpkg "path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/nats-io/nats.go"

	js "holdfast/clients/js"
	shared "holdfast/internal/metrics"
	"holdfast/internal/scope"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// Env is what a worker has: the way to objects, and the connection for stores of its own. In a handler c.UserContext()
// carries the request's deadline, Idempotency-Key and principal to all that asks objects.
type Env struct {
	objects.Caller
	g *Gateway
}

func newEnv(g *Gateway) *Env { return &Env{objects.NewCaller(transport{g}), g} }

// Region is the gateway's region.
func (e *Env) Region() string { return e.g.cfg.Region }

// Version is the program's.
func (e *Env) Version() string { return e.g.cfg.Version }

// Peers are the gateways that a page may offer.
func (e *Env) Peers() []Peer { return e.g.cfg.Peers }

// Faults are what can be broken on purpose; nil where nothing can, as everywhere but in dev.
func (e *Env) Faults() Faults { return e.g.cfg.Faults }

// Watch has ctx note who answers what is asked with it; who says who answered last: nobody has while epoch is 0.
func (e *Env) Watch(ctx context.Context) (watching context.Context, who func() (host, region string, epoch uint64)) {
	a := new(answered)
	return context.WithValue(ctx, answeredKey{}, a), func() (string, string, uint64) {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.owner.Host, a.owner.Region, a.owner.Epoch
	}
}

// NATS is the gateway's connection.
func (e *Env) NATS() *nats.Conn { return e.g.cfg.NATS }

// Log is the gateway's logger.
func (e *Env) Log() *slog.Logger { return e.g.log }

// SetPrincipal says who the request is from, for everything that it asks from here on.
func SetPrincipal(c *fiber.Ctx, p objects.Principal) {
	c.SetUserContext(objects.WithPrincipal(c.UserContext(), p))
}

// Param is a path parameter, decoded once: what the client meant.
func (e *Env) Param(c *fiber.Ctx, name string) (string, error) {
	value, err := url.PathUnescape(c.Params(name))
	if err != nil {
		return "", objects.Errorf(objects.Invalid, "the path cannot be decoded: %v", err)
	}
	return utils.CopyString(value), nil
}

// ServeClient serves the JavaScript client for browsers below a path, as "/client": a page imports
// connect and route from /client/index.js.
func (e *Env) ServeClient(r fiber.Router, path string) {
	r.Get(path+"/:file", func(c *fiber.Ctx) error {
		name := c.Params("file")
		data, err := js.Files.ReadFile(name)
		if err != nil {
			return objects.Errorf(objects.NotFound, "the client has no such file")
		}
		c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
		c.Set(fiber.HeaderCacheControl, "no-cache") // a newer binary must be able to replace it at once
		c.Set(fiber.HeaderContentType, mime.TypeByExtension(pathpkg.Ext(name)))
		return c.Send(data)
	})
}

// Forward has the object answer the request as its ServeHTTP likes, under the
// given path; an upgrade opens a WebSocket that the object accepts.
func (e *Env) Forward(c *fiber.Ctx, to objects.Ref, path string) error {
	if err := to.Err(); err != nil {
		return err
	}
	return e.g.forward(c, addressOf(to), place{path: (&url.URL{Path: path}).EscapedPath()})
}

// Mount has the objects of a class answer every request at and below a path whose
// last segment names the object, as "/rooms/:name": of GET /rooms/lobby/a%2Fb/ the
// object lobby sees the path /a%2Fb/, as it was sent, and in X-Forwarded-Prefix
// /rooms/lobby. Nothing else of this gateway lets HTTP reach objects: middleware that
// the router has got before stands in front of them. It panics if the path or the
// class cannot be.
func (e *Env) Mount(r fiber.Router, path string, class objects.Class) {
	if !slices.Contains(e.g.cfg.Classes, string(class)) {
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
		to := e.Object(class, name)
		if err := to.Err(); err != nil {
			return err
		}
		return e.g.forward(c, addressOf(to), placeOf(c, strings.Count(strings.TrimSuffix(c.Route().Path, "/*"), "/")))
	}
	r.All(path, reach)
	r.All(path+"/*", reach)
	e.g.mounts = append(e.g.mounts, path)
}

func addressOf(to objects.Ref) wire.Address {
	return wire.Address{ID: to.ID(), Name: to.Name(), Near: to.Hint()}
}

// transport carries what workers ask objects.
type transport struct{ g *Gateway }

// Call has the object's owner run a call.
func (t transport) Call(ctx context.Context, to objects.Ref, call string, input []byte) ([]byte, error) {
	reply, err := t.g.ask(ctx, addressOf(to), &wire.Request{Kind: wire.Call, Call: call, Body: input})
	if err != nil {
		return nil, err
	}
	return reply.Body, nil
}

// Fetch has the object's owner answer an HTTP request.
func (t transport) Fetch(to objects.Ref, r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(http.MaxBytesReader(nil, r.Body, objects.MaxBody))
		if _, long := errors.AsType[*http.MaxBytesError](err); long {
			return nil, objects.Errorf(objects.TooLarge, "the request's body has more than %d bytes", objects.MaxBody)
		}
		if err != nil {
			return nil, objects.Errorf(objects.Invalid, "read the request's body: %w", err)
		}
	}
	reply, err := t.g.ask(r.Context(), addressOf(to), &wire.Request{
		Kind: wire.Fetch, Method: r.Method, URL: r.URL.RequestURI(), Host: r.Host, Header: r.Header, Body: body,
	})
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status: strconv.Itoa(reply.Status) + " " + http.StatusText(reply.Status), StatusCode: reply.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: reply.Header, Request: r,
		Body: io.NopCloser(bytes.NewReader(reply.Body)), ContentLength: int64(len(reply.Body)),
	}, nil
}

// ask sends a request to an object on behalf of ctx's principal and under its
// idempotency key, counts it, and notes who answered. A reply with a code is an error.
func (g *Gateway) ask(ctx context.Context, to wire.Address, req *wire.Request) (*wire.Reply, error) {
	principal, err := principalOf(ctx)
	if err != nil {
		return nil, err
	}
	req.Principal = principal
	if req.Socket == "" { // each connection is a socket of its own
		req.Key = scope.NextKey(ctx, objects.PrincipalOf(ctx).ID, to.Key(), req.Call)
	}
	began := time.Now()
	reply, err := g.client.Do(ctx, to, req)
	counters := g.metrics.of(string(to.Class()))
	counters.latency.Observe(time.Since(began).Seconds())
	if a, ok := ctx.Value(answeredKey{}).(*answered); ok {
		a.note(to, reply)
	}
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		g.metrics.requests.WithLabelValues(string(to.Class()), shared.CodeLabel(objects.CodeOf(err))).Inc()
		return reply, err
	}
	counters.ok.Inc()
	return reply, nil
}

// principalOf is ctx's principal as a request carries it; empty: nobody in particular.
func principalOf(ctx context.Context) ([]byte, error) {
	who := objects.PrincipalOf(ctx)
	if who.ID == "" && who.Claims == nil {
		return nil, nil
	}
	principal, err := json.Marshal(who)
	if err != nil || len(principal) > objects.MaxPrincipal {
		return nil, objects.Errorf(objects.TooLarge, "a principal has more than %d bytes", objects.MaxPrincipal)
	}
	return principal, nil
}

// answered is who has answered what a request asked last. Its calls may run on any
// goroutine; the response's headers belong to its handler.
type answered struct {
	mu     sync.Mutex // guards what follows
	object string
	owner  wire.Owner
	woke   bool // the object had slept
}

type answeredKey struct{}

func (a *answered) note(to wire.Address, reply *wire.Reply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.object = to.Key()
	if a.owner, a.woke = (wire.Owner{}), false; reply != nil {
		a.owner, a.woke = reply.Owner, reply.Woke
	}
}

// sign says who answered.
func (a *answered) sign(c *fiber.Ctx) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.object == "" {
		return
	}
	c.Set("Holdfast-Object", a.object)
	if a.owner.Host != "" {
		c.Set("Holdfast-Owner", a.owner.Host+" ("+a.owner.Region+")")
		c.Set("Holdfast-Epoch", strconv.FormatUint(a.owner.Epoch, 10))
	}
	if a.woke {
		c.Set("Holdfast-Woke", "true")
	}
}

// scoped gives a request its context, and writes who answered into its response.
func scoped(c *fiber.Ctx) error {
	a := new(answered)
	ctx := context.WithValue(c.UserContext(), answeredKey{}, a)
	if key := c.Get("Idempotency-Key"); key != "" {
		if err := checkKey(key); err != nil {
			return err
		}
		ctx = objects.WithIdempotencyKey(ctx, utils.CopyString(key))
	}
	c.SetUserContext(ctx)
	err := c.Next()
	a.sign(c)
	return err
}

// forward carries an HTTP request, or an upgrade, to an object and its answer back.
func (g *Gateway) forward(c *fiber.Ctx, to wire.Address, at place) error {
	req, err := envelope(c, at)
	if err != nil {
		return err
	}
	if upgrades(c) {
		if err := handshake(c); err != nil {
			return err
		}
		if g.offline {
			return g.meet(c, to, req, at.prefix)
		}
		return g.upgrade(c, to, req, at.prefix)
	}
	reply, err := g.ask(c.UserContext(), to, req)
	if err != nil {
		return err
	}
	return respond(c, reply, at.prefix)
}
