// Package tictactoe is a game for two and any number of spectators: one object for each game.
//
// The first two players to sit down play. A WebSocket at /tictactoe/{game}/live gets the game after every move.
package tictactoe

import (
	"net/http"

	"github.com/gofiber/fiber/v2"

	"holdfast/gateway"
	"holdfast/objects"
)

// Games are single games.
const Games objects.Class = "tictactoe"

// The calls of a game. All return the game as it is then.
var (
	Sit  = objects.NewCall[Player, Game](Games, "sit")
	Move = objects.NewCall[Mark, Game](Games, "move")
	Show = objects.NewCall[objects.None, Game](Games, "show")
)

// Player is a player by name.
type Player struct {
	Name string `json:"name"`
}

// Mark is a move: 0 to 8 are the cells, row by row.
type Mark struct {
	Name string `json:"name"`
	Cell int    `json:"cell"`
}

// Game is the whole game.
type Game struct {
	Players [2]string `json:"players"` // X and O
	Cells   string    `json:"cells"`   // nine of X, O and .
	Next    int       `json:"next"`    // whose turn it is: 0 or 1
	Over    bool      `json:"over,omitempty"`
	Winner  string    `json:"winner,omitempty"` // empty, if the game is over: a draw
}

// Objects is the class with its code.
var Objects = objects.Implement(Games, objects.New[table], objects.On(Sit, (*table).sit), objects.On(Move, (*table).move), objects.On(Show, (*table).show))

// Worker adds the games' routes.
func Worker(r fiber.Router, env *gateway.Env) {
	r.Post("/tictactoe/:game/sit", gateway.Handle(env, Sit, gateway.Param("game")))
	r.Post("/tictactoe/:game/move", gateway.Handle(env, Move, gateway.Param("game")))
	r.Get("/tictactoe/:game", gateway.Handle(env, Show, gateway.Param("game")))
	env.Mount(r, "/tictactoe/:game", Games)
}

var kept = objects.NewKey[Game]("game")

type table struct{}

func load(tx *objects.Tx) Game {
	g, begun := kept.Lookup(tx)
	if !begun {
		g.Cells = "........."
	}
	return g
}

// save stores the game, and sends it to all spectators.
func save(tx *objects.Tx, g Game) (Game, error) {
	kept.Set(tx, g)
	tx.Broadcast(objects.JSON(g))
	return g, nil
}

func (*table) show(tx *objects.Tx, _ objects.None) (Game, error) { return load(tx), nil }

func (*table) sit(tx *objects.Tx, p Player) (Game, error) {
	g := load(tx)
	switch {
	case p.Name == "" || len(p.Name) > 40:
		return g, objects.Errorf(objects.Invalid, "a player has a name of 1 to 40 bytes")
	case g.Players[0] == p.Name || g.Players[1] == p.Name:
		return g, nil
	case g.Players[0] == "":
		g.Players[0] = p.Name
	case g.Players[1] == "":
		g.Players[1] = p.Name
	default:
		return g, objects.Errorf("full", "%s and %s play", g.Players[0], g.Players[1])
	}
	return save(tx, g)
}

func (*table) move(tx *objects.Tx, m Mark) (Game, error) {
	g := load(tx)
	switch {
	case g.Players[1] == "":
		return g, objects.Errorf("waiting", "two have to sit down first")
	case g.Over:
		return g, objects.Errorf("over", "the game is over")
	case g.Players[g.Next] != m.Name:
		return g, objects.Errorf("not_your_turn", "it is the turn of %s", g.Players[g.Next])
	case m.Cell < 0 || m.Cell > 8 || g.Cells[m.Cell] != '.':
		return g, objects.Errorf(objects.Invalid, "want a free cell, 0 to 8")
	}
	mark := "XO"[g.Next]
	cells := []byte(g.Cells)
	cells[m.Cell] = mark
	g.Cells, g.Next = string(cells), 1-g.Next
	full := true
	for _, c := range cells {
		full = full && c != '.'
	}
	for _, line := range [][3]int{{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {0, 3, 6}, {1, 4, 7}, {2, 5, 8}, {0, 4, 8}, {2, 4, 6}} {
		if cells[line[0]] == mark && cells[line[1]] == mark && cells[line[2]] == mark {
			g.Winner = m.Name
		}
	}
	g.Over = full || g.Winner != ""
	return save(tx, g)
}

// ServeHTTP opens a socket for a spectator.
func (*table) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	s, err := tx.Accept()
	if err != nil {
		tx.Refuse(err)
		return
	}
	s.Send(objects.JSON(load(tx)))
}
