// Package limit is a rate limiter: one object for each thing to be limited.
package limit

import (
	"context"
	"time"

	"holdfast/objects"
)

// Take asks for permission; the answer is how many are left this minute.
var Take = objects.NewCall[objects.None, int]("take")

// Class is the class to run.
var Class = objects.Define("limit", New, objects.On(Take, (*Limit).take))

const perMinute = 5

var used = objects.NewKey[int]("used")

// Limit allows five a minute.
type Limit struct{ state *objects.State }

// New makes a Limit.
func New(state *objects.State) *Limit { return &Limit{state} }

func (l *Limit) take(context.Context, objects.None) (int, error) {
	n := used.Get(l.state, 0)
	if n == perMinute {
		return 0, objects.Errorf(objects.TooMany, "%d a minute; come back later", perMinute)
	}
	if n == 0 {
		l.state.SetAlarm(l.state.Now().Add(time.Minute))
	}
	used.Set(l.state, n+1)
	return perMinute - n - 1, nil
}

// Alarm begins a new minute.
func (l *Limit) Alarm(context.Context, objects.AlarmInfo) error {
	used.Delete(l.state)
	return nil
}
