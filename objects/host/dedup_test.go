package host

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/internal/engine"
)

var now = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

const keep = time.Minute

func askedBy(gateway string, n, low uint64) *wire.Request {
	return &wire.Request{Kind: wire.Call, Gateway: gateway, N: n, Low: low}
}

func TestAnAnswerIsKeptWhileItsGatewayWaits(t *testing.T) {
	a := answers{}
	for n := uint64(1); n <= 4; n++ {
		a.add(record.Answer{Gateway: "g", N: n}, now)
		a.add(record.Answer{Gateway: "other", N: n}, now)
	}
	a.noteLow(askedBy("g", 5, 3), now)
	if got := len(a.list(now, keep)); got != 6 {
		t.Errorf("%d answers are kept, want 2 of g and 4 of the other", got)
	}
	for n, want := range map[uint64]bool{1: false, 2: false, 3: true, 4: true} {
		if _, known := a.find(askedBy("g", n, 0)); known != want {
			t.Errorf("answer %d known = %v, want %v", n, known, want)
		}
	}
	a.noteLow(askedBy("g", 6, 2), now) // an older word changes nothing
	if _, known := a.find(askedBy("g", 3, 0)); !known {
		t.Error("answer 3 was forgotten")
	}
}

func TestTheNextOwnerKnowsTheAnswers(t *testing.T) {
	a := answers{}
	a.add(record.Answer{Gateway: "g", N: 7, Reply: []byte("x")}, now)
	b := answers{kept: a.list(now, keep)}
	kept, known := b.find(askedBy("g", 7, 7))
	if answer, err := kept.Answer(); !known || err != nil || string(answer.Reply) != "x" {
		t.Errorf("answer = %+v, %v, %v", answer, known, err)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	a := answers{}
	for n := range uint64(maxAnswers + 10) {
		a.add(record.Answer{Gateway: "g", N: n + 1}, now)
	}
	for n := range maxKeyed + 10 {
		a.add(record.Answer{Key: fmt.Sprint(n, ".k"), At: now}, now)
	}
	if got := len(a.list(now, keep)); got != maxAnswers+maxKeyed {
		t.Errorf("%d answers are kept, want %d", got, maxAnswers+maxKeyed)
	}
	if _, known := a.find(askedBy("g", 1, 0)); known {
		t.Error("the oldest is still there")
	}
	if _, known := a.find(askedBy("g", maxAnswers+10, 0)); !known {
		t.Error("the newest is gone")
	}
}

// The answer to a request that came back late had been pushed out by those to a thousand requests that overtook it, so the
// request ran twice.
func TestAnAnswerIsKeptWhileThousandsOfRequestsOvertakeItsOwn(t *testing.T) {
	for name, reply := range map[string][]byte{"small answers": []byte("1"), "large answers": make([]byte, maxKept)} {
		t.Run(name, func(t *testing.T) {
			a := answers{}
			a.add(record.Answer{Gateway: "g", N: 1, Reply: reply}, now)
			a.add(record.Answer{Gateway: "g", N: 2, Reply: reply}, now)
			for n := uint64(3); n < 4*maxAnswers; n++ {
				req := askedBy("g", n, 1)
				if n > 256 && n%64 == 0 { // as a client does
					req.Open = wire.Open{0, 1} // 1 and 2
				}
				if !a.noteLow(req, now) {
					t.Fatalf("request %d is not waited for", req.N)
				}
				a.add(record.Answer{Gateway: "g", N: req.N, Reply: reply}, now)
				if held := len(a.list(now, keep)); held > 400 {
					t.Fatalf("%d answers are kept at request %d", held, req.N)
				}
			}
			for n := range uint64(2) {
				if _, known := a.find(askedBy("g", n+1, 1)); !known || !a.noteLow(askedBy("g", n+1, 1), now) {
					t.Errorf("the answer to request %d was forgotten", n+1)
				}
			}
			if late := askedBy("g", 3, 1); a.noteLow(late, now) {
				t.Error("request 3 counts as waited for, although its answer was forgotten")
			}
		})
	}
}

func TestAnswersLeaveRoomForTheState(t *testing.T) {
	a := answers{}
	for n := range uint64(maxAnswers) {
		a.add(record.Answer{Gateway: "g", N: n + 1, Reply: make([]byte, maxKept)}, now)
		a.add(record.Answer{Key: fmt.Sprint(n), At: now, Reply: make([]byte, maxKept)}, now)
	}
	size := 0
	for _, answer := range a.list(now, keep) {
		size += answer.Size()
	}
	if size > maxAnswersSize+maxKeyedSize || size < maxAnswersSize {
		t.Errorf("answers take %d bytes, want at most %d", size, maxAnswersSize+maxKeyedSize)
	}
	newest, known := a.find(askedBy("g", maxAnswers, 0))
	if answer, err := newest.Answer(); !known || err != nil || len(answer.Reply) != maxKept {
		t.Errorf("the newest is gone: %v, %v, %d bytes", known, err, len(answer.Reply))
	}
	oldest, known := a.find(askedBy("g", 1, 0))
	if answer, err := oldest.Answer(); !known || err != nil || len(answer.Reply) != 0 {
		t.Errorf("of the oldest not even the fact is left: %v, %v, %d bytes", known, err, len(answer.Reply))
	}
}

func TestAClientsKeyIsKnownForADay(t *testing.T) {
	a := answers{}
	a.add(record.Answer{Key: "k", At: now}, now)
	if got := len(a.list(now.Add(keepKeyed), keep)); got != 1 {
		t.Errorf("after a day: %d answers, want 1", got)
	}
	if got := len(a.list(now.Add(keepKeyed+time.Second), keep)); got != 0 {
		t.Errorf("after more than a day: %d answers, want none", got)
	}
}

// A client that sends many keys displaces only its own.
func TestNobodyPushesOutAnothersKeys(t *testing.T) {
	a := answers{}
	key := func(who string, n int) string { return who + "." + fmt.Sprint(n) }
	give := func(who string, n int) {
		a.add(record.Answer{Key: key(who, n), At: now, Reply: make([]byte, maxKept/4)}, now)
		a.list(now, keep)
	}
	known := func(k string) bool { _, ok := a.find(&wire.Request{Key: k}); return ok }
	give("alice", 1)
	for n := range 10 * maxKeyed {
		give("mallory", n)
	}
	if !known(key("alice", 1)) {
		t.Error("alice's key was pushed out by one other")
	}
	has := 0
	for n := range 10 * maxKeyed {
		if known(key("mallory", n)) {
			has++
		}
	}
	if has != maxKeyedOf || !known(key("mallory", 10*maxKeyed-1)) {
		t.Errorf("mallory has %d keys, want the newest %d", has, maxKeyedOf)
	}
	for who := range maxKeyed / 2 { // as many addresses as it takes
		for n := range 10 {
			give(fmt.Sprint("mallory-", who), n)
		}
	}
	if !known(key("alice", 1)) || len(a.kept) > maxKeyed {
		t.Errorf("alice's key known = %v among %d, want it kept among at most %d", known(key("alice", 1)), len(a.kept), maxKeyed)
	}
}

// Keys in a record of an earlier version name no client.
func TestAKeyOfTheOldFormIsKnownUntilItIsADayOld(t *testing.T) {
	a := answers{}
	a.add(record.Answer{Key: "abc", At: now}, now)
	for n := range maxKeyed - 1 {
		a.add(record.Answer{Key: fmt.Sprint("mallory.", n), At: now}, now)
	}
	if a.list(now.Add(keepKeyed), keep); len(a.kept) != 1+maxKeyedOf {
		t.Errorf("%d answers are kept, want %d", len(a.kept), 1+maxKeyedOf)
	}
	if _, known := a.find(&wire.Request{Key: "alice.abc"}); !known {
		t.Error("it was forgotten before it was a day old")
	}
	a.list(now.Add(keepKeyed+1), keep)
	if _, known := a.find(&wire.Request{Key: "alice.abc"}); known {
		t.Error("it is known for more than a day")
	}
	if _, known := a.find(&wire.Request{Key: "alice."}); known {
		t.Error("no key is known to an answer without one")
	}
}

// A late copy of a request is recognised for as long as it can arrive, at the next owner
// too, which does not know how old the answer is.
func TestAGatewaysAnswerIsKeptForAsLongAsACopyLives(t *testing.T) {
	a := answers{}
	a.add(record.Answer{Gateway: "g", N: 1}, now)
	if got := len(a.list(now.Add(keep), keep)); got != 1 {
		t.Errorf("after a minute: %d answers, want 1", got)
	}
	b := answers{kept: a.list(now, keep)}
	b.adopted(now.Add(keep))
	if got := len(b.list(now.Add(2*keep), keep)); got != 1 {
		t.Errorf("a minute after the takeover: %d answers, want 1", got)
	}
	if got := len(b.list(now.Add(2*keep+1), keep)); got != 0 {
		t.Errorf("later: %d answers, want none", got)
	}
}

func TestNamesOfGatewaysAreBounded(t *testing.T) {
	a := answers{}
	for n := range 2 * maxLows {
		a.noteLow(askedBy(fmt.Sprint("forged-", n), 1, 1), now)
		a.noteLow(askedBy("g", uint64(n)+1, uint64(n)), now)
	}
	if len(a.lows) > maxLows {
		t.Errorf("%d gateways are remembered, want at most %d", len(a.lows), maxLows)
	}
	for n, want := range map[uint64]bool{2*maxLows - 2: false, 2*maxLows - 1: true} {
		if got := a.noteLow(askedBy("g", n, 1), now); got != want {
			t.Errorf("the gateway that speaks all the time waits for %d = %t, want %t", n, got, want)
		}
	}
}

func TestOpenRequestsAreBounded(t *testing.T) {
	a := answers{}
	open := append(wire.Open{0}, slices.Repeat([]byte{1}, 4000)...)
	for n := range maxLows {
		req := askedBy(fmt.Sprint("forged-", n), 1<<20, 1)
		req.Open = open
		a.noteLow(req, now)
	}
	all := 0
	for _, l := range a.lows {
		if l.open != nil {
			all += len(l.open.numbers)
		}
	}
	if all > maxOpen || all < maxOpen/2 {
		t.Errorf("%d open requests are remembered, want at most %d", all, maxOpen)
	}
	if first := askedBy("forged-0", 5000, 1); !a.noteLow(first, now) {
		t.Error("a request whose gateway's list was forgotten counts as not waited for")
	}
}

func TestAGatewayThatIsSilentForLongIsForgotten(t *testing.T) {
	a := answers{}
	for n := range maxLows {
		a.noteLow(askedBy(fmt.Sprint("forged-", n), 1, 1), now)
	}
	a.noteLow(askedBy("g", 5, 3), now)
	a.noteLow(askedBy("g", 6, 3), now.Add(forgetSilent))
	if waits := a.noteLow(askedBy("g", 2, 2), now.Add(forgetSilent+1)); waits || len(a.lows) != 1 {
		t.Errorf("%d gateways are remembered, and that which speaks waits for what is below its lowest: %t; want that alone, and false", len(a.lows), waits)
	}
	if a.list(now.Add(2*forgetSilent+2), keep); len(a.lows) != 0 {
		t.Errorf("%d gateways are remembered after a put, long after all fell silent", len(a.lows))
	}
}

// Somebody forged a request of a gateway, which said that it waited for nothing below a number far beyond its own: the object
// answered none of its requests for as long as it was owned.
func TestAForgedNumberDoesNotKeepAnObjectFromAnsweringAGateway(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own("a")
		for i, forged := range []wire.Request{{N: 1, Low: 2}, {N: 1, Low: 1 << 62}, {N: 1 << 60, Low: 1 << 60}, {Kind: wire.Message, Low: 1 << 40}} {
			forged.Gateway, forged.Body, forged.Call = "g", []byte("{}"), "add"
			if forged.Kind == 0 {
				forged.Kind = wire.Call
			}
			if err := wire.Ask(w.bus, wire.ObjectSubject(id("a")), wire.InboxPrefix+"g.forged", &forged); err != nil {
				t.Fatal(err)
			}
			if n := number(<-w.ask("a", &wire.Request{Kind: wire.Call, Call: "add", Body: []byte("{}"), Low: 1})); n != i+1 {
				t.Errorf("after %+v: add = %d, want %d", forged, n, i+1)
			}
		}
	})
}

