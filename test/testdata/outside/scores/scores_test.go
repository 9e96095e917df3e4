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
	w := objectstest.New(t, scores.Class)
	chess := w.Ref("scores", "chess")
	for _, s := range []struct{ points, best int }{{10, 10}, {30, 30}, {30, 30}, {20, 30}} {
		got, err := scores.Report.Do(t.Context(), chess, scores.Score{Player: "ada", Points: s.points})
		if got.Points != s.best || err != nil {
			t.Errorf("report %d = %+v, %v, want %d", s.points, got, err, s.best)
		}
		w.Evict("scores", "chess")
	}
	if _, err := scores.Report.Do(t.Context(), chess, scores.Score{Player: "ada", Points: -1}); objects.CodeOf(err) != objects.Invalid {
		t.Errorf("report -1: %v, want invalid", err)
	}
	body, err := io.ReadAll(w.Fetch("scores", "chess", httptest.NewRequest("GET", "/", nil)).Body)
	if string(body) != `{"best/ada":30}`+"\n" || err != nil {
		t.Errorf("all = %s, %v", body, err)
	}
}

func TestARefusedCommitRunsAgainAtTheNextOwner(t *testing.T) {
	w := objectstest.New(t, scores.Class)
	w.RefuseCommit("scores", "chess")
	_, err := scores.Report.Do(t.Context(), w.Ref("scores", "chess"), scores.Score{Player: "ada", Points: 1})
	if _, kept := w.Stored("scores", "chess", "best/ada"); err != nil || !kept {
		t.Errorf("report = %v, kept %v, want it kept", err, kept)
	}
}
