package history_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast/chaos/history"
)

// crowd returns a room into which two have come who listen, 1 and 2, and one who sends, 3.
func crowd(more ...history.Record) []history.Record {
	return append([]history.Record{
		opened(1, history.Idle, 10), opened(2, history.Idle, 20, 1), opened(3, history.Busy, 30, 1, 2),
		told(1, 2, false, 20), told(1, 3, false, 30), told(2, 3, false, 30),
		sent(3, 1, 100), sent(3, 2, 200), sent(3, 3, 300),
	}, more...)
}

// rollCall is 4, who comes in when all is over and sends one message.
func rollCall() []history.Record {
	return []history.Record{
		{Roll: &history.Roll{At: ms(500)}},
		opened(4, history.Herald, 510, 1, 2, 3), sent(4, 1, 520),
		told(1, 4, false, 510), told(2, 4, false, 510), told(3, 4, false, 510),
	}
}

func opened(conn int, role history.Role, at int, peers ...int) history.Record {
	o := &history.Opened{Conn: conn, Room: "r", Gateway: "g", Role: role, User: user(conn), Dialed: ms(at - 5), At: ms(at)}
	for _, p := range peers {
		o.Peers = append(o.Peers, user(p))
	}
	return history.Record{Opened: o}
}

func user(conn int) string { return fmt.Sprint("user-", conn) }

func sent(conn, n, at int) history.Record {
	return history.Record{Sent: &history.Sent{Conn: conn, N: n, At: ms(at)}}
}

func heard(conn, from, first, last int) history.Record {
	return history.Record{Heard: &history.Heard{Conn: conn, From: from, First: first, Last: last, At: ms(400), Until: ms(450)}}
}

func told(conn, of int, end bool, at int) history.Record {
	return history.Record{Told: &history.Told{Conn: conn, User: user(of), End: end, At: ms(at)}}
}

func closed(conn, code, at int) history.Record {
	return history.Record{Closed: &history.Closed{Conn: conn, Code: code, Reason: "why", At: ms(at)}}
}

// socketFigures returns what is not 0 of a verdict.
func socketFigures(s history.Sockets) string {
	var all []string
	for _, f := range []struct {
		name string
		n    int
	}{
		{"missed", s.Missed}, {"gapped", s.Gapped}, {"deaf", s.Deaf}, {"doubled", s.Doubled}, {"disorder", s.Disorder}, {"untold", s.Untold},
		{"told twice", s.ToldTwice}, {"told wrong", s.ToldWrong}, {"idle", s.ClosedIdle}, {"busy", s.ClosedBusy}, {"own", s.ClosedOwn},
	} {
		if f.n != 0 {
			all = append(all, fmt.Sprintf("%s %d", f.name, f.n))
		}
	}
	return strings.Join(all, ", ")
}

