package host

import (
	"testing"
	"time"

	"holdfast/objects/host/internal/record"
)

func TestAnObjectThatKeepsLosingItsOwnersIsLeftAlone(t *testing.T) {
	rec := func(owner string, claims uint64) *record.Record {
		return &record.Record{Owner: owner, Claims: claims, Claimed: now.Unix()}
	}
	for _, c := range []struct {
		what  string
		rec   *record.Record
		after time.Duration
		want  time.Duration
	}{
		{"no record", nil, 0, 0},
		{"lost once", rec("a", 1), 0, 0},
		{"lost twice", rec("a", 2), 0, 0},
		{"lost three times", rec("a", 3), 0, 5 * time.Second},
		{"later", rec("a", 3), 3 * time.Second, 2 * time.Second},
		{"after the quarantine", rec("a", 3), 5 * time.Second, 0},
		{"lost five times", rec("a", 5), 0, 20 * time.Second},
		{"lost for ever", rec("a", 1<<60), 0, 5 * time.Minute},
		{"released", rec("", 9), 0, 0},
		{"committed since", rec("a", 0), 0, 0},
		{"lost long after its claim", rec("a", 9), 10*time.Minute + 1, 0},
		{"claimed by a clock that is ahead", rec("a", 3), -time.Minute, 5 * time.Second},
		{"claimed by a clock that is wrong", rec("a", 3), -time.Hour, 0},
		{"claimed in a year that cannot be", &record.Record{Owner: "a", Claims: 9, Claimed: 1<<63 - 1}, 0, 0},
		{"claimed before all time", &record.Record{Owner: "a", Claims: 9, Claimed: -1 << 63}, 0, 0},
	} {
		if got := quarantine(c.rec, now.Add(c.after)); got != c.want {
			t.Errorf("%s: left alone for %v, want %v", c.what, got, c.want)
		}
	}
}
