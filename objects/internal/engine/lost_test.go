package engine_test

import (
	"testing"
	"time"

	"holdfast/objects/internal/engine"
)

func TestAnAlarmUnderWhichSixOwnersWereLostIsParked(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	a := engine.Alarm{At: now, Due: now.Add(time.Second), Retry: 1}
	for n := 1; n < 6; n++ {
		a = a.OwnerLost(now.Add(time.Minute))
		if _, ok := a.Next(); !ok || a.Lost != n || a.Parked || a.Retry != 1 {
			t.Fatalf("after %d lost owners: %+v, want it still due", n, a)
		}
	}
	a = a.OwnerLost(now.Add(time.Minute))
	if next, ok := a.Next(); ok || !a.Parked || a.Lost != 6 || !a.At.Equal(now) {
		t.Errorf("after the sixth: %+v, next %v; want it parked and still to be seen", a, next)
	}
	if again := a.OwnerLost(now.Add(time.Hour)); !again.Equal(a) {
		t.Errorf("a parked alarm became %+v", again)
	}
	if resumed := a.Resumed(); resumed.Parked || resumed.Lost != 0 || resumed.Retry != 0 || !resumed.At.Equal(now) {
		t.Errorf("resumed: %+v, want it due as it was set", resumed)
	}
}

func TestOnlyWhatMayHaveEndedAnOwnerCountsAgainstAnAlarm(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		a    engine.Alarm
		want int
	}{
		{"none", engine.Alarm{}, 0},
		{"not due yet", engine.Alarm{At: now.Add(1)}, 0},
		{"to be tried again later", engine.Alarm{At: now, Due: now.Add(1), Retry: 1, Lost: 2}, 2},
		{"due just now", engine.Alarm{At: now}, 1},
		{"overdue", engine.Alarm{At: now.Add(-time.Hour), Lost: 2}, 3},
	} {
		if got := c.a.OwnerLost(now); got.Lost != c.want || got.Parked {
			t.Errorf("%s: %+v, want %d owners lost", c.name, got, c.want)
		}
	}
	if failed := (engine.Alarm{At: now, Lost: 5}).Failed(now, 0); failed.Lost != 0 {
		t.Errorf("a run that failed left its owner alive, and %d owners are counted as lost", failed.Lost)
	}
	if a := (engine.Alarm{At: now, Retry: 2, Due: now}).Resumed(); a.Retry != 2 {
		t.Errorf("an alarm that was not parked was set anew: %+v", a)
	}
}
