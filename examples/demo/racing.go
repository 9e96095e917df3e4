package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"holdfast/examples/demo/race"
	"holdfast/examples/ticket"
	"holdfast/gateway"
	"holdfast/kvfoil"
	"holdfast/objects"
)

// race fires n claims at each of the three counters, from this gateway, and
// streams what became of each as lines of JSON; then the verdicts.
func (d *demo) race(c *fiber.Ctx) error {
	name, err := gateway.Param("name")(c)
	if err != nil {
		return err
	}
	var ask struct {
		N      int    `json:"n"`
		Gap    string `json:"gap"`
		Spread string `json:"spread"`
	}
	if body := c.BodyRaw(); len(body) > 0 {
		if err := json.Unmarshal(body, &ask); err != nil {
			return objects.Errorf(objects.Invalid, `the body must be like {"n":15,"gap":"20ms","spread":"0ms"}: %v`, err)
		}
	}
	if ask.N == 0 {
		ask.N = 15
	}
	gap, err := duration(utils.CopyString(ask.Gap), kvfoil.DefaultGap)
	if err != nil {
		return err
	}
	spread, err := duration(utils.CopyString(ask.Spread), 0)
	if err != nil {
		return err
	}
	foil, err := d.foil(c.UserContext())
	if err != nil {
		return err
	}
	counter := d.env.Object(ticket.Tickets, name)
	if err := counter.Err(); err != nil {
		return err
	}
	run := race.Run{N: ask.N, Gap: gap, Spread: spread, Counters: counters(counter, foil, name, gap)}
	if err := run.Check(); err != nil {
		return objects.Errorf(objects.Invalid, "%v", err)
	}
	c.Set("Holdfast-Object", counter.ID().Key())
	c.Set(fiber.HeaderContentType, "application/x-ndjson")
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) { stream(w, run) })
	return nil
}

// stream runs the race and writes it down as it happens; it stops when nobody
// listens any more.
func stream(w *bufio.Writer, run race.Run) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	lines := json.NewEncoder(w)
	run.Do(ctx, func(line any) {
		if lines.Encode(line) != nil || w.Flush() != nil {
			cancel()
		}
	})
}

func counters(counter objects.Ref, foil *kvfoil.Foil, name string, gap time.Duration) []race.Counter {
	return []race.Counter{
		{
			Name: "object",
			Claim: func(ctx context.Context) race.Answer {
				n, err := ticket.Claim.Do(ctx, counter, nil)
				return race.Answer{Ticket: n, Err: err, Outcome: outcome(err)}
			},
			Peek: func(ctx context.Context) (int, error) { return ticket.Peek.Do(ctx, counter, nil) },
		},
		onKV("naive", name, gap, foil, (*kvfoil.Foil).Naive, (*kvfoil.Foil).PeekNaive),
		onKV("cas", name, gap, foil, (*kvfoil.Foil).CAS, (*kvfoil.Foil).PeekCAS),
	}
}

func onKV(kind, name string, gap time.Duration, foil *kvfoil.Foil, claim claimer, peek func(*kvfoil.Foil, context.Context, string) (int, error)) race.Counter {
	return race.Counter{
		Name: kind,
		Claim: func(ctx context.Context) race.Answer {
			result, err := claim(foil, ctx, name, gap)
			answer := race.Answer{Ticket: result.Ticket}
			for _, a := range result.Attempts {
				answer.Attempts = append(answer.Attempts, race.Attempt(a))
			}
			if err != nil {
				answer.Err = named(err)
				answer.Outcome = outcome(answer.Err)
			}
			return answer
		},
		Peek: func(ctx context.Context) (int, error) { return peek(foil, ctx, name) },
	}
}
