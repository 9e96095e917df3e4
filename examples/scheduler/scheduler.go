// Package scheduler runs jobs at their times, once or repeatedly: one object for each schedule. An object has one
// alarm; a map ordered by time turns it into any number of timers.
package scheduler

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"holdfast/gateway"
	"holdfast/objects"
)

// Schedules are lists of jobs.
const Schedules objects.Class = "schedule"

// The calls of a schedule.
var (
	Add    = objects.NewCall[Job, objects.None](Schedules, "add") // replaces a job with the same id
	Cancel = objects.NewCall[ID, objects.None](Schedules, "cancel")
	List   = objects.NewCall[objects.None, []Job](Schedules, "list") // by time
)

// Job is a piece of work with a time.
type Job struct {
	ID   string    `json:"id"`
	At   time.Time `json:"at"`             // when; in the past: now
	Days int       `json:"days,omitempty"` // 0: once; else again after so many days
	What string    `json:"what"`
}

// ID is a job's id.
type ID struct {
	ID string `json:"id"`
}

// Objects returns the class with its code. run does a job at least once: the host may die after it.
func Objects(run func(tx *objects.Tx, j Job) error) *objects.Implementation {
	open := func(*objects.Tx) *schedule { return &schedule{run} }
	return objects.Implement(Schedules, open, objects.On(Add, (*schedule).add), objects.On(Cancel, (*schedule).cancel), objects.On(List, (*schedule).list))
}

// Worker adds the schedules' routes.
func Worker(r fiber.Router, env *gateway.Env) {
	r.Post("/schedule/:name", gateway.Handle(env, Add, gateway.Param("name")))
	r.Delete("/schedule/:name", gateway.Handle(env, Cancel, gateway.Param("name")))
	r.Get("/schedule/:name", gateway.Handle(env, List, gateway.Param("name")))
}

// turn is a time at which a job runs.
type turn struct {
	At time.Time
	ID string
}

var (
	jobs  = objects.NewMap[string, Job]("job")
	turns = objects.NewMap[turn, struct{}]("turn") // in the order of time
)

const maxJobs = 1000

type schedule struct {
	run func(tx *objects.Tx, j Job) error
}

func (s *schedule) add(tx *objects.Tx, j Job) (objects.None, error) {
	switch {
	case j.ID == "" || len(j.ID) > 100 || len(j.What) > 200 || j.Days < 0 || j.Days > 366 || j.At.Year() > 9998:
		return nil, objects.Errorf(objects.Invalid, "want an id, a time before the year 9999, and 0 to 366 days")
	case jobs.Count(tx) >= maxJobs:
		return nil, objects.Errorf(objects.TooMany, "a schedule has at most %d jobs", maxJobs)
	}
	remove(tx, j.ID)
	s.put(tx, j)
	setAlarm(tx)
	return nil, nil
}

func (*schedule) put(tx *objects.Tx, j Job) {
	jobs.Set(tx, j.ID, j)
	turns.Set(tx, turn{j.At, j.ID}, struct{}{})
}

func (*schedule) cancel(tx *objects.Tx, id ID) (objects.None, error) {
	if !remove(tx, id.ID) {
		return nil, objects.Errorf(objects.NotFound, "no job %q", id.ID)
	}
	setAlarm(tx)
	return nil, nil
}

func remove(tx *objects.Tx, id string) bool {
	j, ok := jobs.Lookup(tx, id)
	if ok {
		jobs.Delete(tx, id)
		turns.Delete(tx, turn{j.At, id})
	}
	return ok
}

func (*schedule) list(tx *objects.Tx, _ objects.None) ([]Job, error) {
	all := []Job{}
	for t := range turns.All(tx) {
		all = append(all, jobs.Get(tx, t.ID))
	}
	return all, nil
}

// setAlarm sets the alarm for the first job.
func setAlarm(tx *objects.Tx) {
	first, _, ok := turns.First(tx)
	if !ok {
		tx.DeleteAlarm()
		return
	}
	tx.SetAlarm(first.At)
}

// Alarm runs the jobs that are due. A failed job is tried again, as an alarm is, together with those that are due then.
func (s *schedule) Alarm(tx *objects.Tx, _ objects.AlarmInfo) error {
	for t := range turns.All(tx) {
		if t.At.After(tx.Now()) {
			break
		}
		j := jobs.Get(tx, t.ID)
		if err := s.run(tx, j); err != nil {
			return err
		}
		remove(tx, j.ID)
		if j.Days > 0 {
			for !j.At.After(tx.Now()) { // missed turns are not made up for
				j.At = j.At.AddDate(0, 0, j.Days)
			}
			s.put(tx, j)
		}
	}
	setAlarm(tx)
	return nil
}
