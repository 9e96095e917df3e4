//go:build unix

package test

import (
	"cmp"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"holdfast/objects"
)

// Hosts are killed again and again while objects of 10 MB are written, so that they fold, merge and purge. HOLDFAST_KILLS
// says how often.
func TestChaosLargeObjectsLoseNothingWhenTheirOwnersAreKilled(t *testing.T) {
	beside(t, heavy)
	kills, _ := strconv.Atoi(os.Getenv("HOLDFAST_KILLS"))
	kills = cmp.Or(kills, 5)
	url, nc := natsForProcesses(t)
	hosts := []*process{startHostProcess(t, url), startHostProcess(t, url)}
	w := startWriters(t, caller(t, nc), 5, stepCall, checkCall, func(acked int) int {
		if acked < vaultKeys {
			return 250
		}
		return 1 + rand.IntN(40)
	})
	goOn := func() { t.Helper(); w.goOn(500 + rand.IntN(1500)) }
	for range kills {
		goOn()
		hosts[0].kill()
		hosts = append(slices.Delete(hosts, 0, 1), startHostProcess(t, url))
	}
	goOn()
	w.end()
	t.Logf("%d kills, %d steps", kills, w.done.Load())
}

// A leaderboard of 50,000 players: scores change, and the best are asked for.
func TestALeaderboardOf50000PlayersIsOneObject(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "a", "fra", steady, nil, boards)
	all := caller(t, on.dial(t)).Object(boardClass, "all")
	rng := rand.New(rand.NewPCG(1, 2))
	scores := make([]int, 50_000)
	for begin := 0; begin < len(scores); begin += 1000 {
		var batch []score
		for i := begin; i < begin+1000; i++ {
			scores[i] = rng.IntN(1_000_000)
			batch = append(batch, score{i, scores[i]})
		}
		ask(t, report, all, batch)
	}
	began := time.Now()
	for range 200 {
		i := rng.IntN(len(scores))
		scores[i] = rng.IntN(1_000_000)
		ask(t, report, all, []score{{i, scores[i]}})
	}
	each := time.Since(began) / 200
	began = time.Now()
	top := ask(t, best, all, 10)
	took := time.Since(began)
	want := slices.Clone(scores)
	slices.Sort(want)
	slices.Reverse(want)
	for i, s := range top {
		if s.Points != want[i] || scores[s.Player] != s.Points {
			t.Errorf("place %d has %+v, want %d points", i+1, s, want[i])
		}
	}
	if len(top) != 10 {
		t.Errorf("the best 10 are %d", len(top))
	}
	t.Logf("a score took %v, the best ten %v", each, took)
}

type board struct{}

const boardClass objects.Class = "board"

type score struct{ Player, Points int }

// rank is how scores are sorted: the best last.
type rank struct{ Points, Player int }

var (
	byPlayer = objects.NewMap[int, int]("player")
	byPoints = objects.NewMap[rank, objects.None]("place")
	report   = objects.NewCall[[]score, objects.None](boardClass, "report")
	best     = objects.NewCall[int, []score](boardClass, "top")
	boards   = objects.Implement(boardClass, objects.New[board], objects.On(report, (*board).report), objects.On(best, (*board).top))
)

func (b *board) report(tx *objects.Tx, scores []score) (objects.None, error) {
	for _, s := range scores {
		if before, ok := byPlayer.Lookup(tx, s.Player); ok {
			byPoints.Delete(tx, rank{before, s.Player})
		}
		byPlayer.Set(tx, s.Player, s.Points)
		byPoints.Set(tx, rank{s.Points, s.Player}, nil)
	}
	return nil, nil
}

func (b *board) top(tx *objects.Tx, n int) (best []score, _ error) {
	for p := range byPoints.Backward(tx) {
		if best = append(best, score{p.Player, p.Points}); len(best) == n {
			break
		}
	}
	return best, nil
}
