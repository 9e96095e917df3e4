package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"holdfast/embedded"
	"holdfast/internal/bucket"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/alarm"
	"holdfast/objects/host/internal/lease"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
)

// store is a NATS server in this process that keeps everything in memory.
type testStore struct {
	t      *testing.T
	server *embedded.Server
	js     jetstream.JetStream
}

func newStore(t *testing.T) *testStore {
	server, err := embedded.Start(t.Context(), embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	s := &testStore{t: t, server: server}
	s.js, err = jetstream.New(s.dial())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *testStore) dial() *nats.Conn {
	nc, err := s.server.Dial(nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

// patience bounds every wait of a test outside of a bubble.
const patience = 2 * time.Minute

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ask(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// run runs f until the test ends.
func run(t *testing.T, f func(context.Context)) {
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
}

var quiet = slog.New(slog.DiscardHandler)

func TestAlarmsGoOnWhenTheirConsumerOrStreamWasDeleted(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	clock, err := alarm.Open(t.Context(), s.js, jetstream.MemoryStorage, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	rang := make(chan string, 16)
	run(t, func(ctx context.Context) {
		clock.Follow(ctx, "bell", quiet, func(_ context.Context, object string) error {
			rang <- object
			return nil
		})
	})
	for _, c := range []struct {
		name  string
		spoil func() error
	}{
		{"nothing", func() error { return nil }},
		{"the consumer", func() error { return s.js.DeleteConsumer(t.Context(), "HF_ALARMS", "due-bell") }},
		{"the stream", func() error { return s.js.DeleteStream(t.Context(), "HF_ALARMS") }},
	} {
		if err := c.spoil(); err != nil {
			t.Fatalf("delete %s: %v", c.name, err)
		}
		object := "bell." + nuid.Next()
		if err := clock.Set(t.Context(), object, time.Now()); err != nil {
			t.Fatalf("set an alarm after %s was deleted: %v", c.name, err)
		}
		late := time.After(patience)
		for got := ""; got != object; { // a new consumer brings old wake-ups again
			select {
			case got = <-rang:
			case <-late:
				t.Fatalf("the alarm did not ring after %s was deleted", c.name)
			}
		}
	}
}

// As many of them as a consumer may have under way kept all alarms of the class from running.
func TestForgedWakeUpsKeepNoAlarmFromRinging(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	class := objects.Implement("bell", objects.New[bell])
	h, err := New(t.Context(), Config{Name: "a", Objects: []*objects.Implementation{class}, Serve: s.dial(), State: s.dial(), Memory: true, Timing: Timing{TTL: 20 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1200 {
		if _, err := s.js.PublishAsync(fmt.Sprint("hf.alarm.due.bell.forged-", i), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	<-s.js.PublishAsyncComplete()
	run(t, func(ctx context.Context) { _ = h.Run(ctx) })
	id, err := objects.Class("bell").ID("tower")
	if err != nil {
		t.Fatal(err)
	}
	asks, err := wire.NewClient(wire.ClientConfig{NATS: s.dial(), Name: wire.NewName("t1"), Region: "local"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(asks.Close)
	eventually(t, "an alarm rings", func() bool {
		reply, err := asks.Do(t.Context(), wire.Address{ID: id, Name: "tower"}, &wire.Request{Kind: wire.Fetch, Method: "POST", URL: "/"})
		return err == nil && reply.Status == 200 && string(reply.Body) == "rang"
	})
	stream, err := s.js.Stream(t.Context(), "HF_ALARMS")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "what is forged is dropped", func() bool {
		consumer, err := stream.Consumer(t.Context(), "due-bell")
		return err == nil && consumer.CachedInfo().NumAckPending == 0
	})
}

// bell has an alarm.
type bell struct{}

var rang = objects.NewKey[bool]("rang")

func (*bell) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	if _, set := tx.Alarm(); !set && !rang.Get(tx) {
		tx.SetAlarm(tx.Now())
	}
	if rang.Get(tx) {
		_, _ = io.WriteString(w, "rang")
	}
}

func (*bell) Alarm(tx *objects.Tx, _ objects.AlarmInfo) error {
	rang.Set(tx, true)
	return nil
}

// Buckets in memory are lost with their server, and nothing reports that.
func TestAlarmsGoOnWhenTheirServerCameBackWithoutMemory(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(t.Context(), embedded.Config{Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(address.Port())
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(server.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	clock, err := alarm.Open(t.Context(), js, jetstream.MemoryStorage, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	rang := make(chan string, 16)
	run(t, func(ctx context.Context) {
		clock.Follow(ctx, "bell", quiet, func(_ context.Context, object string) error {
			rang <- object
			return nil
		})
	})
	if err := clock.Set(t.Context(), "bell.before", time.Now()); err != nil {
		t.Fatal(err)
	}
	<-rang
	server.Close()
	again, err := embedded.Start(t.Context(), embedded.Config{Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	eventually(t, "an alarm is set", func() bool { return clock.Set(t.Context(), "bell.after", time.Now()) == nil })
	select {
	case <-rang:
	case <-time.After(patience):
		t.Fatal("the alarm did not ring")
	}
}

func TestAnAlarmInTheYear9999IsScheduledAndDoesNotRing(t *testing.T) {
	s := newStore(t)
	clock, err := alarm.Open(t.Context(), s.js, jetstream.MemoryStorage, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	never := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	for i, set := range []func(context.Context, string, time.Time) error{clock.Set, clock.SetAgain} {
		if err := set(t.Context(), fmt.Sprint("bell.", i), never); err != nil {
			t.Fatal(err)
		}
		stream, err := s.js.Stream(t.Context(), "HF_ALARMS")
		if err != nil {
			t.Fatal(err)
		}
		msg, err := stream.GetLastMsgForSubject(t.Context(), fmt.Sprint("hf.alarm.at.bell.", i))
		if err != nil {
			t.Fatalf("it is not scheduled: %v", err)
		}
		at, err := time.Parse("@at "+time.RFC3339Nano, msg.Header.Get("Nats-Schedule"))
		if left := time.Until(at); err != nil || left < 364*24*time.Hour || left > 365*24*time.Hour {
			t.Errorf("scheduled in %v, %v; want a year", left, err)
		}
	}
}

// The owner's clock is an hour behind the server's: its alarm is due by the server's.
func TestAnAlarmThatIsDueForTheServerOnlyIsNotSetInThePast(t *testing.T) {
	s := newStore(t)
	clock, err := alarm.Open(t.Context(), s.js, jetstream.MemoryStorage, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := clock.SetAgain(t.Context(), "bell.x", began.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	stream, err := s.js.Stream(t.Context(), "HF_ALARMS")
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetLastMsgForSubject(t.Context(), "hf.alarm.at.bell.x")
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse("@at "+time.RFC3339Nano, msg.Header.Get("Nats-Schedule"))
	if err != nil || at.Before(began.Add(time.Second)) {
		t.Errorf("set for %v, %v; want a second after %v", at, err, began)
	}
}

func recordOf(t *testing.T, name string, size int) (string, []byte) {
	id, err := objects.Class("table").ID(name)
	if err != nil {
		t.Fatal(err)
	}
	data := engine.DataOf(map[string]json.RawMessage{"x": json.RawMessage(`"` + strings.Repeat("x", size) + `"`)}, nil)
	return id.Key(), (&record.Record{Name: name, Epoch: 1, Commit: 1, Data: data}).Encode()
}

// decided repeats a put or a removal until its fate is known, as owners do. The key's revision was expect.
func decided(t *testing.T, records *record.Bucket, key string, expect uint64, do func() (uint64, error)) (uint64, error) {
	t.Helper()
	for i := range 100 {
		revision, err := do()
		late := i > 0 && errors.Is(err, record.ErrStale) // an earlier copy has landed
		if !late && !errors.Is(err, record.ErrDoubt) {
			return revision, err
		}
		if _, now, err := records.Read(t.Context(), key); err != nil || now != expect {
			return now, err
		}
	}
	t.Fatalf("the fate of a put of %s is not known", key)
	return 0, nil
}

func TestAFullStoreSaysSoAtOnceAndRecovers(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	settings := record.Settings{Storage: jetstream.MemoryStorage, MaxBytes: 100_000}
	records, err := record.Open(t.Context(), s.js, settings)
	if err != nil {
		t.Fatal(err)
	}
	run(t, func(ctx context.Context) { records.Run(ctx, quiet) })
	put := func(key string, value []byte, expect uint64) (uint64, error) {
		return decided(t, records, key, expect, func() (uint64, error) { return records.Put(t.Context(), key, value, expect) })
	}
	revisions := make(map[string]uint64)
	for i := 0; ; i++ {
		if i == 20 {
			t.Fatal("a store of 100,000 bytes took 200,000")
		}
		key, value := recordOf(t, fmt.Sprint(i), 10_000)
		revision, err := put(key, value, 0)
		if err != nil {
			if !errors.Is(err, record.ErrFull) || !errors.Is(err, record.ErrRefused) || errors.Is(err, record.ErrDoubt) {
				t.Fatalf("err = %v, want ErrFull", err)
			}
			break
		}
		revisions[key] = revision
	}
	if records.Room() != record.Full {
		t.Errorf("room = %v, want full", records.Room())
	}
	key, value := recordOf(t, "0", 10_000) // as before: a claim is such a put
	if revisions[key], err = put(key, value, revisions[key]); err != nil {
		t.Errorf("a claim was refused: %v", err)
	}
	if _, _, err := records.Read(t.Context(), key); err != nil {
		t.Errorf("a read was refused: %v", err)
	}
	for _, name := range []string{"0", "1", "2"} {
		key, _ := recordOf(t, name, 0)
		remove := func() (uint64, error) { return records.Remove(t.Context(), key, revisions[key]) }
		if _, err := decided(t, records, key, revisions[key], remove); err != nil {
			t.Errorf("a removal was refused: %v", err)
		}
	}
	eventually(t, "room after three records were removed", func() bool { return records.Room() == record.Free })
	if key, value := recordOf(t, "again", 10_000); err == nil {
		_, err = put(key, value, 0)
	}
	if err != nil {
		t.Errorf("a put after there was room again: %v", err)
	}

}

func TestALimitThatIsChangedIsHeardOf(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	settings := record.Settings{Storage: jetstream.MemoryStorage, MaxBytes: 100_000}
	records, err := record.Open(t.Context(), s.js, settings)
	if err != nil {
		t.Fatal(err)
	}
	run(t, func(ctx context.Context) { records.Run(ctx, quiet) })
	for i := range 7 {
		key, value := recordOf(t, fmt.Sprint(i), 10_000)
		if _, err := decided(t, records, key, 0, func() (uint64, error) { return records.Put(t.Context(), key, value, 0) }); err != nil {
			t.Fatal(err)
		}
	}
	settings.MaxBytes = 50_000 // which deletes nothing
	if _, err := record.Open(t.Context(), s.js, settings); err != nil {
		t.Fatal(err)
	}
	eventually(t, "full after the limit was lowered", func() bool { return records.Room() == record.Full })
	settings.MaxBytes = 1 << 20
	if _, err := record.Open(t.Context(), s.js, settings); err != nil {
		t.Fatal(err)
	}
	eventually(t, "room after the limit was raised", func() bool { return records.Room() == record.Free })
	if u := records.Usage(); u.Limit != 1<<20 || u.Bytes < 60_000 {
		t.Errorf("usage = %+v", u)
	}
}

func TestARecordBeyondThePayloadIsRefusedAndNotDoubted(t *testing.T) {
	s := newStore(t)
	records, err := record.Open(t.Context(), s.js, record.Settings{Storage: jetstream.MemoryStorage})
	if err != nil {
		t.Fatal(err)
	}
	key, value := recordOf(t, "large", 10<<20)
	if _, err := records.Put(t.Context(), key, value, 0); !errors.Is(err, record.ErrRefused) || errors.Is(err, record.ErrFull) {
		t.Errorf("err = %v, want ErrRefused", err)
	}
}

func TestALimitSetByHandIsKept(t *testing.T) {
	s := newStore(t)
	for _, c := range []struct{ set, want int64 }{{0, -1}, {200_000, 200_000}, {0, 200_000}} {
		if _, err := record.Open(t.Context(), s.js, record.Settings{Storage: jetstream.MemoryStorage, MaxBytes: c.set}); err != nil {
			t.Fatal(err)
		}
		stream, err := s.js.Stream(t.Context(), bucket.Records().Stream())
		if err != nil {
			t.Fatal(err)
		}
		if is := stream.CachedInfo().Config; is.MaxBytes != c.want || !is.AllowAtomicPublish || is.AllowDirect || !is.DenyDelete {
			t.Errorf("with a limit of %d: %+v, want a limit of %d and the rest as it was", c.set, is, c.want)
		}
	}
}

// leaseTiming is that of a lease which outlasts a machine that stands still for two seconds.
var leaseTiming = lease.Timing{TTL: 4 * time.Second, Margin: 400 * time.Millisecond}

func TestABucketOfLeasesOfAnEarlierKindIsMended(t *testing.T) {
	s := newStore(t)
	_, err := s.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: bucket.Leases().Stream(), Subjects: []string{bucket.Leases().Subject(">")}, MaxMsgsPerSubject: 1, MaxAge: time.Hour,
		Discard: jetstream.DiscardNew, Storage: jetstream.FileStorage, AllowRollup: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lease.Open(t.Context(), s.js, false, 1, leaseTiming); err != nil {
		t.Fatal(err)
	}
	stream, err := s.js.Stream(t.Context(), bucket.Leases().Stream())
	if err != nil {
		t.Fatal(err)
	}
	if is := stream.CachedInfo().Config; is.MaxBytes <= 0 || is.MaxMsgSize <= 0 || is.MaxAge != time.Hour {
		t.Errorf("it is %+v, want limits of its own", is)
	}
}

// The bucket of leases is lost and the connection breaks: the host keeps its lease, and
// others go on to see it live.
func TestALeaseOutlivesItsBucketAndItsConnection(t *testing.T) {
	t.Parallel()
	for _, after := range []string{"its bucket was deleted", "its bucket was deleted and the connection was made again"} {
		t.Run(after, func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			leases, err := lease.Open(t.Context(), s.js, true, 1, leaseTiming)
			if err != nil {
				t.Fatal(err)
			}
			others := lease.NewOthers(leases, leaseTiming, quiet)
			run(t, others.Run)
			echo, err := lease.OpenLoop(s.js.Conn(), s.dial(), "me")
			if err != nil {
				t.Fatal(err)
			}
			defer echo.Close()
			me := lease.Lease{Store: leases, Echo: echo, Others: others, Timing: leaseTiming, Log: quiet, Incarnation: "me"}
			err = me.Run(t.Context(), func(ctx context.Context, h *lease.Holder) error {
				well := func(after string, long time.Duration) {
					for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
						if ctx.Err() != nil {
							t.Fatalf("the lease ended after %s: %v", after, context.Cause(ctx))
						}
						if !others.Live(ctx, "me") {
							t.Fatalf("the host was called dead after %s", after)
						}
					}
				}
				well("nothing", leaseTiming.TTL/2)
				if err := s.js.DeleteStream(ctx, bucket.Leases().Stream()); err != nil {
					t.Fatal(err)
				}
				if strings.Contains(after, "connection") {
					eventually(t, "an entry in a new bucket", func() bool {
						entry, err := leases.Read(ctx, "me")
						return err == nil && entry.State == lease.Present
					})
					if err := s.js.Conn().ForceReconnect(); err != nil {
						t.Fatal(err)
					}
				}
				well(after, 3*leaseTiming.TTL/2)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "dead after its lease was given back", func() bool { return !others.Live(t.Context(), "me") })
		})
	}
}

func TestTheWatchOfLeasesEndsWhenTheConnectionWasMadeAgain(t *testing.T) {
	s := newStore(t)
	leases, err := lease.Open(t.Context(), s.js, true, 1, leaseTiming)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leases.Put(t.Context(), "x", []byte(`{"beat":1}`), 0); err != nil {
		t.Fatal(err)
	}
	watching, ended := make(chan lease.Entry, 8), make(chan error, 1)
	run(t, func(ctx context.Context) { ended <- leases.Watch(ctx, func(e lease.Entry) { watching <- e }) })
	if e := <-watching; e.Incarnation != "x" || e.Beat != 1 || e.State != lease.Present {
		t.Fatalf("saw %+v", e)
	}
	if err := s.js.Conn().ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, lease.ErrRemade) {
			t.Errorf("err = %v, want ErrRemade", err)
		}
	case <-time.After(patience):
		t.Error("the watch goes on")
	}
}

// The streams are lost, as those in memory are when their server is restarted.
func TestAHostGoesOnWhenAllItsStreamsAreLost(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	log := quiet
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	h, err := New(t.Context(), Config{Name: "a", Objects: []*objects.Implementation{tables}, Serve: s.dial(), State: s.dial(), Memory: true, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	run(t, func(ctx context.Context) {
		if err := h.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	client, err := wire.NewClient(wire.ClientConfig{NATS: s.dial(), Name: nuid.Next(), Region: "local"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	set := func(name string) error {
		id, err := objects.Class("table").ID(name)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		reply, err := client.Do(ctx, wire.Address{ID: id}, &wire.Request{Kind: wire.Call, Call: "set", Body: []byte(`{"Seats":1}`)})
		if err == nil {
			err = reply.Err()
		}
		return err
	}
	if err := set("before"); err != nil {
		t.Fatal(err)
	}
	for _, stream := range []string{bucket.Records().Stream(), bucket.Leases().Stream(), "HF_ALARMS"} {
		if err := s.js.DeleteStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "another object after the loss", func() bool { return set("after") == nil })
}

// Package record refuses an alarm that has failed more often than package alarm lets it.
func TestAnAlarmThatFailedToTheEndIsStillRead(t *testing.T) {
	id, err := objects.Class("table").ID("parked")
	if err != nil {
		t.Fatal(err)
	}
	a := engine.Alarm{At: time.Unix(1, 0).UTC()}
	for !a.Parked {
		a = a.Failed(time.Unix(2, 0), 0)
		rec := record.Record{Name: "parked", Alarm: a, Data: new(engine.Data)}
		if _, err := record.Decode(id.Key(), rec.Encode()); err != nil {
			t.Fatalf("after %d failures: %v", a.Retry, err)
		}
	}
}

// Direct reads are allowed when every host reads records with parts, and not before. Entries are then read from whichever
// server answers; records are read from the leader all the same.
func TestEntriesAreReadDirectlyAndRecordsFromTheLeader(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	var wide atomic.Bool
	records, err := record.Open(t.Context(), s.js, record.Settings{Storage: jetstream.MemoryStorage, Direct: wide.Load})
	if err != nil {
		t.Fatal(err)
	}
	spy := s.dial()
	direct, leader := make(chan *nats.Msg, 64), make(chan *nats.Msg, 64) // a flush returns when they have all that was sent before
	for subject, to := range map[string]chan *nats.Msg{"$JS.API.DIRECT.GET.>": direct, "$JS.API.STREAM.MSG.GET.>": leader} {
		if _, err := spy.ChanSubscribe(subject, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := spy.Flush(); err != nil {
		t.Fatal(err)
	}
	questions := func() (d, l int) {
		if err := errors.Join(s.js.Conn().Flush(), spy.Flush()); err != nil {
			t.Fatal(err)
		}
		for len(direct) > 0 {
			<-direct
			d++
		}
		for len(leader) > 0 {
			<-leader
			l++
		}
		return d, l
	}
	asked := func(what string, wantDirect, wantLeader int, ask func() error) {
		t.Helper()
		questions()
		if err := ask(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if d, l := questions(); d != wantDirect || l != wantLeader {
			t.Errorf("%s: %d direct questions and %d to the leader, want %d and %d", what, d, l, wantDirect, wantLeader)
		}
	}
	run(t, func(ctx context.Context) { records.Run(ctx, quiet) })
	key, value := recordOf(t, "large", 10)
	if _, err := records.Put(t.Context(), key, value, 0); err != nil {
		t.Fatal(err)
	}
	name := state.Name{Token: 1, Number: 1}
	if err := records.PutEntry(t.Context(), key, name, []byte("content")); err != nil {
		t.Fatal(err)
	}
	entry := func() error {
		data, err := records.GetEntry(t.Context(), key, name)
		if err == nil && string(data) != "content" {
			err = fmt.Errorf("the entry has %q", data)
		}
		return err
	}
	missing := func() error {
		if _, err := records.GetEntry(t.Context(), key, state.Name{Token: 1, Number: 2}); !errors.Is(err, state.ErrMissing) {
			return fmt.Errorf("err = %w, want ErrMissing", err)
		}
		return nil
	}
	head := func() error {
		rec, _, err := records.Read(t.Context(), key)
		if err == nil && rec == nil {
			err = errors.New("there is no record")
		}
		return err
	}
	asked("an entry, of the leader", 0, 1, entry)
	asked("a record", 0, 1, head)
	wide.Store(true)
	allowed := func() bool {
		stream, err := s.js.Stream(t.Context(), bucket.Records().Stream())
		return err == nil && stream.CachedInfo().Config.AllowDirect
	}
	eventually(t, "direct reads are allowed", allowed)
	eventually(t, "an entry is read directly", func() bool {
		questions()
		err := entry()
		d, _ := questions()
		return err == nil && d == 1
	})
	asked("an entry, of any server", 1, 0, entry)
	asked("an entry that is not there", 1, 1, missing)
	asked("a record", 0, 1, head)
}

// A host of an older version, whose lease does not say that it reads records with parts, is alive: objects have to fit into
// their records, and direct reads stay off. When it has gone, they may grow.
func TestNoRecordHasPartsWhileAnOlderHostIsAlive(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	timing := lease.Timing{TTL: 10 * time.Second, Margin: time.Second}
	leases, err := lease.Open(t.Context(), s.js, true, 1, timing)
	if err != nil {
		t.Fatal(err)
	}
	revision, err := leases.Put(t.Context(), "older", []byte(`{"beat":1,"host":"older","classes":["chest"]}`), 0)
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(t.Context(), Config{
		Name: "a", Objects: []*objects.Implementation{chests}, Serve: s.dial(), State: s.dial(), Memory: true, Timing: wire.Timing{TTL: timing.TTL, Margin: timing.Margin},
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, func(ctx context.Context) {
		if err := h.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	client, err := wire.NewClient(wire.ClientConfig{NATS: s.dial(), Name: "g", Region: "local"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	id, err := chestClass.ID("c")
	if err != nil {
		t.Fatal(err)
	}
	put := func(first, keys int) objects.Code {
		body, err := json.Marshal(load{First: first, Keys: keys, Size: 4000, Mark: "a"})
		if err != nil {
			t.Fatal(err)
		}
		reply, err := client.Do(t.Context(), wire.Address{ID: id, Name: "c"}, &wire.Request{Kind: wire.Call, Call: "load", Body: body})
		if err == nil {
			err = reply.Err()
		}
		return objects.CodeOf(err)
	}
	eventually(t, "the host serves", func() bool { return put(0, 100) == "" })
	stream := func() *jetstream.StreamInfo {
		t.Helper()
		stream, err := s.js.Stream(t.Context(), bucket.Records().Stream())
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo()
	}
	if info := stream(); info.State.Msgs != 1 || info.Config.AllowDirect {
		t.Errorf("%d entries, direct reads %v; want the record alone, and none", info.State.Msgs, info.Config.AllowDirect)
	}
	if code := put(100, 100); code != objects.TooLarge {
		t.Errorf("an object beyond one record is %q, want too_large", code)
	}
	if err := leases.Remove(t.Context(), "older", revision); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an object grows beyond one record", func() bool { return put(100, 100) == "" })
	if info := stream(); info.State.Msgs < 2 {
		t.Error("the record has no parts")
	}
	eventually(t, "direct reads are allowed", func() bool { return stream().Config.AllowDirect })
}
