package acceptance

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"

	"holdfast/internal/underrace"
)

// Seats are how many tests of a kind run at a time, beside those of the other kinds. Tests wait for leases, alarms and browsers
// more than they compute; under the race detector they compute.
var (
	waiters  = newSeats(8, 2)
	clusters = newSeats(2, 1) // on a cluster; under the race detector two clusters beside each other lose their leaders
	heavy    = heavySeats()
	browsers = newSeats(3, 1) // a page that loads takes half a core
	places   = newSeats(4, 4) // a host and a gateway for bad input
)

func newSeats(usual, raced int) chan struct{} {
	if underrace.On {
		usual = raced
	}
	return make(chan struct{}, usual)
}

// heavySeats are for tests that write large objects. Under the race detector no cluster is beside them.
func heavySeats() chan struct{} {
	if underrace.On {
		return clusters
	}
	return make(chan struct{}, 1)
}

// beside lets a test run beside others, when a seat is free.
func beside(t *testing.T, seats chan struct{}) {
	t.Helper()
	t.Parallel()
	seats <- struct{}{}
	t.Cleanup(func() { <-seats })
}

// Nothing outlives the tests: hosts, gateways and servers end with all they began.
func TestMain(m *testing.M) {
	if name := os.Getenv(nodeName); name != "" {
		runNode(name)
		return
	}
	if url := os.Getenv(hostURL); url != "" {
		runHostProcess(url)
		return
	}
	flag.Parse()
	// The seats say how many run; a test that waits for one must not take the place of another.
	if err := flag.Set("test.parallel", "100"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(quiet{m},
		// It looks up every ten seconds and ends when it finds its server stopped.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		// It keeps the date for all servers of a process, for as long as that lives.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		// A server of a cluster that stops while it makes a Raft group forgets the group's store (createRaftGroup of nats-server 2.15.2).
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"),
	)
}

// quiet runs the tests, and closes the clusters, the browser and the client's idle connections afterwards.
type quiet struct{ m *testing.M }

func (q quiet) Run() int {
	defer client.CloseIdleConnections()
	defer closeBrowser()
	defer closeClusters()
	return q.m.Run()
}
