// Package leaderboard ranks the players of a game: one object for each game.
package leaderboard

import (
	"github.com/gofiber/fiber/v2"

	"holdfast/gateway"
	"holdfast/objects"
)

// Boards are leaderboards.
const Boards objects.Class = "leaderboard"

// The calls of a board.
var (
	Report = objects.NewCall[Score, Entry](Boards, "report") // a score; returns the player's best, and its rank
	Top    = objects.NewCall[Best, []Entry](Boards, "top")   // the best
	Rank   = objects.NewCall[Who, Entry](Boards, "rank")     // of one player
)

// Score is what a player has scored.
type Score struct {
	Player string `json:"player"`
	Points int    `json:"points"`
}

// Entry is a player's best score.
type Entry struct {
	Score
	Rank int `json:"rank"` // 1 is the highest score
}

// Best is how many to show.
type Best struct {
	Count int `json:"count"` // 0: ten
}

// Who is a player.
type Who struct {
	Player string `json:"player"`
}

// Objects is the class with its code.
var Objects = objects.Implement(Boards, objects.New[Board], objects.On(Report, (*Board).report), objects.On(Top, (*Board).top), objects.On(Rank, (*Board).rank))

// Worker adds the board's routes.
func Worker(r fiber.Router, env *gateway.Env) {
	r.Post("/leaderboard/:game", gateway.Handle(env, Report, gateway.Param("game")))
	r.Get("/leaderboard/:game", gateway.Handle(env, Top, gateway.Param("game")))
	r.Get("/leaderboard/:game/rank", gateway.Handle(env, Rank, gateway.Param("game")))
}

// place is the position of a score: the keys of a map are in order, so the most points come first.
type place struct {
	Down   int // the points, negated
	Player string
}

var (
	best   = objects.NewMap[string, int]("best")      // points, by player
	places = objects.NewMap[place, struct{}]("place") // the same, in the order of points
)

const maxShown = 100

// Board is the leaderboard of one game.
type Board struct{}

func (b *Board) report(tx *objects.Tx, s Score) (Entry, error) {
	if s.Player == "" || len(s.Player) > 100 {
		return Entry{}, objects.Errorf(objects.Invalid, "a player has a name of 1 to 100 bytes")
	}
	if old, played := best.Lookup(tx, s.Player); !played || s.Points > old {
		places.Delete(tx, place{-old, s.Player})
		places.Set(tx, place{-s.Points, s.Player}, struct{}{})
		best.Set(tx, s.Player, s.Points)
	}
	return b.rank(tx, Who{s.Player})
}

func (*Board) rank(tx *objects.Tx, w Who) (Entry, error) {
	points, played := best.Lookup(tx, w.Player)
	if !played {
		return Entry{}, objects.Errorf(objects.NotFound, "%s has not played", w.Player)
	}
	return Entry{Score{w.Player, points}, places.Before(place{-points, w.Player}).Count(tx) + 1}, nil
}

func (*Board) top(tx *objects.Tx, b Best) ([]Entry, error) {
	if b.Count == 0 {
		b.Count = 10
	}
	all := []Entry{}
	for p := range places.Limit(min(b.Count, maxShown)).All(tx) {
		all = append(all, Entry{Score{p.Player, -p.Down}, len(all) + 1})
	}
	return all, nil
}
