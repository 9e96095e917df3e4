package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/chaos/history"
)

// calm returns a run in which an owner was killed and all went well.
func calm() []history.Record {
	return []history.Record{
		{Op: &history.Op{Object: "o", Client: 1, Gateway: "g", Kind: history.Claim, Start: 1, End: 2, Outcome: history.OK, Value: 1}},
		{Fault: &history.Fault{Key: "kill", At: 3, Healed: 4, Over: 5, Objects: []string{"o"}, Proof: "host-1 (pid 7): signal: killed"}},
		{Op: &history.Op{Object: "o", Client: 1, Gateway: "g", Kind: history.Claim, Start: 4, End: 5, Outcome: history.OK, Value: 2}},
		{Op: &history.Op{Object: "o", Client: 2, Gateway: "g", Kind: history.Read, Start: 9 * time.Second, End: 10 * time.Second, Outcome: history.OK, Value: 2, Final: true}},
	}
}

func TestEachTargetThatIsMissedIsSaid(t *testing.T) {
	fault := func(change func(*history.Fault)) []history.Record {
		records := calm()
		change(records[1].Fault)
		return records
	}
	closed := func(key string) []history.Record {
		return append(fault(func(f *history.Fault) { f.Key = key }),
			history.Record{Opened: &history.Opened{Conn: 1, Room: "r", Gateway: "g", Role: history.Busy, User: "u"}},
			history.Record{Closed: &history.Closed{Conn: 1, Code: 1012, At: 5}})
	}
	claim := func(change func(*history.Op)) []history.Record {
		records := calm()
		change(records[2].Op)
		return records
	}
	late := claim(func(op *history.Op) { op.End += 4 * time.Second })
	failed := claim(func(op *history.Op) {
		op.Failed = []history.Try{{Start: 4, End: 5, Outcome: history.Refused, Dialed: true, Status: 503}}
	})

	for _, tt := range []struct {
		name    string
		records []history.Record
		want    string // empty: none is missed
		late    bool   // it is a target of time
	}{
		{"all is well", calm(), "", false},
		{"a fault that nothing proves", fault(func(f *history.Fault) { f.Proof = "" }), "nothing shows that it happened", false},
		{"no fault at all", slices.Delete(calm(), 1, 2), "no fault was injected", false},
		{"a request that failed", failed, "1 requests failed", false},
		{"a gap above the bound", late, "the gap's p99 is 4s", true},
		{"a busy socket that a planned restart closed", closed("restart"), "1 busy and 0 idle sockets were closed", false},
		{"a busy socket that a crash closed", closed("kill"), "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := judgeRecords(tt.records)
			got := strings.Join(r.Missed, "; ")
			if tt.late {
				got = strings.Join(r.Late, "; ")
			}
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("missed = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTheTableHasACellForEachColumn(t *testing.T) {
	r := judgeRecords(calm())
	if got := r.cells(); len(got) != len(head) || got[0] != "kill" || got[1] != "1" {
		t.Errorf("cells = %q, want %d of them, beginning with kill and 1", got, len(head))
	}
}

func TestFaultsHaveKeysOfTheirOwnAndPlantsNameThem(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range faults {
		if seen[f.key] || f.title == "" || f.times < 1 || f.inject == nil || f.nodes != 1 && f.nodes != 3 {
			t.Errorf("%q is there twice or not whole", f.key)
		}
		seen[f.key] = true
	}
	for _, p := range plants {
		if !seen[p.fault] {
			t.Errorf("%s is to be found in %q, which is no fault", p.name, p.fault)
		}
	}
	if _, err := choose([]string{"kill", "quake"}); err == nil || !strings.Contains(err.Error(), `"quake"`) {
		t.Errorf("choosing what is not there: %v", err)
	}
	if chosen, err := choose([]string{"split", "kill"}); err != nil || len(chosen) != 2 || chosen[0].key != "kill" {
		t.Errorf("chosen %v, %v, want kill and split, in the table's order", chosen, err)
	}
}
