package host

import (
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
)

// BenchmarkHistoryCommit is a commit of one random key of 100 bytes, without and with a history.
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
						o.measure(b, keys)
					})
				}
			}
		})
	}
}

// BenchmarkHistoryRestore opens an object of 10 MB as it was, and puts it back, after five thousand commits. It reports
// what is stored for each commit.
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
	var opens, restores []time.Duration
	for b.Loop() {
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
		opens = append(opens, time.Since(start))
		start = time.Now()
		o.restore(at)
		restores = append(restores, time.Since(start))
	}
	o.merging.Wait()
	slices.Sort(opens)
	slices.Sort(restores)
	b.ReportMetric(float64(opens[len(opens)/10].Microseconds()), "open-p10-us")
	b.ReportMetric(float64(opens[len(opens)/2].Microseconds()), "open-p50-us")
	b.ReportMetric(float64(opens[len(opens)*99/100].Microseconds()), "open-p99-us")
	b.ReportMetric(float64(restores[len(restores)/10].Microseconds()), "restore-p10-us")
	b.ReportMetric(float64(restores[len(restores)/2].Microseconds()), "restore-p50-us")
	b.ReportMetric(float64(restores[len(restores)*99/100].Microseconds()), "restore-p99-us")
	b.ReportMetric(float64(retained)/commits, "retained-B/commit")
	b.ReportMetric(float64(written)/commits, "written-B/commit")
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

// purge purges what nobody names.
func (o *largeObject) purge() {
	o.settle()
	spans := o.state.Doomed(time.Now(), 0)
	n, err := state.Purge(o.b.Context(), o.key, o.home, spans)
	if err != nil {
		o.b.Fatal(err)
	}
	o.state.Purged(n)
}

// stored is the bytes of all entries of the object.
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
