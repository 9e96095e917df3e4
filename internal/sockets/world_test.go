package sockets

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// memoryClient is a client in memory. Its user says what it sends; what it is sent is kept.
type memoryClient struct {
	incoming chan any // []byte is a text message, error ends the connection, pong answers a ping
	pong     pong     // nil: pings are not answered
	gone     chan struct{}

	mu      sync.Mutex // guards what follows
	until   time.Time
	pace    time.Duration // of a write
	got     []string      // messages
	pings   int
	ends    []int // codes of close frames
	closed  bool
	late    int // writes behind a close
	silence chan struct{}
}

// pong is what the gateway does when a pong has come.
type pong func()

func newMemoryClient() *memoryClient {
	return &memoryClient{incoming: make(chan any, 1<<12), gone: make(chan struct{}), silence: make(chan struct{}, 1)}
}

func (c *memoryClient) Receive() (binary bool, data []byte, err error) {
	for {
		c.mu.Lock()
		until := c.until
		c.mu.Unlock()
		timer := time.NewTimer(time.Until(until))
		select {
		case <-c.silence: // the time has changed
			timer.Stop()
		case <-timer.C:
			return false, nil, io.EOF
		case <-c.gone:
			timer.Stop()
			return false, nil, io.EOF
		case in := <-c.incoming:
			timer.Stop()
			switch in := in.(type) {
			case error:
				return false, nil, in
			case pong:
				in()
			case []byte:
				return false, in, nil
			}
		}
	}
}

func (c *memoryClient) ReadUntil(t time.Time) {
	c.mu.Lock()
	c.until = t
	c.mu.Unlock()
	select {
	case c.silence <- struct{}{}:
	default:
	}
}

func (c *memoryClient) Ended(error) End {
	return End{Code: closeAbnormal, Reason: "gone", Discard: true}
}

func (c *memoryClient) Discard() {}

func (c *memoryClient) Write(frames []byte) error {
	c.mu.Lock()
	pace := c.pace
	c.mu.Unlock()
	if pace > 0 {
		select {
		case <-time.After(min(pace, WriteTime)):
		case <-c.gone:
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || pace > WriteTime {
		return io.ErrClosedPipe
	}
	for kind, data := range Frames(frames) {
		if len(c.ends) > 0 {
			c.late++
		}
		switch kind {
		case pingMessage:
			c.pings++
			if c.pong != nil {
				c.incoming <- c.pong
			}
		case TextFrame, BinaryFrame:
			c.got = append(c.got, string(data))
		}
	}
	return nil
}

func (c *memoryClient) WriteClose(code int, _ string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.ends = append(c.ends, code)
	}
}

func (c *memoryClient) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		close(c.gone)
	}
}

// messages returns what the client has been sent, and the codes of the closes.
func (c *memoryClient) messages() (got []string, ends []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got), slices.Clone(c.ends)
}

// owner is an object's owner and its successors, as a gateway sees them: the owner's
// half of the stream. What one has handled its successor finds in the record.
type owner struct {
	w      *world
	claims chan struct{} // holds one while somebody claims

	mu      sync.Mutex // guards what follows; never held while time passes
	alive   bool
	token   uint64
	stream  *stream.Sender // nil: nobody has claimed the object
	handed  chan struct{}  // closed when the gateway has answered
	record  []stream.Entry
	handled map[string][]string // frames of each socket, in the order in which they were handled
	told    map[string]int      // closes of each socket that were handled
	faults  map[string]objects.Code
	auto    map[uint32]time.Time // when the gateway has answered sockets by itself, by slot
	turn    int                  // requests that are turned away next: too many wait
	fail    int                  // frames that are refused next by the object
	gap     bool                 // frames before each frame are said to be missing
	barred  bool                 // nobody may claim the object
	pace    time.Duration        // of a frame
	checks  int                  // of the record
	acked   int                  // acknowledgements that have come
	ended   []wire.Ended         // owners that were lost, as hosts know them
}