func TestSocketHistoriesAreJudged(t *testing.T) {
	some := func(records ...history.Record) []history.Record { return records }
	hearsAll := some(heard(1, 3, 1, 3), heard(2, 3, 1, 3))
	roll := rollCall()
	rollHeard := some(heard(1, 4, 1, 1), heard(2, 4, 1, 1), heard(3, 4, 1, 1))
	gone := some(history.Record{Fault: &history.Fault{At: ms(300), Healed: ms(450), Gone: []string{"g"}}})
	lateAt := func(at int) []history.Record {
		return some(opened(5, history.Idle, at, 1, 2, 3), told(1, 5, false, at), told(2, 5, false, at), told(3, 5, false, at), heard(5, 3, 3, 3))
	}

	for _, tt := range []struct {
		name    string
		records []history.Record
		want    string
	}{
		{"everybody heard everything", slices.Concat(crowd(hearsAll...), roll, rollHeard), ""},
		{"a message that one socket missed", crowd(heard(1, 3, 1, 1), heard(1, 3, 3, 3), heard(2, 3, 1, 3)), "missed 1, gapped 1"},
		{"a last message that one socket missed", crowd(heard(1, 3, 1, 2), heard(2, 3, 1, 3)), "missed 1, gapped 1"},
		{"a last message that nobody heard, of a sender who is still there", crowd(heard(1, 3, 1, 2), heard(2, 3, 1, 2)), "missed 2, gapped 2"},
		{"a first message that one socket missed", crowd(heard(1, 3, 2, 3), heard(2, 3, 1, 3)), "missed 1, gapped 1"},
		{"a message that was handled and reached nobody", crowd(heard(1, 3, 1, 1), heard(1, 3, 3, 3), heard(2, 3, 1, 1), heard(2, 3, 3, 3)), "missed 2, gapped 2"},
		{"a message that came twice", crowd(heard(1, 3, 1, 2), heard(1, 3, 2, 3), heard(2, 3, 1, 3)), "doubled 1"},
		{"all messages twice", crowd(heard(1, 3, 1, 3), heard(1, 3, 1, 3), heard(2, 3, 1, 3)), "doubled 3"},
		{"a message that came late", crowd(heard(1, 3, 1, 1), heard(1, 3, 3, 3), heard(1, 3, 2, 2), heard(2, 3, 1, 3)), "disorder 1"},
		{"one who hears nothing of the roll call", slices.Concat(crowd(hearsAll...), roll, some(heard(1, 4, 1, 1), heard(3, 4, 1, 1))), "deaf 1"},
		{"nobody hears the roll call", slices.Concat(crowd(hearsAll...), roll), "deaf 3"},
		{"one who came late need not have heard what was before", slices.Concat(crowd(hearsAll...), lateAt(250)), ""},
		{"one who came late and missed what was sent since", slices.Concat(crowd(hearsAll...), lateAt(150)), "missed 1, gapped 1"},
		{"a socket that was closed need not have heard the rest", crowd(heard(1, 3, 1, 1), heard(2, 3, 1, 3),
			closed(1, 1012, 250), told(2, 1, true, 260), told(3, 1, true, 260)), "idle 1"},
		{"but what it heard has no gap", crowd(heard(1, 3, 1, 1), heard(1, 3, 3, 3), heard(2, 3, 1, 3),
			closed(1, 1012, 350), told(2, 1, true, 360), told(3, 1, true, 360)), "missed 1, gapped 1, idle 1"},
		{"a sender who was closed may have lost its last words", crowd(heard(1, 3, 1, 2), heard(2, 3, 1, 2),
			closed(3, 1012, 350), told(1, 3, true, 360), told(2, 3, true, 360)), "busy 1"},
		{"but not if one of the others heard them", crowd(heard(1, 3, 1, 3), heard(2, 3, 1, 2),
			closed(3, 1012, 350), told(1, 3, true, 360), told(2, 3, true, 360)), "missed 1, gapped 1, busy 1"},
		{"an end that nobody heard of", slices.Concat(crowd(hearsAll...), some(closed(3, 1006, 350))), "untold 1, busy 1"},
		{"an end that one did not hear of", slices.Concat(crowd(hearsAll...), some(closed(3, 1006, 350), told(1, 3, true, 360))), "missed 1, gapped 1, busy 1"},
		{"an end that was told twice", slices.Concat(crowd(hearsAll...),
			some(closed(3, 1006, 350), told(1, 3, true, 360), told(1, 3, true, 370), told(2, 3, true, 360))), "told twice 1, busy 1"},
		{"an end that was told of an open socket", slices.Concat(crowd(hearsAll...), some(told(1, 2, true, 360), told(3, 2, true, 360))), "told wrong 2"},
		{"a beginning that one did not hear of", slices.Concat(crowd(hearsAll...), roll[:3], roll[4:], rollHeard), "missed 1, gapped 1"},
		{"a beginning that was told twice", slices.Concat(crowd(hearsAll...), roll, roll[3:4], rollHeard), "told twice 1"},
		{"a socket whose gateway was gone", slices.Concat(gone, crowd(hearsAll...),
			some(closed(3, 1006, 350), told(1, 3, true, 360), told(2, 3, true, 360))), "own 1"},
		{"a socket that was closed after its gateway had come back", slices.Concat(gone, crowd(hearsAll...),
			some(closed(3, 1006, 1500), told(1, 3, true, 1600), told(2, 3, true, 1600))), "busy 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := history.CheckSockets(tt.records)
			if socketFigures(got) != tt.want {
				t.Errorf("faults = %q, want %q\n%s", socketFigures(got), tt.want, strings.Join(got.Flaws, "\n"))
			}
		})
	}
}

func TestAClientThatClosesIsNotCountedAsClosed(t *testing.T) {
	leaves := closed(3, 1000, 350)
	leaves.Closed.Client = true
	got := history.CheckSockets(crowd(heard(1, 3, 1, 3), heard(2, 3, 1, 3), leaves, told(1, 3, true, 360), told(2, 3, true, 360)))
	if socketFigures(got) != "" || got.Ends != 1 || len(got.Causes) != 0 {
		t.Errorf("faults = %q, ends %d, causes %v, want one end and nothing else", socketFigures(got), got.Ends, got.Causes)
	}
}
