// Package limit is a rate limiter: one object for each thing to be limited.
package limit

import (
	"time"

	"holdfast/objects"
)

// Limits are limiters.
const Limits objects.Class = "limit"

// Take asks for permission; the answer is how many are left this minute.
var Take = objects.NewCall[objects.None, int](Limits, "take")

// Objects is the class with its code.
var Objects = objects.Implement(Limits, objects.New[Limit], objects.On(Take, (*Limit).take))

const perMinute = 5

var used = objects.NewKey[int]("used")

// Limit allows five a minute.
type Limit struct{}

func (*Limit) take(tx *objects.Tx, _ objects.None) (int, error) {
	n := used.Get(tx)
	if n == perMinute {
		at, _ := tx.Alarm()
		return 0, objects.Errorf(objects.TooMany, "%d a minute; come back later", perMinute).With("at", at)
	}
	if n == 0 {
		tx.SetAlarm(tx.Now().Add(time.Minute))
	}
	used.Set(tx, n+1)
	return perMinute - n - 1, nil
}

// Alarm begins a new minute.
func (*Limit) Alarm(tx *objects.Tx, _ objects.AlarmInfo) error {
	used.Delete(tx)
	return nil
}