// receive is what arrives for the owner or, with none, at the server.
func (o *owner) receive(msg *nats.Msg) {
	switch {
	case strings.HasPrefix(msg.Subject, wire.ObjectPrefix):
		var req wire.Request
		if err := wire.Decode(msg.Data, &req); err != nil {
			panic(err)
		}
		o.frame(msg.Reply, &req)
	case msg.Subject == wire.LaneInbox("host")+wire.Acks:
		var acks wire.LaneAcks
		if err := wire.Decode(msg.Data, &acks); err != nil {
			panic(err)
		}
		o.acks(&acks)
	case msg.Subject == wire.LaneInbox("host")+wire.Hold:
		var held wire.Held
		if err := wire.Decode(msg.Data, &held); err != nil {
			panic(err)
		}
		o.held(&held)
	case msg.Subject == wire.BeatSubject:
		o.mu.Lock()
		ended := o.ended
		o.mu.Unlock()
		if len(ended) > 0 {
			o.say(wire.Heads, wire.Encode(&wire.LaneHeads{Host: "another", Ended: ended}))
		}
	}
}

func (o *owner) acks(acks *wire.LaneAcks) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.acked += len(acks.Acks)
	for _, a := range acks.Acks {
		if o.stream != nil && a.Of == uint32(o.token) {
			o.send(o.stream.Acked(acks.Gateway, a.Seq))
		}
	}
	for _, a := range acks.Answered {
		for _, at := range a.At {
			o.auto[at.Of] = time.UnixMilli(int64(at.Seq))
		}
	}
	for _, r := range acks.Resend {
		if o.stream != nil && r.Of == uint32(o.token) {
			o.send(o.stream.Resend(time.Now(), acks.Gateway, r.Seq))
		}
	}
}

func (o *owner) held(held *wire.Held) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stream == nil || held.Token != o.token {
		return
	}
	var answer stream.Answer
	for _, p := range held.Positions {
		answer.Positions = append(answer.Positions, stream.Position{Token: p.Token, Received: p.Received})
	}
	for _, s := range held.Sockets {
		answer.Sockets = append(answer.Sockets, stream.HeldSocket{Slot: stream.Slot(s.Slot), Acked: s.Acked})
	}
	o.send(o.stream.Held(time.Now(), held.Gateway, answer))
}

// send sends what the stream asks for. With mu held.
func (o *owner) send(do []stream.Do) {
	for _, d := range do {
		lane := uint32(o.token)
		switch d.Kind {
		case stream.Send:
			push := wire.LanePush{
				Lane: lane, Seq: d.Push.Seq, Kind: uint8(d.Push.Kind), Object: o.w.id.Key(), Token: o.token, Host: "host",
				Slots: wire.SlotsOf(d.Push.Slots), Encoded: [][]byte{d.Push.Body},
			}
			o.say(wire.Pushes, wire.Encode(&push))
		case stream.Probe:
			heads := wire.LaneHeads{Host: "host", Heads: []wire.Reached{{Of: lane, Seq: d.Head}}}
			if d.Quiet {
				heads.Heads, heads.Quiet = nil, heads.Heads
			}
			o.say(wire.Heads, wire.Encode(&heads))
		case stream.Ask:
			o.say(wire.Whichs, wire.Encode(&wire.Which{Lane: lane, Object: o.w.id.Key(), Token: o.token, Host: "host"}))
		}
	}
	if o.handed != nil && !o.stream.Taking() {
		close(o.handed)
		o.handed = nil
	}
}

func (o *owner) say(kind string, data []byte) {
	o.w.bus.answer(&nats.Msg{Subject: wire.GatewaySubject(o.w.hub.Name, kind), Data: data})
}

// run has the stream look after what it waits for, until ctx ends.
func (o *owner) run(ctx context.Context) {
	for wire.Pause(ctx, 50*time.Millisecond) {
		o.change(func(o *owner) {
			if now := time.Now(); o.stream != nil && !o.stream.Wake().IsZero() && !now.Before(o.stream.Wake()) {
				o.send(o.stream.Tick(now))
			}
		})
	}
}

// event sends what an event does, all of which is durable at once. With mu held.
func (o *owner) event(out stream.Out, body *wire.LaneBody) {
	out.Gateway, out.Bodies = o.w.hub.Name, [][]byte{wire.Encode(body)}
	do := slices.Clone(o.stream.Event(time.Now(), 0, []stream.Out{out}))
	o.record = nil
	for _, e := range o.stream.Entries() {
		e.Slots = slices.Clone(e.Slots)
		o.record = append(o.record, e)
	}
	o.send(do)
}

