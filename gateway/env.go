package gateway

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/nats-io/nats.go"

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
	return e.g.forward(c, id, path)
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
		g.metrics.requests.WithLabelValues(id.Class(), string(objects.CodeOf(err))).Inc()
		return reply, err
	}
	counters.ok.Inc()
	return reply, nil
}

// sign says who answered.
func (g *Gateway) sign(c *fiber.Ctx, id objects.ID, reply *wire.Reply) {
	c.Set("Holdfast-Object", id.Key())
	if reply != nil && reply.Owner.Host != "" {
		c.Set("Holdfast-Owner", reply.Owner.Host+" ("+reply.Owner.Region+")")
		c.Set("Holdfast-Epoch", strconv.FormatUint(reply.Owner.Epoch, 10))
	}
}

// forward carries an HTTP request, or an upgrade, to an object and its answer back.
func (g *Gateway) forward(c *fiber.Ctx, id objects.ID, path string) error {
	req := envelope(c, path)
	if upgrades(c) {
		if err := handshake(c); err != nil {
			return err
		}
		req.Key = "" // each connection is a socket of its own
		return g.upgrade(c, id, req)
	}
	reply, err := g.ask(c.UserContext(), c, id, req)
	if err != nil {
		return err
	}
	return respond(c, reply)
}

// hop are headers that end at a proxy.
var hop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// envelope is a copy of the request: Fiber takes its own memory back when the
// handler returns.
func envelope(c *fiber.Ctx, path string) *wire.Request {
	header := make(http.Header)
	for name, value := range c.Request().Header.AllInOrder() { // as sent, and without trailers
		header.Add(string(name), string(value))
	}
	header.Del("Host") // it travels on its own, as net/http has it
	if !upgrades(c) {
		for _, line := range header["Connection"] {
			for name := range strings.SplitSeq(line, ",") {
				header.Del(strings.TrimSpace(name))
			}
		}
		for _, name := range hop {
			header.Del(name)
		}
	}
	target := (&url.URL{Path: path}).EscapedPath()
	if query := c.Request().URI().QueryString(); len(query) > 0 {
		target += "?" + string(query)
	}
	return &wire.Request{
		Kind: wire.Fetch, Method: utils.CopyString(c.Method()), URL: target,
		Host: utils.CopyString(string(c.Request().Host())), Header: header, Remote: utils.CopyString(c.IP()),
		Body: slices.Clone(c.BodyRaw()), Key: header.Get("Idempotency-Key"),
	}
}

func respond(c *fiber.Ctx, reply *wire.Reply) error {
	for _, name := range slices.Sorted(maps.Keys(reply.Header)) {
		if slices.Contains(hop, name) || name == "Content-Length" || !headerName(name) {
			continue
		}
		for i, value := range reply.Header[name] {
			if i == 0 {
				c.Set(name, headerValue(value))
			} else {
				c.Response().Header.Add(name, headerValue(value))
			}
		}
	}
	if reply.Status == fiber.StatusUpgradeRequired { // which has to say to what
		c.Set(fiber.HeaderConnection, "Upgrade")
		c.Set(fiber.HeaderUpgrade, "websocket")
	}
	return c.Status(reply.Status).Send(reply.Body)
}

// fail writes an error as a client may see it. What is not an objects.Error is
// logged under a reference and not shown.
func (g *Gateway) fail(c *fiber.Ctx, err error) error {
	e, ok := objects.AsError(err)
	if fault, is := errors.AsType[*fiber.Error](err); is && !ok {
		e, ok = &objects.Error{Code: codeOf(fault.Code), Message: strings.ToLower(fault.Message)}, true
		c.Status(fault.Code)
	} else if ok {
		c.Status(e.Code.HTTPStatus())
	}
	if !ok {
		e = &objects.Error{Code: objects.Internal, Message: "the gateway failed", Ref: wire.NewReference()}
		g.log.Error("request failed", "ref", e.Ref, "method", c.Method(), "route", c.Route().Path, "err", err)
		c.Status(e.Code.HTTPStatus())
	}
	if e.Code == objects.Unavailable || e.Code == objects.Overloaded {
		c.Set(fiber.HeaderRetryAfter, "1")
	}
	c.Set("Holdfast-Region", g.cfg.Region) // a request that was refused on sight has not passed the routes
	return c.JSON(refusal{e.Code, e.Message, e.Ref})
}

// refusal is an error as a client reads it.
type refusal struct {
	Code    objects.Code `json:"code"`
	Message string       `json:"message"`
	Ref     string       `json:"ref,omitempty"`
}

// codeOf names a status that Fiber itself gives.
func codeOf(status int) objects.Code {
	switch status {
	case fiber.StatusNotFound, fiber.StatusMethodNotAllowed:
		return objects.NotFound
	case fiber.StatusForbidden:
		return objects.Forbidden
	case fiber.StatusRequestEntityTooLarge, fiber.StatusRequestHeaderFieldsTooLarge:
		return objects.TooLarge
	case fiber.StatusServiceUnavailable:
		return objects.Unavailable
	}
	if status < 500 {
		return objects.Invalid
	}
	return objects.Internal
}
