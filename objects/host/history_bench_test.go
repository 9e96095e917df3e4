package host

import (
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/embedded"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
)

// BenchmarkHistoryCommit measures a commit of one random key of 100 bytes, without and with a history.
func BenchmarkHistoryCommit(b *testing.B) {
	for _, replicas := range []int{1, 3} {
		b.Run(fmt.Sprint("R", replicas), func(b *testing.B) {
			records := openBucket(b, replicas)
			for _, size := range []int{1 << 10, 64 << 10, 10 << 20} {
				for _, keep := range []time.Duration{0, objects.MaxHistory} {
					name := fmt.Sprintf("%dKiB/%v", size>>10, map[bool]string{false: "off", true: "on"}[keep > 0])
					var o *largeObject
					var keys int
					b.Run(name, func(b *testing.B) {
						if o == nil {
							o = newLargeObject(b, records, name, true)
							o.keep = keep
							o.state.KeepHistory(keep)
							keys = o.fill(size)
						}
						o.measure(b, keys, nil)
					})
				}
			}
		})
	}
}

// BenchmarkHistoryRestore opens an object of 10 MB as it was and reads a key of it, and puts it back, after five thousand commits:
// an object at rest, and once more (busy) while the host merges what the restore has brought back. It reports what is stored for each
// commit.
func BenchmarkHistoryRestore(b *testing.B) {
	records := openBucket(b, 1)
	o := newLargeObject(b, records, "large", true)
	o.keep = objects.MaxHistory
	o.state.KeepHistory(o.keep)
	keys := o.fill(10 << 20)
	o.purge()
	began := o.stored()
	const commits = 5_000
	var moments []state.Moment
	written := 0
	for range commits {
		w := engine.Write{Key: seatOf(mathrand.IntN(keys)), Value: seatValue(row)}
		written += len(w.Key) + len(w.Value)
		o.put(w)
		moments = append(moments, o.state.Past().Last)
	}
	o.settle()
	o.purge()
	retained := o.stored() - began
	open := func() time.Duration {
		at := moments[mathrand.IntN(len(moments)-1)]
		rec, _, err := records.Read(b.Context(), o.key)
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		s, err := openRecord(b.Context(), o.key, rec, records, at)
		if err == nil {
			_, err = s.Read(b.Context(), seatOf(mathrand.IntN(keys)))
		}
		if err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	times := make(map[string][]time.Duration)
	for b.Loop() {
		o.settle()
		times["open"] = append(times["open"], open())
		start := time.Now()
		o.restore(moments[mathrand.IntN(len(moments)-1)])
		times["restore"] = append(times["restore"], time.Since(start))
		times["busy-open"] = append(times["busy-open"], open())
	}
	o.merging.Wait()
	reportTimes(b, times)
	b.ReportMetric(float64(retained)/commits, "retained-B/commit")
	b.ReportMetric(float64(written)/commits, "written-B/commit")
}

// reportTimes reports percentiles of times, by name.
func reportTimes(b *testing.B, times map[string][]time.Duration) {
	for what, took := range times {
		slices.Sort(took)
		for name, at := range map[string]int{"p10": len(took) / 10, "p50": len(took) / 2, "p99": len(took) * 99 / 100} {
			b.ReportMetric(float64(took[at].Microseconds()), what+"-"+name+"-us")
		}
	}
}

// BenchmarkHistoryRestoreDatabase opens an object with a database of 10 MB as it was and reads a page of it, and has it put back by the
// host that owns it, as holdfast restore does, after two thousand inserts. A select is the first thing that is asked then.
func BenchmarkHistoryRestoreDatabase(b *testing.B) {
	server, err := embedded.Start(b.Context(), embedded.Config{Store: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Close)
	dial := func() *nats.Conn {
		nc, err := server.Dial()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(nc.Close)
		return nc
	}
	class := bookObjects.With(objects.Settings{History: objects.MaxHistory})
	h, err := New(b.Context(), Config{Name: "a", Objects: []*objects.Implementation{class}, Serve: dial(), State: dial()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = h.Run(ctx) })
	b.Cleanup(func() { stop(); running.Wait() })
	client, err := wire.NewClient(wire.ClientConfig{NATS: dial(), Name: "g", Region: "local"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	id, err := booksClass.ID("c")
	if err != nil {
		b.Fatal(err)
	}
	ask := func(call, body string) {
		reply, err := client.Do(b.Context(), wire.Address{ID: id, Name: "c"}, &wire.Request{Kind: wire.Call, Call: call, Body: []byte(body)})
		if err == nil {
			err = reply.Err()
		}
		if err != nil {
			b.Fatal(call, err)
		}
	}
	for range 50 { // an entry has its text twice: in its row, and in the index
		ask("enter", `{"Entries":100,"Size":950}`)
	}
	var moments []state.Moment
	for range 2_000 {
		moments = append(moments, state.MomentOf(time.Now()))
		ask("enter", `{"Entries":1,"Size":100}`)
	}
	nc := dial()
	var size int64
	times := make(map[string][]time.Duration)
	measure := func(what string, do func() error) {
		began := time.Now()
		if err := do(); err != nil {
			b.Fatal(what, err)
		}
		times[what] = append(times[what], time.Since(began))
	}
	for b.Loop() {
		time.Sleep(50 * time.Millisecond) // merges are at work beside that
		at := moments[mathrand.IntN(len(moments))]
		rec, _, err := h.records.Read(b.Context(), id.Key())
		if err != nil {
			b.Fatal(err)
		}
		size = rec.Parts.Live
		measure("open", func() error {
			s, err := openRecord(b.Context(), id.Key(), rec, h.records, at)
			if err == nil {
				_, err = s.Read(b.Context(), engine.Pages+"00000001")
			}
			return err
		})
		measure("restore", func() error {
			_, err := Restore(b.Context(), nc, id, "c", objects.Bookmark(at.Text()))
			return err
		})
		measure("select", func() error {
			ask("last", "null")
			return nil
		})
	}
	reportTimes(b, times)
	b.ReportMetric(float64(size), "state-B")
}

// restore puts the object back, as a host does.
func (o *largeObject) restore(at state.Moment) {
	o.merging.Wait()
	o.state.Settle()
	o.put()
	target, err := state.Prepare(o.b.Context(), o.key, o.state.Past(), o.home, at, time.Now())
	if err == nil && target != nil {
		err = o.state.Compare(o.b.Context(), target, o.state.HasApart())
	}
	if err != nil {
		o.b.Fatal(err)
	}
	if target != nil {
		o.state.Restore(target, o.token, time.Now())
	}
	o.put()
}

// purge purges entries that no head names.
func (o *largeObject) purge() {
	o.settle()
	spans := o.state.Doomed(time.Now(), 0)
	n, err := state.Purge(o.b.Context(), o.key, o.home, spans)
	if err != nil {
		o.b.Fatal(err)
	}
	o.state.Purged(n)
}

// stored returns the bytes of all entries of the object.
func (o *largeObject) stored() (n int) {
	names, err := o.records.ListEntries(o.b.Context(), o.key)
	if err != nil {
		o.b.Fatal(err)
	}
	for _, name := range names {
		data, err := o.records.GetEntry(o.b.Context(), o.key, name)
		if err != nil {
			o.b.Fatal(err)
		}
		n += len(data)
	}
	return n
}
