package acceptance

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/coder/websocket"
	"github.com/nats-io/nats.go/jetstream"

	"holdfast/embedded"
	"holdfast/internal/bucket"
	"holdfast/objects"
)

// bell gets the reports of all probes of one test.
type bell struct {
	rings chan ring
	fail  atomic.Int32 // how many alarms are to fail
	gate  chan struct{}
	enter chan struct{} // somebody has come to the gate
}

type ring struct {
	at   time.Time
	set  time.Time
	info objects.AlarmInfo
}

const spies objects.Class = "probe"

var (
	put  = objects.NewCall[string, int](spies, "put")
	size = objects.NewCall[objects.None, int](spies, "size")
	wake = objects.NewCall[time.Duration, objects.None](spies, "wake")

	blob = objects.NewKey[string]("blob")
)

func spyClass(b *bell) *objects.Implementation {
	return objects.Implement(spies, func(*objects.Tx) *spy { return &spy{b} },
		objects.On(put, func(_ *spy, tx *objects.Tx, v string) (int, error) {
			blob.Set(tx, v)
			return len(v), nil
		}),
		objects.On(size, func(_ *spy, tx *objects.Tx, _ objects.None) (int, error) {
			return len(blob.Get(tx)), nil
		}),
		objects.On(wake, func(_ *spy, tx *objects.Tx, in time.Duration) (objects.None, error) {
			tx.SetAlarm(tx.Now().Add(in))
			return nil, nil
		}),
	)
}

// spy is an object through which a test observes the runtime.
type spy struct{ bell *bell }

func (p *spy) Alarm(_ *objects.Tx, info objects.AlarmInfo) error {
	p.bell.rings <- ring{at: time.Now(), set: info.Scheduled, info: info}
	if p.bell.fail.Add(-1) >= 0 {
		return fmt.Errorf("this alarm is to fail")
	}
	return nil
}

func (p *spy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tx := objects.TxOf(r)
	if _, err := tx.Accept(); err != nil {
		fmt.Fprintf(w, "%d", len(blob.Get(tx)))
	}
}

// WebSocketMessage waits at the gate: meanwhile the frame is under way.
func (p *spy) WebSocketMessage(tx *objects.Tx, from objects.Socket, m objects.Message) error {
	if string(m.Data) == "wait" {
		p.bell.enter <- struct{}{}
		select {
		case <-p.bell.gate:
		case <-tx.Done():
		}
	}
	from.Send(m)
	return nil
}

func TestAnAlarmFiresOnceAndNeverEarly(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		b := &bell{rings: make(chan ring, 16)}
		on.startHost(t, "a", "fra", steady, nil, spyClass(b))
		caller := on.caller(t)
		if _, err := wake.Do(t.Context(), caller("once"), 300*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		r := hear(t, b)
		if r.at.Before(r.set) {
			t.Errorf("fired at %v, before %v", r.at, r.set)
		}
		if r.info.Retry != 0 {
			t.Errorf("retry = %d, want 0", r.info.Retry)
		}
		// A later alarm moved earlier, and one in the past.
		for _, in := range []time.Duration{time.Hour, 100 * time.Millisecond} {
			if _, err := wake.Do(t.Context(), caller("moved"), in); err != nil {
				t.Fatal(err)
			}
		}
		hear(t, b)
		if _, err := wake.Do(t.Context(), caller("past"), -time.Minute); err != nil {
			t.Fatal(err)
		}
		hear(t, b)
	})
}

func TestAnAlarmThatFailsIsTriedAgain(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		b := &bell{rings: make(chan ring, 16)}
		b.fail.Store(1)
		on.startHost(t, "a", "fra", steady, nil, spyClass(b))
		if _, err := wake.Do(t.Context(), on.caller(t)("again"), time.Millisecond); err != nil {
			t.Fatal(err)
		}
		first, second := hear(t, b), hear(t, b)
		if second.info.Retry != 1 || !second.info.Scheduled.Equal(first.info.Scheduled) {
			t.Errorf("second run: %+v, want retry 1 of the alarm of %v", second.info, first.info.Scheduled)
		}
	})
}

