package record

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestTheLastTwentiethOfTheStoreIsNotForEvents(t *testing.T) {
	for _, c := range []struct {
		usage Usage
		full  bool
	}{
		{Usage{}, false},
		{Usage{1 << 60, 0}, false},
		{Usage{0, 1000}, false},
		{Usage{949, 1000}, false},
		{Usage{950, 1000}, true},
		{Usage{1001, 1000}, true},
		{Usage{0, 1}, false},
		{Usage{1, 1}, true},
	} {
		if got := c.usage.Full(); got != c.full {
			t.Errorf("%+v: full = %v, want %v", c.usage, got, c.full)
		}
	}
}

func TestTheFullerOfStreamAndAccountDecides(t *testing.T) {
	for _, c := range []struct{ stream, account, want Usage }{
		{Usage{5, 0}, Usage{7, 0}, Usage{5, 0}},
		{Usage{5, 10}, Usage{7, 0}, Usage{5, 10}},
		{Usage{5, 0}, Usage{7, 100}, Usage{7, 100}},
		{Usage{5, 10}, Usage{90, 100}, Usage{90, 100}},
		{Usage{95, 100}, Usage{9, 10}, Usage{95, 100}},
	} {
		if got := c.stream.fuller(c.account); got != c.want {
			t.Errorf("%+v, %+v: %+v, want %+v", c.stream, c.account, got, c.want)
		}
	}
}

