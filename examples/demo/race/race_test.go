package race

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "rewrite testdata")

const gap = 20 * time.Millisecond

// store is a fake key-value store: a read, a write and a compare-and-set, each
// of which takes a millisecond. One claim at a time gets through its door.
type store struct {
	door  chan struct{}
	value int
}

func newStore() *store { return &store{door: make(chan struct{}, 1)} }

func (s *store) visit(do func()) time.Time {
	s.door <- struct{}{}
	do()
	<-s.door
	time.Sleep(time.Millisecond)
	return time.Now()
}

func (s *store) peek(context.Context) (int, error) {
	var n int
	s.visit(func() { n = s.value })
	return n, nil
}

func (s *store) naive(context.Context) Answer {
	var a Attempt
	a.Read = s.visit(func() { a.ReadValue = s.value })
	time.Sleep(gap)
	a.WroteValue = a.ReadValue + 1
	a.Wrote = s.visit(func() { s.value = a.WroteValue })
	return Answer{Ticket: a.WroteValue, Attempts: []Attempt{a}}
}

func (s *store) cas(context.Context) Answer {
	var answer Answer
	for answer.Ticket == 0 {
		var a Attempt
		a.Read = s.visit(func() { a.ReadValue = s.value })
		time.Sleep(gap)
		a.WroteValue = a.ReadValue + 1
		a.Wrote = s.visit(func() {
			if a.Refused = s.value != a.ReadValue; !a.Refused {
				s.value = a.WroteValue
			}
		})
		if !a.Refused {
			answer.Ticket = a.WroteValue
		}
		answer.Attempts = append(answer.Attempts, a)
	}
	return answer
}

// object returns an owner: one claim after another, a millisecond each.
func (s *store) object(context.Context) Answer {
	s.door <- struct{}{}
	time.Sleep(time.Millisecond)
	s.value++
	n := s.value
	<-s.door
	return Answer{Ticket: n}
}

// run races r in a bubble and returns what it emitted.
func run(ctx context.Context, r Run) (events []any, verdicts []Verdict) {
	verdicts = r.Do(ctx, func(e any) { events = append(events, e) })
	return events, verdicts
}

func attemptsOf(events []any, counter string) []Attempted {
	var attempts []Attempted
	for _, e := range events {
		if a, ok := e.(Attempted); ok && a.Counter == counter {
			attempts = append(attempts, a)
		}
	}
	return attempts
}

func TestARaceOfThreeCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		object, naive, cas := newStore(), newStore(), newStore()
		object.value = 7
		events, verdicts := run(t.Context(), Run{N: 15, Gap: gap, Counters: []Counter{
			{Name: "object", Claim: object.object, Peek: object.peek},
			{Name: "naive", Claim: naive.naive, Peek: naive.peek},
			{Name: "cas", Claim: cas.cas, Peek: cas.peek},
		}})
		want := []string{
			"The object handed out 15 different tickets, each to one person. No increment was lost.",
			"KV handed ticket #1 to 15 people. 14 of 15 increments were lost.",
			"Compare-and-set handed out 15 different tickets, each to one person. " +
				"No increment was lost, but 15 writers made 105 extra attempts. A single owner makes none.",
		}
		if len(verdicts) != len(want) {
			t.Fatalf("verdicts = %d, want %d", len(verdicts), len(want))
		}
		for i, v := range verdicts {
			if v.Sentence != want[i] {
				t.Errorf("%s: %s\nwant %s", v.Counter, v.Sentence, want[i])
			}
		}
		if v := verdicts[0]; *v.Before != 7 || *v.After != 22 || v.P50Us != 8000 || v.P99Us != 15000 {
			t.Errorf("object: %d to %d, p50 %d, p99 %d us, want 7 to 22, 8000, 15000", *v.Before, *v.After, v.P50Us, v.P99Us)
		}
		if kinds, want := kinds(events), "start "+strings.Repeat("attempt ", 15)+"verdict "+
			strings.Repeat("attempt ", 15)+"verdict "+strings.Repeat("attempt ", 15)+"verdict done"; kinds != want {
			t.Errorf("events = %s\nwant %s", kinds, want)
		}
	})
}

