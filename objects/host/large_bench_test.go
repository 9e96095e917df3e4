package host

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdfast/embedded"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
)

// largeObject is one object that is put as a host puts it, without the host.
type largeObject struct {
	b       *testing.B
	records *record.Bucket
	home    state.Home
	key     string
	wide    bool
	keep    time.Duration // of the history; 0: none

	mu       sync.Mutex // as an object's
	state    *state.State
	token    uint64
	revision uint64
	commit   uint64
	answers  answers
	keyed    int // answers to clients' keys that have been given
	merging  sync.WaitGroup
	sent     int // bytes of commits
	merged   int
	before   int // commits that have put parts
}

func openBucket(b *testing.B, replicas int) *record.Bucket {
	var nc *nats.Conn
	var err error
	if replicas == 1 {
		server, startErr := embedded.Start(b.Context(), embedded.Config{Store: b.TempDir()})
		if startErr != nil {
			b.Fatal(startErr)
		}
		b.Cleanup(server.Close)
		nc, err = server.Dial()
	} else {
		cluster, startErr := embedded.StartCluster(b.TempDir(), replicas)
		if startErr != nil {
			b.Fatal(startErr)
		}
		b.Cleanup(cluster.Close)
		nc, err = nats.Connect(cluster.URLs()[0])
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	var records *record.Bucket
	for range 100 { // a cluster elects its leaders
		if records, err = record.Open(b.Context(), js, record.Settings{Storage: jetstream.FileStorage, Replicas: replicas, Direct: func() bool { return true }}); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { records.Run(ctx, quiet) })
	b.Cleanup(func() { stop(); running.Wait() })
	return records
}

func newLargeObject(b *testing.B, records *record.Bucket, name string, wide bool) *largeObject {
	id, err := chestClass.ID(name)
	if err != nil {
		b.Fatal(err)
	}
	o := &largeObject{b: b, records: records, home: state.Home{Store: records, Cache: state.NewCache(256 << 20)}, key: id.Key(), wide: wide}
	o.claim(name)
	return o
}

// claim reads the object and puts its claim.
func (o *largeObject) claim(name string) {
	rec, revision, err := o.records.Read(o.b.Context(), o.key)
	if err != nil {
		o.b.Fatal(err)
	}
	if rec == nil {
		rec = &record.Record{Name: name, Data: new(engine.Data)}
	}
	if o.state, err = state.Open(o.b.Context(), o.key, rec.Parts, rec.Data, o.home, rec.Owner != "", time.Now()); err != nil {
		o.b.Fatal(err)
	}
	o.state.KeepHistory(o.keep)
	rec.Epoch, rec.Commit, rec.Owner = rec.Epoch+1, rec.Commit+1, "bench"
	if o.revision, err = o.records.Put(o.b.Context(), o.key, rec.Encode(), revision); errors.Is(err, record.ErrDoubt) {
		o.claim(name)
		return
	} else if err != nil {
		o.b.Fatal(err)
	}
	o.token, o.commit = o.revision, rec.Commit
}

// put commits writes.
func (o *largeObject) put(writes ...engine.Write) {
	o.mu.Lock()
	wide := func() bool { return o.wide }
	o.state.Apply(writes)
	o.commit++
	parts, before := o.state.Cut(state.Put{Object: o.key, Token: o.token, Commit: o.commit, Wide: wide, Now: time.Now(), Head: len(o.answers.entries.list()) > 0}, o.home)
	rec := record.Record{Epoch: 1, Owner: "bench", Commit: o.commit, Data: o.state.Journal(), Parts: parts, Answers: o.answers.list(time.Now(), time.Minute)}
	value := rec.Encode()
	o.mu.Unlock()
	if before != nil {
		o.before++
		o.sent += before.Bytes()
		err := before.Do(o.b.Context())
		for errors.Is(err, record.ErrDoubt) { // a machine that stalls
			err = before.Do(o.b.Context())
		}
		if err != nil {
			o.b.Fatal(err)
		}
	}
	revision, err := o.records.Put(o.b.Context(), o.key, value, o.revision)
	for errors.Is(err, record.ErrDoubt) || errors.Is(err, record.ErrStale) { // likewise
		rec, found, readErr := o.records.Read(o.b.Context(), o.key)
		if readErr != nil {
			o.b.Fatal(readErr)
		}
		if revision, err = found, nil; rec == nil || rec.Commit < o.commit {
			revision, err = o.records.Put(o.b.Context(), o.key, value, o.revision)
		}
	}
	if err != nil {
		o.b.Fatal(err)
	}
	o.sent += len(value)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.revision = revision
	o.state.Landed(o.commit, time.Now())
	if job := o.state.Plan(o.key, o.token, o.home); job != nil {
		o.merging.Go(func() {
			o.run(job)
		})
	}
}

// run carries out a merge. If the store does not answer, the merge is planned again.
func (o *largeObject) run(job *state.Job) {
	err := job.Run(o.b.Context())
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case errors.Is(err, record.ErrDoubt):
		o.state.Abandon(job)
	case err != nil:
		o.b.Error(err)
	default:
		o.merged += job.Bytes()
		o.state.Install(job)
	}
}

