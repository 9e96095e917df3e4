package gateway

import (
	"context"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"holdfast/internal/ask"
	shared "holdfast/internal/metrics"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// requestScope is shared by all asks of a client's request. It is in the handler's context; asks may run on any
// goroutine.
type requestScope struct {
	client    netip.Addr   // who sent the request; invalid: a program, not a client
	from      netip.Prefix // the network that limits count the client as; invalid: no limit of its own
	limit     *newObjects
	preflight bool // the request only asks whether a page may send one; set before anything is asked

	mu     sync.Mutex // guards what follows, which is about the last answer
	object string
	owner  wire.Owner
	woke   bool // the object had slept
}

type scopeKey struct{}

// scopeOf returns the scope of ctx's request; an empty one if ctx belongs to no request.
func scopeOf(ctx context.Context) *requestScope {
	if s, ok := ctx.Value(scopeKey{}).(*requestScope); ok {
		return s
	}
	return new(requestScope)
}

// scoped gives a request its scope, and writes the owner that answered into the response.
func (g *Gateway) scoped(c *fiber.Ctx) error {
	client := g.trusted.clientIP(c.Context())
	s := &requestScope{client: client, from: sourceOf(client), limit: g.newObjects}
	ctx := context.WithValue(c.UserContext(), scopeKey{}, s)
	key, err := keyOf(c)
	if err != nil {
		return err
	}
	if key != "" {
		ctx = objects.WithIdempotencyKey(ctx, key)
	}
	c.SetUserContext(ctx)
	err = c.Next()
	s.sign(c)
	return err
}

// keyOf returns the request's idempotency key, "" for none. A client that sends an empty key, or two, believes that
// repeating its request is safe: it is refused.
func keyOf(c *fiber.Ctx) (string, error) {
	switch keys := c.Request().Header.PeekAll("Idempotency-Key"); {
	case len(keys) == 0:
		return "", nil
	case len(keys) > 1:
		return "", objects.Errorf(objects.Invalid, "a request has one Idempotency-Key, this one has %d", len(keys))
	case len(keys[0]) == 0:
		return "", objects.Errorf(objects.Invalid, "the Idempotency-Key is empty: leave it out, or send one")
	default:
		key := string(keys[0])
		return key, ask.CheckKey(key)
	}
}

// MayMake reports whether an object that nobody owns may be claimed for the request.
func (s *requestScope) MayMake() bool {
	return !s.from.IsValid() || s.limit.allows(s.from, time.Now())
}

// Made notes that an object was made for the request.
func (s *requestScope) Made() {
	if s.from.IsValid() {
		s.limit.made(s.from, time.Now())
	}
}

// note notes which owner has answered.
func (s *requestScope) note(to wire.Address, reply *wire.Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.object = to.Key()
	if s.owner, s.woke = (wire.Owner{}), false; reply != nil {
		s.owner, s.woke = reply.Owner, reply.Woke
	}
}

// sign writes the owner that answered into the response's headers.
func (s *requestScope) sign(c *fiber.Ctx) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.object == "" {
		return
	}
	c.Set("Holdfast-Object", s.object)
	if s.owner.Host != "" {
		c.Set("Holdfast-Owner", s.owner.Host+" ("+s.owner.Region+")")
		c.Set("Holdfast-Epoch", strconv.FormatUint(s.owner.Epoch, 10))
	}
	if s.woke {
		c.Set("Holdfast-Woke", "true")
	}
}

// ask sends a worker's question to an object's owner.
func (g *Gateway) ask(ctx context.Context, to wire.Address, req *wire.Request) (*wire.Reply, error) {
	s, err := identify(ctx, to, req)
	if err != nil {
		return nil, err
	}
	return g.send(ctx, s, to, req)
}

// identify adds the principal and the idempotency key to a request.
func identify(ctx context.Context, to wire.Address, req *wire.Request) (*requestScope, error) {
	s := scopeOf(ctx)
	if s.preflight {
		return nil, fiber.ErrMethodNotAllowed // the worker's answer to a preflight is replaced
	}
	if err := ask.Identify(ctx, s.client, to, req); err != nil {
		return nil, err
	}
	if s.from.IsValid() {
		req.Maker = s
	}
	return s, nil
}

// send has an object's owner handle a request, counts the request, and notes the owner. A reply with a code is returned
// as an error.
func (g *Gateway) send(ctx context.Context, s *requestScope, to wire.Address, req *wire.Request) (*wire.Reply, error) {
	began := time.Now()
	reply, err := g.client.Do(ctx, to, req)
	counters := g.metrics.counters(string(to.Class()))
	counters.latency.Observe(time.Since(began).Seconds())
	s.note(to, reply)
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