// A copy that named no owner ran again at the first owner after the record's removal, while another copy could still
// be on its way.
func TestALateCopyIsNotRunByTheOwnerAfterARemoval(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		ask := func(call string, low uint64) *wire.Reply {
			return <-w.ask("a", &wire.Request{Kind: wire.Call, Call: call, Body: []byte("{}"), Low: low})
		}
		late := func() *wire.Reply {
			answers := make(chan *nats.Msg, 8)
			sub, _ := w.bus.Subscribe(wire.InboxPrefix+"g.late", "", answers)
			defer sub.Unsubscribe()
			if err := wire.Ask(w.bus, wire.ObjectSubject(id("a")), wire.InboxPrefix+"g.late", &wire.Request{Kind: wire.Call, Call: "add", Body: []byte("{}"), Gateway: "g", N: 1, Low: 1}); err != nil {
				t.Fatal(err)
			}
			r := new(wire.Reply)
			if err := wire.Decode((<-answers).Data, r); err != nil {
				t.Fatal(err)
			}
			return r
		}
		w.own("a")
		if n := number(ask("add", 1)); n != 1 {
			t.Fatalf("add = %d", n)
		}
		ask("wipe", 2)
		ask("read", 3) // nobody waits for the answers before
		o := w.in.find(id("a").Key())
		w.in.evictNow(o)
		<-o.awaitGone()
		if _, revision, err := w.store.Read(t.Context(), id("a").Key()); revision == 0 || err != nil {
			t.Fatalf("the record is at revision %d, %v; want a removed one", revision, err)
		}
		w.own("a")
		if r := late(); !r.Moved {
			t.Errorf("the late copy got %+v, want it told to ask the owner that it names", r)
		}
		if n := number(w.call("a", "read")); n != 0 {
			t.Errorf("count = %d after a late copy, want 0", n)
		}
	})
}

