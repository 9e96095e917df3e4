package tells

import (
	"hash/maphash"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// An exploration makes much garbage and keeps little.
func init() { debug.SetGCPercent(400) }

// explore makes every move in every world that can be reached, the nearest first, up to a number of worlds. The answer is the
// shortest way to a violation, or nothing. Every calm-th world plays a calm end too.
func explore(sc scenario, most, calm int) (worlds int, trace []string) {
	seed := maphash.MakeSeed()
	seen := map[uint64]bool{}
	queue := []*world{newWorld(sc)}
	for len(queue) > 0 && worlds < most {
		w := queue[0]
		queue[0] = nil
		queue = queue[1:]
		worlds++
		if worlds%calm == 0 {
			end := w.clone()
			if broken := end.end(); broken != "" {
				return worlds, append(append(w.moves, "-- calm end --"), append(end.moves[len(w.moves):], broken)...)
			}
		}
		for _, m := range w.possible() {
			next := w.clone()
			next.step(m)
			if next.broken == "-" {
				continue
			}
			if broken := next.check(); broken != "" {
				return worlds, append(next.moves, broken)
			}
			if key := maphash.String(seed, next.print()); !seen[key] {
				seen[key] = true
				queue = append(queue, next)
			}
		}
	}
	return worlds, nil
}

// walk makes moves at random, then plays a calm end.
func walk(sc scenario, seed uint64, moves int) []string {
	chance := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(sc)
	for range moves {
		all := w.possible()
		if len(all) == 0 {
			break
		}
		w.step(all[chance.IntN(len(all))])
		if w.broken == "-" {
			return nil
		}
		if broken := w.check(); broken != "" {
			return append(w.moves, broken)
		}
	}
	if broken := w.end(); broken != "" {
		return append(w.moves, broken)
	}
	return nil
}

var scenarios = []scenario{
	{name: "deaths of both", ops: "tt", senderDeaths: 1, receiverDeaths: 1},
	{name: "messages lost and doubled", ops: "tt", senderDeaths: 1, losses: 1, doubles: 1},
	{name: "deaths of the sender", ops: "t", senderDeaths: 2, receiverDeaths: 1, doubles: 1},
	{name: "timers", ops: "ltc", senderDeaths: 1, losses: 1},
	{name: "removed records", ops: "tt", removals: 1, senderDeaths: 1, losses: 1},
	{name: "releases", ops: "tt", releases: 1, losses: 1, doubles: 1},
	{name: "restored", ops: "tt", restores: 1, senderDeaths: 1},
	{name: "refused and parked", ops: "tt", refusals: 2, senderDeaths: 1, receiverDeaths: 1},
}

func TestEveryOrderOfEventsHandlesATellOnce(t *testing.T) {
	most := 1_500
	if testing.Short() {
		most = 1_000
	}
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			worlds, trace := explore(sc, most, 7)
			if trace != nil {
				t.Fatalf("a promise is broken in world %d:\n%s", worlds, strings.Join(trace, "\n"))
			}
			t.Logf("%d worlds", worlds)
		})
	}
}

func TestLongWalksHandleATellOnce(t *testing.T) {
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			sc.ops = map[bool]string{true: "ltcltt", false: "ttttt"}[strings.Contains(sc.ops, "l")]
			sc.senderDeaths, sc.receiverDeaths, sc.losses, sc.doubles = 3, 3, 3, 2
			for seed := range uint64(150) {
				if trace := walk(sc, seed, 120); trace != nil {
					t.Fatalf("a promise is broken with seed %d:\n%s", seed, strings.Join(trace, "\n"))
				}
			}
		})
	}
}

func TestEveryRuleThatIsLeftOutIsMissed(t *testing.T) {
	for _, sc := range []scenario{
		{flaw: sentBeforeCommit, ops: "t", senderDeaths: 1},
		{flaw: markApart, ops: "t", receiverDeaths: 1, senderDeaths: 1},
		{flaw: ackedBeforeCommit, ops: "t", receiverDeaths: 1},
		{flaw: forgetsEarly, ops: "t", senderDeaths: 1},
		{flaw: timerNumberedEarly, ops: "lt"},
		{flaw: countInMemory, ops: "tt", senderDeaths: 1},
		{flaw: youngForgets, ops: "t", senderDeaths: 1},
		{flaw: lateWakeUp, ops: "t", senderDeaths: 1},
		{flaw: restoresOutbox, ops: "tt", restores: 1},
		{flaw: noBorn, ops: "tt", removals: 1},
		{flaw: manyBatches, ops: "tt", losses: 1},
		{flaw: cancelsLate, ops: "lc"},
		{flaw: cleanRelease, ops: "t", releases: 1},
		{flaw: parksEarly, ops: "tt", refusals: 1, senderDeaths: 1},
		{flaw: youngParks, ops: "t", refusals: 1, senderDeaths: 1},
	} {
		t.Run(string(sc.flaw), func(t *testing.T) {
			worlds, trace := explore(sc, 60_000, 3)
			if trace == nil {
				t.Fatalf("not found in %d worlds", worlds)
			}
			t.Logf("found in world %d:\n%s", worlds, strings.Join(trace, "\n"))
		})
	}
}

// A record that is removed while a copy of a dead owner's message may still arrive: two lives of a sender, and a copy of the
// first that arrives in the second. The way is too long for every order of events.
func TestAYoungOwnerKeepsItsRecord(t *testing.T) {
	settle := []string{"the sender puts", "the sender's put lands", "the sender hears"}
	arrive := []string{"the receiver puts", "the receiver's put lands", "answer"}
	story := slices.Concat(
		[]string{"the sender runs"}, settle, []string{"the sender sends", "the sender dies", "the sender is claimed", "the sender sends", "batch [1] of 3"}, arrive,
		[]string{"the sender removes"}, settle, []string{"the sender's record is removed"})
	play := func(w *world, story []string) (stuck string) {
		for _, name := range story {
			all := w.possible()
			i := slices.IndexFunc(all, func(m move) bool { return strings.HasPrefix(m.name, name) })
			if i < 0 {
				return name
			}
			w.step(all[i])
		}
		return ""
	}
	sc := scenario{ops: "tt", removals: 1, senderDeaths: 1}
	if stuck := play(newWorld(sc), story); stuck != "the sender's record is removed" {
		t.Errorf("the story of a young owner goes on to %q, want it to keep its record", stuck)
	}
	sc.flaw = youngRemoves
	w := newWorld(sc)
	story = slices.Concat(story, []string{"the sender is claimed", "the sender runs"}, settle, []string{"the sender sends", "batch [1] of 4"}, arrive,
		[]string{"the sender removes"}, settle, []string{"the sender says Forget", "Forget", "batch [1] of 1"})
	if stuck := play(w, story); stuck != "" {
		t.Fatalf("the story of an owner that removes its record does not go on to %q", stuck)
	}
	if broken := w.check(); !strings.Contains(broken, "handled twice") {
		t.Errorf("an owner that removes its record too early: %q", broken)
	}
}
