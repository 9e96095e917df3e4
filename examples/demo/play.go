package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"holdfast/examples/echo"
	"holdfast/examples/jobs"
	"holdfast/examples/leaderboard"
	"holdfast/examples/limit"
	"holdfast/examples/payment"
	"holdfast/examples/room"
	"holdfast/examples/ticket"
	"holdfast/gateway"
	"holdfast/objects"
)

// Objects are the classes behind the page.
var Objects = []*objects.Implementation{
	ticket.Objects, room.Objects, echo.Objects,
	leaderboard.Objects, limit.Objects, payment.Objects(new(sandbox)), jobs.Objects(work),
}

// panels are the page's panels: the class of each, its routes as its package has them, and its source.
var panels = []struct {
	class  objects.Class
	routes gateway.Worker
	source string
}{
	{leaderboard.Boards, leaderboard.Worker, leaderboard.Source},
	{limit.Limits, func(r fiber.Router, env *gateway.Env) {
		r.Post("/limit/:who", gateway.Handle(env, limit.Take, gateway.Param("who")))
	}, limit.Source},
	{payment.Payments, payment.Worker, payment.Source},
	{jobs.Queues, jobs.Worker, jobs.Source},
}

// play adds the routes of the panels whose classes the program has, and returns their sources.
func play(r fiber.Router, env *gateway.Env) map[string]string {
	sources := make(map[string]string)
	for _, p := range panels {
		if env.Has(p.class) {
			p.routes(r, env)
			sources[string(p.class)] = p.source
		}
	}
	return sources
}

// sandbox is a provider that charges nobody. It numbers the charges, so that the page can show how many there were.
type sandbox struct{ asked atomic.Int64 }

const chargeTime = 400 * time.Millisecond // as slow as a provider

// Charge returns a receipt that differs for every charge.
func (s *sandbox) Charge(ctx context.Context, _ string, _ payment.Order) (receipt, declined string, err error) {
	n := s.asked.Add(1)
	if err := takes(ctx, chargeTime); err != nil {
		return "", "", err
	}
	return fmt.Sprintf("charge %d", n), "", nil
}

const workTime = 1500 * time.Millisecond

// work takes a moment. A job that is to fail does so at its first try.
func work(ctx context.Context, j jobs.Job) error {
	if err := takes(ctx, workTime); err != nil {
		return err
	}
	if j.Tries == 1 && strings.HasPrefix(j.What, "stumble") {
		return errors.New("it stumbled")
	}
	return nil
}

// takes waits, until ctx ends at the latest.
func takes(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
