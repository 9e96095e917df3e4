package main

import (
	"context"
	"time"

	"github.com/gofiber/fiber/v2"

	"holdfast/app"
	"holdfast/examples/demo"
	"holdfast/examples/echo"
	"holdfast/examples/room"
	"holdfast/examples/ticket"
	"holdfast/gateway"
	"holdfast/objects"
)

// served is Holdfast as in cmd/holdfast, and a class with alarms.
var served = app.Config{
	Name:    "chaos serve",
	Classes: []*objects.Class{ticket.Class, room.Class, echo.Class, bellClass},
	Worker: func(r fiber.Router, env *gateway.Env) {
		demo.Worker(r, env)
		r.Post("/bell/:name", func(c *fiber.Ctx) error { return callBell(c, env, setBell) })
		r.Get("/bell/:name", func(c *fiber.Ctx) error { return callBell(c, env, lookAtBell) })
	},
}

// bellDelay is how long after it was set a bell rings.
const bellDelay = 300 * time.Millisecond

var (
	setBell    = objects.NewCall[objects.None, rings]("set")
	lookAtBell = objects.NewCall[objects.None, rings]("look")
	bellClass  = objects.Define("bell", newBell,
		objects.On(setBell, (*bell).set), objects.On(lookAtBell, (*bell).look))

	ringsKey = objects.NewKey[rings]("rings")
)

// rings is what a bell stores.
type rings struct {
	Set  int `json:"set"`  // alarms that were set
	Rang int `json:"rang"` // alarms that ran and were committed
}

// bell sets an alarm when it is told to, and counts.
type bell struct{ state *objects.State }

func newBell(state *objects.State) *bell { return &bell{state} }

func (b *bell) set(context.Context, objects.None) (rings, error) {
	r := ringsKey.Get(b.state, rings{})
	r.Set++
	ringsKey.Set(b.state, r)
	b.state.SetAlarm(b.state.Now().Add(bellDelay))
	return r, nil
}

func (b *bell) look(context.Context, objects.None) (rings, error) {
	return ringsKey.Get(b.state, rings{}), nil
}

// Alarm counts.
func (b *bell) Alarm(context.Context, objects.AlarmInfo) error {
	r := ringsKey.Get(b.state, rings{})
	r.Rang++
	ringsKey.Set(b.state, r)
	return nil
}

func callBell(c *fiber.Ctx, env *gateway.Env, call objects.Call[objects.None, rings]) error {
	name, err := env.Param(c, "name")
	if err != nil {
		return err
	}
	object, err := env.ObjectFor(c, "bell", name)
	if err != nil {
		return err
	}
	r, err := call.Do(c.UserContext(), object, objects.None{})
	if err != nil {
		return err
	}
	return c.JSON(r)
}
