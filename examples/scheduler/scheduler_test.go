package scheduler_test

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"holdfast/examples/scheduler"
	"holdfast/gateway/gatewaytest"
	"holdfast/objects"
	"holdfast/objects/objectstest"
)

func TestJobsRunAtTheirTimesThroughCrashesAndFailures(t *testing.T) {
	var ran []string
	fails := 0
	w := objectstest.New(t, scheduler.Objects(func(tx *objects.Tx, j scheduler.Job) error {
		if j.ID == "shy" && fails < 2 {
			fails++
			return objects.Errorf(objects.Unavailable, "not now")
		}
		ran = append(ran, fmt.Sprint(j.ID, " on day ", int(tx.Now().Sub(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)).Hours()/24)))
		return nil
	}))
	plan := w.Object(scheduler.Schedules, "house")
	add := func(id string, days, every int) {
		t.Helper()
		j := scheduler.Job{ID: id, At: w.Now().AddDate(0, 0, days), Days: every}
		if _, err := scheduler.Add.Do(t.Context(), plan, j); err != nil {
			t.Fatal(err)
		}
	}
	add("water", 2, 2)
	add("once", 3, 0)
	add("never", 1, 0)
	add("shy", 3, 0)
	add("once", 5, 0) // replaces the one of day 3
	if _, err := scheduler.Cancel.Do(t.Context(), plan, scheduler.ID{ID: "never"}); err != nil {
		t.Error(err)
	}
	w.Move(plan)
	w.Advance(7 * 24 * time.Hour)
	if want := []string{"water on day 2", "shy on day 3", "water on day 4", "once on day 5", "water on day 6"}; !slices.Equal(ran, want) {
		t.Errorf("ran %q, want %q", ran, want)
	}
	left, err := scheduler.List.Do(t.Context(), plan, nil)
	if err != nil || len(left) != 1 || left[0].ID != "water" {
		t.Errorf("left is %+v, %v, want the one that comes again", left, err)
	}
}

func TestAScheduleIsReachedByItsRoutes(t *testing.T) {
	w := objectstest.New(t, scheduler.Objects(func(*objects.Tx, scheduler.Job) error { return nil }))
	front := gatewaytest.New(t, w, scheduler.Worker)
	if r := front.Do(httptest.NewRequest("GET", "/schedule/house", nil)); r.StatusCode != 200 {
		t.Error(r.Status)
	}
	if r := front.Do(httptest.NewRequest("DELETE", "/schedule/house?id=none", nil)); r.StatusCode != 404 {
		t.Error(r.Status)
	}
}
