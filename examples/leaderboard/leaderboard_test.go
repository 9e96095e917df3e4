package leaderboard_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"

	"holdfast/examples/leaderboard"
	"holdfast/gateway/gatewaytest"
	"holdfast/objects"
	"holdfast/objects/objectstest"
)

func TestTheBestComeFirstAndAPlayerHasOnePlace(t *testing.T) {
	w := objectstest.New(t, leaderboard.Objects)
	board := w.Object(leaderboard.Boards, "chess")
	for i, points := range []int{300, -5, 900, 900, 20} {
		s := leaderboard.Score{Player: fmt.Sprint("p", i), Points: points}
		if _, err := leaderboard.Report.Do(t.Context(), board, s); err != nil {
			t.Fatal(err)
		}
	}
	for _, better := range []int{400, 100} { // the second is worse, and does not count
		e, err := leaderboard.Report.Do(t.Context(), board, leaderboard.Score{Player: "p4", Points: better})
		if err != nil || e.Points != 400 || e.Rank != 3 {
			t.Errorf("p4 is at %+v, %v, want 400 points and the third place", e, err)
		}
	}
	top, err := leaderboard.Top.Do(t.Context(), board, leaderboard.Best{})
	var order []string
	for _, e := range top {
		order = append(order, e.Player)
	}
	if want := []string{"p2", "p3", "p4", "p0", "p1"}; err != nil || !slices.Equal(order, want) {
		t.Errorf("the order is %q, %v, want %q", order, err, want)
	}
	if _, err := leaderboard.Rank.Do(t.Context(), board, leaderboard.Who{Player: "nobody"}); objects.CodeOf(err) != objects.NotFound {
		t.Errorf("who has not played: %v", err)
	}
	front := gatewaytest.New(t, w, leaderboard.Worker)
	r := front.Do(httptest.NewRequest("GET", "/leaderboard/chess?count=2", nil))
	if err := json.NewDecoder(r.Body).Decode(&top); err != nil || len(top) != 2 || top[1].Player != "p3" {
		t.Errorf("%s: %+v, %v", r.Status, top, err)
	}
}
