package gateway

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

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

func (c *memoryClient) receive() (binary bool, data []byte, err error) {
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

func (c *memoryClient) readUntil(t time.Time) {
	c.mu.Lock()
	c.until = t
	c.mu.Unlock()
	select {
	case c.silence <- struct{}{}:
	default:
	}
}

func (c *memoryClient) discard() {}

func (c *memoryClient) write(frames []byte) error {
	c.mu.Lock()
	pace := c.pace
	c.mu.Unlock()
	if pace > 0 {
		select {
		case <-time.After(min(pace, writeTime)):
		case <-c.gone:
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || pace > writeTime {
		return io.ErrClosedPipe
	}
	for len(frames) > 0 {
		kind, size, head := int(frames[0]&0x0f), int(frames[1]), 2
		switch size {
		case 126:
			size, head = int(binary.BigEndian.Uint16(frames[2:])), 4
		case 127:
			size, head = int(binary.BigEndian.Uint64(frames[2:])), 10
		}
		if len(c.ends) > 0 {
			c.late++
		}
		switch kind {
		case websocket.PingMessage:
			c.pings++
			if c.pong != nil {
				c.incoming <- c.pong
			}
		case websocket.TextMessage, websocket.BinaryMessage:
			c.got = append(c.got, string(frames[head:head+size]))
		}
		frames = frames[head+size:]
	}
	return nil
}

func (c *memoryClient) writeClose(code int, _ string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if sendable(code) && !c.closed {
		c.ends = append(c.ends, code)
	}
}

func (c *memoryClient) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		close(c.gone)
	}
}

// messages is what the client has been sent, and the codes of the closes.
func (c *memoryClient) messages() (got []string, ends []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got), slices.Clone(c.ends)
}

// owner is an object's owner and its successors, as a gateway sees them. What one has
// handled its successor knows.
type owner struct {
	w      *world
	held   chan wire.HeldSockets // answers to which
	claims chan struct{}         // holds one while somebody claims

	mu      sync.Mutex // guards what follows; never held while time passes
	alive   bool
	token   uint64
	last    map[string]uint64   // number of the last frame handled of each open socket
	handled map[string][]string // frames of each socket, in the order in which they were handled
	told    map[string]int      // closes of each socket that were handled
	turn    int                 // requests that are turned away next: too many wait
	fail    int                 // frames that are refused next by the object
	pace    time.Duration       // of a frame
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
	case strings.HasPrefix(msg.Subject, nats.InboxPrefix):
		var held wire.HeldSockets
		if err := wire.Decode(msg.Data, &held); err != nil {
			panic(err)
		}
		o.held <- held
	}
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
	last, known := o.last[req.Socket]
	answer := wire.Reply{Token: o.token, Seq: req.Seq}
	switch {
	case o.turn > 0:
		o.turn--
		answer.Code, answer.Busy, answer.Seq = objects.Overloaded, true, 0
	case !known:
		answer.Code, answer.Message = objects.Unavailable, "this owner does not know the socket"
	case req.Seq <= last:
		answer.Seq = last
	case req.Seq > last+1:
		answer.Seq, answer.Gap = last, true
	case req.Kind == wire.Closed:
		delete(o.last, req.Socket)
		o.told[req.Socket]++
	default:
		o.last[req.Socket] = req.Seq
		o.handled[req.Socket] = append(o.handled[req.Socket], string(req.Body))
		if o.fail > 0 {
			o.fail--
			answer.Code = objects.Conflict
		}
	}
	o.w.bus.answer(&nats.Msg{Subject: reply, Data: wire.Encode(&answer)})
}

// die loses the owner.
func (o *owner) die() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.alive = false
}

