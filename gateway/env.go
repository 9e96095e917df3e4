package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"github.com/nats-io/nats.go"

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

// Forward has the object answer the request as its ServeHTTP likes, under the
// given path; an upgrade opens a WebSocket that the object accepts.
func (e *Env) Forward(c *fiber.Ctx, to objects.Ref, path string) error {
	if err := to.Err(); err != nil {
		return err
	}
	return e.g.forward(c, addressOf(to), path)
}

func addressOf(to objects.Ref) wire.Address { return wire.Address{ID: to.ID(), Name: to.Name()} }

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
	who := objects.PrincipalOf(ctx)
	if who.ID != "" || who.Claims != nil {
		principal, err := json.Marshal(who)
		if err != nil || len(principal) > objects.MaxPrincipal {
			return nil, objects.Errorf(objects.TooLarge, "a principal has more than %d bytes", objects.MaxPrincipal)
		}
		req.Principal = principal
	}
	if req.Socket == "" { // each connection is a socket of its own
		req.Key = scope.NextKey(ctx, who.ID, to.Key(), req.Call)
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
		g.metrics.requests.WithLabelValues(string(to.Class()), g.metrics.codeLabel(objects.CodeOf(err))).Inc()
		return reply, err
	}
	counters.ok.Inc()
	return reply, nil
}

// answered is who has answered what a request asked last. Its calls may run on any
// goroutine; the response's headers belong to its handler.
type answered struct {
	mu     sync.Mutex // guards what follows
	object string
	owner  wire.Owner
}

type answeredKey struct{}

func (a *answered) note(to wire.Address, reply *wire.Reply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.object = to.Key()
	if a.owner = (wire.Owner{}); reply != nil {
		a.owner = reply.Owner
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
func (g *Gateway) forward(c *fiber.Ctx, to wire.Address, path string) error {
	req := envelope(c, path)
	if upgrades(c) {
		if err := handshake(c); err != nil {
			return err
		}
		return g.upgrade(c, to, req)
	}
	reply, err := g.ask(c.UserContext(), to, req)
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
		Body: slices.Clone(c.BodyRaw()),
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
	e, ok := errors.AsType[*objects.Error](err)
	if fault, is := errors.AsType[*fiber.Error](err); is && !ok {
		e, ok = &objects.Error{Code: codeOf(fault.Code), Message: strings.ToLower(fault.Message)}, true
		c.Status(fault.Code)
	} else if ok {
		c.Status(e.Code.HTTPStatus())
	}
	if !ok {
		e = &objects.Error{Code: objects.Internal, Message: "the gateway failed", Reference: wire.NewReference()}
		g.log.Error("request failed", "ref", e.Reference, "method", c.Method(), "route", c.Route().Path, "err", err)
		c.Status(e.Code.HTTPStatus())
	}
	if e.Code == objects.Unavailable || e.Code == objects.Overloaded {
		c.Set(fiber.HeaderRetryAfter, "1")
	}
	c.Set("Holdfast-Region", g.cfg.Region) // a request that was refused on sight has not passed the routes
	return c.JSON(e)
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
