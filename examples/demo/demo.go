// Package demo is the worker that comes with Holdfast: a page that shows a room and a race of three counters, and the
// routes behind it.
//
// It is an example too: a worker is stateless code in front of the objects, which gets a router and access to the
// objects.
package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"holdfast/examples/demo/crew"
	"holdfast/examples/demo/race"
	"holdfast/examples/echo"
	"holdfast/examples/room"
	"holdfast/examples/ticket"
	"holdfast/gateway"
	"holdfast/kvfoil"
	"holdfast/objects"
)

// Worker adds the demo's routes.
func Worker(r fiber.Router, env *gateway.Env) {
	d := &demo{env: env, runs: runs{nc: env.NATS()}}
	d.join()
	r.Get("/", d.page)
	r.Get("/web/*", d.file)
	env.ServeClient(r, "/client")
	r.Get("/config.json", d.config)
	r.Get("/room/:name", d.room)
	r.Get("/room/:name/life", d.life)
	r.Post("/room/:name/crowd", d.fill)
	r.Get("/regions", d.regions)
	r.Post("/race/:name", d.race)
	r.Get("/runs/:id", d.run)
	r.Post("/cut/:region", d.cut)

	d.panels = play(r, env)

	r.Post("/ticket/:name", d.ticket(ticket.Claim))
	r.Get("/ticket/:name", d.ticket(ticket.Peek))
	r.Delete("/ticket/:name", d.ticket(ticket.Reset))

	r.Post("/echo/:name", d.echo)
	r.Get("/echo/:name", d.relay)

	r.Post("/naive/:name", d.claim(naive, plain))
	r.Get("/naive/:name", d.peek((*kvfoil.Foil).PeekNaive))
	r.Delete("/naive/:name", d.reset((*kvfoil.Foil).ResetNaive))

	r.Post("/cas/:name", d.claim(cas, counted))
	r.Get("/cas/:name", d.peek((*kvfoil.Foil).PeekCAS))
	r.Delete("/cas/:name", d.reset((*kvfoil.Foil).ResetCAS))
}

type demo struct {
	env  *gateway.Env
	crew *crew.Crew // nil: this gateway knows no others
	runs runs

	panels  map[string]string // the sources of the page's panels, by class
	crowded atomic.Bool       // a room is being filled

	mu     sync.Mutex // guards what follows
	opened *kvfoil.Foil
}

// join makes the gateway known to those of other regions.
func (d *demo) join() {
	me := crew.Member{Region: d.env.Region()}
	for _, peer := range d.env.Peers() {
		if peer.Region == me.Region {
			me.City, me.URL = peer.City, peer.URL
		}
	}
	var err error
	d.crew, err = crew.Join(crew.Config{NATS: d.env.NATS(), Me: me, Counter: d.counter, Log: d.env.Log()})
	if err != nil {
		d.env.Log().Warn("the gateway is not known to others", "err", err)
	}
}

// foil opens the counters on plain KV when they are first needed.
func (d *demo) foil(ctx context.Context) (*kvfoil.Foil, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opened == nil {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		foil, err := kvfoil.Open(ctx, d.env.NATS(), kvfoil.Config{})
		if err != nil {
			return nil, objects.Errorf(objects.Unavailable, "open the foil's bucket: %v", err)
		}
		d.opened = foil
	}
	return d.opened, nil
}

// room opens a WebSocket into a room.
func (d *demo) room(c *fiber.Ctx) error {
	name, err := gateway.Param("name")(c)
	if err != nil {
		return err
	}
	return d.env.Forward(c, d.env.Object(room.Rooms, name), "/room/"+name)
}

// answer is a ticket, as clients read it.
type answer struct {
	Ticket int `json:"ticket"`
}

// ticket claims at the counter that is an object.
func (d *demo) ticket(call objects.Call[objects.None, int]) fiber.Handler {
	return func(c *fiber.Ctx) error {
		name, err := gateway.Param("name")(c)
		if err != nil {
			return err
		}
		n, err := call.Do(c.UserContext(), d.env.Object(ticket.Tickets, name), nil)
		if err != nil {
			return err
		}
		return c.JSON(answer{n})
	}
}

// echo sends the body to an object, which sends it back.
func (d *demo) echo(c *fiber.Ctx) error {
	name, err := gateway.Param("name")(c)
	if err != nil {
		return err
	}
	words, err := echo.Say.Do(c.UserContext(), d.env.Object(echo.Echoes, name), c.BodyRaw())
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEOctetStream)
	return c.Send(words)
}