func TestWhatAReadingSaysOfTheRoom(t *testing.T) {
	now := time.Unix(1000, 0)
	free, full := Usage{1, 100}, Usage{99, 100}
	for _, c := range []struct {
		name     string
		usage    Usage
		puts     []time.Duration // how long ago puts were made that were not answered
		replicas int
		want     Room
	}{
		{"room, and puts are answered", free, nil, 1, Free},
		{"full, and puts are answered", full, nil, 1, Full},
		{"a put was lost", free, []time.Duration{time.Second}, 1, Free},
		{"a put was lost, and nobody has put since", free, []time.Duration{20 * time.Second}, 1, Free},
		{"a put was lost long ago, and one now", free, []time.Duration{time.Hour, 0}, 1, Free},
		{"puts were lost at once", free, []time.Duration{stuckAfter, stuckAfter - time.Second}, 1, Free},
		{"no put is answered for long", free, []time.Duration{stuckAfter, 0}, 1, Stuck},
		{"full, and no put is answered for long", full, []time.Duration{stuckAfter, 0}, 1, Stuck},
		{"no put was answered, and nobody has put for a while", free, []time.Duration{20 * time.Second, 15 * time.Second}, 1, Stuck},
		{"no put was answered, and nobody has put for long", free, []time.Duration{again + stuckAfter, again}, 1, Free},
		{"replicas help themselves", free, []time.Duration{time.Minute, 40 * time.Second, 20 * time.Second, 0}, 3, Free},
		{"full replicas", full, []time.Duration{time.Minute, 40 * time.Second, 20 * time.Second, 0}, 3, Full},
	} {
		var puts silence
		for _, ago := range c.puts {
			puts = puts.longer(now.Add(-ago))
		}
		if got := judge(c.usage, refusal{}, puts, now, c.replicas); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestARefusalStandsUntilSomethingHasChanged(t *testing.T) {
	at := time.Unix(1000, 0)
	r := refusal{at: at, bytes: 1000}
	for _, c := range []struct {
		name   string
		usage  Usage
		after  time.Duration
		stands bool
	}{
		{"nothing has changed", Usage{1000, 0}, 2 * time.Second, true},
		{"a little was deleted", Usage{991, 0}, 2 * time.Second, true},
		{"more was deleted", Usage{980, 0}, 2 * time.Second, false},
		{"a limit is known", Usage{1000, 5097}, 2 * time.Second, false},
		{"a limit is known, and less than 4 KiB are left", Usage{1000, 5095}, 2 * time.Second, true},
		{"a limit is known, and it is long ago", Usage{1000, 5095}, time.Hour, true},
		{"it is long ago", Usage{1000, 0}, again, false},
	} {
		if got := r.stands(c.usage, at.Add(c.after)); got != c.stands {
			t.Errorf("%s: stands = %v, want %v", c.name, got, c.stands)
		}
	}
	if r.limit = 2000; r.stands(Usage{1000, 0}, at.Add(time.Second)) {
		t.Error("a refusal stands though the limit was lifted")
	}
	if (refusal{}).stands(Usage{}, at) {
		t.Error("no refusal stands")
	}
	if (refusal{}).stands(Usage{1000, 1000}, at) {
		t.Error("no refusal stands at a full store")
	}
}

// The limit that a refusal met was lifted: thirty seconds of refusals followed.
func TestAStoreWhoseLimitWasLiftedHasRoomAtOnce(t *testing.T) {
	at := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		before, after uint64 // limits: at the readings before the refusal, and after it
		want          Room   // at the next reading, without a limit
	}{
		"the limit was known":                  {1000, 1000, Free},
		"it was set after the last reading":    {0, 1000, Free},
		"it was lifted before the next":        {1000, 0, Free},
		"it is the server's, and nobody knows": {0, 0, Exhausted},
	} {
		var r room
		r.read(Usage{990, c.before}, at, 1)
		r.refused(at.Add(time.Second))
		if before, after := r.read(Usage{990, c.after}, at.Add(2*time.Second), 1); after != Exhausted && (c.before == 0 || c.after > 0) || before == Exhausted {
			t.Errorf("%s: %v after %v, want exhausted", name, after, before)
		}
		if _, got := r.read(Usage{990, 0}, at.Add(4*time.Second), 1); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// A refusal counts at once, and what is stuck stays so while puts are made and not answered.
func TestARefusedPutSaysThatTheStoreIsFull(t *testing.T) {
	var b Bucket
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	read := func(seconds int64, want Room) {
		t.Helper()
		if _, after := b.room.read(Usage{1000, 0}, at(seconds), 1); after != want || b.Room() != want {
			t.Fatalf("room = %v at %d s, want %v", after, seconds, want)
		}
	}
	read(1000, Free)
	b.room.refused(at(1001))
	if b.Room() != Full {
		t.Fatalf("room = %v after a refusal, want full", b.Room())
	}
	read(1002, Exhausted)
	read(1031, Free) // they may try again
	b.room.unheard(at(1032))
	b.room.unheard(at(1034))
	read(1035, Free)
	b.room.unheard(at(1035)) // none has been answered since the first
	read(1035, Stuck)
	b.room.refused(at(1036))
	if b.Room() != Stuck {
		t.Fatalf("room = %v, want stuck", b.Room())
	}
	read(1064, Stuck)
	read(1065, Exhausted) // nobody puts, and the refusal stands
	read(1066, Free)      // events may try
	b.room.unheard(at(1067))
	read(1067, Free)
	b.room.remade()
	read(1037, Free)
}

func TestADefiniteRefusalIsNoDoubt(t *testing.T) {
	api := func(code jetstream.ErrorCode, description string) error {
		return fmt.Errorf("wrapped: %w", &jetstream.APIError{ErrorCode: code, Description: description})
	}
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"another revision", api(10071, "wrong last sequence: 7"), ErrStale},
		{"another put under way", api(10164, "wrong last sequence"), ErrDoubt},
		{"the stream's bytes", api(10077, "maximum bytes exceeded"), ErrFull},
		{"the stream's messages", api(10077, "maximum messages exceeded"), ErrFull},
		{"larger than a file's block", api(10077, "message to large"), ErrRefused},
		{"the account's limit", api(10002, "resource limits exceeded for account"), ErrFull},
		{"the server's limit", api(10023, "insufficient resources"), ErrFull},
		{"the server's memory", api(10028, "insufficient memory resources available"), ErrFull},
		{"the server's storage", api(10047, "insufficient storage resources available"), ErrFull},
		{"larger than the stream's messages", api(10054, "message size exceeds maximum allowed"), ErrTooLarge},
		{"larger than the server's payload", nats.ErrMaxPayload, ErrTooLarge},
		{"no leader", api(10008, "JetStream system temporarily unavailable"), ErrDoubt},
		{"nobody listens", nats.ErrNoResponders, ErrDoubt},
		{"no answer", context.DeadlineExceeded, ErrDoubt},
		{"the connection was made again", context.Canceled, ErrDoubt},
		{"no sense", errors.New("the stream's answer says nothing"), ErrDoubt},
	} {
		if got := fateOf(c.err); got != c.want { //nolint:errorlint // the very value
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if !errors.Is(ErrFull, ErrRefused) {
		t.Error("ErrFull is no ErrRefused")
	}
}

func TestAnAnswerIsWaitedForAsLongAsTheWayIs(t *testing.T) {
	for _, c := range []struct{ rtt, want time.Duration }{
		{0, 200 * time.Millisecond},
		{time.Millisecond, 200 * time.Millisecond},
		{50 * time.Millisecond, 200 * time.Millisecond},
		{140 * time.Millisecond, 560 * time.Millisecond},
	} {
		if got := Patience(c.rtt); got != c.want {
			t.Errorf("with a way of %v: %v, want %v", c.rtt, got, c.want)
		}
	}
}

// A lost answer cost the whole time of a commit, two seconds, when the connection was
// reset for 20 ms.
func TestAnUnansweredPutIsLookedAfterWhenTheConnectionIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		began := time.Now()
		lost, done := c.begin(t.Context(), Patience(0))
		defer done()
		answered, end := c.begin(t.Context(), Patience(0))
		end()
		time.AfterFunc(20*time.Millisecond, c.cut)
		<-lost.Done()
		if took := time.Since(began); took != 20*time.Millisecond {
			t.Errorf("looked after it after %v, want 20 ms", took)
		}
		slow, done := c.begin(t.Context(), Patience(0)) // the new connection's
		defer done()
		<-slow.Done()
		if took := time.Since(began); took != 220*time.Millisecond {
			t.Errorf("looked after the next one after %v, want 220 ms", took)
		}
		if answered.Err() == nil || len(c.open) != 2 {
			t.Errorf("%d questions are open, want the two that have not ended", len(c.open))
		}
	})
}