// answer notes the answer to a client's key, as it is written with the next put.
func (o *largeObject) answer() {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.keyed++
	o.answers.add(record.Answer{Key: fmt.Sprintf("%032x.%032x", o.keyed%8, o.keyed), Sum: "0123456789abcdef", At: now, Reply: make([]byte, 100)}, now)
	o.state.Apply(o.answers.writes(now, func() bool { return o.wide }))
}

// settle merges until nothing is left to merge.
func (o *largeObject) settle() {
	for {
		o.merging.Wait()
		o.put()
		o.mu.Lock()
		job := o.state.Plan(o.key, o.token, o.home)
		o.mu.Unlock()
		if job == nil {
			o.merging.Wait()
			return
		}
		o.run(job)
	}
}

func seatOf(n int) string { return fmt.Sprintf("seat/%08d", n) }

// noise fills values with bytes that cannot be compressed. One goroutine makes the values of one benchmark.
var noise = mathrand.NewChaCha8([32]byte{1})

// seatValue returns a value of so many bytes.
func seatValue(bytes int) []byte {
	value := make([]byte, bytes)
	_, _ = noise.Read(value) // it never fails
	return engine.Raw(value)
}

// A gigabyte is filled with larger rows, and in larger commits, so that it does not take all day.
const (
	row      = 100
	largeRow = 1000
)

// fill writes so many bytes, in the order of keys.
func (o *largeObject) fill(bytes int) (keys int) {
	size, some := row, 1000
	if bytes > 200<<20 {
		size, some = largeRow, 4000
	}
	keys = max(1, bytes/(size+13))
	for n := 0; n < keys; n += some {
		writes := make([]engine.Write, 0, some)
		for i := n; i < min(keys, n+some); i++ {
			writes = append(writes, engine.Write{Key: seatOf(i), Value: seatValue(size)})
		}
		for o.state.Runs() > state.StallRuns {
			time.Sleep(time.Millisecond)
		}
		o.put(writes...)
	}
	o.settle()
	return keys
}

// BenchmarkLargeCommit measures a commit of one random key of 100 bytes to objects of more and more bytes: in the record alone, as
// small objects are, and with parts; without answers to clients' keys, and with 256. `go run ./bench state` makes a table of it.
func BenchmarkLargeCommit(b *testing.B) {
	for _, replicas := range []int{1, 3} {
		b.Run(fmt.Sprint("R", replicas), func(b *testing.B) {
			records := openBucket(b, replicas)
			for _, size := range []int{1 << 10, 64 << 10, 500 << 10, 1 << 20, 10 << 20, 100 << 20, 1 << 30} {
				for layout, wide := range map[string]bool{"record": false, "parts": true} {
					if !wide && size > 500<<10 {
						continue
					}
					b.Run(fmt.Sprintf("%s/%dKiB", layout, size>>10), func(b *testing.B) {
						o, kilobyte := newLargeObject(b, records, b.Name(), wide), newLargeObject(b, records, b.Name()+"/beside", true)
						keys := o.fill(size)
						kilobyte.fill(1 << 10)
						b.Run("answers=0", func(b *testing.B) { o.measure(b, keys, kilobyte) })
						o.b, kilobyte.b = b, b
						for range 256 {
							for _, o := range []*largeObject{o, kilobyte} {
								o.answer()
								o.put()
							}
						}
						b.Run("answers=256", func(b *testing.B) { o.measure(b, keys, kilobyte) })
					})
				}
			}
		})
	}
}