func kinds(events []any) string {
	var kinds []string
	for _, e := range events {
		switch e := e.(type) {
		case Start:
			kinds = append(kinds, e.Type)
		case Attempted:
			kinds = append(kinds, e.Type)
		case Verdict:
			kinds = append(kinds, e.Type)
		case Done:
			kinds = append(kinds, e.Type)
		}
	}
	return strings.Join(kinds, " ")
}

// TestTheLinesThatThePageReads compares every kind of line with testdata; the
// page reads these names.
func TestTheLinesThatThePageReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		object, naive := newStore(), newStore()
		var out strings.Builder
		lines := json.NewEncoder(&out)
		down := func(context.Context) Answer {
			return Answer{Err: errors.New("nobody owns it"), Outcome: Unavailable}
		}
		Run{N: 2, Gap: gap, Spread: 1500 * time.Microsecond, Counters: []Counter{
			{Name: "object", Claim: object.object, Peek: object.peek},
			{Name: "naive", Claim: naive.naive, Peek: naive.peek},
			{Name: "down", Claim: down},
		}}.Do(t.Context(), func(e any) {
			if err := lines.Encode(e); err != nil {
				t.Error(err)
			}
		})
		const file = "testdata/lines.ndjson"
		if *rewrite {
			if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if out.String() != string(want) {
			t.Errorf("lines\n%s\nwant\n%s", out.String(), want)
		}
	})
}

func TestClaimsArriveEvenlyOverTheSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		events, verdicts := run(t.Context(), Run{N: 5, Spread: 200 * time.Millisecond, Counters: []Counter{
			{Name: "naive", Claim: s.naive, Peek: s.peek},
		}})
		for i, a := range attemptsOf(events, "naive") {
			if a.I != i || a.SentUs != int64(i)*50_000 || a.AnsweredUs != a.SentUs+22_000 {
				t.Errorf("attempt %d: sent at %d, answered at %d us", a.I, a.SentUs, a.AnsweredUs)
			}
		}
		if verdicts[0].Lost != 0 {
			t.Errorf("lost = %d, want 0: the claims are 50 ms apart and take 22 ms", verdicts[0].Lost)
		}
	})
}

func TestAllClaimsLeaveTheBarrierTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var outside sync.WaitGroup // those who are not yet inside a claim
		outside.Add(MaxN)
		claim := func(context.Context) Answer {
			outside.Done()
			outside.Wait()
			return Answer{Ticket: 1}
		}
		_, verdicts := run(t.Context(), Run{N: MaxN, Counters: []Counter{{Name: "object", Claim: claim}}})
		if verdicts[0].Answered != MaxN {
			t.Errorf("answered = %d, want %d", verdicts[0].Answered, MaxN)
		}
	})
}

func TestTheTimeoutBoundsEachCounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := func(ctx context.Context) Answer {
			<-ctx.Done()
			return Answer{Err: ctx.Err()}
		}
		began := time.Now()
		events, verdicts := run(t.Context(), Run{
			N: 3, Spread: 4 * time.Second, Timeout: time.Second,
			Counters: []Counter{{Name: "object", Claim: stuck}, {Name: "naive", Claim: stuck}},
		})
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("the race took %v, want 2s", took)
		}
		for _, v := range verdicts {
			if v.Unknown != 1 || v.Refused != 2 {
				t.Errorf("%s: unknown, refused = %d, %d, want 1, 2: two had not arrived yet", v.Counter, v.Unknown, v.Refused)
			}
		}
		for _, a := range attemptsOf(events, "object") {
			if want := map[bool]Outcome{true: Unknown, false: Unavailable}[a.I == 0]; a.Outcome != want || a.Error == "" {
				t.Errorf("attempt %d: %s (%s), want %s and a reason", a.I, a.Outcome, a.Error, want)
			}
		}
	})
}

func TestACancelledRaceLeavesTheOtherCountersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		leave := func(context.Context) Answer {
			cancel()
			return Answer{Ticket: 1}
		}
		touched := func(context.Context) Answer {
			t.Error("the second counter was claimed")
			return Answer{}
		}
		events, verdicts := run(ctx, Run{N: 1, Counters: []Counter{{Name: "object", Claim: leave}, {Name: "naive", Claim: touched}}})
		if len(verdicts) != 1 || kinds(events) != "start attempt verdict done" {
			t.Errorf("events = %s, want one counter and the end", kinds(events))
		}
	})
}

func TestWhatAnAnswerMeans(t *testing.T) {
	bad := errors.New("bad")
	cases := []struct {
		answer Answer
		want   Outcome
		ticket int
		error  string
		tries  []Try
	}{
		{Answer{Ticket: 4}, OK, 4, "", []Try{{Read: 3, Wrote: 4}}},
		{Answer{Ticket: 4, Outcome: OK, Attempts: []Attempt{{ReadValue: 3, WroteValue: 4}}}, OK, 4, "", []Try{{Read: 3, Wrote: 4}}},
		{Answer{Err: bad}, Unknown, 0, "bad", nil},
		{Answer{Ticket: 4, Err: bad}, Unknown, 0, "bad", nil},
		{Answer{Err: bad, Outcome: Refused}, Refused, 0, "bad", nil},
		{Answer{Outcome: Unavailable}, Unavailable, 0, "unavailable", nil},
		{Answer{Err: bad, Attempts: []Attempt{{ReadValue: 3}}}, Unknown, 0, "bad", []Try{{Read: 3}}},
	}
	for _, c := range cases {
		now := time.Now()
		got := note("x", 0, now, now, now, c.answer)
		if got.Outcome != c.want || got.Ticket != c.ticket || got.Error != c.error || !slices.Equal(got.Tries, c.tries) {
			t.Errorf("%+v is noted as %+v", c.answer, got)
		}
	}
}

func TestAFailingPeekIsNoZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		broken := func(context.Context) (int, error) { return 0, errors.New("down") }
		_, verdicts := run(t.Context(), Run{N: 2, Counters: []Counter{{Name: "object", Claim: s.object, Peek: broken}}})
		if v := verdicts[0]; v.Before != nil || v.After != nil || v.Lost != 0 || v.LostMax != 2 {
			t.Errorf("verdict = %+v, want no values and 0 to 2 lost", v)
		}
	})
}

func TestLimitsAreCheckedAndKept(t *testing.T) {
	cases := []struct {
		n      int
		spread time.Duration
		valid  bool
		asked  int
	}{
		{1, 0, true, 1}, {MaxN, MaxSpread, true, MaxN},
		{0, 0, false, 1}, {-3, 0, false, 1}, {MaxN + 1, 0, false, MaxN},
		{2, -1, false, 2}, {2, MaxSpread + 1, false, 2},
	}
	for _, c := range cases {
		synctest.Test(t, func(t *testing.T) {
			s := newStore()
			r := Run{N: c.n, Spread: c.spread, Counters: []Counter{{Name: "object", Claim: s.object}}}
			if err := r.Check(); errors.Is(err, ErrInvalid) == c.valid {
				t.Errorf("check n %d, spread %v: %v", c.n, c.spread, err)
			}
			began := time.Now()
			_, verdicts := run(t.Context(), r)
			if verdicts[0].Asked != c.asked || verdicts[0].Answered != c.asked {
				t.Errorf("n %d: asked, answered = %d, %d, want %d", c.n, verdicts[0].Asked, verdicts[0].Answered, c.asked)
			}
			if took := time.Since(began); took > MaxSpread+time.Second {
				t.Errorf("spread %v took %v", c.spread, took)
			}
		})
	}
}
