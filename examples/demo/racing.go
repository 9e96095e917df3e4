package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"holdfast/examples/demo/crew"
	"holdfast/examples/demo/race"
	"holdfast/examples/ticket"
	"holdfast/gateway"
	"holdfast/kvfoil"
	"holdfast/objects"
)

const (
	mostTeams = 16
	runTime   = 2 * time.Minute
)

// raceOrder is the body of a request for a race.
type raceOrder struct {
	N      int      `json:"n"`
	Gap    string   `json:"gap"`
	Spread string   `json:"spread"`
	TTL    string   `json:"ttl"`   // of the cache through which the naive counter reads
	Limit  bool     `json:"limit"` // the naive counter has a limit of one write a second
	From   []string `json:"from"`  // regions; none: this gateway's
	Crash  bool     `json:"crash"` // the object's owner is killed in the middle, where that is possible
}

// readRace parses and checks the body of a race.
func readRace(body []byte) (run race.Run, order crew.Order, ask raceOrder, err error) {
	if len(body) > 0 {
		if err := json.Unmarshal(body, &ask); err != nil {
			return run, order, ask, objects.Errorf(objects.Invalid, `the body must be like {"n":15,"gap":"20ms","spread":"0ms","ttl":"0s","limit":false,"from":["fra"]}: %v`, err)
		}
	}
	run.N = ask.N
	if run.N == 0 {
		run.N = 15
	}
	if run.Gap, err = duration(ask.Gap, kvfoil.DefaultGap, kvfoil.MaxGap); err != nil {
		return run, order, ask, err
	}
	if run.Spread, err = duration(ask.Spread, 0, race.MaxSpread); err != nil {
		return run, order, ask, err
	}
	ttl, err := duration(ask.TTL, 0, kvfoil.MaxCacheTTL)
	if err != nil {
		return run, order, ask, err
	}
	if err := run.Check(); err != nil {
		return run, order, ask, objects.Errorf(objects.Invalid, "%v", err)
	}
	slices.Sort(ask.From)
	ask.From = slices.Compact(ask.From)
	if len(ask.From) > mostTeams {
		return run, order, ask, objects.Errorf(objects.Invalid, "a race is fired from at most %d regions", mostTeams)
	}
	return run, crew.Order{Gap: run.Gap, TTL: ttl, Limit: ask.Limit}, ask, nil
}

// race fires n claims at each of the three counters, from this gateway or from those of several regions at once. It
// streams the result of each claim as a line of JSON, then the verdicts.
func (d *demo) race(c *fiber.Ctx) error {
	name, err := gateway.Param("name")(c)
	if err != nil {
		return err
	}
	run, order, ask, err := readRace(c.BodyRaw())
	if err != nil {
		return err
	}
	order.Name = name
	if run.Teams, err = d.teams(c.UserContext(), order, ask.From); err != nil {
		return err
	}
	for _, kind := range []string{"object", "naive", "cas"} {
		order.Counter = kind
		counter, err := d.counter(c.UserContext(), order)
		if err != nil {
			return err
		}
		run.Counters = append(run.Counters, counter)
	}
	if ask.Crash {
		if run.Counters[0].Break, err = d.crash(); err != nil {
			return err
		}
		run.Spread = max(run.Spread, crashSpread)
	}
	c.Set("Holdfast-Object", d.env.Object(ticket.Tickets, name).ID().Key())
	c.Set(fiber.HeaderContentType, "application/x-ndjson")
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) { d.stream(w, run) })
	return nil
}

// teams finds the gateways that fire.
func (d *demo) teams(ctx context.Context, order crew.Order, from []string) (teams []race.Team, err error) {
	if len(from) == 0 || len(from) == 1 && from[0] == d.env.Region() {
		return []race.Team{{Region: d.env.Region()}}, nil
	}
	members, err := d.members(ctx)
	if err != nil {
		return nil, err
	}
	for _, region := range from {
		k := slices.IndexFunc(members, func(m crew.Member) bool { return m.Region == region })
		if k < 0 {
			return nil, objects.Errorf(objects.Invalid, "no gateway stands in %.40q", region)
		}
		teams = append(teams, d.crew.Team(members[k], order))
	}
	return teams, nil
}

