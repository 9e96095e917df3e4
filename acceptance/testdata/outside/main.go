// Command scores is a program outside of Holdfast's own module: a class, a worker
// with one route, and the command line.
package main

import (
	"github.com/gofiber/fiber/v2"

	"example.org/outside/scores"
	"holdfast/app"
	"holdfast/gateway"
	"holdfast/objects"
)

func main() {
	app.Main(app.Config{Name: "scores", Objects: []*objects.Implementation{scores.Objects}, Worker: worker})
}

// worker lets HTTP reach games at /games/{game} and adds POST /score/{game}/{player}?points=10, which answers with the best so far.
func worker(r fiber.Router, env *gateway.Env) {
	env.Mount(r, "/games/:game", "scores")
	r.Post("/score/:game/:player", func(c *fiber.Ctx) error {
		game := env.Object(scores.Boards, c.Params("game"))
		best, err := scores.Report.Do(c.UserContext(), game, scores.Score{Player: c.Params("player"), Points: c.QueryInt("points")})
		if err != nil {
			return err
		}
		return c.JSON(best)
	})
}
