package acceptance

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast/embedded"
	"holdfast/examples/ticket"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// Purses pay into tills.
const (
	purses objects.Class = "purse"
	tills  objects.Class = "till"
)

var (
	pay   = objects.NewCall[string, int](purses, "pay")
	spent = objects.NewCall[objects.None, int](purses, "spent")
	take  = objects.NewCall[int, int](tills, "take")
	taken = objects.NewCall[objects.None, int](tills, "taken")

	coins = objects.NewKey[int]("coins")

	purseObjects = objects.Implement(purses, objects.New[purse], objects.On(pay, (*purse).pay), objects.On(spent, (*purse).spent))
	tillObjects  = objects.Implement(tills, objects.New[till], objects.On(take, (*till).take), objects.On(taken, (*till).taken))
)

type (
	purse struct{}
	till  struct{}
)

// pay returns two commits: the till's, and then the purse's.
func (*purse) pay(tx *objects.Tx, to string) (int, error) {
	coins.Set(tx, coins.Get(tx)+1)
	return take.Do(tx, tx.Object(tills, to), 1)
}

func (*purse) spent(tx *objects.Tx, _ objects.None) (int, error) { return coins.Get(tx), nil }

func (*till) take(tx *objects.Tx, n int) (int, error) {
	coins.Set(tx, coins.Get(tx)+n)
	return coins.Get(tx), nil
}

func (*till) taken(tx *objects.Tx, _ objects.None) (int, error) { return coins.Get(tx), nil }

// A host is lost in the middle of events that ask and are asked. Every caller gets an answer, and every coin is paid once.
func TestWhatIsAskedIsDoneOnceThoughAHostIsLost(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		first := on.startHost(t, "first", "fra", quick, nil, purseObjects, tillObjects)
		on.caller(t)
		const payers, payments = 8, 25
		g, ctx := errgroup.WithContext(t.Context())
		half := make(chan struct{}, payers*payments)
		for i := range payers {
			g.Go(func() error {
				for n := range payments {
					if _, err := pay.Do(ctx, on.env.Object(purses, fmt.Sprint("p", i)), fmt.Sprint("t", i%2)); err != nil {
						return fmt.Errorf("payment %d of %d: %w", n, i, err)
					}
					half <- struct{}{}
				}
				return nil
			})
		}
		for range payers * payments / 2 {
			select {
			case <-half:
			case <-ctx.Done():
				t.Fatal(g.Wait())
			}
		}
		on.startHost(t, "second", "fra", steady, nil, purseObjects, tillObjects, ticket.Objects)
		await(t, "the second host serves", func() bool { // else no host runs the class for a moment
			_, err := ticket.Claim.Do(t.Context(), on.env.Object(ticket.Tickets, "up"), nil)
			return err == nil
		})
		first.cut()
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		for i := range payers {
			if n, err := spent.Do(t.Context(), on.env.Object(purses, fmt.Sprint("p", i)), nil); err != nil || n != payments {
				t.Errorf("purse %d has spent %d, %v, want %d", i, n, err, payments)
			}
		}
		for i := range 2 {
			if n, err := taken.Do(t.Context(), on.env.Object(tills, fmt.Sprint("t", i)), nil); err != nil || n != payers*payments/2 {
				t.Errorf("till %d has taken %d, %v, want %d", i, n, err, payers*payments/2)
			}
		}
	})
}

// BenchmarkAsk measures an event that asks another object and writes, and so does the other: one after the other, then 128 pairs
// at once. Two hosts share a server; at last they stand in one place.
func BenchmarkAsk(b *testing.B) {
	for _, where := range []struct {
		name string
		sync bool
		near *wire.Nearby
	}{{"sync=default", false, nil}, {"sync=always", true, nil}, {"nearby", false, new(wire.Nearby)}} {
		b.Run(where.name, func(b *testing.B) {
			on := served(b, embedded.Config{Store: b.TempDir(), Log: testLog(b), SyncAlways: where.sync})
			on.near = where.near
			on.startHost(b, "a", "fra", quick, nil, purseObjects)
			on.startHost(b, "b", "fra", quick, nil, tillObjects)
			on.caller(b)
			ask := func(b *testing.B, pair string) {
				if _, err := pay.Do(b.Context(), on.env.Object(purses, pair), pair); err != nil {
					b.Error(err)
				}
			}
			b.Run("alone", func(b *testing.B) {
				ask(b, "alone")
				b.ReportAllocs()
				for b.Loop() {
					ask(b, "alone")
				}
			})
			b.Run("crowd", func(b *testing.B) {
				pairs := make(chan string, 128)
				for i := range cap(pairs) {
					pairs <- fmt.Sprint("crowd", i)
					ask(b, fmt.Sprint("crowd", i))
				}
				b.ResetTimer()
				began := time.Now()
				b.SetParallelism(64)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						pair := <-pairs
						ask(b, pair)
						pairs <- pair
					}
				})
				b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "asks/s")
			})
		})
	}
}
