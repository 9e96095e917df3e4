package host

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/record"
)

// pals ask each other. A pal does what the script of its name says.
const palClass objects.Class = "pal"

var (
	palDo   = objects.NewCall[objects.None, string](palClass, "do")
	palAdd  = objects.NewCall[int, int](palClass, "add")
	palRead = objects.NewCall[objects.None, int](palClass, "read")

	palScripts sync.Map // name: func(*objects.Tx) (string, error)

	pals = objects.Implement(palClass, objects.New[pal], objects.On(palDo, (*pal).do), objects.On(palAdd, (*pal).add), objects.On(palRead, (*pal).read))
)

type pal struct{}

func (*pal) do(tx *objects.Tx, _ objects.None) (string, error) {
	script, _ := palScripts.Load(tx.Name())
	return script.(func(*objects.Tx) (string, error))(tx)
}

func (*pal) add(tx *objects.Tx, n int) (int, error) {
	if n < 0 {
		return 0, objects.Errorf("too_few", "not below zero").With("n", n)
	}
	counter.Set(tx, counter.Get(tx)+n)
	return counter.Get(tx), nil
}

func (*pal) read(tx *objects.Tx, _ objects.None) (int, error) { return counter.Get(tx), nil }

// WebSocketClose runs the object's script.
func (p *pal) WebSocketClose(tx *objects.Tx, _ objects.Socket, _ objects.Close) error {
	_, err := p.do(tx, nil)
	return err
}

func (*pal) Alarm(tx *objects.Tx, _ objects.AlarmInfo) error {
	script, _ := palScripts.Load(tx.Name())
	_, err := script.(func(*objects.Tx) (string, error))(tx)
	return err
}

// district is hosts of pals on one bus and store, and a worker that asks them.
type district struct {
	t      *testing.T
	bus    *memoryBus
	store  *memoryStore
	client *wire.Client

	mu    sync.Mutex // guards what follows
	hosts map[string]*world
}

// lives reports whether a host runs.
func (d *district) lives(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hosts[name] != nil
}

// loses makes the bus lose the messages for which lost returns true.
func (d *district) loses(lost func(subject, reply string, data []byte) bool) {
	d.bus.mu.Lock()
	defer d.bus.mu.Unlock()
	d.bus.drop = lost
}

// kept returns how many answers an object keeps for others, and owes says that its own asks are not all settled.
func (d *district) kept(host, name string) (kept int, owes bool) {
	o := d.object(host, name)
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.memory.callee().Kept), o.asks != nil && !o.asks.Idle()
}

// inDistrict runs a test in which hosts a and b serve the objects of these names.
func inDistrict(t *testing.T, story func(t *testing.T, d *district), hosts ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &district{t: t, bus: newMemoryBus(), store: newMemoryStore(), hosts: make(map[string]*world)}
		d.bus.answers = true
		for _, name := range hosts {
			d.start(name)
		}
		client, err := wire.NewClient(wire.ClientConfig{NATS: memoryConn{d.bus}, Name: "worker", Region: "local"})
		if err != nil {
			t.Fatal(err)
		}
		d.client = client
		story(t, d)
		for _, w := range d.hosts {
			if _, err := w.stop(); err != nil {
				t.Error(err)
			}
		}
	})
}

func (d *district) start(name string) *world {
	d.t.Helper()
	w := newWorldAt(d.t, d.bus, d.store, name, nil, func(cfg *Config) {
		cfg.Name, cfg.Objects = name, []*objects.Implementation{pals}
	})
	w.in.live = func(_ context.Context, other string) bool { return d.lives(other) }
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hosts[name] = w
	return w
}

// crash ends a host at once. Its objects may be claimed.
func (d *district) crash(name string) {
	d.t.Helper()
	d.mu.Lock()
	w := d.hosts[name]
	delete(d.hosts, name)
	d.mu.Unlock()
	w.crash()
}

func palID(name string) objects.ID {
	id, err := palClass.ID(name)
	if err != nil {
		panic(err)
	}
	return id
}

