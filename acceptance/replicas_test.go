package acceptance

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"holdfast/internal/bucket"
)

// A host with more --replicas changes the buckets under those that run: they begin anew, and nothing that was acknowledged is lost.
func TestReplicasAreAddedUnderHostsThatRun(t *testing.T) {
	beside(t, clusters)
	on := clustered(t)
	on.replicas = 1
	first := on.startHost(t, "first", "fra", steady, nil)
	door := on.startGateway(t, "fra", steady)
	last := 0
	claims := func(what string) {
		t.Helper()
		await(t, "a claim "+what, func() bool {
			n, _, err := claim(door.url, "x")
			if err != nil {
				return false
			}
			if n <= last {
				t.Fatalf("ticket %d %s, after %d", n, what, last)
			}
			last = n
			return true
		})
	}
	claims("before")
	on.replicas = 3
	on.startHost(t, "second", "fra", steady, nil)
	claims("after")

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	js, err := jetstream.New(on.dial(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{bucket.Records().Stream(), bucket.Leases().Stream(), "HF_ALARMS"} {
		s, err := js.Stream(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if n := s.CachedInfo().Config.Replicas; n != 3 {
			t.Errorf("%s has %d replicas, want 3", name, n)
		}
	}
	first.stop()
	claims("of the second host")
}
