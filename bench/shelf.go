package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"holdfast/app"
	"holdfast/examples/demo"
	"holdfast/gateway"
	"holdfast/objects"
)

// shelved is Holdfast with four classes more.
var shelved = app.Config{
	Name:    "bench serve",
	Objects: append(slices.Clone(demo.Objects), shelfObjects, busyObjects, rowsObjects, pairObjects),
	Worker: func(r fiber.Router, env *gateway.Env) {
		demo.Worker(r, env)
		r.Post("/shelf/:name", func(c *fiber.Ctx) error { return putOnShelf(c, env) })
		r.Post("/busy/:name", func(c *fiber.Ctx) error { return keepBusy(c, env) })
		r.Post("/rows/:name", func(c *fiber.Ctx) error { return askRows(c, env) })
		r.Post("/ask/:name", func(c *fiber.Ctx) error { return askPair(c, env) })
		r.Post("/tell/:name", func(c *fiber.Ctx) error { return tellPair(c, env, false) })
		r.Post("/fan/:name", func(c *fiber.Ctx) error { return tellPair(c, env, true) })
	},
}

const shelves objects.Class = "shelf"

var (
	put          = objects.NewCall[order, int](shelves, "put")
	shelfObjects = objects.Implement(shelves, objects.New[shelf], objects.On(put, (*shelf).put))
)

// order is the input of put: how full the shelf has to be.
type order struct{ Keys, Size int }

// shelf is an object with as many keys as asked for. Each event changes one key.
type shelf struct {
	puts int // since the instance was made; which key is next
}

// put fills the shelf if it is not full, and changes one key.
func (s *shelf) put(tx *objects.Tx, o order) (int, error) {
	if o.Keys < 1 || o.Size < 0 {
		return 0, objects.Errorf(objects.Invalid, "want keys and size, as ?keys=10&size=100")
	}
	if _, full := slot(o.Keys - 1).Lookup(tx); !full {
		for i := range o.Keys {
			slot(i).Set(tx, strings.Repeat("-", o.Size))
		}
	}
	s.puts++
	letter := string(rune('a' + s.puts%26)) // another value than the last one
	slot(s.puts%o.Keys).Set(tx, strings.Repeat(letter, o.Size))
	return s.puts, nil
}

func slot(i int) objects.Key[string] { return objects.NewKey[string](fmt.Sprintf("k%d", i)) }

func putOnShelf(c *fiber.Ctx, env *gateway.Env) error {
	name, err := gateway.Param("name")(c)
	if err != nil {
		return err
	}
	n, err := put.Do(c.UserContext(), env.Object(shelves, name), order{Keys: c.QueryInt("keys"), Size: c.QueryInt("size")})
	if err != nil {
		return err
	}
	return c.JSON(fiber.Map{"puts": n})
}

const busies objects.Class = "busy"

var (
	work1ms     = objects.NewCall[objects.None, objects.None](busies, "work")
	busyObjects = objects.Implement(busies, objects.New[busy], objects.On(work1ms, (*busy).work))
)

// busy is an object whose events take a millisecond each.
type busy struct{}

func (*busy) work(*objects.Tx, objects.None) (objects.None, error) {
	time.Sleep(time.Millisecond)
	return nil, nil
}

func keepBusy(c *fiber.Ctx, env *gateway.Env) error {
	name, err := gateway.Param("name")(c)
	if err != nil {
		return err
	}
	_, err = work1ms.Do(c.UserContext(), env.Object(busies, name), nil)
	return err
}
