// Package jobs is a queue of slow work: one object for each queue. A job runs beside the queue's events, and is tried
// again if it fails, or if its host dies.
package jobs

import (
	"context"
	"time"

	"github.com/gofiber/fiber/v2"

	"holdfast/gateway"
	"holdfast/objects"
)

// Queues are queues of jobs.
const Queues objects.Class = "jobs"

// The calls of a queue.
var (
	Add  = objects.NewCall[Job, objects.None](Queues, "add") // once, however often it is repeated
	List = objects.NewCall[objects.None, []Job](Queues, "list")

	run   = objects.NewCall[string, objects.None](Queues, "run")   // by a timer
	ended = objects.NewCall[result, objects.None](Queues, "ended") // by the work
)

// Job is a piece of work.
type Job struct {
	ID    string `json:"id"`
	What  string `json:"what"`
	Tries int    `json:"tries"`
	State string `json:"state"`         // waiting, done, failed
	Why   string `json:"why,omitempty"` // of the last failure

	Next time.Time `json:"next,omitzero"` // when it is tried again if the result of this try does not come
}

type result struct {
	ID    string `json:"id"`
	Try   int    `json:"try"`
	Error string `json:"error,omitempty"`
}

// Work does a job, at least once.
type Work func(ctx context.Context, j Job) error

// Objects returns the class with its code. work does the jobs.
func Objects(work Work) *objects.Implementation {
	open := func(*objects.Tx) *queue { return &queue{work} }
	return objects.Implement(Queues, open,
		objects.On(Add, (*queue).add), objects.On(List, (*queue).list), objects.On(run, (*queue).run), objects.On(ended, (*queue).ended))
}

// Worker adds the queues' routes.
func Worker(r fiber.Router, env *gateway.Env) {
	r.Post("/jobs/:queue", gateway.Handle(env, Add, gateway.Param("queue")))
	r.Get("/jobs/:queue", gateway.Handle(env, List, gateway.Param("queue")))
}

var all = objects.NewMap[string, Job]("job")

const (
	maxJobs  = 1000
	maxTries = 5

	failed = 5 * time.Second // until a failed job is tried again; doubled with every try
	lost   = time.Minute     // until a job without a result is tried again; likewise
)

type queue struct{ work Work }

func (q *queue) add(tx *objects.Tx, j Job) (objects.None, error) {
	if j.ID == "" || len(j.ID) > 100 || len(j.What) > 200 {
		return nil, objects.Errorf(objects.Invalid, "a job has an id of 1 to 100 bytes, and what to do, of at most 200")
	}
	if _, known := all.Lookup(tx, j.ID); known {
		return nil, nil
	}
	if all.Count(tx) >= maxJobs {
		return nil, objects.Errorf(objects.TooMany, "the queue is full")
	}
	all.Set(tx, j.ID, Job{ID: j.ID, What: j.What, State: "waiting"})
	return q.run(tx, j.ID)
}

// run begins a job: first it sets a timer, which begins the job again if no result comes, and then it starts the work,
// beside the events.
func (q *queue) run(tx *objects.Tx, id string) (objects.None, error) {
	j := all.Get(tx, id)
	if j.State != "waiting" {
		return nil, nil
	}
	j.Tries++
	q.setTimer(tx, j, lost<<j.Tries)
	tx.Go(func(t *objects.Task) error {
		r := result{ID: id, Try: j.Tries}
		if err := q.work(t, j); err != nil {
			r.Error = err.Error()
		}
		_, err := ended.Do(t, t.Self(), r)
		return err
	})
	return nil, nil
}

// setTimer sets when the job runs next, in place of an earlier time.
func (*queue) setTimer(tx *objects.Tx, j Job, after time.Duration) {
	j.Next = tx.Now().Add(after)
	all.Set(tx, j.ID, j)
	run.Tell(tx, tx.Self(), j.ID, objects.At(j.Next), objects.Keyed(j.ID))
}

// ended handles the result of a job.
func (q *queue) ended(tx *objects.Tx, r result) (objects.None, error) {
	j := all.Get(tx, r.ID)
	if j.State != "waiting" || j.Tries != r.Try {
		return nil, nil // another try is under way
	}
	j.Why = r.Error
	switch {
	case r.Error == "":
		j.State = "done"
	case j.Tries == maxTries:
		j.State = "failed"
	default:
		q.setTimer(tx, j, failed<<(j.Tries-1))
		return nil, nil
	}
	tx.Cancel(j.ID)
	j.Next = time.Time{}
	all.Set(tx, j.ID, j)
	return nil, nil
}

func (*queue) list(tx *objects.Tx, _ objects.None) ([]Job, error) {
	jobs := []Job{}
	for _, j := range all.All(tx) {
		jobs = append(jobs, j)
	}
	return jobs, nil
}