// activate has somebody own the object. A new owner asks the gateway for its sockets;
// frames that come meanwhile find nobody.
func (o *owner) activate(ctx context.Context, _ wire.Address) (bool, error) {
	o.claims <- struct{}{}
	defer func() { <-o.claims }()
	o.mu.Lock()
	alive := o.alive
	if !alive {
		o.token++
	}
	token := o.token
	o.mu.Unlock()
	if alive {
		return true, nil
	}
	for len(o.held) > 0 {
		<-o.held // a late answer to somebody else
	}
	o.w.bus.answer(&nats.Msg{
		Subject: wire.SocketsSubject(o.w.hub.name), Reply: nats.InboxPrefix + "owner",
		Data: wire.Encode(&wire.WhichSockets{Object: o.w.id.Key(), Token: token}),
	})
	select {
	case held := <-o.held:
		o.mu.Lock()
		defer o.mu.Unlock()
		clear(o.last)
		for _, s := range held.Sockets {
			o.last[s.ID] = s.Next - 1
		}
		o.alive = true
		return true, nil
	case <-time.After(time.Second):
		return false, nil // the next claim asks again: this owner believes in nobody's death
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// push has the owner send ops to a gateway.
func (o *owner) push(ops ...wire.SocketOp) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.w.bus.answer(&nats.Msg{
		Subject: wire.GatewaySubject(o.w.hub.name),
		Data:    wire.Encode(&wire.Push{Object: o.w.id.Key(), Token: o.token, Ops: ops}),
	})
}

// world is a hub, one object's owner, and clients, in one bubble.
type world struct {
	id    wire.Address
	hub   *hub
	bus   *memoryBus
	owner *owner

	stop context.CancelFunc
	work sync.WaitGroup
}

func newWorld(t testing.TB) *world {
	id, err := objects.Class("room").ID("lobby")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{id: wire.Address{ID: id, Name: "lobby"}}
	w.owner = &owner{
		w: w, alive: true, token: 1, last: make(map[string]uint64), handled: make(map[string][]string),
		told: make(map[string]int), held: make(chan wire.HeldSockets, 100), claims: make(chan struct{}, 1),
	}
	w.bus = newMemoryBus(w.owner.receive)
	w.hub = newHub(&Gateway{
		name: "gateway", cfg: Config{Region: "local", Limits: Limits{}.withDefaults()}, timing: wire.Timing{}.WithDefaults(),
		log: slog.New(slog.DiscardHandler), metrics: newMetrics(prometheus.NewRegistry(), "local"),
	})
	w.hub.bus, w.hub.activate = w.bus, w.owner.activate
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	if err := w.hub.listen(); err != nil {
		t.Fatal(err)
	}
	w.work.Go(func() { w.bus.run(ctx) })
	w.work.Go(func() { _ = w.hub.beat(ctx) })  // returns nil
	w.work.Go(func() { _ = w.hub.watch(ctx) }) // returns nil
	return w
}

// end ends everything that the world has begun.
func (w *world) end() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w.hub.drain(ctx)
	w.hub.close()
	w.stop()
	w.work.Wait()
}

// open opens a socket that the object has accepted.
func (w *world) open() (*socket, *memoryClient) {
	s := w.accept()
	return s, w.connect(s)
}

// connect gives a socket its client's connection. The client answers pings.
func (w *world) connect(s *socket) *memoryClient {
	c := newMemoryClient()
	c.pong = func() { s.alive(c) }
	w.hub.serve(s, c)
	return c
}

// accept is open without the client's connection.
func (w *world) accept() *socket {
	s := newSocket(w.hub, w.id)
	w.hub.add(s)
	s.accept(nil, nil)
	w.owner.mu.Lock()
	defer w.owner.mu.Unlock()
	w.owner.last[s.id] = 0
	return s
}

// members are the ids of the sockets that the owner takes for open.
func (o *owner) members() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for id := range o.last {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

func (o *owner) heard(s *socket) (frames []string, closes int) {
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

func message(s *socket, texts ...string) (ops []wire.SocketOp) {
	for _, text := range texts {
		op := wire.SocketOp{Op: wire.OpMessage, Data: []byte(text)}
		op.Sockets.Add(s.id)
		ops = append(ops, op)
	}
	return ops
}
