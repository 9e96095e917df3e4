//go:build unix

package acceptance

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"holdfast/examples/document"
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

// A document of five megabytes is edited through one socket, and read by whoever comes in, also when it has moved.
func TestADocumentOfFiveMegabytesIsEditedTogether(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	first := on.startHost(t, "a", "fra", steady, nil, document.Objects)
	d := on.startWorker(t, "fra", steady, document.Worker, string(document.Documents))
	enter := func(after uint64) *websocket.Conn {
		t.Helper()
		conn, _, err := websocket.Dial(t.Context(), fmt.Sprint(strings.Replace(d.url, "http", "ws", 1), "/document/minutes/live?after=", after), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.CloseNow() })
		conn.SetReadLimit(1 << 20)
		return conn
	}
	const updates, size = 105, 50_000
	hears := func(conn *websocket.Conn, who string, from, to uint64) {
		t.Helper()
		for n := from; n <= to; n++ {
			_, data, err := conn.Read(t.Context())
			if err != nil {
				t.Fatalf("%s has not heard of update %d: %v", who, n, err)
			}
			if got := binary.BigEndian.Uint64(data); got != n || n <= updates && len(data) != 8+size {
				t.Fatalf("%s heard of update %d of %d bytes, want %d", who, got, len(data), n)
			}
		}
	}
	write := func(conn *websocket.Conn, n int) {
		t.Helper()
		if err := conn.Write(t.Context(), websocket.MessageBinary, append([]byte{0}, make([]byte, n)...)); err != nil {
			t.Fatal(err)
		}
	}
	reads := func() (last uint64) {
		t.Helper()
		for {
			res, err := http.Get(fmt.Sprint(d.url, "/document/minutes?after=", last))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || res.StatusCode != http.StatusOK {
				t.Fatal(res.Status, err)
			}
			if len(body) == 0 {
				return last
			}
			for ; len(body) > 0; body = body[12+size:] {
				if n, number := binary.BigEndian.Uint32(body), binary.BigEndian.Uint64(body[4:]); n != size || number != last+1 {
					t.Fatalf("after update %d comes %d, of %d bytes", last, number, n)
				}
				last++
			}
		}
	}
	ada, bob := enter(0), enter(0)
	for n := range uint64(updates) {
		write(ada, size)
		hears(bob, "bob", n+1, n+1)
	}
	if n := reads(); n != updates {
		t.Errorf("eve has read %d updates, want %d", n, updates)
	}
	on.startHost(t, "b", "fra", steady, nil, document.Objects)
	first.stop()
	dan := enter(reads())
	write(dan, 5)
	hears(ada, "ada", updates+1, updates+1)
	write(ada, 5)
	hears(dan, "dan", updates+2, updates+2)
}