func TestAnAlarmSurvivesTheLossOfItsHost(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		b := &bell{rings: make(chan ring, 16)}
		first := on.startHost(t, "first", "fra", quick, nil, spyClass(b))
		if _, err := wake.Do(t.Context(), on.caller(t)("kept"), 500*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		first.cut()
		on.startHost(t, "second", "fra", steady, nil, spyClass(b))
		r := hear(t, b)
		if r.at.Before(r.set) {
			t.Errorf("fired at %v, before %v", r.at, r.set)
		}
	})
}

func hear(t testing.TB, b *bell) ring {
	t.Helper()
	select {
	case r := <-b.rings:
		return r
	case <-time.After(patience):
		t.Fatal("no alarm within ", patience)
		return ring{}
	}
}

func TestStateBeyondTheLimitIsTooLargeAndLosesNothing(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		limit := objects.Settings{State: 500_000}
		on.startHost(t, "a", "fra", steady, nil, spyClass(&bell{}).With(limit))
		to := on.caller(t)("big")
		most := strings.Repeat("x", limit.State-len(`"blob":"",`))
		if n, err := put.Do(t.Context(), to, most); err != nil || n != len(most) {
			t.Fatalf("the largest state: %d, %v", n, err)
		}
		if _, err := put.Do(t.Context(), to, most+"0123456789"); objects.CodeOf(err) != objects.TooLarge {
			t.Errorf("beyond the limit: %v, want too_large", err)
		}
		if n, err := size.Do(t.Context(), to, nil); err != nil || n != len(most) {
			t.Errorf("size = %d, %v; want %d as before", n, err, len(most))
		}
	})
}

func TestASocketWithAMessageInTheAirStaysWhenItsHostIsLost(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		b := &bell{gate: make(chan struct{}), enter: make(chan struct{}, 2)}
		first := on.startHost(t, "first", "fra", quick, nil, spyClass(b))
		d := on.startGateway(t, "fra", quick, "probe")
		dial := func() *websocket.Conn {
			conn, _, err := websocket.Dial(t.Context(), strings.Replace(d.url, "http", "ws", 1)+"/objects/probe/p", nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.CloseNow() })
			return conn
		}
		idle, busy := dial(), dial()
		say := func(c *websocket.Conn, text string) {
			if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		say(busy, "settled")
		if _, data, err := busy.Read(t.Context()); err != nil || string(data) != "settled" {
			t.Fatalf("echo = %q, %v", data, err)
		}
		say(busy, "wait")
		<-b.enter
		on.startHost(t, "second", "fra", steady, nil, spyClass(b))
		first.cut()
		<-b.enter // at the second host
		close(b.gate)
		if _, data, err := busy.Read(t.Context()); err != nil || string(data) != "wait" {
			t.Errorf("the busy socket: %q, %v; want the echo of the message in the air", data, err)
		}
		say(idle, "hello")
		if _, data, err := idle.Read(t.Context()); err != nil || string(data) != "hello" {
			t.Errorf("the idle socket: %q, %v; want its echo", data, err)
		}
	})
}

