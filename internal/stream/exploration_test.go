package stream

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An exploration makes much garbage and keeps little.
func init() { debug.SetGCPercent(400) }

var scenarios = []scenario{
	{name: "one gateway, owner dies", gates: "A", frames: 1, deaths: 1},
	{name: "one gateway, planned move", gates: "A", frames: 1, drains: 1},
	{name: "one gateway, given up, owner dies", gates: "A", giveUps: 1, deaths: 1},
	{name: "one gateway, a socket opens, owner dies", gates: "a", deaths: 1},
	{name: "one gateway, two sockets, given up, one opens", gates: "Aa", giveUps: 1, deaths: 1},
	{name: "one frame", gates: "AB", frames: 1},
	{name: "blips", gates: "AB", frames: 3, small: true},
	{name: "blips, owner dies", gates: "AB", frames: 3, deaths: 1, small: true},
	{name: "a client leaves", gates: "AB", frames: 1, closes: 1},
	{name: "a client leaves, owner dies", gates: "AB", closes: 1, deaths: 1},
	{name: "a client leaves, two owners die", gates: "AB", closes: 1, deaths: 2},
	{name: "planned move", gates: "AB", frames: 1, drains: 1},
	{name: "two planned moves", gates: "AB", frames: 1, drains: 2},
	{name: "owner dies", gates: "AB", frames: 1, deaths: 1},
	{name: "owner dies, a gateway doubts", gates: "AB", frames: 1, deaths: 1, doubts: 2},
	{name: "two owners die, a gateway doubts", gates: "AB", calls: 1, deaths: 2, doubts: 1},
	{name: "planned move, a gateway doubts", gates: "AB", calls: 1, drains: 1, doubts: 2},
	{name: "one gateway, a call, owner dies", gates: "A", calls: 1, deaths: 1},
	{name: "two calls, two owners die", gates: "AB", calls: 2, deaths: 2},
	{name: "a call and a frame, owner dies", gates: "AB", calls: 1, frames: 1, deaths: 1},
	{name: "a call, served in haste, two owners die", gates: "AB", calls: 1, deaths: 2, hastes: 1},
	{name: "a call, given up, owner dies", gates: "AB", calls: 1, giveUps: 1, deaths: 1},
	{name: "a call, a gateway and the owner die", gates: "AB", calls: 1, gateDeaths: 1, deaths: 1},
	{name: "a call, a planned move, owner dies", gates: "AB", calls: 2, drains: 1, deaths: 1},
	{name: "owner dies, two frames", gates: "AB", frames: 2, deaths: 1},
	{name: "owner dies, served in haste", gates: "AB", frames: 1, deaths: 1, hastes: 1},
	{name: "two owners die, served in haste", gates: "AB", frames: 1, deaths: 2, hastes: 1},
	{name: "given up", gates: "AB", giveUps: 1, frames: 1},
	{name: "given up, owner dies", gates: "AB", giveUps: 1, deaths: 1},
	{name: "given up in haste", gates: "AB", giveUps: 1, frames: 1, deaths: 1, hastes: 1},
	{name: "gateway and owner die", gates: "AB", gateDeaths: 1, deaths: 1},
	{name: "gateway and owner die, one frame", gates: "AB", frames: 1, gateDeaths: 1, deaths: 1},
	{name: "a socket opens", gates: "Ab", frames: 1},
	{name: "a socket opens, owner dies", gates: "Ab", frames: 1, deaths: 1},
	{name: "a socket opens and leaves", gates: "Ab", closes: 1, deaths: 1, stale: true},
	{name: "a socket opens and leaves, another comes", gates: "abb", closes: 2, stale: true},
	{name: "a socket opens, gateway and owner die", gates: "Ab", gateDeaths: 1, deaths: 1},
	{name: "a value waits, owner dies", gates: "AB", conflated: 3, frames: 1, deaths: 1},
	{name: "a value waits, owner dies, one gateway", gates: "A", conflated: 1, frames: 2, deaths: 1},
	{name: "a value waits for one of two, owner dies", gates: "AB", conflated: 1, frames: 1, deaths: 1},
	{name: "a value waits, two frames, owner dies", gates: "AB", conflated: 2, frames: 2, deaths: 1},
	{name: "a value waits, planned move", gates: "AB", conflated: 3, frames: 1, drains: 1},
	{name: "a value waits, a client leaves, owner dies", gates: "AB", conflated: 3, frames: 1, closes: 1, deaths: 1},
	{name: "a value waits, gateway and owner die", gates: "AB", conflated: 3, frames: 1, gateDeaths: 1, deaths: 1},
	{name: "a value waits, blips", gates: "AB", conflated: 3, frames: 3, small: true},
	{name: "a value waits, given up", gates: "AB", conflated: 3, frames: 1, giveUps: 1},
	{name: "a socket opens at a gateway given up", gates: "ABb", giveUps: 1, deaths: 1},
}

// limit is how many worlds of each scenario are explored, and 200 times how many walks
// are taken; STREAM_LIMIT raises it. STREAM_SEED takes other walks.
func limit(t *testing.T, usual int) int {
	if v := os.Getenv("STREAM_LIMIT"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("STREAM_LIMIT: %v", err)
		}
		return n
	}
	return usual
}

