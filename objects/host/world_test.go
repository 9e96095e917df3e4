package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/lease"
	"holdfast/objects/host/internal/owner"
)

// world is one incarnation over twins in memory, inside a synctest bubble.
type world struct {
	t     *testing.T
	in    *incarnation
	bus   *memoryBus
	store *memoryStore
	log   *lockedBuffer
	reg   *prometheus.Registry
	lease *memoryLease
	lose  context.CancelCauseFunc
	done  chan error
	n     uint64 // requests so far
	room  *room
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.b.String(), text)
}

// room configures the author's code of a world, and records what it has seen.
type room struct {
	mu        sync.Mutex
	construct error          // of the constructor, as a panic
	writes    bool           // the constructor does
	closed    map[string]int // how often the end of each socket was told
	ends      map[string]objects.Close
	openers   map[string]string // ids of principals with whom ends were told
	hold      chan struct{}     // the call "hold" waits for it
	alarmErr  error
	alarmRuns int
	alarmTime time.Duration // that a run takes
	alarmLeft time.Duration // the time that the alarm's context had
}

func (r *room) fails(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.construct = err
}

func (r *room) set(change func(*room)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

func (r *room) told(socket string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed[socket]
}

type guest struct{ room *room }

const guestClass objects.Class = "guest"

var (
	counter  = objects.NewKey[int]("count")
	addCall  = objects.NewCall[objects.None, int](guestClass, "add")
	holdCall = objects.NewCall[objects.None, objects.None](guestClass, "hold")
	codeCall = objects.NewCall[objects.None, objects.None](guestClass, "code")
	readCall = objects.NewCall[objects.None, int](guestClass, "read")
	wipeCall = objects.NewCall[objects.None, objects.None](guestClass, "wipe")
	soonCall = objects.NewCall[objects.None, objects.None](guestClass, "soon")
	hereCall = objects.NewCall[objects.None, int](guestClass, "here")
	wakeCall = objects.NewCall[objects.None, objects.None](guestClass, "wake")
	roomPtr  atomic.Pointer[room]
	guests   = objects.Implement(guestClass, func(tx *objects.Tx) *guest {
		r := roomPtr.Load()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.construct != nil {
			panic(r.construct)
		}
		if r.writes {
			counter.Set(tx, counter.Get(tx)+1)
		}
		return &guest{r}
	}, objects.On(addCall, (*guest).add), objects.On(holdCall, (*guest).hold), objects.On(codeCall, (*guest).code), objects.On(wakeCall, (*guest).wake),
		objects.On(readCall, (*guest).read), objects.On(wipeCall, (*guest).wipe), objects.On(soonCall, (*guest).soon), objects.On(hereCall, (*guest).here))
)

// here counts the sockets, as the author's code sees them.
func (g *guest) here(tx *objects.Tx, _ objects.None) (int, error) {
	n := 0
	for range tx.Sockets() {
		n++
	}
	return n, nil
}

func (g *guest) add(tx *objects.Tx, _ objects.None) (int, error) {
	n := counter.Get(tx) + 1
	counter.Set(tx, n)
	return n, nil
}

func (g *guest) read(tx *objects.Tx, _ objects.None) (int, error) { return counter.Get(tx), nil }

func (g *guest) wipe(tx *objects.Tx, _ objects.None) (objects.None, error) {
	counter.Delete(tx)
	return nil, nil
}

func (g *guest) soon(tx *objects.Tx, _ objects.None) (objects.None, error) {
	tx.SetAlarm(time.Now().Add(15 * time.Second))
	return nil, nil
}

func (g *guest) hold(tx *objects.Tx, _ objects.None) (objects.None, error) {
	<-g.room.hold
	return nil, nil
}

func (g *guest) code(*objects.Tx, objects.None) (objects.None, error) {
	return nil, objects.Errorf("sold_out", "no more")
}

func (g *guest) wake(tx *objects.Tx, _ objects.None) (objects.None, error) {
	tx.SetAlarm(time.Now().Add(-time.Second))
	return nil, nil
}

func (g *guest) Alarm(tx *objects.Tx, _ objects.AlarmInfo) error {
	deadline, _ := tx.Deadline()
	g.room.mu.Lock()
	takes := g.room.alarmTime
	g.room.alarmRuns++
	g.room.mu.Unlock()
	time.Sleep(takes)
	g.room.mu.Lock()
	defer g.room.mu.Unlock()
	g.room.alarmLeft = time.Until(deadline) + takes
	return g.room.alarmErr
}

func (g *guest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var how []objects.AcceptOption
	if r.URL.Query().Has("conflated") {
		how = append(how, objects.Conflated())
	}
	if tx := objects.TxOf(r); r.URL.Query().Has("stored") {
		counter.Set(tx, counter.Get(tx)+1)
	}
	if _, err := objects.TxOf(r).Accept(how...); err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
	}
}

