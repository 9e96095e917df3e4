package host

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/lease"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/internal/engine"
	"holdfast/objects/internal/tells"
)

// twinClient asks the objects of one incarnation over its bus, as the client of its host does.
type twinClient struct {
	in  *incarnation
	bus *memoryBus

	mu   sync.Mutex // guards what follows
	n    uint64
	deaf map[string]bool // objects that are not reached, by key
	near []string        // where objects were to be placed, as they were asked
}

func (c *twinClient) Do(ctx context.Context, id wire.Address, req *wire.Request) (*wire.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	c.mu.Lock()
	deaf := c.deaf[id.Key()]
	c.n++
	req.Gateway, req.N, req.Time = "h"+c.in.id, c.n, time.Now().UnixMilli()
	if id.Near != "" {
		c.near = append(c.near, fmt.Sprint(id.Name, " ", id.Near))
	}
	c.mu.Unlock()
	if deaf {
		return nil, objects.Errorf(objects.Unavailable, "nobody runs it")
	}
	class := c.in.classes[string(id.Class())]
	if class == nil {
		return nil, objects.Errorf(objects.NotFound, "no host runs class %s", id.Class())
	}
	for copies := 1; ctx.Err() == nil; copies++ {
		claimed := make(chan wire.ClaimReply, 1)
		o := c.in.object(id, class)
		if o == nil {
			return nil, objects.Errorf(objects.Unavailable, "the host stops")
		}
		if o.claim(func(r wire.ClaimReply) { claimed <- r }) {
			select {
			case <-claimed:
			case <-ctx.Done():
			}
		}
		req.For = o.mailbox.claimToken()
		req.Timeout = 15_000
		inbox := fmt.Sprintf("%sh%s.%d.%d", wire.InboxPrefix, c.in.id, req.N, copies)
		raw := make(chan *nats.Msg, 8)
		sub, _ := c.bus.Subscribe(inbox, "", raw)
		if err := wire.Ask(c.bus, wire.ObjectHostSubject(id.Key()), inbox, req); err != nil {
			return nil, err
		}
		var reply *wire.Reply
		select {
		case msg := <-raw:
			reply = new(wire.Reply)
			if err := wire.Decode(msg.Data, reply); err != nil {
				return nil, err
			}
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
		sub.Unsubscribe()
		if reply != nil && !reply.Moved {
			return reply, nil
		}
		time.Sleep(time.Millisecond)
	}
	return nil, objects.Errorf(objects.Unknown, "no answer in time")
}

// tellBook records what the objects of a test have done, in all incarnations.
type tellBook struct {
	mu     sync.Mutex
	fails  map[string]error // of the call "note", by its input
	runs   map[string]int   // of "note", by its input
	exits  bool             // "note" ends its goroutine
	ids    []string         // of events
	hold   chan struct{}
	worked chan error // what a task has got
}

// fail makes "note" fail with this input, or succeed.
func (b *tellBook) fail(what string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fails[what] = err
}

func (b *tellBook) failure(what string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fails[what]
}

func (b *tellBook) exit(exits bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.exits = exits
}

func (b *tellBook) ran(what string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.runs[what]
}

var (
	tellLog tellBook

	tellers  objects.Class = "teller"
	tellAll                = objects.NewCall[[]string, objects.None](tellers, "tell")     // each to the object "b"
	tellSelf               = objects.NewCall[[]string, objects.None](tellers, "self")     // each to itself
	tellFan                = objects.NewCall[int, objects.None](tellers, "fan")           // one to each of so many
	tellOff                = objects.NewCall[string, objects.None](tellers, "fail")       // to "b", then it fails
	tellLate               = objects.NewCall[lateIn, objects.None](tellers, "late")       // later, keyed
	cancelIt               = objects.NewCall[string, bool](tellers, "cancel")             // by key
	note                   = objects.NewCall[string, objects.None](tellers, "note")       // writes it down
	notes                  = objects.NewCall[objects.None, []string](tellers, "notes")    // what was written down
	goWork                 = objects.NewCall[string, objects.None](tellers, "go")         // a task that notes, or does worse
	wipe                   = objects.NewCall[objects.None, objects.None](tellers, "wipe") // all that is stored
	noted                  = objects.NewKey[[]string]("noted")
	tellImpl               = objects.Implement(tellers, objects.New[teller], objects.On(tellAll, (*teller).tell), objects.On(tellSelf, (*teller).self), objects.On(tellFan, (*teller).fan),
		objects.On(tellOff, (*teller).fail), objects.On(tellLate, (*teller).late), objects.On(cancelIt, (*teller).cancel), objects.On(note, (*teller).note),
		objects.On(notes, (*teller).notes), objects.On(goWork, (*teller).work), objects.On(wipe, (*teller).wipe))
)

type lateIn struct {
	To, What, Key string
	In            time.Duration
}

type teller struct{}

func (*teller) tell(tx *objects.Tx, all []string) (objects.None, error) {
	for _, what := range all {
		note.Tell(tx, tx.Object(tellers, "b"), what)
	}
	return nil, nil
}

func (*teller) self(tx *objects.Tx, all []string) (objects.None, error) {
	for _, what := range all {
		note.Tell(tx, tx.Self(), what)
	}
	return nil, nil
}

func (*teller) fan(tx *objects.Tx, n int) (objects.None, error) {
	for i := range n {
		note.Tell(tx, tx.Object(tellers, fmt.Sprint("r", i)), fmt.Sprint(i))
	}
	return nil, nil
}

func (*teller) fail(tx *objects.Tx, what string) (objects.None, error) {
	note.Tell(tx, tx.Object(tellers, "b"), what)
	return nil, objects.Errorf(objects.Conflict, "no")
}

func (*teller) late(tx *objects.Tx, in lateIn) (objects.None, error) {
	to := tx.Self()
	if in.To != "" {
		to = tx.Object(tellers, in.To)
	}
	note.Tell(tx, to, in.What, objects.After(in.In), objects.Keyed(in.Key))
	return nil, nil
}

func (*teller) cancel(tx *objects.Tx, key string) (bool, error) { return tx.Cancel(key), nil }

func (*teller) wipe(tx *objects.Tx, _ objects.None) (objects.None, error) {
	tx.DeleteAll()
	return nil, nil
}

func (*teller) note(tx *objects.Tx, what string) (objects.None, error) {
	tellLog.mu.Lock()
	err, exits := tellLog.fails[what], tellLog.exits
	tellLog.runs[what]++
	tellLog.ids = append(tellLog.ids, objects.EventID(tx))
	tellLog.mu.Unlock()
	if exits {
		runtime.Goexit()
	}
	if err != nil {
		return nil, err
	}
	noted.Set(tx, append(noted.Get(tx), what))
	return nil, nil
}

func (*teller) notes(tx *objects.Tx, _ objects.None) ([]string, error) { return noted.Get(tx), nil }

func (*teller) Undelivered(tx *objects.Tx, m objects.Told) error {
	if err := tellLog.failure("hook"); err != nil {
		return err
	}
	noted.Set(tx, append(noted.Get(tx), fmt.Sprintf("undelivered %s after %d: %v", m.Call, m.Tries, m.Err.Code)))
	return nil
}

func (*teller) work(tx *objects.Tx, how string) (objects.None, error) {
	book := &tellLog
	tx.Go(func(t *objects.Task) error {
		switch how {
		case "panic":
			panic("task")
		case "exit":
			runtime.Goexit()
		case "wait":
			<-t.Done()
			book.worked <- context.Cause(t)
			return nil
		}
		if book.hold != nil {
			<-book.hold
		}
		_, err := note.Do(t, t.Self(), how)
		book.worked <- err
		return err
	})
	if how == "refused" {
		return nil, objects.Errorf(objects.Conflict, "no")
	}
	return nil, nil
}

// tellWorld is a world of tellers, with wake-ups that are delivered.
type tellWorld struct {
	*world
	client *twinClient
	clock  *memoryClock
}

func newTellWorld(t *testing.T, store *memoryStore, incarnation string, clock *memoryClock) *tellWorld {
	return newTellWorldOf(t, store, incarnation, clock, tellImpl)
}

func newTellWorldOf(t *testing.T, store *memoryStore, incarnation string, clock *memoryClock, impl *objects.Implementation) *tellWorld {
	w := &tellWorld{clock: clock}
	before := func(in *world) {
		w.client = &twinClient{in: in.in, bus: in.bus, deaf: make(map[string]bool)}
		in.in.client, in.in.clock = w.client, clock
	}
	w.world = newWorldAt(t, newMemoryBus(), store, incarnation, before, func(cfg *Config) { cfg.Objects = []*objects.Implementation{impl} })
	w.in.tasks.Go(func() { w.ring(w.in.work) })
	return w
}

// ring wakes objects whose time has come, until the incarnation ends.
func (w *tellWorld) ring(ctx context.Context) {
	for wire.Pause(ctx, 100*time.Millisecond) {
		for _, key := range w.clock.due() {
			if err := w.in.wake(ctx, key); err != nil && ctx.Err() == nil {
				_ = w.clock.Set(ctx, key, time.Now().Add(time.Second))
			}
		}
	}
}

// due takes out the wake-ups whose time has come.
func (c *memoryClock) due() (keys []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, at := range c.set {
		if !at.After(time.Now()) {
			keys = append(keys, key)
			delete(c.set, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func teller1(name string) objects.ID {
	id, err := tellers.ID(name)
	if err != nil {
		panic(err)
	}
	return id
}

func (w *tellWorld) do(name, call string, in string) error {
	reply, err := w.client.Do(context.Background(), wire.Address{ID: teller1(name), Name: name}, &wire.Request{Kind: wire.Call, Call: call, Body: []byte(in)})
	if err != nil {
		return err
	}
	return reply.Err()
}

func (w *tellWorld) mustDo(name, call string, in string) {
	w.t.Helper()
	if err := w.do(name, call, in); err != nil {
		w.t.Fatalf("%s of %s: %v", call, name, err)
	}
}

// record returns the stored record of a teller.
func (w *tellWorld) record(name string) *record.Record { return w.store.record(teller1(name).Key()) }

// reserved returns how many reserved keys of a kind a teller has stored.
func (w *tellWorld) reserved(name, prefix string) int {
	rec := w.record(name)
	if rec == nil {
		return 0
	}
	return rec.Data.Between(prefix, engine.After(prefix)).Len()
}

func (w *tellWorld) noted(name string) []string {
	w.t.Helper()
	rec := w.record(name)
	if rec == nil {
		return nil
	}
	value, _ := rec.Data.Get("noted")
	return strings.FieldsFunc(string(value), func(r rune) bool { return strings.ContainsRune(`[],"`, r) })
}

// tellBubble is a test in a bubble, with a clean book.
func tellBubble(t *testing.T, story func(t *testing.T, w *tellWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cleanBook()
		w := newTellWorld(t, newMemoryStore(), "me", newMemoryClock())
		story(t, w)
		if _, err := w.stop(); err != nil {
			t.Errorf("the host stopped with %v", err)
		}
	})
}

func cleanBook() {
	tellLog.mu.Lock()
	defer tellLog.mu.Unlock()
	tellLog.fails, tellLog.runs, tellLog.exits, tellLog.ids = make(map[string]error), make(map[string]int), false, nil
	tellLog.hold, tellLog.worked = nil, make(chan error, 8)
}

func TestWhatIsToldRunsOnceInOrderAndLeavesNothingBehind(t *testing.T) {
	tellBubble(t, func(t *testing.T, w *tellWorld) {
		w.mustDo("a", "tell", `["1","2","3"]`)
		w.mustDo("a", "tell", `["4"]`)
		time.Sleep(time.Second)
		if got := w.noted("b"); !slices.Equal(got, []string{"1", "2", "3", "4"}) {
			t.Errorf("noted %q, want 1 to 4 in order", got)
		}
		if n := w.reserved("a", engine.OutboxAt); n != 0 {
			t.Errorf("%d messages are left in the outbox", n)
		}
		w.mustDo("b", "note", `"last"`) // its commit takes the mark along
		if n := w.reserved("b", engine.MarksAt); n != 0 {
			t.Errorf("%d marks are left", n)
		}
		if len(tellLog.ids) != 5 || !strings.HasPrefix(tellLog.ids[0], "t/"+teller1("a").Key()+"/") {
			t.Errorf("event ids %q", tellLog.ids)
		}
	})
}

func TestAFailedEventTellsNothing(t *testing.T) {
	tellBubble(t, func(t *testing.T, w *tellWorld) {
		if err := w.do("a", "fail", `"1"`); objects.CodeOf(err) != objects.Conflict {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := w.noted("b"); len(got) > 0 {
			t.Errorf("noted %q, and nothing was told", got)
		}
	})
}

func TestAReceiverThatIsNotReachedForADayGetsItWhenItIsBack(t *testing.T) {
	t.Parallel()
	tellBubble(t, func(t *testing.T, w *tellWorld) {
		w.client.mu.Lock()
		w.client.deaf[teller1("b").Key()] = true
		w.client.mu.Unlock()
		w.mustDo("a", "tell", `["1","2"]`)
		time.Sleep(24 * time.Hour)
		if n := w.reserved("a", engine.OutboxAt); n != 2 {
			t.Errorf("%d messages wait, want 2", n)
		}
		w.client.mu.Lock()
		delete(w.client.deaf, teller1("b").Key())
		w.client.mu.Unlock()
		time.Sleep(10 * time.Minute)
		if got := w.noted("b"); !slices.Equal(got, []string{"1", "2"}) {
			t.Errorf("noted %q", got)
		}
	})
}

func TestATellWhoseHandlerFailsIsTriedSevenTimesAndParked(t *testing.T) {
	tellBubble(t, func(t *testing.T, w *tellWorld) {
		tellLog.fail("1", errors.New("no"))
		w.mustDo("a", "tell", `["1","2"]`)
		time.Sleep(10 * time.Second)
		if got := w.noted("b"); len(got) > 0 {
			t.Errorf("noted %q while the first waits to be tried again", got)
		}
		time.Sleep(5 * time.Minute)
		if got := w.noted("b"); !slices.Equal(got, []string{"2"}) || tellLog.ran("1") != 7 {
			t.Errorf("noted %q after %d tries, want the second, after 7", got, tellLog.ran("1"))
		}
		if got := w.noted("a"); !slices.Equal(got, []string{"undelivered note after 7: internal"}) {
			t.Errorf("the sender noted %q", got)
		}
		if n := w.reserved("a", engine.ParkedAt); n != 1 {
			t.Errorf("%d messages are parked, want 1", n)
		}
		tellLog.fail("1", nil)
		want := wire.ParkedBody{}
		reply, err := w.client.Do(t.Context(), wire.Address{ID: teller1("a")}, &wire.Request{Kind: wire.Parked, Body: wire.Encode(&want)})
		if err != nil || reply.Err() != nil || string(reply.Body) != "1" {
			t.Fatalf("retry: %+v, %v", reply, err)
		}
		time.Sleep(time.Second)
		if got := w.noted("b"); !slices.Equal(got, []string{"2", "1"}) {
			t.Errorf("noted %q after it was sent again", got)
		}
		if n := w.reserved("a", engine.ParkedAt); n != 0 {
			t.Errorf("%d messages are parked, want none", n)
		}
	})
}

func TestARefusedTellIsParkedAtOnce(t *testing.T) {
	tellBubble(t, func(t *testing.T, w *tellWorld) {
		tellLog.fail("1", objects.Errorf(objects.Conflict, "no"))
		tellLog.fail("own", objects.Errorf(objects.Conflict, "no"))
		w.mustDo("a", "tell", `["1","2"]`)
		w.mustDo("a", "self", `["own"]`)
		time.Sleep(time.Second)
		if got := w.noted("b"); !slices.Equal(got, []string{"2"}) {
			t.Errorf("noted %q", got)
		}
		if n := w.reserved("a", engine.ParkedAt); n != 2 {
			t.Errorf("%d messages are parked, want both", n)
		}
	})
}

func TestUndeliveredThatFailsRunsAgain(t *testing.T) {
	tellBubble(t, func(t *testing.T, w *tellWorld) {
		tellLog.fail("1", objects.Errorf(objects.Conflict, "no"))
		tellLog.fail("hook", errors.New("no"))
		w.mustDo("a", "tell", `["1"]`)
		time.Sleep(time.Second)
		if n := w.reserved("a", engine.ParkedAt); n != 1 {
			t.Errorf("%d messages are parked, want 1", n)
		}
		tellLog.fail("hook", nil)
		time.Sleep(10 * time.Second)
		if got := w.noted("a"); !slices.Equal(got, []string{"undelivered note after 1: conflict"}) {
			t.Errorf("the sender noted %q", got)
		}
	})
}

func TestTimersRunAtTheirTimesAndAreReplacedAndCancelledExactly(t *testing.T) {
	tellBubble(t, func(t *testing.T, w *tellWorld) {
		late := func(to, what, key string, in time.Duration) {
			t.Helper()
			w.mustDo("a", "late", fmt.Sprintf(`{"To":%q,"What":%q,"Key":%q,"In":%d}`, to, what, key, in))
		}
		late("", "third", "", 30*time.Second)
		late("", "first", "", 10*time.Second)
		late("", "second", "", 20*time.Second)
		late("", "replaced", "k", 15*time.Second)
		late("", "fourth", "k", 40*time.Second)
		late("b", "to b", "b", 25*time.Second)
		late("b", "cancelled", "c", 25*time.Second)
		w.mustDo("a", "cancel", `"c"`)
		time.Sleep(9 * time.Second)
		if got := w.noted("a"); len(got) > 0 {
			t.Errorf("noted %q early", got)
		}
		time.Sleep(41 * time.Second)
		if got := w.noted("a"); !slices.Equal(got, []string{"first", "second", "third", "fourth"}) {
			t.Errorf("noted %q", got)
		}
		if got := w.noted("b"); !slices.Equal(got, []string{"to b"}) {
			t.Errorf("b noted %q", got)
		}
		late("", "never", "", time.Hour)
		w.mustDo("a", "wipe", `null`)
		if n := w.reserved("a", engine.TimersAt); n != 0 {
			t.Errorf("%d timers are left after DeleteAll", n)
		}
	})
}

func TestTimersOutliveTheirOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cleanBook()
		store, clock := newMemoryStore(), newMemoryClock()
		w := newTellWorld(t, store, "one", clock)
		w.mustDo("a", "late", `{"What":"later","In":60000000000}`)
		w.crash()
		w = newTellWorld(t, store, "two", clock)
		time.Sleep(2 * time.Minute)
		if got := w.noted("a"); !slices.Equal(got, []string{"later"}) {
			t.Errorf("noted %q", got)
		}
		if _, err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatAnObjectTellsItselfRunsInOrder(t *testing.T) {
	tellBubble(t, func(t *testing.T, w *tellWorld) {
		tellLog.fail("2", errors.New("no"))
		w.mustDo("a", "self", `["1","2","3"]`)
		time.Sleep(time.Second)
		if got := w.noted("a"); !slices.Equal(got, []string{"1"}) {
			t.Errorf("noted %q while the second waits to be tried again", got)
		}
		tellLog.fail("2", nil)
		time.Sleep(5 * time.Second)
		if got := w.noted("a"); !slices.Equal(got, []string{"1", "2", "3"}) {
			t.Errorf("noted %q", got)
		}
		if n := w.reserved("a", engine.TimersAt); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

func TestAFanOutOfAThousandTellsIsWhole(t *testing.T) {
	t.Parallel()
	tellBubble(t, func(t *testing.T, w *tellWorld) {
		w.mustDo("a", "fan", `1000`)
		time.Sleep(10 * time.Second)
		for i := range 1000 {
			if got := w.noted(fmt.Sprint("r", i)); !slices.Equal(got, []string{fmt.Sprint(i)}) {
				t.Fatalf("r%d noted %q", i, got)
			}
		}
		if n := w.reserved("a", engine.OutboxAt); n != 0 {
			t.Errorf("%d messages are left in the outbox", n)
		}
	})
}

func TestAFullStoreRefusesTellsAndGoesOnWithRemovals(t *testing.T) {
	tellBubble(t, func(t *testing.T, w *tellWorld) {
		w.client.mu.Lock()
		w.client.deaf[teller1("b").Key()] = true
		w.client.mu.Unlock()
		w.mustDo("a", "tell", `["1"]`)
		w.mustDo("b2", "note", `"x"`)
		w.store.setRoom(record.Full)
		if err := w.do("a", "tell", `["2"]`); objects.CodeOf(err) != objects.StorageFull {
			t.Errorf("telling while the store is full: %v", err)
		}
		w.client.mu.Lock()
		delete(w.client.deaf, teller1("b").Key())
		w.client.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if n := w.reserved("a", engine.OutboxAt); n != 1 || len(w.noted("b")) != 0 {
			t.Errorf("%d messages wait, and b noted %q, want it to wait for room", n, w.noted("b"))
		}
		w.store.setRoom(record.Free)
		time.Sleep(10 * time.Minute)
		if n := w.reserved("a", engine.OutboxAt); n != 0 || !slices.Equal(w.noted("b"), []string{"1"}) {
			t.Errorf("%d messages are left, b noted %q", n, w.noted("b"))
		}
	})
}

func TestAnObjectWithTimersOrMessagesOnTheirWayKeepsItsRecord(t *testing.T) {
	tellBubble(t, func(t *testing.T, w *tellWorld) {
		w.mustDo("a", "late", fmt.Sprintf(`{"To":"b","What":"x","In":%d}`, time.Hour))
		w.mustDo("c", "tell", `["1"]`)
		time.Sleep(20 * time.Minute)
		if w.reserved("a", engine.TimersAt) != 1 || w.in.find(teller1("a").Key()) != nil {
			t.Errorf("the timer is gone, or the object was not let go of")
		}
		if rec := w.record("c"); rec != nil && len(rec.Answers) == 0 {
			t.Errorf("the record of an object with nothing on its way is kept: %d keys", rec.Data.Len())
		}
		time.Sleep(time.Hour)
		if got := w.noted("b"); !slices.Equal(got, []string{"1", "x"}) {
			t.Errorf("noted %q", got)
		}
	})
}

// A handler that calls runtime.Goexit, as testing's FailNow does, once left its object without anybody to run its events.
func TestAHandlerThatEndsItsGoroutineFailsItsEventAndNothingElse(t *testing.T) {
	tellBubble(t, func(t *testing.T, w *tellWorld) {
		tellLog.exit(true)
		if err := w.do("a", "note", `"x"`); objects.CodeOf(err) != objects.Internal {
			t.Errorf("the caller was told %v", err)
		}
		w.mustDo("a", "self", `["own"]`)
		w.mustDo("a", "tell", `["to b"]`)
		time.Sleep(time.Second)
		tellLog.exit(false)
		w.mustDo("a", "note", `"y"`)
		time.Sleep(time.Minute)
		if got := w.noted("a"); !slices.Equal(got, []string{"y", "own"}) {
			t.Errorf("noted %q", got)
		}
		if got := w.noted("b"); !slices.Equal(got, []string{"to b"}) {
			t.Errorf("b noted %q", got)
		}
	})
}

func TestATaskRunsAfterTheCommitAndComesBackByACall(t *testing.T) {
	tellBubble(t, func(t *testing.T, w *tellWorld) {
		w.mustDo("a", "go", `"done"`)
		if err := <-tellLog.worked; err != nil {
			t.Error(err)
		}
		if got := w.noted("a"); !slices.Equal(got, []string{"done"}) {
			t.Errorf("noted %q", got)
		}
		if err := w.do("a", "go", `"refused"`); objects.CodeOf(err) != objects.Conflict {
			t.Error(err)
		}
		w.mustDo("a", "go", `"panic"`)
		w.mustDo("a", "go", `"exit"`)
		time.Sleep(time.Second)
		w.mustDo("a", "note", `"well"`)
		if got := w.noted("a"); !slices.Equal(got, []string{"done", "well"}) {
			t.Errorf("noted %q", got)
		}
		if n := w.metric("holdfast_host_tasks", ""); n != 0 {
			t.Errorf("%v tasks are said to run", n)
		}
	})
}

func TestATaskKeepsTheInstanceAwakeAndTooManyAreRefused(t *testing.T) {
	tellBubble(t, func(t *testing.T, w *tellWorld) {
		tellLog.hold = make(chan struct{})
		for range objects.MaxTasks {
			w.mustDo("a", "go", `"x"`)
		}
		if err := w.do("a", "go", `"x"`); objects.CodeOf(err) != objects.Overloaded {
			t.Errorf("one task too many: %v", err)
		}
		w.mustDo("a", "notes", `null`) // the refusal has dropped the instance
		time.Sleep(10 * time.Minute)
		if o, awake := w.in.find(teller1("a").Key()), w.metric("holdfast_host_awake", ""); o == nil || awake != 1 {
			t.Errorf("the object with tasks has gone to sleep: %v, %v are awake", o == nil, awake)
		}
		close(tellLog.hold)
		for range objects.MaxTasks {
			if err := <-tellLog.worked; err != nil {
				t.Error(err)
			}
		}
		time.Sleep(20 * time.Minute)
		if w.in.find(teller1("a").Key()) != nil {
			t.Error("the object has not gone to sleep after its tasks")
		}
	})
}

func TestATaskEndsAfterItsTimeAndWithItsHost(t *testing.T) {
	tellBubble(t, func(t *testing.T, w *tellWorld) {
		began := time.Now()
		w.mustDo("a", "go", `"wait"`)
		if err := <-tellLog.worked; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != taskTime {
			t.Errorf("it ended after %v with %v", time.Since(began), err)
		}
		w.mustDo("a", "go", `"wait"`)
		time.Sleep(time.Second)
		go func() { // the host stops at the end of the bubble's story
			if err := <-tellLog.worked; !errors.Is(err, errTasksEnd) {
				t.Errorf("it ended with %v", err)
			}
		}()
	})
}

// A sender that dies at any of its calls of the store, and a receiver likewise, changes nothing about what comes of a tell.
func TestATellSurvivesTheDeathOfItsHostAfterEachCallOfTheStore(t *testing.T) {
	for after := range 14 {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cleanBook()
				store, clock := newMemoryStore(), newMemoryClock()
				w := newTellWorld(t, store, "one", clock)
				done := make(chan error, 1)
				store.stopAfter(after, func() { w.lose(lease.ErrLost) })
				go func() { done <- w.do("a", "tell", `["1","2","3"]`) }()
				time.Sleep(20 * time.Second)
				told := <-done == nil
				w.lose(lease.ErrLost)
				if err := <-w.done; !errors.Is(err, lease.ErrLost) {
					t.Errorf("the first host ended with %v", err)
				}
				store.stopAfter(-1, nil)
				w = newTellWorld(t, store, "two", clock)
				time.Sleep(2 * time.Minute)
				got := w.noted("b")
				all := slices.Equal(got, []string{"1", "2", "3"})
				if !all && (told || len(got) > 0) {
					t.Errorf("killed after %d calls: noted %q, and the teller was answered: %v", after, got, told)
				}
				if n := w.reserved("a", engine.OutboxAt); n != 0 {
					t.Errorf("killed after %d calls: %d messages are left", after, n)
				}
				if _, err := w.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// stopAfter makes the store call stop after so many writes, and answer nothing after that.
func (s *memoryStore) stopAfter(writes int, stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.stop = writes, stop
}

// marks returns of how many senders an object has a mark.
func (w *tellWorld) marks(name string) int {
	o := w.in.find(teller1(name).Key())
	if o == nil {
		w.t.Fatalf("%s is not here", name)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.memory.Reserved().Between(engine.MarksAt, engine.After(engine.MarksAt)).Len()
}

// Copies that the connection before carried may be late: the receiver has to know them for as long as they live.
func TestAReceiverRemembersItsSenderForAMinuteAfterTheConnectionWasMadeAnew(t *testing.T) {
	tellBubble(t, func(t *testing.T, w *tellWorld) {
		w.bus.renew()
		w.mustDo("a", "tell", `["1"]`)
		time.Sleep(wire.CopyLife - 2*time.Second)
		if n := w.marks("b"); n != 1 {
			t.Errorf("%d marks within the minute, want 1", n)
		}
		time.Sleep(4 * time.Second)
		if n := w.marks("b"); n != 0 {
			t.Errorf("%d marks after it, want none", n)
		}
	})
}

// hinter places the objects that it asks and tells.
type hinter struct{}

var (
	hinters  objects.Class = "hinter"
	hintAll                = objects.NewCall[objects.None, objects.None](hinters, "all")
	hintIdle               = objects.NewCall[objects.None, objects.None](hinters, "idle")
	hintImpl               = objects.Implement(hinters, objects.New[hinter], objects.On(hintAll, (*hinter).all), objects.On(hintIdle, (*hinter).idle))
)

func (*hinter) idle(*objects.Tx, objects.None) (objects.None, error) { return nil, nil }

func (*hinter) all(tx *objects.Tx, _ objects.None) (objects.None, error) {
	hintIdle.Tell(tx, tx.Object(hinters, "told").Near("syd"), nil)
	hintIdle.Tell(tx, tx.Object(hinters, "later").Near("iad"), nil, objects.After(time.Second))
	tx.Go(func(t *objects.Task) error {
		_, err := hintIdle.Do(t, t.Object(hinters, "task").Near("lhr"), nil)
		return err
	})
	return hintIdle.Do(tx, tx.Object(hinters, "asked").Near("fra"), nil)
}

func TestWhatAnEventAsksAndTellsIsPlacedNearTheRegionItNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTellWorldOf(t, newMemoryStore(), "me", newMemoryClock(), hintImpl)
		id, err := hinters.ID("h")
		if err != nil {
			t.Fatal(err)
		}
		reply, err := w.client.Do(t.Context(), wire.Address{ID: id, Name: "h"}, &wire.Request{Kind: wire.Call, Call: "all", Body: []byte("null")})
		if err != nil || reply.Err() != nil {
			t.Fatal(err, reply.Err())
		}
		time.Sleep(5 * time.Second)
		w.client.mu.Lock()
		slices.Sort(w.client.near)
		if want := []string{"asked fra", "later iad", "task lhr", "told syd"}; !slices.Equal(w.client.near, want) {
			t.Errorf("placed %q, want %q", w.client.near, want)
		}
		w.client.mu.Unlock()
		if _, err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestMarksOfManySendersTakeLittle(t *testing.T) {
	data := new(engine.Data)
	var writes []engine.Write
	for i := range tells.MaxMarks {
		id, err := objects.Class("sender").ID(fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		writes = append(writes, engine.Write{Key: tells.MarkKey(id.Key()), Value: tells.Mark{Born: 1 << 30, Last: 1 << 20}.Encode()})
	}
	slices.SortFunc(writes, func(a, b engine.Write) int { return strings.Compare(a.Key, b.Key) })
	used := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	data.Apply(slices.Clone(writes))
	took := int64(used()) - int64(before)
	for _, w := range writes { // which are part of the cost
		took += int64(len(w.Key) + cap(w.Value))
	}
	if got := data.Size(); data.Len() != tells.MaxMarks || got > 2<<20 || took > 5<<20 {
		t.Errorf("%d marks take %d bytes of the record, and %d of memory", data.Len(), got, took)
	}
	runtime.KeepAlive(data)
}

// Members of a crowd tell its hub one message each.
type member struct{}

var (
	crowds     objects.Class = "crowd"
	crowdTell                = objects.NewCall[objects.None, objects.None](crowds, "tell")
	crowdHear                = objects.NewCall[objects.None, objects.None](crowds, "hear")
	crowdHeard               = objects.NewCall[objects.None, int](crowds, "heard")
	crowdImpl                = objects.Implement(crowds, objects.New[member], objects.On(crowdTell, (*member).tell), objects.On(crowdHear, (*member).hear), objects.On(crowdHeard, (*member).heard))
)

func (*member) heard(tx *objects.Tx, _ objects.None) (int, error) { return counter.Get(tx), nil }

func (*member) tell(tx *objects.Tx, _ objects.None) (objects.None, error) {
	crowdHear.Tell(tx, tx.Object(crowds, "hub"), nil)
	return nil, nil
}

func (*member) hear(tx *objects.Tx, _ objects.None) (objects.None, error) {
	counter.Set(tx, counter.Get(tx)+1)
	return nil, nil
}

func TestManySendersCostTheirReceiverLittle(t *testing.T) {
	const senders = 300
	synctest.Test(t, func(t *testing.T) {
		w := newTellWorldOf(t, newMemoryStore(), "me", newMemoryClock(), crowdImpl)
		idOf := func(name string) objects.ID {
			id, err := crowds.ID(name)
			if err != nil {
				t.Error(err)
			}
			return id
		}
		hub := idOf("hub")
		names := make(chan int)
		var all sync.WaitGroup
		for range 32 {
			all.Go(func() {
				for i := range names {
					name := fmt.Sprint("m", i)
					reply, err := w.client.Do(t.Context(), wire.Address{ID: idOf(name), Name: name}, &wire.Request{Kind: wire.Call, Call: "tell", Body: []byte("null")})
					if err == nil {
						err = reply.Err()
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		most, bytes := 0, 0
		look := func() (marks int) {
			o := w.in.find(hub.Key())
			if o == nil {
				return 0
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.stage() == claiming {
				return 0
			}
			data := o.memory.Reserved()
			all := data.Between(engine.MarksAt, engine.After(engine.MarksAt))
			if most = max(most, all.Len()); all.Len() == most {
				bytes = data.Size()
			}
			return all.Len()
		}
		for i := range senders {
			names <- i
			if i%50 == 0 {
				look()
				time.Sleep(2 * time.Millisecond) // 25,000 senders a second
			}
		}
		close(names)
		all.Wait()
		time.Sleep(5 * time.Second)
		if marks := look(); marks != 0 {
			t.Errorf("%d marks are left", marks)
		}
		reply, err := w.client.Do(t.Context(), wire.Address{ID: hub, Name: "hub"}, &wire.Request{Kind: wire.Call, Call: "heard", Body: []byte("null")})
		if err != nil || reply.Err() != nil {
			t.Fatal(err, reply.Err())
		}
		if heard := number(reply); heard != senders {
			t.Errorf("the hub has heard %d messages of %d senders", heard, senders)
		}
		t.Logf("%d senders left at most %d marks, in a record of %d bytes", senders, most, bytes)
		if most > tells.MaxMarks {
			t.Errorf("%d marks", most)
		}
		if _, err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A checkout over three objects: the order tells the stock, which tells the order, which tells the account, which tells the
// order. Each object's amount is what a test looks at.
var (
	shopClass   objects.Class = "shop"
	shopFill                  = objects.NewCall[int, objects.None](shopClass, "fill")
	shopOrder                 = objects.NewCall[objects.None, objects.None](shopClass, "order")
	shopReserve               = objects.NewCall[string, objects.None](shopClass, "reserve")
	shopCharge                = objects.NewCall[string, objects.None](shopClass, "charge")
	shopStep                  = objects.NewCall[string, objects.None](shopClass, "step")
	shopAmount                = objects.NewKey[int]("amount")
	shopStage                 = objects.NewKey[string]("stage")
	shopImpl                  = objects.Implement(shopClass, objects.New[shopper], objects.On(shopFill, (*shopper).fill), objects.On(shopOrder, (*shopper).order),
		objects.On(shopReserve, (*shopper).reserve), objects.On(shopCharge, (*shopper).charge), objects.On(shopStep, (*shopper).step))
)

type shopper struct{}

func (*shopper) fill(tx *objects.Tx, n int) (objects.None, error) {
	shopAmount.Set(tx, n)
	return nil, nil
}

func (*shopper) order(tx *objects.Tx, _ objects.None) (objects.None, error) {
	if shopStage.Get(tx) == "" {
		shopStage.Set(tx, "ordered")
		shopReserve.Tell(tx, tx.Object(shopClass, "stock"), tx.Name())
	}
	return nil, nil
}

func (*shopper) reserve(tx *objects.Tx, by string) (objects.None, error) {
	shopAmount.Set(tx, shopAmount.Get(tx)-1)
	shopStep.Tell(tx, tx.Object(shopClass, by), "reserved")
	return nil, nil
}

func (*shopper) charge(tx *objects.Tx, by string) (objects.None, error) {
	shopAmount.Set(tx, shopAmount.Get(tx)-10)
	shopStep.Tell(tx, tx.Object(shopClass, by), "paid")
	return nil, nil
}

func (*shopper) step(tx *objects.Tx, to string) (objects.None, error) {
	if shopStage.Set(tx, to); to == "reserved" {
		shopCharge.Tell(tx, tx.Object(shopClass, "account"), tx.Name())
	}
	return nil, nil
}

// amountOf returns the stored amount of an object of the checkout.
func amountOf(store *memoryStore, name, key string) string {
	id, err := shopClass.ID(name)
	if err != nil {
		panic(err)
	}
	rec := store.record(id.Key())
	if rec == nil {
		return ""
	}
	value, _ := rec.Data.Get(key)
	return string(value)
}

// The host is killed after every call of the store, and its successor after every second one of its own: the client that asked
// for the checkout asks again until it is answered, as a gateway does.
func TestACheckoutOverThreeObjectsKilledAfterEachCallOfTheStoreHasOneEffect(t *testing.T) {
	t.Parallel()
	for first := range 24 {
		for _, second := range []int{-1, 2, 5, 9} {
			t.Run(fmt.Sprint(first, " ", second), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store, clock := newMemoryStore(), newMemoryClock()
					start := func(name string, stopAfter int) *tellWorld {
						w := newTellWorldOf(t, store, name, clock, shopImpl)
						store.stopAfter(stopAfter, func() { w.lose(lease.ErrLost) })
						return w
					}
					ask := func(w *tellWorld, name, call, in string) error {
						id, err := shopClass.ID(name)
						if err != nil {
							t.Fatal(err)
						}
						reply, err := w.client.Do(context.Background(), wire.Address{ID: id, Name: name}, &wire.Request{Kind: wire.Call, Call: call, Body: []byte(in)})
						if err == nil {
							err = reply.Err()
						}
						return err
					}
					kill := func(w *tellWorld) {
						w.lose(lease.ErrLost)
						if err := <-w.done; !errors.Is(err, lease.ErrLost) {
							t.Errorf("a host ended with %v", err)
						}
					}
					w := start("zero", -1)
					for name, n := range map[string]string{"stock": "5", "account": "100"} {
						if err := ask(w, name, "fill", n); err != nil {
							t.Fatal(err)
						}
					}
					kill(w)
					asked := make(chan error, 3)
					for i, stopAfter := range []int{first + 1, second, -1} {
						w = start(fmt.Sprint("host", i), stopAfter)
						go func() { asked <- ask(w, "order", "order", "null") }()
						time.Sleep(2 * time.Minute)
						if i < 2 {
							kill(w)
						}
						if err := <-asked; i == 2 && err != nil {
							t.Errorf("the last host answered %v", err)
						}
					}
					got := []string{amountOf(store, "stock", "amount"), amountOf(store, "account", "amount"), amountOf(store, "order", "stage")}
					if !slices.Equal(got, []string{"4", "90", `"paid"`}) {
						t.Errorf("killed after %d and %d calls: stock, account and order are %q, want one effect", first, second, got)
					}
					if _, err := w.stop(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}
