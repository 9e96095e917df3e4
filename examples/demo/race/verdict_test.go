package race

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestVerdictInEveryState(t *testing.T) {
	const (
		lucky   = "No increment was lost this time. Try again, or raise the KV round trip: in production it is 5 to 50 ms."
		unread  = "The stored value could not be read, so nobody can say what was lost."
		refused = "2 requests did not happen (refused or unavailable); they are not counted as lost."
	)
	cases := []struct {
		name     string
		counter  string
		attempts []Attempted
		before   *int
		after    *int
		want     Verdict // without type, counter, before, after, percentiles
	}{
		{"naive, the usual", "naive", tickets(1, 1, 1, 2, 1), new(0), new(2),
			Verdict{Asked: 5, Answered: 5, Distinct: 2, Duplicates: 3, Lost: 3, LostMax: 3, Attempts: 5,
				Sentence: "KV handed ticket #1 to 4 people. 3 of 5 increments were lost."}},
		{"naive, one lost", "naive", tickets(7, 8, 7), new(6), new(8),
			Verdict{Asked: 3, Answered: 3, Distinct: 2, Duplicates: 1, Lost: 1, LostMax: 1, Attempts: 3,
				Sentence: "KV handed ticket #7 to 2 people. 1 of 3 increments was lost."}},
		{"naive, two tickets tie", "naive", tickets(2, 1, 2, 1), new(0), new(2),
			Verdict{Asked: 4, Answered: 4, Distinct: 2, Duplicates: 2, Lost: 2, LostMax: 2, Attempts: 4,
				Sentence: "KV handed ticket #1 to 2 people. 2 of 4 increments were lost."}},
		{"naive, lucky", "naive", tickets(1, 2, 3), new(0), new(3),
			Verdict{Asked: 3, Answered: 3, Distinct: 3, Attempts: 3,
				Sentence: "KV handed out 3 different tickets, each to one person. " + lucky}},
		{"naive, alone", "naive", tickets(5), new(4), new(5),
			Verdict{Asked: 1, Answered: 1, Distinct: 1, Attempts: 1,
				Sentence: "KV handed out ticket #5. One request alone loses nothing: there is nobody to race."}},
		{"naive, different tickets and yet lost", "naive", tickets(3, 2, 1), new(0), new(1),
			Verdict{Asked: 3, Answered: 3, Distinct: 3, Lost: 2, LostMax: 2, Attempts: 3,
				Sentence: "KV handed out 3 different tickets, each to one person. 2 of 3 increments were lost."}},
		{"naive, refused is not lost", "naive", with(tickets(1, 1), Refused, Unavailable), new(0), new(1),
			Verdict{Asked: 4, Answered: 2, Distinct: 1, Duplicates: 1, Lost: 1, LostMax: 1, Refused: 2, Attempts: 2,
				Sentence: "KV handed ticket #1 to 2 people. 1 of 2 increments was lost. " + refused}},
		{"naive, unknown makes a range", "naive", with(tickets(1, 1, 1), Unknown), new(0), new(1),
			Verdict{Asked: 4, Answered: 3, Distinct: 1, Duplicates: 2, Lost: 2, LostMax: 3, Unknown: 1, Attempts: 3,
				Sentence: "KV handed ticket #1 to 3 people. Between 2 and 3 of 3 increments were lost. " +
					"1 request went unanswered; it may or may not have counted."}},
		{"naive, somebody else wrote meanwhile", "naive", tickets(1, 1), new(0), new(9),
			Verdict{Asked: 2, Answered: 2, Distinct: 1, Duplicates: 1, Attempts: 2,
				Sentence: "KV handed ticket #1 to 2 people. No increment is missing, but somebody else may have claimed meanwhile."}},
		{"naive, reset meanwhile", "naive", tickets(8, 9), new(7), new(0),
			Verdict{Asked: 2, Answered: 2, Distinct: 2, Lost: 2, LostMax: 2, Attempts: 2,
				Sentence: "KV handed out 2 different tickets, each to one person. 2 of 2 increments were lost. The stored value even fell, from 7 to 0."}},
		{"object, correct", "object", tickets(1, 2, 3), new(0), new(3),
			Verdict{Asked: 3, Answered: 3, Distinct: 3, Attempts: 3,
				Sentence: "The object handed out 3 different tickets, each to one person. No increment was lost."}},
		{"object, wrong", "object", tickets(1, 1), new(0), new(1),
			Verdict{Asked: 2, Answered: 2, Distinct: 1, Duplicates: 1, Lost: 1, LostMax: 1, Attempts: 2,
				Sentence: "The object handed ticket #1 to 2 people. 1 of 2 increments was lost."}},
		{"object, moving", "object", with(tickets(1), Unavailable, Unavailable), new(0), new(1),
			Verdict{Asked: 3, Answered: 1, Distinct: 1, Refused: 2, Attempts: 1,
				Sentence: "The object handed out ticket #1. No increment was lost. " + refused}},
		{"object, nobody answered", "object", with(nil, Unavailable, Unknown, Unknown), new(0), new(1),
			Verdict{Asked: 3, Refused: 1, Unknown: 2,
				Sentence: "The object answered nobody. 1 request did not happen (refused or unavailable); it is not counted as lost. " +
					"2 requests went unanswered; they may or may not have counted."}},
		{"object, an unknown claim landed", "object", with(tickets(1, 3), Unknown), new(0), new(3),
			Verdict{Asked: 3, Answered: 2, Distinct: 2, Unknown: 1, Attempts: 2,
				Sentence: "The object handed out 2 different tickets, each to one person. No increment was lost. " +
					"1 request went unanswered; it may or may not have counted."}},
		{"object, an unknown claim may have landed", "object", with(tickets(1, 2), Unknown), new(0), new(2),
			Verdict{Asked: 3, Answered: 2, Distinct: 2, LostMax: 1, Unknown: 1, Attempts: 2,
				Sentence: "The object handed out 2 different tickets, each to one person. " +
					"No increment is known to be lost; at most 1 of 2 increments may be. " +
					"1 request went unanswered; it may or may not have counted."}},
		{"no peek before", "naive", tickets(1, 1), nil, new(1),
			Verdict{Asked: 2, Answered: 2, Distinct: 1, Duplicates: 1, LostMax: 2, Attempts: 2,
				Sentence: "KV handed ticket #1 to 2 people. " + unread}},
		{"no peek after", "object", tickets(1, 2), new(0), nil,
			Verdict{Asked: 2, Answered: 2, Distinct: 2, LostMax: 2, Attempts: 2,
				Sentence: "The object handed out 2 different tickets, each to one person. " + unread}},
		{"cas, the usual", "cas", tries(tickets(1, 2, 3), 1, 2, 3), new(0), new(3),
			Verdict{Asked: 3, Answered: 3, Distinct: 3, Attempts: 6,
				Sentence: "Compare-and-set handed out 3 different tickets, each to one person. " +
					"No increment was lost, but 3 writers made 3 extra attempts. A single owner makes none."}},
		{"cas, one extra", "cas", tries(tickets(1, 2), 1, 2), new(0), new(2),
			Verdict{Asked: 2, Answered: 2, Distinct: 2, Attempts: 3,
				Sentence: "Compare-and-set handed out 2 different tickets, each to one person. " +
					"No increment was lost, but 2 writers made 1 extra attempt. A single owner makes none."}},
		{"cas, nobody collided", "cas", tickets(1, 2), new(0), new(2),
			Verdict{Asked: 2, Answered: 2, Distinct: 2, Attempts: 2,
				Sentence: "Compare-and-set handed out 2 different tickets, each to one person. " +
					"No increment was lost, and this time nobody had to try again."}},
		{"a counter without a title", "mine", tickets(1, 2), new(0), new(2),
			Verdict{Asked: 2, Answered: 2, Distinct: 2, Attempts: 2,
				Sentence: "mine handed out 2 different tickets, each to one person. No increment was lost."}},
		{"nothing asked", "cas", nil, new(0), new(0),
			Verdict{Sentence: "Compare-and-set answered nobody."}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.want.Type, c.want.Counter, c.want.Before, c.want.After = "verdict", c.counter, c.before, c.after
			if got := Judge(c.counter, c.attempts, c.before, c.after); got != c.want {
				t.Errorf("verdict\n got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestPercentilesAreNearestRankOfTheAnswered(t *testing.T) {
	var attempts []Attempted
	for i := 100; i >= 1; i-- { // 1 to 100 us, in no useful order
		attempts = append(attempts, Attempted{Outcome: OK, Ticket: i, SentUs: 1000, AnsweredUs: 1000 + int64(i)})
	}
	attempts = append(attempts, Attempted{Outcome: Unknown, SentUs: 0, AnsweredUs: 1e9})
	if v := Judge("object", attempts, nil, nil); v.P50Us != 50 || v.P99Us != 99 {
		t.Errorf("p50, p99 = %d, %d, want 50, 99", v.P50Us, v.P99Us)
	}
	if v := Judge("object", attempts[:1], nil, nil); v.P50Us != 100 || v.P99Us != 100 {
		t.Errorf("p50, p99 of one = %d, %d, want 100, 100", v.P50Us, v.P99Us)
	}
}

func TestEveryVerdictAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		attempts := rapid.SliceOfN(rapid.Custom(anyAttempt), 0, 40).Draw(t, "attempts")
		before, after := anyValue(t, "before"), anyValue(t, "after")
		v := Judge("naive", attempts, before, after)
		checks := map[string]bool{
			"asked = answered + refused + unknown": v.Asked == v.Answered+v.Refused+v.Unknown && v.Asked == len(attempts),
			"answered = distinct + duplicates":     v.Answered == v.Distinct+v.Duplicates,
			"distinct is within answered":          v.Distinct >= 0 && v.Distinct <= v.Answered,
			"0 <= lost <= lostMax <= answered":     0 <= v.Lost && v.Lost <= v.LostMax && v.LostMax <= v.Answered,
			"the range is no wider than unknown":   before == nil || after == nil || v.LostMax-v.Lost <= v.Unknown,
			"p50 <= p99":                           v.P50Us <= v.P99Us,
			"there is a sentence":                  v.Sentence != "",
		}
		for what, ok := range checks {
			if !ok {
				t.Fatalf("%s: not so in %+v", what, v)
			}
		}
		for i, j := 0, len(attempts)-1; i < j; i, j = i+1, j-1 {
			attempts[i], attempts[j] = attempts[j], attempts[i]
		}
		if again := Judge("naive", attempts, before, after); again != v {
			t.Fatalf("backwards\n got %+v\nwant %+v", again, v)
		}
	})
}

// TestWhatReallyHappenedIsWithinTheRange plays a store that keeps some increments
// and loses others, and lets some claims learn nothing about theirs.
func TestWhatReallyHappenedIsWithinTheRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stored, trulyLost := rapid.IntRange(0, 99).Draw(t, "before"), 0
		before := stored
		var attempts []Attempted
		for i := range rapid.IntRange(0, 30).Draw(t, "claims") {
			switch rapid.SampledFrom([]string{"kept", "lost", "refused", "unknown, kept", "unknown, lost"}).Draw(t, "claim") {
			case "kept":
				stored++
				attempts = append(attempts, Attempted{Outcome: OK, Ticket: i})
			case "lost":
				trulyLost++
				attempts = append(attempts, Attempted{Outcome: OK, Ticket: i})
			case "refused":
				attempts = append(attempts, Attempted{Outcome: Refused})
			case "unknown, kept":
				stored++
				attempts = append(attempts, Attempted{Outcome: Unknown})
			case "unknown, lost":
				attempts = append(attempts, Attempted{Outcome: Unknown})
			}
		}
		v := Judge("naive", attempts, &before, &stored)
		if trulyLost < v.Lost || trulyLost > v.LostMax {
			t.Fatalf("lost = %d to %d, want a range with %d", v.Lost, v.LostMax, trulyLost)
		}
	})
}

