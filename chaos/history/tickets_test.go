package history_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/chaos/history"
)

func claimed(client, from, to, value int) history.Record {
	return op(history.Claim, client, from, to, value, history.OK)
}

func read(client, from, to, value int) history.Record {
	return op(history.Read, client, from, to, value, history.OK)
}

// op returns an operation between two milliseconds.
func op(kind history.Kind, client, from, to, value int, outcome history.Outcome) history.Record {
	return history.Record{Op: &history.Op{
		Object: "o", Client: client, Gateway: "g", Kind: kind, Start: ms(from), End: ms(to), Outcome: outcome, Value: value, Owner: "h", Epoch: "1",
	}}
}

// final returns what a counter says when everything is over.
func final(value int) history.Record {
	r := read(9, 9000, 9010, value)
	r.Op.Final = true
	return r
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// unknown returns a claim whose answer never came.
func unknown(client, from, to int) history.Record {
	return failed(client, from, to, history.Unknown, "")
}

// failed returns a claim that was answered with something else than a ticket.
func failed(client, from, to int, outcome history.Outcome, code string) history.Record {
	r := op(history.Claim, client, from, to, 0, outcome)
	r.Op.Failed = []history.Try{{Start: ms(from), End: ms(to), Outcome: outcome, Dialed: true, Status: 504, Code: code}}
	return r
}

// figures returns what is not 0 of a verdict.
func figures(t history.Tickets) string {
	var all []string
	for _, f := range []struct {
		name string
		n    int
	}{
		{"failed", t.Failed}, {"lost", t.Lost}, {"doubled", t.Doubled}, {"order", t.Order}, {"stale", t.Stale},
		{"phantom", t.Phantom}, {"illegal", t.Illegal}, {"unread", t.Unread}, {"own", t.Own}, {"full", t.Full},
	} {
		if f.n != 0 {
			all = append(all, fmt.Sprintf("%s %d", f.name, f.n))
		}
	}
	return strings.Join(all, ", ")
}

func TestTicketHistoriesAreJudged(t *testing.T) {
	notRead := final(0)
	notRead.Op.Outcome = history.Unknown
	frozen := history.Record{Fault: &history.Fault{Key: "freeze", At: ms(0), Healed: ms(400), Excused: []string{"g"}}}
	gone := history.Record{Fault: &history.Fault{Key: "stop", At: ms(0), Healed: ms(400), Gone: []string{"g"}}}
	refusedDial := failed(2, 30, 40, history.Refused, "")
	refusedDial.Op.Failed[0].Dialed = false

	for _, tt := range []struct {
		name    string
		records []history.Record
		want    string
	}{
		{"nothing is wrong", []history.Record{claimed(1, 0, 10, 1), claimed(2, 5, 15, 2), read(3, 20, 30, 2), claimed(1, 40, 50, 3), final(3)}, ""},
		{"a ticket given twice", []history.Record{claimed(1, 0, 10, 1), claimed(2, 0, 15, 1), final(1)}, "doubled 1, illegal 1"},
		{"a ticket that was given and does not count", []history.Record{claimed(1, 0, 10, 1), claimed(2, 20, 30, 2), final(1)}, "lost 1, stale 1, illegal 1"},
		{"a count for which nobody asked", []history.Record{claimed(1, 0, 10, 1), claimed(2, 20, 30, 3), final(3)}, "phantom 1, illegal 1"},
		{"a later claim with a lower number", []history.Record{claimed(1, 0, 10, 2), claimed(2, 20, 30, 1), final(2)}, "order 1, illegal 1"},
		{"a read that missed a ticket", []history.Record{claimed(1, 0, 10, 1), claimed(1, 20, 30, 2), read(2, 40, 50, 1), final(2)}, "stale 1, illegal 1"},
		{"a read that went back", []history.Record{claimed(1, 0, 100, 1), read(2, 10, 20, 1), read(2, 30, 40, 0), final(1)}, "stale 1, illegal 1"},
		{"a read of a ticket that was given later", []history.Record{read(2, 0, 10, 1), claimed(1, 20, 30, 1), final(1)}, "stale 1, illegal 1"},
		{"an unknown claim that counted", []history.Record{unknown(1, 0, 10), claimed(2, 20, 30, 2), final(2)}, "failed 1"},
		{"an unknown claim that did not count", []history.Record{unknown(1, 0, 10), claimed(2, 20, 30, 1), final(1)}, "failed 1"},
		{"an unknown claim that counted twice", []history.Record{unknown(1, 0, 10), claimed(2, 20, 30, 3), final(3)}, "failed 1, phantom 1, illegal 1"},
		{"an unknown claim that counted before it was sent", []history.Record{claimed(2, 0, 10, 2), unknown(1, 20, 30), final(2)}, "failed 1, illegal 1"},
		{"a refused claim that counted", []history.Record{failed(1, 0, 10, history.Refused, "unavailable"), claimed(2, 20, 30, 2), final(2)}, "failed 1, phantom 1, illegal 1"},
		{"a refusal because the store is full is none of the failures", []history.Record{failed(1, 0, 10, history.Refused, "storage_full"), claimed(2, 20, 30, 1), final(1)}, "full 1"},
		{"a failure at a gateway that was frozen is its own", []history.Record{frozen, unknown(1, 10, 20), claimed(2, 20, 30, 1), final(1)}, "own 1"},
		{"a failure long after the gateway was frozen is not", []history.Record{frozen, unknown(1, 1500, 1600), claimed(2, 20, 30, 1), final(1)}, "failed 1"},
		{"a gateway that has stopped takes no connections", []history.Record{gone, refusedDial, claimed(1, 50, 60, 1), final(1)}, "own 1"},
		{"a gateway that stops ends no request", []history.Record{gone, unknown(2, 30, 40), claimed(1, 50, 60, 1), final(1)}, "failed 1"},
		{"a counter that nobody could read at the end", []history.Record{claimed(1, 0, 10, 1), final(1), notRead}, "unread 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := history.CheckTickets(tt.records, 10*time.Second)
			if figures(got) != tt.want {
				t.Errorf("faults = %q, want %q\n%s", figures(got), tt.want, strings.Join(got.Flaws, "\n"))
			}
		})
	}
}

