package acceptance

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// TestChaosCountersGoOnWhenANATSServerIsLost stops and restarts each server of the
// cluster in turn, the leaders of the buckets among them, while clients claim.
func TestChaosCountersGoOnWhenANATSServerIsLost(t *testing.T) {
	beside(t, clusters)
	on := clusteredAlone(t)
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
