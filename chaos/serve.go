package main

import (
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"holdfast/app"
	"holdfast/chaos/seats"
	"holdfast/examples/demo"
	"holdfast/gateway"
	"holdfast/objects"
)

// served is Holdfast as in cmd/holdfast, with more classes: one with alarms, and large objects.
var served = app.Config{
	Name:    "chaos serve",
	Objects: append(slices.Clone(demo.Objects), bellObjects, seats.Objects(time.Minute), shelfObjects, indexObjects),
	Worker: func(r fiber.Router, env *gateway.Env) {
		demo.Worker(r, env)
		shelfCalls.route(r, env)
		indexCalls.route(r, env)
		r.Get("/seat/:name", func(c *fiber.Ctx) error { return env.Forward(c, env.Object(seats.Seats, c.Params("name")), "/") })
		r.Post("/bell/:name", func(c *fiber.Ctx) error { return callBell(c, env, setBell) })
		r.Get("/bell/:name", func(c *fiber.Ctx) error { return callBell(c, env, lookAtBell) })
	},
}

// bellDelay is how long after it was set a bell rings.
const bellDelay = 300 * time.Millisecond

const bells objects.Class = "bell"

var (
	setBell     = objects.NewCall[objects.None, rings](bells, "set")
	lookAtBell  = objects.NewCall[objects.None, rings](bells, "look")
	bellObjects = objects.Implement(bells, objects.New[bell],
		objects.On(setBell, (*bell).set), objects.On(lookAtBell, (*bell).look))

	ringsKey = objects.NewKey[rings]("rings")
)

// rings is what a bell stores.
type rings struct {
	Set  int `json:"set"`  // alarms that were set
	Rang int `json:"rang"` // alarms that ran and were committed
}

// bell sets an alarm on request, and counts.
type bell struct{}

func (b *bell) set(tx *objects.Tx, _ objects.None) (rings, error) {
	r := ringsKey.Get(tx)
	r.Set++
	ringsKey.Set(tx, r)
	tx.SetAlarm(tx.Now().Add(bellDelay))
	return r, nil
}

func (b *bell) look(tx *objects.Tx, _ objects.None) (rings, error) {
	return ringsKey.Get(tx), nil
}

// Alarm counts a run.
func (b *bell) Alarm(tx *objects.Tx, _ objects.AlarmInfo) error {
	r := ringsKey.Get(tx)
	r.Rang++
	ringsKey.Set(tx, r)
	return nil
}

func callBell(c *fiber.Ctx, env *gateway.Env, call objects.Call[objects.None, rings]) error {
	name, err := gateway.Param("name")(c)
	if err != nil {
		return err
	}
	r, err := call.Do(c.UserContext(), env.Object(bells, name), nil)
	if err != nil {
		return err
	}
	return c.JSON(r)
}
