package engine

import "time"

// Alarm is an object's alarm as its record keeps it. The zero Alarm is none.
type Alarm struct {
	At     time.Time `json:"at,omitzero"`      // what the author set
	Due    time.Time `json:"due,omitzero"`     // when to try again, after a failure
	Retry  int       `json:"retry,omitzero"`   // failures so far
	Parked bool      `json:"parked,omitempty"` // given up after the last retry; kept to be seen
}

// AlarmInfo tells a handler about the alarm that runs.
type AlarmInfo struct {
	Scheduled time.Time
	Retry     int
}

// MaxAlarmRetries is after how many failed tries an alarm is parked.
const MaxAlarmRetries = 6

// retryFirst is the wait before the first retry, as Cloudflare's: it doubles with every
// retry, with up to a quarter of jitter.
const retryFirst = 2 * time.Second

// Next is when the alarm is to run; false if there is nothing to run.
func (a Alarm) Next() (time.Time, bool) {
	switch {
	case a.At.IsZero() || a.Parked:
		return time.Time{}, false
	case a.Due.IsZero():
		return a.At, true
	default:
		return a.Due, true
	}
}

// Equal reports whether two alarms are the same.
func (a Alarm) Equal(b Alarm) bool {
	return a.At.Equal(b.At) && a.Due.Equal(b.Due) && a.Retry == b.Retry && a.Parked == b.Parked
}

// Failed is the alarm after a run of it has failed: due again later, or parked after the last retry. jitter is a random
// number in [0, 1).
func (a Alarm) Failed(now time.Time, jitter float64) Alarm {
	if a.Retry >= MaxAlarmRetries {
		a.Parked, a.Due = true, time.Time{}
		return a
	}
	wait := retryFirst << a.Retry
	wait += time.Duration(jitter * float64(wait) / 4)
	a.Retry++
	a.Due = now.Add(wait).UTC().Truncate(time.Millisecond)
	return a
}

// Info is what the handler of this alarm is told.
func (a Alarm) Info() AlarmInfo { return AlarmInfo{Scheduled: a.At, Retry: a.Retry} }