// members returns the present gateways.
func (d *demo) members(ctx context.Context) ([]crew.Member, error) {
	if d.crew == nil {
		return nil, objects.Errorf(objects.Unavailable, "this gateway knows no others")
	}
	members, err := d.crew.Roll(ctx)
	if err != nil {
		return nil, objects.Errorf(objects.Unavailable, "ask who is there: %v", err)
	}
	return members, nil
}

// stream runs the race, writes the events as they happen, and keeps them. It stops when the client has left.
func (d *demo) stream(w *bufio.Writer, run race.Run) {
	ctx, cancel := context.WithTimeout(context.Background(), runTime)
	defer cancel()
	var kept recording
	lines := json.NewEncoder(io.MultiWriter(w, &kept))
	run.Do(ctx, func(line any) {
		if end, ok := line.(race.Done); ok {
			line = d.keep(ctx, end, &kept)
		}
		if lines.Encode(line) != nil || w.Flush() != nil {
			cancel()
		}
	})
}

// keep stores a run that has ended. A run that cannot be stored only has no link.
func (d *demo) keep(ctx context.Context, end race.Done, run *recording) race.Done {
	if run.full || ctx.Err() != nil {
		return end
	}
	if err := json.NewEncoder(run).Encode(end); err != nil {
		return end
	}
	id, err := d.runs.keep(ctx, run.lines.Bytes())
	if err != nil {
		d.env.Log().Warn("a race was not kept", "err", err)
		return end
	}
	end.Run = id
	return end
}

// counter returns the counter that an order is about.
func (d *demo) counter(ctx context.Context, o crew.Order) (race.Counter, error) {
	counter := d.env.Object(ticket.Tickets, o.Name)
	if err := counter.Err(); err != nil {
		return race.Counter{}, err
	}
	if o.Counter == "object" {
		return d.onObject(counter), nil
	}
	foil, err := d.foil(ctx)
	if err != nil {
		return race.Counter{}, err
	}
	switch o.Counter {
	case "naive":
		edge := kvfoil.Edge{CacheTTL: o.TTL, WriteLimit: o.Limit}
		return onKV(o, func(ctx context.Context) (kvfoil.Result, error) { return foil.Naive(ctx, o.Name, o.Gap, edge) }, foil.PeekNaive), nil
	case "cas":
		return onKV(o, func(ctx context.Context) (kvfoil.Result, error) { return foil.CAS(ctx, o.Name, o.Gap) }, foil.PeekCAS), nil
	}
	return race.Counter{}, objects.Errorf(objects.Invalid, "there is no counter %.40q", o.Counter)
}

func (d *demo) onObject(counter objects.Ref) race.Counter {
	return race.Counter{
		Name: "object",
		Claim: func(ctx context.Context) race.Answer {
			ctx, who := d.env.Watch(ctx)
			n, err := ticket.Claim.Do(ctx, counter, nil)
			by := who()
			return race.Answer{Ticket: n, Owner: by.Host, Epoch: by.Epoch, Err: err, Code: string(objects.CodeOf(err)), Outcome: outcome(err)}
		},
		Peek: func(ctx context.Context) (int, error) { return ticket.Peek.Do(ctx, counter, nil) },
	}
}

func onKV(o crew.Order, claim func(context.Context) (kvfoil.Result, error), peek func(context.Context, string) (int, error)) race.Counter {
	return race.Counter{
		Name: o.Counter,
		Claim: func(ctx context.Context) race.Answer {
			result, err := claim(ctx)
			answer := race.Answer{Ticket: result.Ticket}
			for _, a := range result.Attempts {
				answer.Attempts = append(answer.Attempts, race.Attempt(a))
			}
			if err != nil {
				answer.Err = named(err)
				answer.Code, answer.Outcome = string(objects.CodeOf(answer.Err)), outcome(answer.Err)
			}
			return answer
		},
		Peek: func(ctx context.Context) (int, error) { return peek(ctx, o.Name) },
	}
}
