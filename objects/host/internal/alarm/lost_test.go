package alarm

import (
	"testing"
	"time"

	"holdfast/objects"
)

func TestAnAlarmUnderWhichSixOwnersWereLostIsParked(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	a := objects.Alarm{At: now, Due: now.Add(time.Second), Retry: 1}
	for n := 1; n < 6; n++ {
		a = OwnerLost(a, now.Add(time.Minute))
		if _, ok := a.Next(); !ok || a.Lost != n || a.Parked || a.Retry != 1 {
			t.Fatalf("after %d lost owners: %+v, want it still due", n, a)
		}
	}
	a = OwnerLost(a, now.Add(time.Minute))
	if next, ok := a.Next(); ok || !a.Parked || a.Lost != 6 || !a.At.Equal(now) {
		t.Errorf("after the sixth: %+v, next %v; want it parked and still to be seen", a, next)
	}
	if again := OwnerLost(a, now.Add(time.Hour)); !again.Equal(a) {
		t.Errorf("a parked alarm became %+v", again)
	}
	if resumed := Resumed(a); resumed.Parked || resumed.Lost != 0 || resumed.Retry != 0 || !resumed.At.Equal(now) {
		t.Errorf("resumed: %+v, want it due as it was set", resumed)
	}
}

func TestOnlyWhatMayHaveEndedAnOwnerCountsAgainstAnAlarm(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		a    objects.Alarm
		want int
	}{
		{"none", objects.Alarm{}, 0},
		{"not due yet", objects.Alarm{At: now.Add(1)}, 0},
		{"to be tried again later", objects.Alarm{At: now, Due: now.Add(1), Retry: 1, Lost: 2}, 2},
		{"due just now", objects.Alarm{At: now}, 1},
		{"overdue", objects.Alarm{At: now.Add(-time.Hour), Lost: 2}, 3},
	} {
		if got := OwnerLost(c.a, now); got.Lost != c.want || got.Parked {
			t.Errorf("%s: %+v, want %d owners lost", c.name, got, c.want)
		}
	}
	if failed := Failed(objects.Alarm{At: now, Lost: 5}, now, 0); failed.Lost != 0 {
		t.Errorf("a run that failed left its owner alive, and %d owners are counted as lost", failed.Lost)
	}
	if a := Resumed(objects.Alarm{At: now, Retry: 2, Due: now}); a.Retry != 2 {
		t.Errorf("an alarm that was not parked was set anew: %+v", a)
	}
}
