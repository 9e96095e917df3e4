package host

import (
	"testing"
	"time"

	"holdfast/objects/host/internal/owner"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/internal/engine"
)

func TestAClaimPutsTheRecordInItsNameAndCountsALostOwner(t *testing.T) {
	now := time.Unix(100_000, 0)
	put := owner.Put{Head: owner.Head{Epoch: 4, Owner: "me", Commit: 9}}
	alarm := engine.Alarm{At: now.Add(-time.Second), Number: 3}
	lost := record.Record{Name: "ada", Epoch: 3, Owner: "other", Commit: 8, Claims: 2, Claimed: now.Add(-time.Minute).Unix(), Alarm: alarm, Data: new(engine.Data)}
	released, mine := lost, lost
	released.Owner, mine.Owner = "", "me"
	for _, tt := range []struct {
		name   string
		found  *record.Record
		lifted bool
		claims uint64
		alarm  int // owners that were lost while it was due
	}{
		{"there is no record", nil, false, 1, 0},
		{"nobody owned it", &released, false, 1, 0},
		{"its owner was lost", &lost, false, 3, 1},
		{"its owner was lost, and an operator lifts that", &lost, true, 1, 1},
		{"it is ours from a claim before", &mine, false, 2, 0},
	} {
		c := claim{lifted: tt.lifted}
		c.read(tt.found)
		rec, parked := c.put(put, "ada", "me", now)
		if rec.Name != "ada" || rec.Epoch != 4 || rec.Owner != "me" || rec.Commit != 9 || rec.Data == nil {
			t.Errorf("%s: the record is %+v", tt.name, rec)
		}
		if rec.Claims != tt.claims || rec.Alarm.Lost != tt.alarm || parked {
			t.Errorf("%s: %d claims, %d of them with the alarm due (parked: %t), want %d and %d", tt.name, rec.Claims, rec.Alarm.Lost, parked, tt.claims, tt.alarm)
		}
		if got, _ := c.quarantine(now); tt.lifted && got != 0 {
			t.Errorf("%s: quarantine for %v", tt.name, got)
		}
	}
}
