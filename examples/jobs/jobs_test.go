package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"holdfast/examples/jobs"
	"holdfast/objects/objectstest"
)

func TestJobsAreTriedUntilTheyAreDone(t *testing.T) {
	var mu sync.Mutex
	ran := map[string]int{}
	w := objectstest.New(t, jobs.Objects(func(_ context.Context, j jobs.Job) error {
		mu.Lock()
		defer mu.Unlock()
		ran[j.ID]++
		if j.What == "hopeless" || j.What == "shy" && ran[j.ID] < 3 {
			return errors.New("not today")
		}
		return nil
	}))
	q := w.Object(jobs.Queues, "mail")
	for _, what := range []string{"easy", "shy", "hopeless", "easy"} { // the second is the same job
		if _, err := jobs.Add.Do(t.Context(), q, jobs.Job{ID: what, What: what}); err != nil {
			t.Fatal(err)
		}
	}
	for try := range 6 {
		w.Wait()
		w.Advance(time.Minute << (try + 1)) // as long as the queue waits to hear of it
	}
	list, err := jobs.List.Do(t.Context(), q, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, j := range list {
		got += fmt.Sprintf("%s %s after %d %s;", j.ID, j.State, j.Tries, j.Why)
	}
	if want := "easy done after 1 ;hopeless failed after 5 not today;shy done after 3 ;"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestAJobWhoseHostDiesIsBegunAgain(t *testing.T) {
	var mu sync.Mutex
	runs := 0
	w := objectstest.New(t, jobs.Objects(func(ctx context.Context, _ jobs.Job) error {
		mu.Lock()
		runs++
		first := runs == 1
		mu.Unlock()
		if first {
			<-ctx.Done() // its host dies
			return ctx.Err()
		}
		return nil
	}))
	q := w.Object(jobs.Queues, "mail")
	if _, err := jobs.Add.Do(t.Context(), q, jobs.Job{ID: "a", What: "a"}); err != nil {
		t.Fatal(err)
	}
	w.Move(q)
	w.Wait()
	w.Advance(2 * time.Minute)
	w.Wait()
	list, err := jobs.List.Do(t.Context(), q, nil)
	if err != nil || len(list) != 1 || list[0].State != "done" || list[0].Tries != 2 {
		t.Errorf("the job is %+v, %v, want it done at the second try", list, err)
	}
}
