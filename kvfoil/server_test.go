package kvfoil

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"holdfast/internal/loopback"
)

// startServer runs one server with JetStream for the length of the test.
func startServer(t *testing.T) *server.Server {
	t.Helper()
	return start(t, &server.Options{StoreDir: t.TempDir()})
}

// startCluster runs three servers that know each other.
func startCluster(t *testing.T) []*server.Server {
	t.Helper()
	ports, err := loopback.Ports(3)
	if err != nil {
		t.Fatal(err)
	}
	var routes []*url.URL
	for _, port := range ports {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
	}
	var servers []*server.Server
	for i, port := range ports {
		servers = append(servers, start(t, &server.Options{
			ServerName: fmt.Sprintf("n%d", i),
			StoreDir:   t.TempDir(),
			Cluster:    server.ClusterOpts{Name: "foil", Host: "127.0.0.1", Port: port},
			Routes:     routes,
		}))
	}
	return servers
}

func start(t *testing.T, opts *server.Options) *server.Server {
	t.Helper()
	opts.Host, opts.Port = "127.0.0.1", server.RANDOM_PORT
	opts.JetStream, opts.NoLog, opts.NoSigs = true, true, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server did not become ready")
	}
	return s
}

func connect(t *testing.T, s *server.Server) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL(), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// open tries until the servers have elected a leader, which takes a moment.
func open(t *testing.T, s *server.Server, cfg Config) *Foil {
	t.Helper()
	nc := connect(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		f, err := Open(ctx, nc, cfg)
		if err == nil {
			return f
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			t.Fatalf("open: %v", err)
		}
	}
}

type claimer func(ctx context.Context, name string, gap time.Duration) (Result, error)

// straight claims at the naive counter with nothing in between.
func straight(f *Foil) claimer {
	return func(ctx context.Context, name string, gap time.Duration) (Result, error) {
		return f.Naive(ctx, name, gap, Edge{})
	}
}

// burst makes n claims at once and returns what they got.
func burst(t *testing.T, n int, claim claimer, name string, gap time.Duration) []Result {
	t.Helper()
	results, errs := make([]Result, n), make([]error, n)
	barrier := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-barrier
			results[i], errs[i] = claim(t.Context(), name, gap)
		})
	}
	close(barrier)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return results
}