// own makes a host claim an object.
func (d *district) own(host, name string) *object {
	d.t.Helper()
	w := d.hosts[host]
	answer := make(chan wire.ClaimReply, 1)
	o := w.in.object(wire.Address{ID: palID(name), Name: name}, w.in.classes[string(palClass)])
	if o == nil || !o.claim(func(r wire.ClaimReply) { answer <- r }) {
		d.t.Fatalf("%s cannot be claimed by %s", name, host)
	}
	if r := <-answer; !r.Owned {
		d.t.Fatalf("%s was not claimed by %s: %+v", name, host, r)
	}
	return o
}

// object returns an object of a host.
func (d *district) object(host, name string) *object { return d.hosts[host].in.find(palID(name).Key()) }

// does sets an object's script.
func (d *district) does(name string, script func(tx *objects.Tx) (string, error)) {
	palScripts.Store(name, script)
}

// ask asks an object as a worker does.
func (d *district) ask(name string, req wire.Request) (*wire.Reply, error) {
	req.Kind = wire.Call
	if req.Call == "" {
		req.Call = "do"
	}
	if req.Body == nil {
		req.Body = []byte("null")
	}
	reply, err := d.client.Do(d.t.Context(), wire.Address{ID: palID(name), Name: name}, &req)
	if err == nil {
		err = reply.Err()
	}
	return reply, err
}

// count returns an object's count.
func (d *district) count(name string) int {
	d.t.Helper()
	reply, err := d.ask(name, wire.Request{Call: "read"})
	if err != nil {
		d.t.Fatalf("read %s: %v", name, err)
	}
	return number(reply)
}

func (d *district) record(name string) *record.Record { return d.store.record(palID(name).Key()) }

// adds makes an object add to another object and to itself, and answer with both counts.
func adds(to string) func(tx *objects.Tx) (string, error) {
	return func(tx *objects.Tx) (string, error) {
		counter.Set(tx, counter.Get(tx)+1)
		n, err := palAdd.Do(tx, tx.Object(palClass, to), 1)
		return fmt.Sprint(counter.Get(tx), " ", n), err
	}
}

func TestAnEventAsksAnObjectOfAnotherHost(t *testing.T) {
	inDistrict(t, func(t *testing.T, d *district) {
		d.own("a", "order")
		d.own("b", "stock")
		d.does("order", adds("stock"))
		for i := range 3 {
			reply, err := d.ask("order", wire.Request{})
			if want := fmt.Sprintf("%q", fmt.Sprint(i+1, " ", i+1)); err != nil || string(reply.Body) != want {
				t.Fatalf("%s, %v, want %s", reply.Body, err, want)
			}
		}
		if kept, _ := d.kept("b", "stock"); kept != 3 {
			t.Errorf("%d answers are kept, want 3", kept)
		}
		time.Sleep(time.Second)
		kept, _ := d.kept("b", "stock")
		if _, owes := d.kept("a", "order"); kept != 0 || owes {
			t.Errorf("%d answers are kept after they were settled, and order owes: %t", kept, owes)
		}
	}, "a", "b")
}

func TestAnObjectIsAskedOnceThoughItsCallerDiesBeforeItsOwnCommit(t *testing.T) {
	inDistrict(t, func(t *testing.T, d *district) {
		d.own("a", "order")
		d.own("b", "stock")
		d.does("order", func(tx *objects.Tx) (string, error) {
			said, err := adds("stock")(tx)
			if d.lives("a") {
				d.store.fail(fault{Slow: time.Hour}) // the commit of order, which comes next
			}
			return said, err
		})
		type answer struct {
			reply *wire.Reply
			err   error
		}
		answered := make(chan answer, 1)
		go func() {
			reply, err := d.ask("order", wire.Request{})
			answered <- answer{reply, err}
		}()
		time.Sleep(100 * time.Millisecond)
		d.crash("a")
		d.start("c")
		if got := <-answered; got.err != nil || string(got.reply.Body) != `"1 1"` {
			t.Fatalf("%+v, %v", got.reply, got.err)
		}
		if n := d.count("stock"); n != 1 {
			t.Errorf("stock has counted %d, want 1", n)
		}
	}, "a", "b")
}