func TestEveryOrderOfEventsKeepsThePromises(t *testing.T) {
	most := limit(t, 1000)
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			s, trace, all := explore(sc, most)
			t.Logf("%d worlds (all: %t), %d moves, %v: %v", len(s.from), all, s.moved, time.Since(begin).Round(time.Millisecond), s.count)
			if trace != nil {
				t.Errorf("a promise is broken:\n%s", strings.Join(trace, "\n"))
			}
		})
	}
}

func TestRandomWalksKeepThePromises(t *testing.T) {
	walks := limit(t, 1000) / 200
	seed := uint64(0)
	if v := os.Getenv("STREAM_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("STREAM_SEED: %v", err)
		}
	}
	for i, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			trace, number, worlds := walk(sc, walks, 60, seed+uint64(i))
			t.Logf("%d worlds", worlds)
			if trace != nil {
				t.Errorf("walk %d breaks a promise:\n%s", number, strings.Join(trace, "\n"))
			}
		})
	}
}

func TestEveryPlantedFaultIsFound(t *testing.T) {
	for _, c := range []struct {
		scenario
		worlds, walks int // how many to search; 0: the other way finds it
	}{
		{scenario{flaw: noProbes, gates: "AB", frames: 1}, 2000, 0},
		{scenario{flaw: ackOutside, gates: "AB", frames: 1, deaths: 1}, 2000, 0},
		{scenario{flaw: giveUpUntold, gates: "AB", giveUps: 1}, 2000, 0},
		{scenario{flaw: giveUpForgotten, gates: "AB", giveUps: 1, deaths: 1}, 2000, 0},
		{scenario{flaw: silenceIsDeath, gates: "AB", deaths: 1, hastes: 1}, 2000, 0},
		{scenario{flaw: noSlots, gates: "AB", gateDeaths: 1, deaths: 1}, 2000, 0},
		{scenario{flaw: noHeads, gates: "AB", frames: 1, deaths: 1}, 5000, 0},
		{scenario{flaw: noRecordHeads, gates: "AB", frames: 1, deaths: 1}, 5000, 0},
		{scenario{flaw: noWait, gates: "AB", frames: 1, drains: 1}, 5000, 0},
		{scenario{flaw: windowSkip, gates: "A", frames: 3, small: true}, 2000, 0},
		{scenario{flaw: lateKeeps, gates: "AB", frames: 1, deaths: 1, hastes: 1}, 10000, 0},
		{scenario{flaw: silenceUntold, gates: "AB", frames: 1, deaths: 2, hastes: 1}, 20000, 0},
		{scenario{flaw: whichNoFence, gates: "A", frames: 1, deaths: 1}, 5000, 0},
		{scenario{flaw: newestOnly, gates: "A", deaths: 2}, 2000, 0},
		{scenario{flaw: closingHandled, gates: "AB", frames: 1, deaths: 1, hastes: 1}, 20000, 0},
		{scenario{flaw: staleResend, gates: "A", frames: 2}, 2000, 0},
		{scenario{flaw: listIgnored, gates: "Ab", closes: 1, deaths: 1, hastes: 1}, 20000, 0},
		{scenario{flaw: cutHeld, gates: "AB", frames: 3, deaths: 1, small: true}, 0, 500},
		{scenario{flaw: ghostForgotten, gates: "Ab", closes: 1}, 20000, 0},
		{scenario{flaw: toldUnsaid, gates: "Ab", closes: 1, deaths: 1}, 20000, 0},
		{scenario{flaw: quietEach, gates: "AB", frames: 1, deaths: 1}, 20000, 0},
		{scenario{flaw: encodedLate, gates: "A", frames: 1, closes: 1, deaths: 1}, 2000, 0},
		{scenario{flaw: numbersAgain, gates: "Bb", closes: 1}, 1000, 0},
		{scenario{flaw: forgetsEarly, gates: "AB", closes: 1, deaths: 1}, 5000, 0},
		{scenario{flaw: quietAsked, gates: "AB", closes: 1, deaths: 2}, 20000, 0},
		{scenario{flaw: oweNothing, gates: "AB", conflated: 3, frames: 1, deaths: 1}, 5000, 0},
		{scenario{flaw: oweNoHeads, gates: "AB", conflated: 1, frames: 1, deaths: 1}, 5000, 0},
		{scenario{flaw: deathUntold, gates: "AB", calls: 1, deaths: 1}, 5000, 0},
		{scenario{flaw: recordBelieved, gates: "AB", calls: 1, deaths: 1}, 5000, 0},
		{scenario{flaw: claimIsCheck, gates: "AB", frames: 1, deaths: 1}, 5000, 0},
		{scenario{flaw: ackBeforeTick, gates: "AB", conflated: 3, frames: 1, deaths: 1}, 5000, 0},
	} {
		t.Run(string(c.flaw), func(t *testing.T) {
			t.Parallel()
			var trace []string
			if c.walks > 0 {
				var number int
				if trace, number, _ = walk(c.scenario, c.walks, 60, 1); trace == nil {
					t.Fatalf("not found in %d walks", c.walks)
				}
				t.Logf("found by walk %d:", number)
			} else {
				var s *search
				if s, trace, _ = explore(c.scenario, c.worlds); trace == nil {
					t.Fatalf("not found in %d worlds: %v", len(s.from), s.count)
				}
				t.Logf("found after %d worlds:", len(s.from))
			}
			t.Log(strings.Join(trace, "\n"))
		})
	}
}
