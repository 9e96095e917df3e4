package test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdfast/embedded"
	"holdfast/objects"
	"holdfast/objects/host"
)

// TestChaosCountersGoOnWhenANATSServerIsLost stops and restarts each server of the
// cluster in turn, the leaders of the buckets among them, while clients claim.
func TestChaosCountersGoOnWhenANATSServerIsLost(t *testing.T) {
	beside(t, waiters)
	on := clustered(t)
	plain := on.dial
	on.dial = func(t testing.TB, opts ...nats.Option) *nats.Conn {
		return plain(t, append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))...)
	}
	timing := quick
	timing.Request = 25 * time.Second // an election takes up to ten seconds
	on.startHost(t, "h0", "fra", timing, nil)
	on.startHost(t, "h1", "fra", timing, nil)
	d := on.startGateway(t, "fra", timing)

	var (
		mu      sync.Mutex
		tickets = make(map[int]int)
		unknown atomic.Int64
		failed  atomic.Int64
		stop    atomic.Bool
		clients sync.WaitGroup
	)
	for range 6 {
		clients.Go(func() {
			for !stop.Load() {
				status, _, body, err := try("POST", d.url+"/ticket/cluster", "")
				var n int
				switch {
				case err != nil:
					t.Errorf("claim: %v", err)
					return
				case status == 504:
					unknown.Add(1)
				case status == 503:
					failed.Add(1)
				default:
					if _, err := fmt.Sscanf(body, `{"ticket":%d}`, &n); err != nil || status != 200 {
						t.Errorf("claim: status %d, body %s", status, body)
						return
					}
					mu.Lock()
					tickets[n]++
					mu.Unlock()
				}
			}
		})
	}
	given := func() int { mu.Lock(); defer mu.Unlock(); return len(tickets) }
	goOn := func(what string) {
		reached := given() + 100
		await(t, what, func() bool { return given() >= reached })
	}
	goOn("clients claim")
	for i := range on.servers {
		on.cluster.Stop(i)
		goOn(fmt.Sprintf("clients claim without server %d", i))
		if err := on.cluster.Restart(i); err != nil {
			t.Fatal(err)
		}
		goOn(fmt.Sprintf("clients claim with server %d again", i))
	}
	stop.Store(true)
	clients.Wait()

	_, _, body := request(t, "GET", d.url+"/ticket/cluster", "")
	var last int
	if _, err := fmt.Sscanf(body, `{"ticket":%d}`, &last); err != nil {
		t.Fatal(err)
	}
	for n, times := range tickets {
		if times != 1 || n > last {
			t.Errorf("ticket %d was given %d times; the counter stands at %d", n, times, last)
		}
	}
	if lost := last - len(tickets); lost < 0 || lost > int(unknown.Load()) {
		t.Errorf("the counter stands at %d with %d tickets given and %d outcomes unknown", last, len(tickets), unknown.Load())
	}
	t.Logf("%d tickets, %d unknown, %d did not happen", len(tickets), unknown.Load(), failed.Load())
}

// TestChaosEveryHostGoesOnAsItselfWhenTheLeaderOfRecordsAndLeasesIsLost stops the server
// that leads both buckets. No host can renew its lease until there is another leader, so
// all leases lapse. When they can be renewed, every object is answered by the incarnation
// that had it: nothing moves, and the gap is little longer than the election.
func TestChaosEveryHostGoesOnAsItselfWhenTheLeaderOfRecordsAndLeasesIsLost(t *testing.T) {
	beside(t, waiters)
	const n, slack = 6, 2 * time.Second // 1 s and what a busy machine takes
	on := clustered(t)
	plain := on.dial
	on.dial = func(t testing.TB, opts ...nats.Option) *nats.Conn {
		return plain(t, append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))...)
	}
	timing := quick
	timing.TTL, timing.Margin, timing.Request = 3*time.Second, 300*time.Millisecond, 25*time.Second
	on.startHost(t, "h0", "fra", timing, nil)
	on.startHost(t, "h1", "fra", timing, nil)
	d := on.startGateway(t, "fra", timing)
	claim := func(i int) bool {
		status, _, _, err := try("POST", fmt.Sprintf("%s/ticket/leader-%d", d.url, i), "")
		return err == nil && status == 200
	}
	for i := range n {
		await(t, "the object is claimed", func() bool { return claim(i) })
	}
	lost := leadBoth(t, on)
	nc, err := nats.Connect(on.cluster.URLs()[(lost+1)%3], nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	owners := ownersOf(t, nc, n)

	var clients sync.WaitGroup
	var stop atomic.Bool
	gaps := make([]time.Duration, n)
	for i := range n {
		clients.Go(func() {
			for last := time.Now(); !stop.Load(); {
				if claim(i) {
					now := time.Now()
					gaps[i], last = max(gaps[i], now.Sub(last)), now
				}
			}
		})
	}
	began := time.Now()
	on.cluster.Stop(lost)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	old := on.servers[lost].Name()
	await(t, "other leaders are elected", func() bool {
		return leader(t, js, "KV_HF_OBJECTS") != old && leader(t, js, "KV_HF_LEASES") != old && leader(t, js, "KV_HF_OBJECTS") != "" && leader(t, js, "KV_HF_LEASES") != ""
	})
	election := time.Since(began)
	time.Sleep(5 * time.Second)
	stop.Store(true)
	clients.Wait()
	for i, gap := range gaps {
		t.Logf("object %d: gap %v, election %v", i, gap.Round(time.Millisecond), election.Round(time.Millisecond))
		if gap > election+slack {
			t.Errorf("object %d was not answered for %v; the election took %v", i, gap, election)
		}
	}
	if now := ownersOf(t, nc, n); !slices.Equal(now, owners) {
		t.Errorf("objects have moved: %v, before %v", now, owners)
	}
}

// ownersOf are the incarnations and epochs of the objects.
func ownersOf(t *testing.T, nc *nats.Conn, n int) (owners []string) {
	t.Helper()
	in, err := host.Inspect(t.Context(), nc)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		id, err := objects.Class("ticket").ID(fmt.Sprintf("leader-%d", i))
		if err != nil {
			t.Fatal(err)
		}
		info, err := in.Get(t.Context(), id, "")
		if err != nil {
			t.Fatal(err)
		}
		owners = append(owners, fmt.Sprintf("%s in epoch %d", info.Incarnation, info.Epoch))
	}
	return owners
}

// leader is the name of the server that leads a stream; "" while there is none.
func leader(t *testing.T, js jetstream.JetStream, stream string) string {
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if err != nil || s.CachedInfo().Cluster == nil {
		return ""
	}
	return s.CachedInfo().Cluster.Leader
}

// leadBoth has one server lead records and leases, and returns it.
func leadBoth(t *testing.T, on *substrate) (server int) {
	t.Helper()
	nc := on.dial(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "one server leads records and leases", func() bool {
		records, leases := leader(t, js, "KV_HF_OBJECTS"), leader(t, js, "KV_HF_LEASES")
		if records == "" || records != leases {
			_, _ = nc.Request("$JS.API.STREAM.LEADER.STEPDOWN.KV_HF_LEASES", nil, time.Second)
			time.Sleep(200 * time.Millisecond)
			return false
		}
		server = slices.IndexFunc(on.servers, func(s *embedded.Server) bool { return s.Name() == records })
		return server >= 0
	})
	return server
}