func (o *owner) frame(reply string, req *wire.Request) {
	o.mu.Lock()
	pace := o.pace
	o.mu.Unlock()
	time.Sleep(pace)
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.alive {
		o.w.bus.answer(&nats.Msg{Subject: reply, Header: nats.Header{"Status": {"503"}}})
		return
	}
	answer := wire.Reply{Token: o.token}
	slot, _ := wire.SlotOf(req.Gateway, req.Socket)
	body := wire.LaneBody{Acks: []wire.Reached{{Of: slot, Seq: req.Seq}}}
	switch {
	case o.turn > 0:
		o.turn--
		answer.Code, answer.Busy = objects.Overloaded, true
	case o.gap:
		answer.Gap = true
	default:
		switch o.stream.Frame(req.Gateway, stream.Slot(slot), req.Seq, req.Kind == wire.Closed) {
		case stream.Take:
			o.take(req, slot, &body)
			return
		case stream.AlreadyEnded:
			o.event(stream.Out{}, &body)
			return
		case stream.Gap:
			answer.Gap = true
		case stream.Unknown:
			answer.Code, answer.Message = objects.Unavailable, "this owner does not know the socket"
		default:
			return
		}
	}
	o.w.bus.answer(&nats.Msg{Subject: reply, Data: wire.Encode(&answer)})
}

// take handles a frame. With mu held.
func (o *owner) take(req *wire.Request, slot uint32, body *wire.LaneBody) {
	if req.Kind == wire.Closed {
		o.told[req.Socket]++
		o.faults[req.Socket] = req.Fault
		o.event(stream.Out{Ends: []stream.Slot{stream.Slot(slot)}}, body)
		return
	}
	o.handled[req.Socket] = append(o.handled[req.Socket], string(req.Body))
	if o.fail > 0 {
		o.fail--
		body.Ops = append(body.Ops, wire.LaneOp{Op: wire.OpClose, Slots: wire.SlotsOf([]uint32{slot}), Code: objects.Conflict.CloseCode()})
	}
	o.event(stream.Out{}, body)
}

// die loses the owner.
func (o *owner) die() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.alive = false
	o.stream = nil
	o.ended = append(slices.Clone(o.ended), wire.Ended{Incarnation: fmt.Sprint("owner", o.token), Beat: 1})
	if o.handed != nil {
		close(o.handed)
		o.handed = nil
	}
}

// Activate has somebody own the object. A new owner asks the gateway what it has;
// frames that come meanwhile find nobody.
func (o *owner) Activate(ctx context.Context, _ wire.Address) (uint64, error) {
	o.claims <- struct{}{}
	defer func() { <-o.claims }()
	o.mu.Lock()
	barred := o.barred
	o.mu.Unlock()
	if barred {
		return 0, nil
	}
	if !o.begin() {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.token, nil
	}
	o.mu.Lock()
	handed := o.handed
	o.mu.Unlock()
	if handed != nil {
		select {
		case <-handed:
		case <-ctx.Done():
			o.die()
			return 0, ctx.Err()
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.alive = o.stream != nil
	if !o.alive {
		return 0, nil
	}
	return o.token, nil
}

// Check claims nothing if nobody owns the object and the record shows that the gateway lacks nothing.
func (o *owner) Check(ctx context.Context, id wire.Address, heard *wire.Heard) (whole bool, token uint64, err error) {
	var positions []stream.Position
	for _, p := range heard.Positions {
		positions = append(positions, stream.Position{Token: p.Token, Received: p.Received})
	}
	o.mu.Lock()
	o.checks++
	whole = !o.alive && o.handed == nil && !stream.Misses(o.record, heard.Gateway, positions)
	o.mu.Unlock()
	if whole {
		return true, 0, nil
	}
	token, err = o.Activate(ctx, id)
	return false, token, err
}

// Plausible knows this owner and those that follow.
func (o *owner) Plausible(token uint64) bool { return token < 1<<32 }

// begin begins a term. It reports false if somebody owns the object.
func (o *owner) begin() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.alive {
		return false
	}
	o.token++
	o.stream = stream.NewSender(o.token, o.record, new(stream.Defaults()), time.Now())
	o.handed = make(chan struct{})
	o.send(o.stream.Tick(time.Now()))
	return true
}

// push has the owner send ops to a gateway.
func (o *owner) push(ops ...wire.LaneOp) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.event(stream.Out{}, &wire.LaneBody{Ops: ops})
}

