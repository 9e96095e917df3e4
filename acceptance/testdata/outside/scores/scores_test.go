package scores_test

import (
	"io"
	"net/http/httptest"
	"testing"

	"example.org/outside/scores"
	"holdfast/objects"
	"holdfast/objects/objectstest"
)

func TestTheBestCountsAndOutlivesTheInstance(t *testing.T) {
	w := objectstest.New(t, scores.Objects)
	chess := w.Object(scores.Boards, "chess")
	for _, s := range []struct{ points, best int }{{10, 10}, {30, 30}, {30, 30}, {20, 30}} {
		got, err := scores.Report.Do(t.Context(), chess, scores.Score{Player: "ada", Points: s.points})
		if got.Points != s.best || err != nil {
			t.Errorf("report %d = %+v, %v, want %d", s.points, got, err, s.best)
		}
		w.Evict(chess)
	}
	if _, err := scores.Report.Do(t.Context(), chess, scores.Score{Player: "ada", Points: -1}); objects.CodeOf(err) != objects.Invalid {
		t.Errorf("report -1: %v, want invalid", err)
	}
	response, err := chess.Fetch(httptest.NewRequest("GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if string(body) != `{"ada":30}`+"\n" || err != nil {
		t.Errorf("all = %s, %v", body, err)
	}
}

func TestAScoreWhoseCommitIsRefusedIsKeptByTheNextOwner(t *testing.T) {
	w := objectstest.New(t, scores.Objects)
	chess := w.Object(scores.Boards, "chess")
	w.Refuse(chess)
	got, err := scores.Report.Do(t.Context(), chess, scores.Score{Player: "ada", Points: 1})
	if got.Points != 1 || err != nil || w.Constructed(chess) != 2 {
		t.Errorf("report = %+v, %v of instance %d, want 1 of the second", got, err, w.Constructed(chess))
	}
}