// measure commits one random key after the other. An object of a kilobyte takes turns with it, if there is one: the ratio of both is then
// of the same moments of a busy machine.
func (o *largeObject) measure(b *testing.B, keys int, kilobyte *largeObject) {
	o.b, o.sent, o.merged, o.before = b, 0, 0, 0
	took, beside := make([]time.Duration, 0, b.N), make([]time.Duration, 0, b.N)
	commit := func(o *largeObject, keys int) time.Duration {
		w := engine.Write{Key: seatOf(mathrand.IntN(keys)), Value: seatValue(row)}
		began := time.Now()
		o.put(w)
		return time.Since(began)
	}
	b.ResetTimer()
	for range b.N {
		took = append(took, commit(o, keys))
		if kilobyte != nil {
			kilobyte.b = b
			beside = append(beside, commit(kilobyte, (1<<10)/(row+13)))
		}
	}
	b.StopTimer()
	o.merging.Wait()
	slices.Sort(took)
	if kilobyte != nil {
		slices.Sort(beside)
		b.ReportMetric(float64(took[len(took)/2])/float64(beside[len(beside)/2]), "x-1KiB")
	}
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-us")
	b.ReportMetric(float64(o.sent)/float64(b.N), "sent-B/op")
	b.ReportMetric(float64(o.merged)/float64(b.N), "merged-B/op")
}

// BenchmarkBarePut measures what the store takes for a put, whatever is in it: the least that a commit of a head of so many bytes takes. Sizes
// take turns, so that all of them have the same moments of a busy machine.
func BenchmarkBarePut(b *testing.B) {
	records := openBucket(b, 1)
	sizes := []int{500, 1 << 10, 1500, 2 << 10, 4 << 10, 6 << 10, 8 << 10, 12 << 10}
	took := make(map[string][]time.Duration)
	revisions := make([]uint64, len(sizes))
	for b.Loop() {
		for i, size := range sizes {
			value := make([]byte, size)
			_, _ = noise.Read(value)
			began := time.Now()
			revision, err := records.Put(b.Context(), fmt.Sprint("bare.", size), value, revisions[i])
			if errors.Is(err, record.ErrDoubt) {
				b.Fatal(err)
			}
			if revisions[i] = revision; err != nil {
				b.Fatal(err)
			}
			took[fmt.Sprint(size)] = append(took[fmt.Sprint(size)], time.Since(began))
		}
	}
	reportTimes(b, took)
}

// BenchmarkLargeClaim measures the claim of an object of 100 MB, and the first read after it.
func BenchmarkLargeClaim(b *testing.B) {
	records := openBucket(b, 1)
	o := newLargeObject(b, records, "large", true)
	keys := o.fill(100 << 20)
	var claims, reads []time.Duration
	for b.Loop() {
		o.home.Cache = state.NewCache(256 << 20)
		began := time.Now()
		o.claim("large")
		claimed := time.Now()
		if value, err := o.state.Read(b.Context(), seatOf(mathrand.IntN(keys))); err != nil || value == nil {
			b.Fatal(value, err)
		}
		claims, reads = append(claims, claimed.Sub(began)), append(reads, time.Since(claimed))
	}
	slices.Sort(claims)
	slices.Sort(reads)
	b.ReportMetric(float64(claims[len(claims)/2].Microseconds()), "claim-p50-us")
	b.ReportMetric(float64(reads[len(reads)/2].Microseconds()), "read-p50-us")
}