// TestChaosCountersAreLinearizableWhileHostsAreLost has clients claim, peek, and reset
// nothing, while hosts are cut off and replaced; the history must be that of one counter.
// A request may lose one owner and no more: whoever loses the second is told that its fate is unknown. So a host is cut off only when
// every client has gone on since the cut before.
func TestChaosCountersAreLinearizableWhileHostsAreLost(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		h := on.startHost(t, "h0", "fra", quick, nil)
		spare := on.startHost(t, "h1", "fra", quick, nil)
		d := on.startGateway(t, "fra", quick)
		var (
			mu      sync.Mutex
			history []porcupine.Operation
			stop    atomic.Bool
			clients sync.WaitGroup
			epochs  sync.Map
			done    [8]int // operations of each client; guarded by mu
		)
		began := time.Now()
		for c := range done {
			clients.Go(func() {
				for i := 0; !stop.Load(); i++ {
					write := i%3 != 0
					op := porcupine.Operation{ClientId: c, Input: write, Call: time.Since(began).Nanoseconds()}
					method := map[bool]string{true: "POST", false: "GET"}[write]
					status, header, body, err := try(method, d.url+"/ticket/linear", "")
					if err != nil || status != 200 {
						t.Errorf("%s failed: status %d, %s, %v", method, status, body, err)
						return
					}
					op.Return = time.Since(began).Nanoseconds()
					var n int
					if _, err := fmt.Sscanf(body, `{"ticket":%d}`, &n); err != nil {
						t.Errorf("body %s: %v", body, err)
						return
					}
					op.Output = n
					epochs.Store(header.Get("Holdfast-Epoch"), true)
					mu.Lock()
					history = append(history, op)
					done[c]++
					mu.Unlock()
				}
			})
		}
		ops := func() [8]int { mu.Lock(); defer mu.Unlock(); return done }
		goOn := func() {
			before := ops()
			await(t, "every client goes on", func() bool {
				for c, n := range ops() {
					if n < before[c]+20 {
						return false
					}
				}
				return true
			})
		}
		for round := range 3 {
			goOn()
			h.cut()
			h, spare = spare, on.startHost(t, fmt.Sprintf("h%d", round+2), "fra", quick, nil)
		}
		goOn()
		stop.Store(true)
		clients.Wait()
		moves := 0
		epochs.Range(func(any, any) bool { moves++; return true })
		if moves < 2 {
			t.Errorf("only %d epochs were seen: no host was lost while it owned the counter", moves)
		}
		result := porcupine.CheckOperationsTimeout(counterModel, history, time.Minute)
		if result != porcupine.Ok {
			t.Errorf("the history of %d operations is %s", len(history), result)
		}
		t.Logf("%d operations, %d epochs", len(history), moves)
	})
}

// counterModel is one counter: a claim adds one and returns it, a peek returns it.
var counterModel = porcupine.Model{
	Init: func() any { return 0 },
	Step: func(state, write, got any) (bool, any) {
		n := state.(int)
		if write.(bool) {
			n++
		}
		return got.(int) == n, n
	},
}

func TestARecordThatCannotBeReadIsLeftAloneAndSaidSo(t *testing.T) {
	beside(t, waiters)
	on := single(t)
	on.startHost(t, "a", "fra", steady, nil)
	d := on.startGateway(t, "fra", steady)
	id, err := objects.Class("ticket").ID("newer")
	if err != nil {
		t.Fatal(err)
	}
	nc := on.dial(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	const newer = `{"v":2,"epoch":9}`
	if _, err := js.Publish(t.Context(), bucket.Records().Subject(id.Key()), []byte(newer)); err != nil {
		t.Fatal(err)
	}
	if status, _, body := request(t, "POST", d.url+"/ticket/newer", ""); status != 500 || !strings.Contains(body, "internal") || !strings.Contains(body, `"reference":"`) {
		t.Errorf("status %d, body %s; want 500 with a reference", status, body)
	}
	if entry, err := bucket.Records().Last(t.Context(), nc, id.Key()); err != nil || string(entry.Data) != newer {
		t.Errorf("the record is %v, %v; want it as it was", entry, err)
	}
}

func TestAnAlarmThatFellDueWhileEverythingWasDownFiresAfterwards(t *testing.T) {
	beside(t, waiters)
	b := &bell{rings: make(chan ring, 16)}
	dir := t.TempDir()
	due := time.Now().Add(2 * time.Second)
	t.Run("set", func(t *testing.T) {
		on := served(t, embedded.Config{Store: dir, Log: testLog(t)})
		h := on.startHost(t, "a", "fra", quick, nil, spyClass(b))
		if _, err := wake.Do(t.Context(), on.caller(t)("kept"), 2*time.Second); err != nil {
			t.Fatal(err)
		}
		h.cut()
	})
	await(t, "the alarm is due", func() bool { return time.Now().After(due) })
	t.Run("fired", func(t *testing.T) {
		if len(b.rings) > 0 {
			t.Fatal("it fired before everything was down: nothing was shown")
		}
		on := served(t, embedded.Config{Store: dir, Log: testLog(t)})
		on.startHost(t, "b", "fra", steady, nil, spyClass(b))
		r := hear(t, b)
		if r.at.Before(r.set) || r.info.Retry != 0 {
			t.Errorf("fired at %v as retry %d, set for %v", r.at, r.info.Retry, r.set)
		}
	})
}