// WebSocketMessage answers with an echo, except to what begins with "value " or "stored ": all get the rest as the sender's
// value.
func (g *guest) WebSocketMessage(tx *objects.Tx, s objects.Socket, m objects.Message) error {
	text := string(m.Data)
	value, shown := strings.CutPrefix(text, "value ")
	stored, writes := strings.CutPrefix(text, "stored ")
	switch {
	case writes:
		counter.Set(tx, counter.Get(tx)+1)
		tx.Broadcast(objects.Message{Data: []byte(stored), Conflate: s.ID()})
	case shown:
		tx.Broadcast(objects.Message{Data: []byte(value), Conflate: s.ID()})
	default:
		s.Send(m)
	}
	return nil
}

func (g *guest) WebSocketClose(tx *objects.Tx, s objects.Socket, end objects.Close) error {
	g.room.mu.Lock()
	defer g.room.mu.Unlock()
	g.room.ends[s.ID()], g.room.openers[s.ID()] = end, objects.PrincipalOf(tx).ID+" "+s.Principal().ID
	g.room.closed[s.ID()]++
	return nil
}

// newWorld runs an incarnation in the test's bubble. stop ends it.
func newWorld(t *testing.T, change ...func(*Config)) *world {
	return newWorldOn(t, newMemoryStore(), "me", change...)
}

// newWorldOn is newWorld over a store that is there, under a name of the incarnation's own.
func newWorldOn(t *testing.T, store *memoryStore, incarnation string, change ...func(*Config)) *world {
	return newWorldAt(t, newMemoryBus(), store, incarnation, nil, change...)
}

