package host

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nuid"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// Who is told that a host is ready sends it requests at once, or stops the host before it. Such a request was answered
// with not_found, and the first change of its object had no history.
func TestAHostThatIsReadyTakesClaims(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	in := (*Inspector)(nil)
	client, err := wire.NewClient(wire.ClientConfig{NATS: s.dial(), Name: nuid.Next(), Region: "local"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	for n := range 20 {
		h, err := New(t.Context(), Config{
			Name: fmt.Sprint("host-", n), Serve: s.dial(), State: s.dial(), Memory: true,
			Objects: []*objects.Implementation{tables.With(objects.Settings{History: time.Hour})},
			Timing:  Timing{Silence: patience}, // the host waits so long at most until it knows all others
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Ready(); err == nil {
			t.Fatal("a host that does not run says that it is ready")
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := h.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		defer running.Wait()
		defer stop()
		for deadline := time.Now().Add(patience); h.Ready() != nil; {
			if time.Now().After(deadline) {
				t.Fatal(h.Ready())
			}
		}
		if err := client.Served(t.Context(), "table"); err != nil {
			t.Fatalf("host %d is ready: %v", n, err)
		}
		id, err := objects.Class("table").ID(fmt.Sprint("table-", n))
		if err != nil {
			t.Fatal(err)
		}
		reply, err := client.Do(t.Context(), wire.Address{ID: id}, &wire.Request{Kind: wire.Call, Call: "set", Body: []byte(`{"Seats":1}`)})
		if err == nil {
			err = reply.Err()
		}
		if err != nil {
			t.Fatal(err)
		}
		if in == nil {
			if in, err = Inspect(t.Context(), s.dial()); err != nil {
				t.Fatal(err)
			}
		}
		changes := 0
		for _, err := range in.History(t.Context(), id) {
			if err != nil {
				t.Fatalf("the first change on host %d: %v", n, err)
			}
			changes++
		}
		if changes != 1 {
			t.Errorf("%d changes are kept, want 1", changes)
		}
		stop()
		running.Wait()
		if err := h.Ready(); err == nil {
			t.Fatal("a host that has stopped says that it is ready")
		}
	}
}