func TestAnObjectIsAskedOnceThoughItDiesBeforeItsAnswerIsHeard(t *testing.T) {
	inDistrict(t, func(t *testing.T, d *district) {
		d.own("a", "order")
		d.own("b", "stock")
		d.does("order", adds("stock"))
		d.loses(func(subject, _ string, _ []byte) bool {
			return strings.HasPrefix(subject, wire.InboxPrefix+"a.") && d.lives("b")
		})
		answered := make(chan error, 1)
		go func() {
			reply, err := d.ask("order", wire.Request{})
			if err == nil && string(reply.Body) != `"1 1"` {
				err = fmt.Errorf("order says %s", reply.Body)
			}
			answered <- err
		}()
		time.Sleep(100 * time.Millisecond)
		d.crash("b")
		d.start("c")
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
		if n := d.count("stock"); n != 1 {
			t.Errorf("stock has counted %d, want 1", n)
		}
	}, "a", "b")
}

// The event wrote nothing itself. If it were not in the record, it would run again when its asks are settled.
func TestAnEventThatOnlyAskedIsAnsweredFromTheRecord(t *testing.T) {
	inDistrict(t, func(t *testing.T, d *district) {
		d.own("a", "order")
		d.own("b", "stock")
		runs := 0
		d.does("order", func(tx *objects.Tx) (string, error) {
			runs++
			n, err := palAdd.Do(tx, tx.Object(palClass, "stock"), 1)
			return fmt.Sprint(n), err
		})
		d.loses(func(subject, _ string, _ []byte) bool {
			return strings.HasPrefix(subject, wire.InboxPrefix+"worker.") && d.lives("a")
		})
		answered := make(chan error, 1)
		go func() {
			reply, err := d.ask("order", wire.Request{})
			if err == nil && string(reply.Body) != `"1"` {
				err = fmt.Errorf("order says %s", reply.Body)
			}
			answered <- err
		}()
		time.Sleep(500 * time.Millisecond) // its asks are settled
		if kept, _ := d.kept("b", "stock"); kept != 0 {
			t.Fatalf("%d answers are kept", kept)
		}
		d.crash("a")
		d.start("c")
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
		if n := d.count("stock"); n != 1 || runs != 1 {
			t.Errorf("stock has counted %d after %d runs, want 1 and 1", n, runs)
		}
	}, "a", "b")
}

func TestAnEventThatFailsAfterAnAskIsNotRunAgain(t *testing.T) {
	inDistrict(t, func(t *testing.T, d *district) {
		d.own("a", "order")
		d.own("b", "stock")
		runs := 0
		d.does("order", func(tx *objects.Tx) (string, error) {
			runs++
			if _, err := palAdd.Do(tx, tx.Object(palClass, "stock"), 1); err != nil {
				return "", err
			}
			counter.Set(tx, 100)
			return "", objects.Errorf(objects.Conflict, "no")
		})
		d.loses(func(subject, _ string, _ []byte) bool {
			return strings.HasPrefix(subject, wire.InboxPrefix+"worker.") && d.lives("a")
		})
		answered := make(chan error, 1)
		go func() {
			_, err := d.ask("order", wire.Request{})
			answered <- err
		}()
		time.Sleep(500 * time.Millisecond)
		d.crash("a")
		d.start("c")
		if err := <-answered; objects.CodeOf(err) != objects.Conflict {
			t.Fatal(err)
		}
		if n, own := d.count("stock"), d.count("order"); n != 1 || own != 0 || runs != 1 {
			t.Errorf("stock has counted %d, and order %d, after %d runs, want 1, 0 and 1", n, own, runs)
		}
	}, "a", "b")
}