// newWorldAt is newWorldOn at a bus that is there, for an incarnation that before changes before it runs.
func newWorldAt(t *testing.T, bus *memoryBus, store *memoryStore, incarnation string, before func(*world), change ...func(*Config)) *world {
	w := &world{t: t, bus: bus, store: store, log: new(lockedBuffer), done: make(chan error, 1)}
	w.room = &room{closed: make(map[string]int), ends: make(map[string]objects.Close), openers: make(map[string]string), hold: make(chan struct{})}
	roomPtr.Store(w.room)
	w.reg = prometheus.NewRegistry()
	cfg := Config{Name: "a", Objects: []*objects.Implementation{guests}, Metrics: w.reg, Log: slog.New(slog.NewTextHandler(w.log, nil))}
	for _, change := range change {
		change(&cfg)
	}
	h, err := newHost(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.in = newIncarnation(h, incarnation)
	w.lease = newMemoryLease()
	w.in.bus, w.in.store, w.in.clock, w.in.lease = w.bus, w.store, newMemoryClock(), w.lease
	w.in.live = func(context.Context, string) bool { return false }
	w.in.first = func(string) string { return w.in.id }
	w.in.ends = func(time.Duration) (int, bool) { return 0, true }
	w.in.ended = func(time.Duration) []lease.Gone { return nil }
	client, err := wire.NewClient(wire.ClientConfig{NATS: memoryConn{w.bus}, Host: true, Name: incarnation, Region: "local"})
	if err != nil {
		t.Fatal(err)
	}
	w.in.client = client
	if before != nil {
		before(w)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	w.lose = cancel
	go func() { w.done <- w.in.run(ctx) }()
	synctest.Wait()
	return w
}

// stop ends the incarnation in order, and returns how long that took.
func (w *world) stop() (time.Duration, error) {
	began := time.Now()
	w.lose(nil)
	err := <-w.done
	return time.Since(began), err
}

// crash ends the incarnation as the loss of its lease does.
func (w *world) crash() {
	w.t.Helper()
	w.lose(lease.ErrLost)
	if err := <-w.done; !errors.Is(err, lease.ErrLost) {
		w.t.Errorf("the incarnation ended with %v", err)
	}
}

// send publishes a message.
func (w *world) send(subject, reply string, data []byte) {
	if err := w.bus.PublishRequest(subject, reply, data); err != nil {
		panic(err)
	}
}

func id(name string) objects.ID {
	id, err := guestClass.ID(name)
	if err != nil {
		panic(err)
	}
	return id
}

// claim asks the host to own an object.
func (w *world) claim(name string) chan wire.ClaimReply {
	answer := make(chan wire.ClaimReply, 1)
	for {
		o := w.in.object(wire.Address{ID: id(name), Name: name}, w.in.classes[string(guestClass)])
		if o == nil {
			answer <- wire.ClaimReply{Failure: "the host is stopping"}
			return answer
		}
		if o.claim(func(r wire.ClaimReply) { answer <- r }) {
			return answer
		}
		w.in.forget(o) // it is gone, and its host has not forgotten it yet
	}
}

// own claims an object and waits until it is served.
func (w *world) own(name string) {
	w.t.Helper()
	if reply := <-w.claim(name); !reply.Owned {
		w.t.Fatalf("claim of %s: %+v", name, reply)
	}
}

// tell sends a frame. No answer is waited for.
func (w *world) tell(name string, req *wire.Request) {
	w.n++
	if err := wire.Ask(w.bus, wire.ObjectSubject(id(name)), fmt.Sprintf("%sg.%d", wire.InboxPrefix, w.n), req); err != nil {
		panic(err)
	}
}

// ask sends a request as the gateway "g", and returns the reply subject.
func (w *world) ask(name string, req *wire.Request) chan *wire.Reply { return w.askOf(id(name), req) }

// askOf is ask for an object of any class.
func (w *world) askOf(id objects.ID, req *wire.Request) chan *wire.Reply {
	w.n++
	req.N = w.n
	if req.Gateway == "" {
		req.Gateway = "g"
	}
	if req.Kind == wire.Message || req.Kind == wire.Closed {
		req.N = 0
	}
	if o := w.in.find(id.Key()); o != nil {
		req.For = o.mailbox.claimToken() // a client knows it from the claim
	}
	inbox := fmt.Sprintf("%sg.%d", wire.InboxPrefix, w.n)
	raw, reply := make(chan *nats.Msg, 8), make(chan *wire.Reply, 8)
	sub, _ := w.bus.Subscribe(inbox, "", raw)
	go func() {
		defer sub.Unsubscribe()
		timer := time.NewTimer(time.Minute)
		defer timer.Stop()
		select {
		case msg := <-raw:
			r := new(wire.Reply)
			if err := wire.Decode(msg.Data, r); err != nil {
				panic(err)
			}
			reply <- r
		case <-timer.C:
			close(reply)
		}
	}()
	if err := wire.Ask(w.bus, wire.ObjectSubject(id), inbox, req); err != nil {
		panic(err)
	}
	return reply
}

// call runs a call and returns its reply; nil if none came for a minute.
func (w *world) call(name, call string) *wire.Reply {
	return <-w.ask(name, &wire.Request{Kind: wire.Call, Call: call, Body: []byte("{}")})
}

// sid returns the id of a socket, "s1", of a gateway.
func sid(socket, gateway string) string { return wire.SocketID(gateway, slotOf(socket)) }

func slotOf(socket string) uint32 {
	var n uint32
	if _, err := fmt.Sscanf(socket, "s%d", &n); err != nil {
		panic(err)
	}
	return n + 1
}

// upgrade asks for a socket of a gateway.
func (w *world) upgrade(name, socket, gateway string) chan *wire.Reply {
	return w.upgradeAt(name, socket, gateway, "/")
}

func (w *world) upgradeAt(name, socket, gateway, url string) chan *wire.Reply {
	g := w.bus.gateway(gateway)
	g.mu.Lock()
	g.stream(id(name).Key()).Opening(stream.Slot(slotOf(socket)))
	g.mu.Unlock()
	return w.ask(name, &wire.Request{Kind: wire.Fetch, Method: "GET", URL: url, Socket: sid(socket, gateway), Gateway: gateway, Region: "local"})
}

// open opens a socket of a gateway.
func (w *world) open(name, socket, gateway string) {
	w.t.Helper()
	w.openAt(name, socket, gateway, "/")
}

// openAt is open with the URL of the request.
func (w *world) openAt(name, socket, gateway, url string) {
	w.t.Helper()
	r := <-w.upgradeAt(name, socket, gateway, url)
	if r == nil || r.Status != http.StatusSwitchingProtocols {
		w.t.Fatalf("socket not opened: %+v", r)
	}
	synctest.Wait()
}

// frame sends a frame, and reports whether it is acknowledged within a second.
func (w *world) frame(name, socket, gateway string, seq uint64, kind wire.Kind) bool {
	w.tell(name, &wire.Request{Kind: kind, Socket: sid(socket, gateway), Gateway: gateway, Seq: seq, Body: []byte("x"), Code: 1000})
	return w.acknowledged(socket, gateway, seq)
}

func (w *world) acknowledged(socket, gateway string, seq uint64) bool {
	time.Sleep(time.Second)
	acked, _ := w.bus.gateway(gateway).state(sid(socket, gateway))
	return acked >= seq
}

func (w *world) beat(b wire.Beat) {
	if err := wire.Publish(w.bus, wire.BeatSubject, &b); err != nil {
		panic(err)
	}
}

// listed returns how many sockets the object still has.
func (w *world) listed(name string) int {
	n := 0
	w.look(name, func(o *object) { n = o.sockets.open.Len() })
	return n
}

// look lets a test read or change an object of this host, while nothing else uses the object.
func (w *world) look(name string, at func(o *object)) {
	synctest.Wait()
	if o := w.in.find(id(name).Key()); o != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		at(o)
	}
}

// metric returns the sum of a metric's series that have this text in a label.
func (w *world) metric(name, label string) (sum float64) {
	families, err := w.reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if label == "" || hasLabel(m, label) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func hasLabel(m *dto.Metric, value string) bool {
	for _, l := range m.GetLabel() {
		if l.GetValue() == value {
			return true
		}
	}
	return false
}

func number(r *wire.Reply) (n int) {
	if r != nil {
		if err := json.Unmarshal(r.Body, &n); err != nil {
			return 0
		}
	}
	return n
}

// evictNow releases one object, as for idleness.
func (in *incarnation) evictNow(o *object) {
	ctx, cancel := context.WithTimeout(in.work, in.timing.Claim)
	defer cancel()
	in.drainObjects(ctx, []*object{o})
}

// lapse ends one object as the loss of the lease does.
func (o *object) lapse() { o.drive(owner.Lapsed{}) }
