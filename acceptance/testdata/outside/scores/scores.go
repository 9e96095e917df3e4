// Package scores keeps the best score of every player of a game.
package scores

import (
	"encoding/json"
	"maps"
	"net/http"

	"holdfast/objects"
)

// Score is what a player reached.
type Score struct {
	Player string `json:"player"`
	Points int    `json:"points"`
}

// Report tells a score and returns the player's best. Told twice it counts once.
var Report = objects.NewCall[Score, Score](Boards, "report")

// Boards keep the scores of a game each.
const Boards objects.Class = "scores"

// Objects is the class with its code.
var Objects = objects.Implement(Boards, objects.New[Board], objects.On(Report, (*Board).report))

// best is the most points of each player.
var best = objects.NewMap[string, int]("best")

// Board is one game's scores.
type Board struct{}

func (b *Board) report(tx *objects.Tx, s Score) (Score, error) {
	if s.Points < 0 {
		return s, objects.Errorf(objects.Invalid, "nobody reaches %d points", s.Points)
	}
	s.Points = max(s.Points, best.Get(tx, s.Player))
	best.Set(tx, s.Player, s.Points)
	return s, nil
}

// ServeHTTP answers with all players' best.
func (b *Board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(maps.Collect(best.All(objects.TxOf(r))))
}