func TestTheRetryOfAnAlarmGetsTheAnswersOfTheFirstTry(t *testing.T) {
	inDistrict(t, func(t *testing.T, d *district) {
		d.own("a", "order")
		d.own("b", "stock")
		tries := 0
		d.does("order", func(tx *objects.Tx) (string, error) {
			if _, set := tx.Alarm(); !set && tries == 0 && objects.EventID(tx)[0] == 'g' {
				tx.SetAlarm(tx.Now())
				return "", nil
			}
			if tries++; tries > 3 {
				t.Error("the alarm runs a fourth time")
			}
			n, err := palAdd.Do(tx, tx.Object(palClass, "stock"), 1)
			if err != nil || n != 1 {
				t.Errorf("try %d: %d, %v", tries, n, err)
			}
			if tries < 3 {
				return "", fmt.Errorf("try %d fails", tries)
			}
			return "", nil
		})
		if _, err := d.ask("order", wire.Request{}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := d.hosts["a"].in.wake(t.Context(), palID("order").Key()); err != nil && objects.CodeOf(err) != objects.Internal {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		if n := d.count("stock"); n != 1 || tries != 3 {
			t.Errorf("stock has counted %d after %d tries, want 1 after 3", n, tries)
		}
		kept, _ := d.kept("b", "stock")
		if _, owes := d.kept("a", "order"); kept != 0 || owes {
			t.Errorf("%d answers are kept after the alarm has succeeded", kept)
		}
	}, "a", "b")
}

// A copy that the network has held back names the callee's owner, which is still the same. All that the next owner of the caller
// has asked is settled by then.
func TestALateCopyOfADeadCallersAskIsNotRun(t *testing.T) {
	for _, refused := range []bool{false, true} { // what the callee makes of the second question
		t.Run(fmt.Sprint("refused=", refused), func(t *testing.T) {
			inDistrict(t, func(t *testing.T, d *district) {
				d.own("a", "order")
				d.own("b", "stock")
				d.does("order", func(tx *objects.Tx) (string, error) {
					said, err := palDo.Do(tx, tx.Object(palClass, "stock"), nil)
					if objects.CodeOf(err) == objects.Conflict {
						return "refused", nil
					}
					return said, err
				})
				var refuses atomic.Bool
				refuses.Store(refused)
				d.does("stock", func(tx *objects.Tx) (string, error) {
					if refuses.Load() {
						return "", objects.Errorf(objects.Conflict, "no")
					}
					counter.Set(tx, counter.Get(tx)+1)
					return "done", nil
				})
				var mu sync.Mutex
				var late []*nats.Msg
				d.loses(func(subject, reply string, data []byte) bool {
					if subject != wire.ObjectHostSubject(palID("stock").Key()) || !d.lives("a") {
						return false
					}
					mu.Lock()
					defer mu.Unlock()
					late = append(late, &nats.Msg{Subject: subject, Reply: reply, Data: slices.Clone(data)})
					return true
				})
				answered := make(chan error, 1)
				go func() {
					reply, err := d.ask("order", wire.Request{})
					if want := map[bool]string{false: `"done"`, true: `"refused"`}[refused]; err == nil && string(reply.Body) != want {
						err = fmt.Errorf("order says %s", reply.Body)
					}
					answered <- err
				}()
				time.Sleep(100 * time.Millisecond)
				d.crash("a")
				d.start("c")
				if err := <-answered; err != nil {
					t.Fatal(err)
				}
				if rec := d.record("stock"); len(rec.Fences) != 1 {
					t.Errorf("the record has the fences %+v", rec.Fences)
				}
				time.Sleep(time.Second)
				mu.Lock()
				defer mu.Unlock()
				if kept, _ := d.kept("b", "stock"); len(late) == 0 || kept != 0 {
					t.Fatalf("%d copies are late, %d answers are kept", len(late), kept)
				}
				want := d.count("stock")
				refuses.Store(false)
				for _, msg := range late {
					d.bus.deliver(msg)
				}
				time.Sleep(time.Second)
				if n := d.count("stock"); n != want {
					t.Errorf("stock has counted %d, and before %d", n, want)
				}
			}, "a", "b")
		})
	}
}

func TestATellThatIsTriedAgainGetsTheAnswersOfTheFirstTry(t *testing.T) {
	inDistrict(t, func(t *testing.T, d *district) {
		d.own("a", "order")
		d.own("b", "stock")
		tries := 0
		d.does("order", func(tx *objects.Tx) (string, error) {
			if !strings.HasPrefix(objects.EventID(tx), "t/") {
				palDo.Tell(tx, tx.Self(), nil)
				return "", nil
			}
			tries++
			n, err := palAdd.Do(tx, tx.Object(palClass, "stock"), 1)
			if err != nil || n != 1 {
				t.Errorf("try %d: %d, %v", tries, n, err)
			}
			if tries < 3 {
				return "", fmt.Errorf("try %d fails", tries)
			}
			return "", nil
		})
		if _, err := d.ask("order", wire.Request{}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(10 * time.Second)
			if err := d.hosts["a"].in.wake(t.Context(), palID("order").Key()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if n := d.count("stock"); n != 1 || tries != 3 {
			t.Errorf("stock has counted %d after %d tries, want 1 after 3", n, tries)
		}
		kept, _ := d.kept("b", "stock")
		if _, owes := d.kept("a", "order"); kept != 0 || owes {
			t.Errorf("%d answers are kept after the message was handled", kept)
		}
	}, "a", "b")
}

func TestAChainThatComesBackIsRefusedAtOnce(t *testing.T) {
	inDistrict(t, func(t *testing.T, d *district) {
		d.does("order", func(tx *objects.Tx) (string, error) { return palDo.Do(tx, tx.Object(palClass, "stock"), nil) })
		d.does("stock", func(tx *objects.Tx) (string, error) {
			from, asked := tx.Sender()
			if !asked || from.ID() != palID("order") || from.Name() != "order" || objects.PrincipalOf(tx).ID != "ada" {
				t.Errorf("asked by %v (%v) for %v", from, asked, objects.PrincipalOf(tx))
			}
			return palDo.Do(tx, from, nil)
		})
		d.does("self", func(tx *objects.Tx) (string, error) { return palDo.Do(tx, tx.Self(), nil) })
		began := time.Now()
		_, err := d.ask("order", wire.Request{Principal: []byte(`{"id":"ada"}`)})
		if objects.CodeOf(err) != objects.Conflict || !strings.Contains(err.Error(), "pal/order -> pal/stock -> pal/order") {
			t.Errorf("err = %v", err)
		}
		if _, err := d.ask("self", wire.Request{}); objects.CodeOf(err) != objects.Conflict || !strings.Contains(err.Error(), "pal/self -> pal/self") {
			t.Errorf("err = %v", err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		for i := range 20 { // a chain that does not come back
			d.does(fmt.Sprint("long", i), func(tx *objects.Tx) (string, error) {
				return palDo.Do(tx, tx.Object(palClass, fmt.Sprint("long", i+1)), nil)
			})
		}
		if _, err := d.ask("long0", wire.Request{}); objects.CodeOf(err) != objects.Conflict {
			t.Errorf("a chain of 20: %v", err)
		}
	}, "a")
}

func TestWhatIsRefusedIsToldWithItsCodeAndWhoRefused(t *testing.T) {
	inDistrict(t, func(t *testing.T, d *district) {
		d.does("order", func(tx *objects.Tx) (string, error) {
			_, err := palAdd.Do(tx, tx.Object(palClass, "stock"), -1)
			return "", err
		})
		_, err := d.ask("order", wire.Request{})
		if objects.CodeOf(err) != "too_few" || !strings.Contains(err.Error(), "pal/stock: not below zero") {
			t.Errorf("err = %v", err)
		}
		if rec := d.record("order"); len(rec.Answers) != 0 {
			t.Errorf("a refusal that left nothing has made a commit: %+v", rec)
		}
	}, "a")
}

// The write of an earlier event is not durable yet when the next event asks because of it.
func TestAnAskWaitsForWhatItsEventMayHaveRead(t *testing.T) {
	inDistrict(t, func(t *testing.T, d *district) {
		d.own("a", "order")
		d.own("b", "stock")
		d.does("order", adds("stock"))
		d.store.fail(fault{Slow: time.Second})
		added := make(chan error, 1)
		go func() {
			_, err := d.ask("order", wire.Request{Call: "add", Body: []byte("5")})
			added <- err
		}()
		time.Sleep(time.Millisecond)
		asked := make(chan error, 1)
		go func() {
			_, err := d.ask("order", wire.Request{})
			asked <- err
		}()
		time.Sleep(500 * time.Millisecond)
		if n := d.count("stock"); n != 0 {
			t.Error("the ask left before what its event had read was durable")
		}
		if err := <-added; err != nil {
			t.Fatal(err)
		}
		if err := <-asked; err != nil {
			t.Fatal(err)
		}
		if n := d.count("stock"); n != 1 {
			t.Errorf("stock has counted %d", n)
		}
	}, "a", "b")
}

func TestManyAreAskedAtOnceByTheGoroutinesOfAHandler(t *testing.T) {
	inDistrict(t, func(t *testing.T, d *district) {
		var kept *objects.Tx
		d.does("order", func(tx *objects.Tx) (string, error) {
			kept = tx
			g, ctx := errgroup.WithContext(tx)
			for i := range 200 {
				g.Go(func() error {
					_, err := palAdd.Do(ctx, tx.Object(palClass, fmt.Sprint("stock", i%7)), 1)
					return err
				})
			}
			return "", g.Wait()
		})
		if _, err := d.ask("order", wire.Request{}); err != nil {
			t.Fatal(err)
		}
		sum := 0
		for i := range 7 {
			sum += d.count(fmt.Sprint("stock", i))
		}
		if sum != 200 {
			t.Errorf("they have counted %d, want 200", sum)
		}
		if _, err := palRead.Do(kept, kept.Object(palClass, "stock1"), nil); objects.CodeOf(err) != objects.Invalid {
			t.Errorf("after the event: %v, want invalid", err)
		}
		if _, err := palRead.Do(t.Context(), kept.Object(palClass, "stock1"), nil); objects.CodeOf(err) != objects.Invalid {
			t.Errorf("without the event's context: %v, want invalid", err)
		}
	}, "a")
}

func TestOnlyAHostMaySayWhatObjectsAsk(t *testing.T) {
	inDistrict(t, func(t *testing.T, d *district) {
		d.own("a", "stock")
		caller := palID("order").Key()
		asked := &wire.Asked{ID: make([]byte, 16), Caller: caller, Token: 1, N: 1, Root: "g/x/1", Chain: []wire.Link{{Key: caller}}}
		if _, err := d.ask("stock", wire.Request{Call: "add", Body: []byte("1"), Asked: asked}); objects.CodeOf(err) != objects.Invalid {
			t.Errorf("a gateway asks for an object: %v, want invalid", err)
		}
		host, err := wire.NewClient(wire.ClientConfig{NATS: memoryConn{d.bus}, Host: true, Name: "forger", Region: "local"})
		if err != nil {
			t.Fatal(err)
		}
		d.client = host
		for what, change := range map[string]func(a *wire.Asked, r *wire.Request){
			"a short id":   func(a *wire.Asked, _ *wire.Request) { a.ID = a.ID[:15] },
			"no caller":    func(a *wire.Asked, _ *wire.Request) { a.Caller = "" },
			"no object":    func(a *wire.Asked, _ *wire.Request) { a.Caller = "pal.5f3f" },
			"a long name":  func(a *wire.Asked, _ *wire.Request) { a.Name = strings.Repeat("x", 2000) },
			"no root":      func(a *wire.Asked, _ *wire.Request) { a.Root = "" },
			"no chain":     func(a *wire.Asked, _ *wire.Request) { a.Chain = nil },
			"a long chain": func(a *wire.Asked, _ *wire.Request) { a.Chain = make([]wire.Link, 18) },
			"a key":        func(_ *wire.Asked, r *wire.Request) { r.Key = "k" },
		} {
			forged := *asked
			req := wire.Request{Call: "add", Body: []byte("1"), Asked: &forged}
			change(&forged, &req)
			if _, err := d.ask("stock", req); objects.CodeOf(err) != objects.Invalid {
				t.Errorf("%s: %v, want invalid", what, err)
			}
		}
		for _, data := range [][]byte{wire.Encode(&wire.Request{Kind: wire.Settled}), {8, 7, 0xca, 0x02, 0xff}, {8, 8}} {
			_ = d.bus.Publish(wire.ObjectHostSubject(palID("stock").Key()), data)
		}
		if _, err := d.ask("stock", wire.Request{Call: "add", Body: []byte("1"), Asked: asked}); err != nil {
			t.Errorf("what is right: %v", err)
		}
		if n := d.count("stock"); n != 1 {
			t.Errorf("stock has counted %d, want 1", n)
		}
	}, "a")
}

// An answer that has to be kept has a limit. The answer of an event that changed nothing is not kept.
func TestAnAnswerThatIsKeptHasASize(t *testing.T) {
	inDistrict(t, func(t *testing.T, d *district) {
		writes := false
		d.does("stock", func(tx *objects.Tx) (string, error) {
			if writes {
				counter.Set(tx, 1)
			}
			return strings.Repeat("x", 20<<10), nil
		})
		d.does("order", func(tx *objects.Tx) (string, error) { return palDo.Do(tx, tx.Object(palClass, "stock"), nil) })
		if _, err := d.ask("order", wire.Request{}); err != nil {
			t.Error(err)
		}
		writes = true
		if _, err := d.ask("order", wire.Request{}); objects.CodeOf(err) != objects.TooLarge {
			t.Errorf("err = %v, want too_large", err)
		}
		if n := d.count("stock"); n != 0 {
			t.Error("what was refused has left its write")
		}
	}, "a")
}

// crossing has an object count, and ask the next one, which does the same at that time.
func crossing(d *district, runs map[string]*int, name, next string) {
	runs[name] = new(int)
	d.does(name, func(tx *objects.Tx) (string, error) {
		*runs[name]++
		counter.Set(tx, counter.Get(tx)+1)
		time.Sleep(10 * time.Millisecond) // until the others run too
		n, err := palAdd.Do(tx, tx.Object(palClass, next), 10)
		return fmt.Sprint(n > 0), err
	})
}

func TestEventsThatCrossAreResolvedWithOneEffect(t *testing.T) {
	for _, ring := range [][]string{{"a0", "b0"}, {"a0", "b0", "a1"}, {"a0", "b0", "a1", "b1", "a2"}} {
		t.Run(fmt.Sprint(len(ring)), func(t *testing.T) {
			inDistrict(t, func(t *testing.T, d *district) {
				runs := make(map[string]*int)
				for i, name := range ring {
					d.own(name[:1], name)
					crossing(d, runs, name, ring[(i+1)%len(ring)])
				}
				began := time.Now()
				var g errgroup.Group
				for i, name := range ring {
					g.Go(func() error {
						time.Sleep(time.Duration(i) * time.Millisecond)
						_, err := d.ask(name, wire.Request{})
						return err
					})
				}
				if err := g.Wait(); err != nil {
					t.Fatal(err)
				}
				took, all := time.Since(began), 0
				for _, name := range ring {
					if n := d.count(name); n != 11 {
						t.Errorf("%s has counted %d, want 11", name, n)
					}
					all += *runs[name]
				}
				if took > 200*time.Millisecond || all > len(ring)+1 {
					t.Errorf("it took %v and %d runs for %d events", took, all, len(ring))
				}
				if last := *runs[ring[len(ring)-1]]; last != 2 {
					t.Errorf("the youngest has run %d times, want 2", last)
				}
				time.Sleep(time.Second)
				for _, name := range ring {
					if kept, owes := d.kept(name[:1], name); kept != 0 || owes {
						t.Errorf("%s keeps %d answers, and owes: %t", name, kept, owes)
					}
				}
			}, "a", "b")
		})
	}
}

// The ends of two objects' sockets, which nobody has requested, ask crosswise.
func TestEndsOfSocketsThatCrossAreResolvedWithOneEffect(t *testing.T) {
	inDistrict(t, func(t *testing.T, d *district) {
		runs := make(map[string]*int)
		began := time.Now()
		for i, name := range []string{"a0", "b0"} {
			d.own(name[:1], name)
			crossing(d, runs, name, []string{"b0", "a0"}[i])
		}
		for i, name := range []string{"a0", "b0"} {
			o, slot := d.object(name[:1], name), uint32(i+1)
			o.mu.Lock()
			o.sockets.addEnd(socketEnd{socket: wire.SocketID("g1", slot), gateway: "g1", slot: slot, asked: time.Now().UnixMilli() + int64(i)})
			o.mu.Unlock()
			o.push(delivery{kind: endsDue})
		}
		time.Sleep(500 * time.Millisecond)
		for name, n := range runs {
			if got := d.count(name); got != 11 {
				t.Errorf("%s has counted %d after %d runs, want 11", name, got, *n)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
		if a, b := *runs["a0"], *runs["b0"]; a != 1 || b != 2 {
			t.Errorf("they ran %d and %d times, want the youngest to have run again", a, b)
		}
		time.Sleep(time.Second)
		for _, name := range []string{"a0", "b0"} {
			kept, owes := d.kept(name[:1], name)
			o := d.object(name[:1], name)
			if o.mu.Lock(); kept != 0 || owes || o.sockets.pendingEnds != nil || o.asks.waiting() != nil || o.sockets.open.Len() != 0 {
				t.Errorf("%s keeps %d answers, owes: %t, has ends to tell: %v, waits: %v, and has %d sockets", name, kept, owes, o.sockets.pendingEnds, o.asks.waiting() != nil, o.sockets.open.Len())
			}
			o.mu.Unlock()
		}
	}, "a", "b")
}

// Goroutines send the asks that cross, and the handler ignores their errors.
func TestAnEventThatGivesWayRunsAgainWhateverItsHandlerSays(t *testing.T) {
	inDistrict(t, func(t *testing.T, d *district) {
		runs := make(map[string]*int)
		crossing(d, runs, "a0", "b0")
		tries := 0
		d.does("b0", func(tx *objects.Tx) (string, error) {
			tries++
			counter.Set(tx, counter.Get(tx)+1)
			time.Sleep(10 * time.Millisecond)
			var g errgroup.Group
			for range 3 {
				g.Go(func() error {
					_, err := palAdd.Do(tx, tx.Object(palClass, "a0"), 10)
					return err
				})
			}
			return fmt.Sprint(g.Wait() == nil), nil
		})
		var g errgroup.Group
		g.Go(func() error { _, err := d.ask("a0", wire.Request{}); return err })
		g.Go(func() error {
			time.Sleep(time.Millisecond)
			reply, err := d.ask("b0", wire.Request{})
			if err == nil && string(reply.Body) != `"true"` {
				err = fmt.Errorf("b0 says %s", reply.Body)
			}
			return err
		})
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		if a, b := d.count("a0"), d.count("b0"); a != 31 || b != 11 || tries != 2 {
			t.Errorf("they have counted %d and %d after %d tries, want 31, 11 and 2", a, b, tries)
		}
	}, "a")
}

// The frames of a socket stay in order, though one of them gives way.
func TestAFrameThatGivesWayKeepsItsPlace(t *testing.T) {
	d := delivery{kind: request, msg: &nats.Msg{Reply: "_HF.h.g.frame.s.1"}}
	var m mailbox
	m.stage = serving
	for i, q := range []delivery{{msg: &nats.Msg{Reply: "frame 2"}}, {msg: &nats.Msg{Reply: "ask 1"}, byHost: true}, {msg: &nats.Msg{Reply: "frame 3"}}, {msg: &nats.Msg{Reply: "ask 2"}, byHost: true}} {
		q.kind, q.request = request, fmt.Sprint(i)
		m.queue = append(m.queue, q)
	}
	m.giveWay(d)
	var order []string
	for range 5 {
		order = append(order, m.next(time.Now()).msg.Reply)
	}
	if want := []string{"ask 1", "ask 2", d.msg.Reply, "frame 2", "frame 3"}; !slices.Equal(order, want) {
		t.Errorf("the order is %q, want %q", order, want)
	}
}
