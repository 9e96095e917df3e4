package acceptance

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"holdfast/embedded"
	"holdfast/internal/underrace"
	"holdfast/internal/wire"
	"holdfast/kvfoil"
	"holdfast/objects"
)

var regions = []string{"fra", "iad", "syd"}

// world is hosts and gateways in three regions.
func (on *substrate) world(t testing.TB) []*door {
	for _, region := range regions {
		on.startHost(t, "host-"+region, region, steady, nil)
	}
	doors := make([]*door, len(regions))
	for i, region := range regions {
		doors[i] = on.startGateway(t, region, steady)
	}
	return doors
}

// burst calls do n times at the same moment.
func burst(n int, do func(i int)) {
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-gate
			do(i)
		})
	}
	ready.Wait()
	close(gate)
	done.Wait()
}

func TestFifteenClaimsThroughThreeRegionsAreExactlyOneToFifteen(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		doors := on.world(t)
		rounds := 100 // the same suite; the thousand are counted on one server, and without the race detector
		if on.name == "R1" && !underrace.On {
			rounds = 1000
		}
		for round := range rounds {
			tickets := make([]int, 15)
			burst(15, func(i int) {
				n, _, err := claim(doors[i%3].url, fmt.Sprintf("round-%d", round))
				if err != nil {
					t.Errorf("round %d: %v", round, err)
				}
				tickets[i] = n
			})
			slices.Sort(tickets)
			for i, n := range tickets {
				if n != i+1 {
					t.Fatalf("round %d: tickets = %v, want 1 to 15", round, tickets)
				}
			}
		}
	})
}

func TestTheFoilLosesAndCompareAndSetDoesNot(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		doors := on.world(t)
		lossy, attempts, rounds := 0, 0, 30
		if on.name == "R1" {
			rounds = 100
		}
		for round := range rounds {
			naive, cas := make([]int, 15), make([]int, 15)
			burst(15, func(i int) {
				status, _, body := request(t, "POST", fmt.Sprintf("%s/naive/r%d?gap=10ms", doors[i%3].url, round), "")
				if _, err := fmt.Sscanf(body, `{"ticket":%d}`, &naive[i]); err != nil || status != 200 {
					t.Errorf("naive: status %d, body %s", status, body)
				}
			})
			burst(15, func(i int) {
				status, _, body := request(t, "POST", fmt.Sprintf("%s/cas/r%d?gap=0ms", doors[i%3].url, round), "")
				var tries int
				if _, err := fmt.Sscanf(body, `{"attempts":%d,"ticket":%d}`, &tries, &cas[i]); err != nil || status != 200 {
					t.Errorf("cas: status %d, body %s", status, body)
				}
				if i == 0 {
					attempts += tries
				}
			})
			if distinct(naive) < 15 {
				lossy++
			}
			if distinct(cas) != 15 {
				t.Errorf("round %d: compare-and-set gave %v, want 15 different tickets", round, cas)
			}
		}
		if lossy < rounds-1 {
			t.Errorf("the naive counter gave duplicates in %d of %d rounds, want at least %d", lossy, rounds, rounds-1)
		}
		t.Logf("naive lost in %d of %d rounds; compare-and-set took %.1f attempts a claim", lossy, rounds, float64(attempts)/float64(rounds))
	})
}

func distinct(tickets []int) int {
	return len(slices.Compact(slices.Sorted(slices.Values(tickets))))
}

func TestPeekAndReset(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		on.startHost(t, "a", "fra", steady, nil)
		g := on.startGateway(t, "fra", steady)
		for _, counter := range []string{"ticket", "naive", "cas"} {
			url := g.url + "/" + counter + "/p"
			expect := func(method string, want int) {
				t.Helper()
				status, header, body := request(t, method, url, "")
				var answer struct{ Ticket int }
				decode(t, body, &answer)
				if status != 200 || answer.Ticket != want {
					t.Errorf("%s %s: status %d, body %s, want ticket %d", method, counter, status, body, want)
				}
				if header.Get("Holdfast-Region") != "fra" {
					t.Errorf("%s %s: Holdfast-Region = %q, want fra", method, counter, header.Get("Holdfast-Region"))
				}
			}
			expect("GET", 0)
			expect("POST", 1)
			expect("POST", 2)
			expect("GET", 2)
			expect("DELETE", 0)
			expect("GET", 0)
			expect("POST", 1)
		}
	})
}

func TestAHostThatStopsOnPurposeFailsNoRequest(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		hosts := []member{on.startHost(t, "h0", "fra", steady, nil), on.startHost(t, "h1", "fra", steady, nil)}
		g := on.startGateway(t, "fra", steady)
		const counters, rounds = 5, 4
		var stop atomic.Bool
		claims := make([][]int, counters)
		var clients sync.WaitGroup
		for i := range counters {
			clients.Go(func() {
				for !stop.Load() {
					n, _, err := claim(g.url, fmt.Sprintf("drain-%d", i))
					if err != nil {
						t.Errorf("a request failed: %v", err)
						return
					}
					claims[i] = append(claims[i], n)
				}
			})
		}
		epoch := func() string {
			_, header, err := claim(g.url, "watched")
			if err != nil {
				t.Fatal(err)
			}
			return header.Get("Holdfast-Epoch") + " " + header.Get("Holdfast-Owner")
		}
		seen := map[string]bool{epoch(): true}
		for round := range rounds {
			hosts[round%2].stop()
			seen[epoch()] = true
			hosts[round%2] = on.startHost(t, fmt.Sprintf("h%d", round+2), "fra", steady, nil)
		}
		stop.Store(true)
		clients.Wait()
		if len(seen) < 3 {
			t.Errorf("owners seen: %v: the object never moved, so nothing was shown", seen)
		}
		for i, got := range claims {
			for j, n := range got {
				if n != j+1 {
					t.Fatalf("counter %d: ticket %d is %d", i, j+1, n)
				}
			}
		}
		t.Logf("%d moves, %d claims", len(seen)-1, len(slices.Concat(claims...)))
	})
}