func TestAGapIsTheLongestTimeWithoutASuccessThatTouchesTheFault(t *testing.T) {
	records := []history.Record{
		claimed(1, 0, 100, 1), claimed(1, 100, 900, 2), claimed(1, 900, 1000, 3), unknown(1, 1100, 1500),
		claimed(1, 1600, 4000, 4), claimed(1, 4000, 4100, 5), claimed(1, 8000, 9000, 6),
		{Fault: &history.Fault{At: ms(1200), Healed: ms(2000), Over: ms(4050), Objects: []string{"o"}}},
	}
	if gaps, late := history.Gaps(records); late != 0 || len(gaps) != 1 || gaps[0] != ms(3000) {
		t.Errorf("gaps = %v, want 3s: from the last success at 1s to the next at 4s", gaps)
	}
	for elected, want := range map[int]int{2000: 1, 3500: 0} {
		f := *records[7].Fault
		f.Elected = ms(elected)
		if _, late := history.Gaps(append(records[:7:7], history.Record{Fault: &f})); late != want {
			t.Errorf("elected at %v: %d late, want %d", f.Elected, late, want)
		}
	}
	never := append(records[:4:4], unknown(1, 2000, 7000), records[7])
	if gaps, _ := history.Gaps(never); len(gaps) != 1 || gaps[0] != ms(6000) {
		t.Errorf("gaps = %v, want 6s: the object never came back", gaps)
	}
}

func TestWhoAsksAfterATakeoverIsSlowOrNot(t *testing.T) {
	other := func(from, to int) history.Record {
		r := claimed(1, from, to, 1)
		r.Op.Owner = "other"
		return r
	}
	slow, all := history.Slow([]history.Record{
		{Fault: &history.Fault{At: ms(1000), Healed: ms(9000), Victims: []string{"h"}, Objects: []string{"o"}}},
		claimed(1, 500, 999, 1),
		claimed(1, 1001, 1002, 1), // the victim had answered this before it stopped
		other(1100, 4000),         // the takeover itself
		other(4100, 4200), other(4300, 4400), other(4500, 5600),
		other(9500, 11000), // the fault is healed
	})
	if slow != 1 || all != 3 {
		t.Errorf("%d of %d were slow, want 1 of 3", slow, all)
	}
	slow, all = history.Slow([]history.Record{
		{Fault: &history.Fault{At: ms(1000), Healed: ms(9000), Victims: []string{"nats-1"}, Objects: []string{"o"}}},
		claimed(1, 500, 999, 1), other(1100, 4000), other(4500, 5600),
	})
	if slow != 0 || all != 0 {
		t.Errorf("%d of %d were slow, want none: the owner was no victim", slow, all)
	}
}

func TestAlarmHistoriesAreJudged(t *testing.T) {
	alarm := func(n, due, ran, runs int) history.Record {
		return history.Record{Alarm: &history.Alarm{Object: "b", N: n, Set: ms(due - 300), Due: ms(due), Ran: ms(ran), Runs: runs}}
	}
	got := history.CheckAlarms([]history.Record{
		alarm(1, 1000, 1100, 1),
		alarm(2, 2000, 1900, 2), // early
		alarm(3, 3000, 5000, 4), // one of the three ran twice
		alarm(4, 6000, 0, 0),    // never
	})
	if got.Set != 4 || got.Early != 1 || got.Twice != 1 || got.Lost != 1 || got.Late != 2*time.Second {
		t.Errorf("alarms = %+v, want one early, one twice, one lost, and 2s late at the most", got)
	}
}