// relay opens a WebSocket; a message of one goes unchanged to all others of the same name.
func (d *demo) relay(c *fiber.Ctx) error {
	name, err := gateway.Param("name")(c)
	if err != nil {
		return err
	}
	return d.env.Forward(c, d.env.Object(echo.Echoes, name), "/echo/"+name)
}

// plain and counted return the results of the two counters on KV.
func plain(r kvfoil.Result) fiber.Map { return fiber.Map{"ticket": r.Ticket} }

func counted(r kvfoil.Result) fiber.Map {
	return fiber.Map{"ticket": r.Ticket, "attempts": len(r.Attempts)}
}

// claimer makes a claim at a counter on KV.
type claimer func(ctx context.Context, f *kvfoil.Foil, name string, gap time.Duration, edge kvfoil.Edge) (kvfoil.Result, error)

func naive(ctx context.Context, f *kvfoil.Foil, name string, gap time.Duration, edge kvfoil.Edge) (kvfoil.Result, error) {
	return f.Naive(ctx, name, gap, edge)
}

func cas(ctx context.Context, f *kvfoil.Foil, name string, gap time.Duration, _ kvfoil.Edge) (kvfoil.Result, error) {
	return f.CAS(ctx, name, gap)
}

func (d *demo) claim(claim claimer, tell func(kvfoil.Result) fiber.Map) fiber.Handler {
	return func(c *fiber.Ctx) error {
		gap, err := duration(c.Query("gap"), kvfoil.DefaultGap, kvfoil.MaxGap)
		if err != nil {
			return err
		}
		ttl, err := duration(c.Query("ttl"), 0, kvfoil.MaxCacheTTL)
		if err != nil {
			return err
		}
		edge := kvfoil.Edge{CacheTTL: ttl, WriteLimit: c.QueryBool("limit")}
		return d.withFoil(c, func(f *kvfoil.Foil, name string) (fiber.Map, error) {
			result, err := claim(c.UserContext(), f, name, gap, edge)
			return tell(result), err
		})
	}
}

func (d *demo) peek(peek func(f *kvfoil.Foil, ctx context.Context, name string) (int, error)) fiber.Handler {
	return func(c *fiber.Ctx) error {
		return d.withFoil(c, func(f *kvfoil.Foil, name string) (fiber.Map, error) {
			n, err := peek(f, c.UserContext(), name)
			return fiber.Map{"ticket": n}, err
		})
	}
}

func (d *demo) reset(reset func(f *kvfoil.Foil, ctx context.Context, name string) error) fiber.Handler {
	return func(c *fiber.Ctx) error {
		return d.withFoil(c, func(f *kvfoil.Foil, name string) (fiber.Map, error) {
			return fiber.Map{"ticket": 0}, reset(f, c.UserContext(), name)
		})
	}
}

func (d *demo) withFoil(c *fiber.Ctx, do func(f *kvfoil.Foil, name string) (fiber.Map, error)) error {
	name, err := gateway.Param("name")(c)
	if err != nil {
		return err
	}
	foil, err := d.foil(c.UserContext())
	if err != nil {
		return err
	}
	answer, err := do(foil, name)
	if err != nil {
		return named(err)
	}
	return c.JSON(answer)
}

// named gives the foil's errors codes: the foil has no codes of objects.
func named(err error) error {
	for is, code := range map[error]objects.Code{
		kvfoil.ErrInvalid: objects.Invalid, kvfoil.ErrTooMany: objects.TooMany,
		kvfoil.ErrUnavailable: objects.Unavailable, kvfoil.ErrUnknown: objects.Unknown,
	} {
		if errors.Is(err, is) {
			return objects.Errorf(code, "%v", err)
		}
	}
	return fmt.Errorf("foil: %w", err)
}

// duration parses "20ms".
func duration(s string, otherwise, most time.Duration) (time.Duration, error) {
	if s == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > most {
		return 0, objects.Errorf(objects.Invalid, "a duration must be like 20ms, from 0 to %v, not %.40q", most, s)
	}
	return d, nil
}

// outcome returns how a failed claim counts.
func outcome(err error) race.Outcome {
	switch objects.CodeOf(err) {
	case "":
		return race.OK
	case objects.Unknown, objects.Internal:
		return race.Unknown
	case objects.Unavailable, objects.Overloaded:
		return race.Unavailable
	default:
		return race.Refused
	}
}
