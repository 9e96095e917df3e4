//go:build unix

package test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/embedded"
	"holdfast/internal/wire"
	"holdfast/objects"
)

func startHostProcess(t *testing.T, url string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], "host")
	cmd.Env = append(os.Environ(), hostURL+"="+url)
	return runs(t, new(struct{}), cmd)
}

// vaultClient asks vaults.
type vaultClient struct {
	t      *testing.T
	client *wire.Client
}

func newVaultClient(t *testing.T, nc *nats.Conn) *vaultClient {
	t.Helper()
	client, err := wire.NewClient(wire.ClientConfig{NATS: nc, Name: "g", Region: "fra", Timing: quick})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &vaultClient{t, client}
}

func (c *vaultClient) do(name, call string, in any) (n int, err error) {
	id, err := vaultClass.ID(name)
	if err != nil {
		return 0, err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	reply, err := c.client.Do(ctx, wire.Address{ID: id, Name: name}, &wire.Request{Kind: wire.Call, Call: call, Body: body})
	if err == nil {
		err = reply.Err()
	}
	if err == nil {
		err = json.Unmarshal(reply.Body, &n)
	}
	return n, err
}

// Hosts are killed again and again while objects of 10 MB are written, so that they fold, merge and purge. HOLDFAST_KILLS
// says how often.
func TestChaosLargeObjectsLoseNothingWhenTheirOwnersAreKilled(t *testing.T) {
	beside(t, clusters)
	kills, _ := strconv.Atoi(os.Getenv("HOLDFAST_KILLS"))
	kills = cmp.Or(kills, 5)
	server, err := embedded.Start(t.Context(), embedded.Config{Store: t.TempDir(), Port: -1, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	hosts := []*process{startHostProcess(t, server.URL()), startHostProcess(t, server.URL())}
	nc, err := server.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	client := newVaultClient(t, nc)

	const names = 5
	var acked, asked [names]int // by the goroutine of each, then by the test
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	var done atomic.Int64 // steps that were acknowledged
	goOn := func() {
		t.Helper()
		enough := done.Load() + int64(500+rand.IntN(1500))
		await(t, "the vaults go on", func() bool { return done.Load() >= enough })
	}
	for i := range names {
		writing.Go(func() {
			for ctx.Err() == nil {
				some := 1 + rand.IntN(40)
				if acked[i] < vaultKeys {
					some = 250
				}
				asked[i] += some
				n, err := client.do(fmt.Sprint(i), "step", some)
				if err != nil {
					t.Logf("vault %d after %d steps: %v", i, acked[i], err)
					continue
				}
				if n < acked[i]+some || n > asked[i] {
					t.Errorf("vault %d is at step %d, after %d that were acknowledged and %d that were asked for", i, n, acked[i], asked[i])
				}
				acked[i] = n
				done.Add(int64(some))
			}
		})
	}
	for range kills {
		goOn()
		hosts[0].kill()
		hosts = append(slices.Delete(hosts, 0, 1), startHostProcess(t, server.URL()))
	}
	goOn()
	stop()
	writing.Wait()
	all := 0
	for i := range names {
		n, err := client.do(fmt.Sprint(i), "check", nil)
		if err != nil || n < acked[i] || n > asked[i] {
			t.Errorf("vault %d has %d steps, %v; %d were acknowledged and %d asked for", i, n, err, acked[i], asked[i])
		}
		all += n
	}
	t.Logf("%d kills, %d steps", kills, all)
}

// A leaderboard of 50,000 players: scores change, and the best are asked for.
func TestALeaderboardOf50000PlayersIsOneObject(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "a", "fra", steady, nil, boards)
	client := newVaultClient(t, on.dial(t))
	rng := rand.New(rand.NewPCG(1, 2))
	scores := make([]int, 50_000)
	for begin := 0; begin < len(scores); begin += 1000 {
		var batch []score
		for i := begin; i < begin+1000; i++ {
			scores[i] = rng.IntN(1_000_000)
			batch = append(batch, score{i, scores[i]})
		}
		client.board("report", batch)
	}
	began := time.Now()
	for range 200 {
		i := rng.IntN(len(scores))
		scores[i] = rng.IntN(1_000_000)
		client.board("report", []score{{i, scores[i]}})
	}
	each := time.Since(began) / 200
	began = time.Now()
	var top []score
	client.boardInto(&top, "top", 10)
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

type score struct{ Player, Points int }

// rank is how scores are sorted: the best last.
type rank struct{ Points, Player int }

var (
	byPlayer = objects.NewMap[int, int]("player")
	byPoints = objects.NewMap[rank, objects.None]("place")
	boards   = objects.Implement("board", objects.New[board],
		objects.On(objects.NewCall[[]score, objects.None]("board", "report"), (*board).report),
		objects.On(objects.NewCall[int, []score]("board", "top"), (*board).top))
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

func (c *vaultClient) board(call string, in any) { c.boardInto(nil, call, in) }

func (c *vaultClient) boardInto(into any, call string, in any) {
	c.t.Helper()
	id, err := objects.Class("board").ID("all")
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := json.Marshal(in)
	if err != nil {
		c.t.Fatal(err)
	}
	reply, err := c.client.Do(c.t.Context(), wire.Address{ID: id, Name: "all"}, &wire.Request{Kind: wire.Call, Call: call, Body: body})
	if err == nil {
		err = reply.Err()
	}
	if err == nil && into != nil {
		err = json.Unmarshal(reply.Body, into)
	}
	if err != nil {
		c.t.Fatalf("%s: %v", call, err)
	}
}
