package engine

import "time"

// Alarm is an object's alarm as its record keeps it. The zero Alarm is none.
type Alarm struct {
	At     time.Time `json:"at,omitzero"`      // what the author set
	Due    time.Time `json:"due,omitzero"`     // when to try again, after a failure
	Retry  int       `json:"retry,omitzero"`   // failures so far
	Lost   int       `json:"lost,omitzero"`    // owners in a row that were lost while it was due: the alarm may be the cause
	Parked bool      `json:"parked,omitempty"` // given up after the last retry or the last lost owner; kept so that an operator sees it
	Number uint64    `json:"n,omitzero"`       // of this setting, assigned by the host: all runs of it are one event
}

// AlarmInfo describes the alarm that runs.
type AlarmInfo struct {
	Scheduled time.Time
	Retry     int
}

// MaxAlarmRetries is the number of failed tries after which an alarm is parked.
const MaxAlarmRetries = 6

// retryFirst is the wait before the first retry, as Cloudflare's: it doubles with every
// retry, with up to a quarter of jitter.
const retryFirst = 2 * time.Second

// Next returns when the alarm is to run; false if there is nothing to run.
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

// Equal reports whether two alarms are the same except for their numbers.
func (a Alarm) Equal(b Alarm) bool {
	return a.At.Equal(b.At) && a.Due.Equal(b.Due) && a.Retry == b.Retry && a.Lost == b.Lost && a.Parked == b.Parked
}

// Failed returns the alarm after a run of it has failed: due again later, or parked after the last retry. jitter is a
// random number in [0, 1).
func (a Alarm) Failed(now time.Time, jitter float64) Alarm {
	a.Lost = 0 // its owner has survived the run
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

// MaxAlarmLosses is the number of owners lost in a row after which an alarm is parked.
const MaxAlarmLosses = 6

// OwnerLost returns the alarm after the object's owner was lost. An owner runs a due alarm as
// soon as it serves the object, and what comes of the run is put with the alarm. So an
// alarm that is still due may have been running when the owner was lost; after six
// owners in a row it is parked. A slow alarm, whose wake-up comes again while the alarm
// runs, loses no owner.
func (a Alarm) OwnerLost(now time.Time) Alarm {
	if next, ok := a.Next(); !ok || now.Before(next) {
		return a
	}
	if a.Lost++; a.Lost >= MaxAlarmLosses {
		a.Parked, a.Due = true, time.Time{}
	}
	return a
}

// Resumed returns the alarm, due again if it is parked: an operator has removed the cause.
func (a Alarm) Resumed() Alarm {
	if a.Parked {
		a = Alarm{At: a.At, Number: a.Number}
	}
	return a
}

// Info returns the information for the alarm's handler.
func (a Alarm) Info() AlarmInfo { return AlarmInfo{Scheduled: a.At, Retry: a.Retry} }
