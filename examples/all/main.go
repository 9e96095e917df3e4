// Command all runs the examples: go run ./examples/all dev. ../README.md has requests to try.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"holdfast/app"
	"holdfast/examples/auth"
	"holdfast/examples/chat"
	"holdfast/examples/checkout"
	"holdfast/examples/document"
	"holdfast/examples/files"
	"holdfast/examples/jobs"
	"holdfast/examples/leaderboard"
	"holdfast/examples/ledger"
	"holdfast/examples/limit"
	"holdfast/examples/payment"
	"holdfast/examples/scheduler"
	"holdfast/examples/ticket"
	"holdfast/examples/tictactoe"
	"holdfast/examples/tokens"
	"holdfast/gateway"
	"holdfast/objects"
)

func main() { app.Main(app.Config{Name: "all", Objects: classes, Worker: worker}) }

var classes = slices.Concat([]*objects.Implementation{
	chat.Objects, document.Objects, files.Objects, jobs.Objects(work), leaderboard.Objects, ledger.Objects, limit.Objects,
	payment.Objects(sandbox{}), scheduler.Objects(logJob), ticket.Objects, tictactoe.Objects, tokens.Objects(parrot),
}, checkout.Objects, auth.Objects)

// secret signs logins. Every process has its own: gateways of other processes do not accept the logins.
var secret = []byte(rand.Text() + rand.Text())

func worker(r fiber.Router, env *gateway.Env) {
	r.Post("/ticket/:name", gateway.Handle(env, ticket.Claim, gateway.Param("name")))
	r.Post("/limit/:who", gateway.Handle(env, limit.Take, gateway.Param("who")))
	for _, add := range []gateway.Worker{
		chat.Worker, checkout.Worker, document.Worker, files.Worker, jobs.Worker, leaderboard.Worker, ledger.Worker, payment.Worker, scheduler.Worker, tictactoe.Worker, tokens.Worker, auth.Worker(secret),
	} {
		add(r, env)
	}
}

// sandbox is a provider that charges nobody.
type sandbox struct{}

func (sandbox) Charge(_ context.Context, key string, _ payment.Order) (receipt, declined string, err error) {
	return "sandbox-" + key[:8], "", nil
}

// parrot is a model that repeats what was said, a word at a time.
func parrot(ctx context.Context, history []tokens.Turn) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, word := range append([]string{"you", "said"}, strings.Fields(history[len(history)-1].Text)...) {
			if !yield(word+" ") || ctx.Err() != nil {
				return
			}
		}
	}
}

// logJob prints a job instead of doing it.
func logJob(tx *objects.Tx, j scheduler.Job) error {
	_, err := fmt.Fprintf(os.Stderr, "schedule %s: %s: %s\n", tx.Name(), j.ID, j.What)
	return err
}

// work prints the job, and always succeeds.
func work(ctx context.Context, j jobs.Job) error {
	_, err := fmt.Fprintf(os.Stderr, "job %s: %s\n", j.ID, j.What)
	return err
}
