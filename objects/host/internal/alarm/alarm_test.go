package alarm

import (
	"testing"
	"time"
)

func TestAFarAlarmIsScheduledAYearAhead(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	year := now.Add(365 * 24 * time.Hour)
	for _, c := range []struct{ at, want time.Time }{
		{time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)},
		{now, now},
		{year, year},
		{year.Add(1), year},
		{time.Date(2263, 1, 1, 0, 0, 0, 0, time.UTC), year}, // beyond what nanoseconds can count
		{time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC), year},
	} {
		if got := within(c.at, now); !got.Equal(c.want) {
			t.Errorf("%v is scheduled for %v, want %v", c.at, got, c.want)
		}
	}
}

func TestAnEarlyAlarmIsSetAgainAtMostOnceASecond(t *testing.T) {
	server := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name       string
		next, want time.Duration // from the server's time
	}{
		{"the owner's clock is an hour behind", -time.Hour, time.Second},
		{"due now", 0, time.Second},
		{"due in a moment", time.Millisecond, time.Second},
		{"due in a second", time.Second, time.Second},
		{"a later one has replaced the one that fired", time.Minute, time.Minute},
	} {
		if got := Again(server.Add(c.next), server).Sub(server); got != c.want {
			t.Errorf("%s: again in %v, want %v", c.name, got, c.want)
		}
	}
}