// As long as they are few, answers to clients' keys are in the record; then each is an entry of the storage, and the record
// has none.
func TestManyAnswersToClientsKeysAreEntries(t *testing.T) {
	a, stored := answers{}, new(engine.Data)
	may := true
	give := func(key string, at time.Time) {
		a.add(record.Answer{Key: key, At: at, Reply: make([]byte, 200)}, at)
		stored.Apply(a.writes(at, func() bool { return may }))
	}
	inRecord := func() (n int) { return len(a.list(now, keep)) }
	may = false
	for n := range 20 {
		give(fmt.Sprintf("ada.%d", n), now)
	}
	if inRecord() != 20 || stored.Len() != 0 {
		t.Errorf("%d answers in the record and %d entries while a host knows no entries", inRecord(), stored.Len())
	}
	may = true
	for n := range 3 * maxKeyed {
		give(fmt.Sprintf("%d.%d", n%5, n), now)
	}
	if n := stored.Len(); inRecord() != 0 || n > maxKeyed || n < maxKeyed/2 {
		t.Errorf("%d answers in the record and %d entries, want none and at most %d", inRecord(), n, maxKeyed)
	}
	entries, err := answerEntries(stored)
	if err != nil {
		t.Fatal(err)
	}
	next := answers{entries: newStoredAnswers(entries)}
	next.adopted(now)
	for n, want := range map[int]bool{0: false, 3*maxKeyed - 1: true, 3*maxKeyed - 100: true} {
		req := &wire.Request{Key: fmt.Sprintf("%d.%d", n%5, n)}
		_, known := a.find(req)
		if _, knownNext := next.find(req); known != want || knownNext != want {
			t.Errorf("key %d known = %v and by the next owner %v, want %v", n, known, knownNext, want)
		}
	}
	for n := range 2 * maxKeyedOf {
		before := stored.Len()
		next.add(record.Answer{Key: fmt.Sprint("eve.", n), At: now}, now)
		writes := next.writes(now, func() bool { return true })
		stored.Apply(writes)
		if n > maxKeyedOf && (stored.Len() != before || len(writes) != 2 || !slices.IsSortedFunc(writes, func(a, b engine.Write) int { return strings.Compare(a.Key, b.Key) })) {
			t.Fatalf("one more answer takes %d writes and there are %d entries, want one written and one deleted", len(writes), stored.Len())
		}
	}
	stored.Apply(next.writes(now.Add(keepKeyed+time.Second), func() bool { return true }))
	if stored.Len() != 0 || len(next.entries.list()) != 0 {
		t.Errorf("%d entries after more than a day", stored.Len())
	}
	for _, w := range []engine.Write{{Key: engine.AnswersAt + "1", Value: []byte(`{}`)}, {Key: entryKey(1), Value: []byte(`"no"`)}} {
		damaged := new(engine.Data)
		damaged.Apply([]engine.Write{w})
		if _, err := answerEntries(damaged); err == nil {
			t.Errorf("%q: %s is read", w.Key, w.Value)
		}
	}
}