// world is a hub, one object's owner, and clients, in one bubble.
type world struct {
	id    wire.Address
	hub   *Hub
	bus   *memoryBus
	owner *owner
	log   lines

	stop context.CancelFunc
	work sync.WaitGroup
}

// lines counts what is logged.
type lines struct {
	mu sync.Mutex
	n  int
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	return len(line), nil
}

func newWorld(t testing.TB) *world {
	id, err := objects.Class("room").ID("lobby")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{id: wire.Address{ID: id, Name: "lobby"}}
	w.owner = &owner{
		w: w, alive: true, token: 1, handled: make(map[string][]string), told: make(map[string]int), faults: make(map[string]objects.Code),
		auto: make(map[uint32]time.Time), claims: make(chan struct{}, 1),
		stream: stream.NewSender(1, nil, new(stream.Defaults()), time.Now()),
	}
	w.bus = newMemoryBus(w.owner.receive)
	w.hub = New(Config{
		Name: "gateway", Region: "local", Frame: objects.MaxFrame, Queue: 1 << 20, Timing: wire.Timing{}.WithDefaults(),
		Log: slog.New(slog.NewTextHandler(&w.log, nil)), Metrics: NewMetrics(prometheus.NewRegistry()),
	})
	if err := w.hub.Listen(w.bus, w.owner); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	w.work.Go(func() { w.bus.run(ctx) })
	w.work.Go(func() { w.hub.Run(ctx) })
	w.work.Go(func() { w.owner.run(ctx) })
	return w
}

// end ends everything that the world has begun.
func (w *world) end() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w.hub.Drain(ctx)
	w.hub.Close()
	w.stop()
	w.work.Wait()
}

// open opens a socket that the object has accepted.
func (w *world) open() (*Socket, *memoryClient) {
	s := w.accept()
	return s, w.connect(s)
}

// connect gives a socket its client's connection. The client answers pings.
func (w *world) connect(s *Socket) *memoryClient {
	c := newMemoryClient()
	c.pong = func() { s.ExtendDeadline(c) }
	w.hub.Serve(s, c)
	return c
}

// accept is open without the client's connection.
func (w *world) accept() *Socket {
	s := w.ask()
	w.owner.change(func(o *owner) { o.accept(s) })
	select {
	case <-s.opened:
	case <-time.After(time.Second): // something is lost
	}
	return s
}

// ask makes a socket that the object is asked for.
func (w *world) ask() *Socket {
	s, _ := w.hub.Add(w.id, nil, false)
	return s
}

// accept accepts a socket and does ops. With mu held.
func (o *owner) accept(s *Socket, ops ...wire.LaneOp) {
	ops = append([]wire.LaneOp{{Op: wire.OpOpen, Slots: wire.SlotsOf([]stream.Slot{s.slot})}}, ops...)
	o.event(stream.Out{Opens: []stream.Slot{s.slot}}, &wire.LaneBody{Ops: ops})
}

// isOpen reports whether the gateway has heard that the object has accepted the socket.
func isOpen(s *Socket) bool {
	select {
	case <-s.opened:
		return !s.stageNow().ended()
	default:
		return false
	}
}

// members returns the ids of the sockets that the owner takes for open.
func (o *owner) members() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for _, slot := range o.stream.Members(o.w.hub.Name) {
		all = append(all, wire.SocketID(o.w.hub.Name, uint32(slot)))
	}
	slices.Sort(all)
	return all
}

func (o *owner) heard(s *Socket) (frames []string, closes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.handled[s.id]), o.told[s.id]
}

// change changes the owner.
func (o *owner) change(by func(o *owner)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	by(o)
}

func message(s *Socket, texts ...string) (ops []wire.LaneOp) {
	for _, text := range texts {
		ops = append(ops, wire.LaneOp{Op: wire.OpMessage, Data: []byte(text), Slots: wire.SlotsOf([]stream.Slot{s.slot})})
	}
	return ops
}

// closeOp returns the close of a socket by its object.
func closeOp(s *Socket, code int) wire.LaneOp {
	return wire.LaneOp{Op: wire.OpClose, Code: code, Slots: wire.SlotsOf([]stream.Slot{s.slot})}
}