func TestCountersGoOnAfterARestartOfEverything(t *testing.T) {
	beside(t, waiters)
	const lives = 3
	live := func(t *testing.T, on *substrate, life int) {
		on.startHost(t, "a", "fra", steady, nil)
		g := on.startGateway(t, "fra", steady)
		for i := range 10 {
			n, _, err := claim(g.url, "kept")
			if err != nil {
				t.Fatal(err)
			}
			if want := life*10 + i + 1; n != want {
				t.Fatalf("ticket = %d, want %d", n, want)
			}
		}
	}
	t.Run("R1", func(t *testing.T) {
		dir := t.TempDir()
		for life := range lives {
			t.Run(fmt.Sprint("life ", life+1), func(t *testing.T) {
				live(t, served(t, embedded.Config{Store: dir, Log: testLog(t)}), life)
			})
		}
	})
	t.Run("R3", func(t *testing.T) {
		on := clusteredAlone(t)
		for life := range lives {
			t.Run(fmt.Sprint("life ", life+1), func(t *testing.T) { live(t, on, life) })
			if err := on.cluster.RestartAll(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestAReleasedObjectThatKeepsNothingLeavesNoEntry(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		h := on.startHost(t, "a", "fra", steady, nil)
		g := on.startGateway(t, "fra", steady)
		for i := range 20 {
			if status, _, body := request(t, "GET", fmt.Sprintf("%s/ticket/peeked-%d", g.url, i), ""); status != 200 {
				t.Fatalf("peek: status %d, body %s", status, body)
			}
		}
		if _, _, err := claim(g.url, "kept"); err != nil {
			t.Fatal(err)
		}
		h.stop()
		if keys := recordKeys(t, on.dial(t)); len(keys) != 1 {
			t.Errorf("%d entries are left, want 1: %v", len(keys), keys)
		}
	})
}

func TestAResetOfTheFoilIsOfThatNameAlone(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	foil, err := kvfoil.Open(context.Background(), on.dial(t), kvfoil.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if _, err := foil.Naive(t.Context(), name, 0, kvfoil.Edge{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := foil.ResetNaive(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if n, err := foil.PeekNaive(t.Context(), "b"); err != nil || n != 1 {
		t.Errorf("b = %d, %v; want 1", n, err)
	}
}

// More than are released at a time, while one is asked again and again.
func TestIdleObjectsAreReleasedAndComeBackAsTheyWere(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		timing := steady
		timing.Hibernate, timing.Evict = 50*time.Millisecond, 200*time.Millisecond
		metrics := prometheus.NewRegistry()
		on.startHost(t, "a", "fra", timing, metrics)
		g := on.startGateway(t, "fra", timing)
		const counters = 150
		for life := range 2 {
			burst(counters, func(i int) {
				if n, _, err := claim(g.url, fmt.Sprint("idle-", i)); n != life+1 || err != nil {
					t.Errorf("counter %d: claim = %d, %v, want %d", i, n, err, life+1)
				}
			})
			await(t, "all but the busy one are released", func() bool {
				if _, _, err := claim(g.url, "busy"); err != nil {
					t.Error(err)
				}
				released := valueOf(t, metrics, "holdfast_host_stops_total", "released")
				return released >= float64(counters*(life+1)) && valueOf(t, metrics, "holdfast_host_objects", "ticket") <= 1
			})
		}
	})
}

// A request may be sent twice, over two connections of which one is slow. A copy that comes when its
// gateway no longer waits for it does not run, whether or not the answer is remembered.
func TestACopyThatComesLateIsNotRun(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "a", "fra", steady, nil)
	g := on.startGateway(t, "fra", steady)
	if n, _, err := claim(g.url, "late"); n != 1 || err != nil {
		t.Fatalf("claim = %d, %v", n, err)
	}
	id, err := objects.Class("ticket").ID("late")
	if err != nil {
		t.Fatal(err)
	}
	nc := on.dial(t)
	answers, err := nc.SubscribeSync(wire.InboxPrefix + "slow.*")
	if err != nil {
		t.Fatal(err)
	}
	send := func(n, low uint64) {
		t.Helper()
		req := wire.Request{Kind: wire.Call, Gateway: "slow", N: n, Low: low, Call: "claim", Body: []byte("{}")}
		if err := wire.Ask(nc, wire.ObjectSubject(id), fmt.Sprintf("%sslow.%d", wire.InboxPrefix, n), &req); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(n uint64, body string) {
		t.Helper()
		msg, err := answers.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		var reply wire.Reply
		if err := wire.Decode(msg.Data, &reply); err != nil || string(reply.Body) != body || msg.Subject != fmt.Sprintf("%sslow.%d", wire.InboxPrefix, n) {
			t.Fatalf("%s is %+v, %v; want %s on %d", msg.Subject, reply, err, body, n)
		}
	}
	send(5, 5)
	expect(5, "2")
	send(5, 5) // it may still be waited for
	expect(5, "2")
	send(6, 6)
	expect(6, "3")
	send(5, 5) // it is not any more
	send(7, 7)
	expect(7, "4") // and nothing before it
}
