// Package scores keeps the best score of every player of a game.
package scores

import (
	"context"
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
var Report = objects.NewCall[Score, Score]("report")

// Class is the class to run.
var Class = objects.Define("scores", New, objects.On(Report, (*Board).report))

// Board is one game's scores.
type Board struct{ state *objects.State }

// New makes a Board.
func New(state *objects.State) *Board { return &Board{state} }

func (b *Board) report(_ context.Context, s Score) (Score, error) {
	if s.Points < 0 {
		return s, objects.Errorf(objects.Invalid, "nobody reaches %d points", s.Points)
	}
	best := objects.NewKey[int]("best/" + s.Player)
	s.Points = max(s.Points, best.Get(b.state, 0))
	best.Set(b.state, s.Points)
	return s, nil
}

// ServeHTTP answers with all players' best.
func (b *Board) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(maps.Collect(objects.List[int](b.state, "best/")))
}
