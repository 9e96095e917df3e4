package tictactoe_test

import (
	"net/http/httptest"
	"testing"

	"holdfast/examples/tictactoe"
	"holdfast/gateway/gatewaytest"
	"holdfast/objects"
	"holdfast/objects/objectstest"
)

func TestTwoPlayAndOthersWatch(t *testing.T) {
	w := objectstest.New(t, tictactoe.Objects)
	game := w.Object(tictactoe.Games, "g")
	sit := func(name string) objects.Code {
		_, err := tictactoe.Sit.Do(t.Context(), game, tictactoe.Player{Name: name})
		return objects.CodeOf(err)
	}
	move := func(name string, cell int) (tictactoe.Game, objects.Code) {
		g, err := tictactoe.Move.Do(t.Context(), game, tictactoe.Mark{Name: name, Cell: cell})
		return g, objects.CodeOf(err)
	}
	if got := sit("ada"); got != "" {
		t.Fatal(got)
	}
	if _, got := move("ada", 0); got != "waiting" {
		t.Errorf("alone: %q", got)
	}
	if again, bob, eve := sit("ada"), sit("bob"), sit("eve"); again != "" || bob != "" || eve != "full" {
		t.Errorf("seats: ada again %q, bob %q, eve %q", again, bob, eve)
	}
	front := gatewaytest.New(t, w, tictactoe.Worker)
	eve, r := front.Connect(httptest.NewRequest("GET", "/tictactoe/g/live", nil))
	if eve == nil {
		t.Fatal(r.Status)
	}
	for _, m := range []struct {
		who  string
		cell int
		want objects.Code
	}{
		{"bob", 4, "not_your_turn"}, {"ada", 9, objects.Invalid}, {"ada", 0, ""}, {"bob", 0, objects.Invalid}, {"bob", 4, ""},
		{"ada", 1, ""}, {"bob", 8, ""}, {"ada", 2, ""}, {"bob", 3, "over"},
	} {
		w.Evict(game) // nothing is in memory only
		if _, got := move(m.who, m.cell); got != m.want {
			t.Errorf("%s to %d: %q, want %q", m.who, m.cell, got, m.want)
		}
	}
	var seen []string
	var g tictactoe.Game
	for eve.NextJSON(&g) {
		seen = append(seen, g.Cells)
	}
	if len(seen) != 6 || seen[1] != "X........" || g.Cells != "XXX.O...O" || g.Winner != "ada" || !g.Over {
		t.Errorf("eve saw %q, at last %+v", seen, g)
	}
}

func TestAFullBoardIsADraw(t *testing.T) {
	w := objectstest.New(t, tictactoe.Objects)
	game := w.Object(tictactoe.Games, "g")
	players := [2]string{"ada", "bob"}
	for _, p := range players {
		if _, err := tictactoe.Sit.Do(t.Context(), game, tictactoe.Player{Name: p}); err != nil {
			t.Fatal(err)
		}
	}
	for i, cell := range []int{0, 1, 2, 4, 3, 5, 7, 6, 8} {
		g, err := tictactoe.Move.Do(t.Context(), game, tictactoe.Mark{Name: players[i%2], Cell: cell})
		if err != nil || g.Over != (i == 8) || g.Winner != "" {
			t.Errorf("after %d moves: %+v, %v", i+1, g, err)
		}
	}
}