func anyAttempt(t *rapid.T) Attempted {
	sent := rapid.Int64Range(0, 1000).Draw(t, "sent")
	a := Attempted{
		SentUs:     sent,
		AnsweredUs: sent + rapid.Int64Range(0, 1000).Draw(t, "took"),
		Outcome:    rapid.SampledFrom([]Outcome{OK, Refused, Unavailable, Unknown}).Draw(t, "outcome"),
		Tries:      make([]Try, rapid.IntRange(0, 5).Draw(t, "tries")),
	}
	if a.Outcome == OK {
		a.Ticket = rapid.IntRange(1, 10).Draw(t, "ticket")
	}
	return a
}

func anyValue(t *rapid.T, label string) *int {
	if rapid.Bool().Draw(t, label+" unreadable") {
		return nil
	}
	return new(rapid.IntRange(0, 50).Draw(t, label))
}

// tickets returns answered attempts of one try each.
func tickets(numbers ...int) []Attempted {
	var attempts []Attempted
	for _, n := range numbers {
		attempts = append(attempts, Attempted{Outcome: OK, Ticket: n, Tries: make([]Try, 1)})
	}
	return attempts
}

// with adds attempts that got no ticket.
func with(attempts []Attempted, outcomes ...Outcome) []Attempted {
	for _, o := range outcomes {
		attempts = append(attempts, Attempted{Outcome: o, Error: fmt.Sprint(o)})
	}
	return attempts
}

// tries gives the attempts as many tries as the counts say.
func tries(attempts []Attempted, counts ...int) []Attempted {
	for i, n := range counts {
		attempts[i].Tries = make([]Try, n)
	}
	return attempts
}
