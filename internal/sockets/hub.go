package sockets

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// Bus is a Hub's connection to NATS. *nats.Conn is one.
type Bus interface {
	wire.Publisher
	Subscribe(subject string, handler nats.MsgHandler) (*nats.Subscription, error)
	FlushWithContext(ctx context.Context) error
	StatusChanged(statuses ...nats.Status) chan nats.Status
	RemoveStatusListener(status chan nats.Status)
}

// Hub knows every socket of this gateway, by id and by object.
//
// All messages of owners come through one subscription, so one goroutine handles
// acknowledgements, pushes and questions in the order of their arrival. A new owner's
// question is answered after everything that the former owner had sent.
type Hub struct {
	Config
	bus    Bus
	owners Owners

	sub   *nats.Subscription
	pulse pulse
	work  sync.WaitGroup // goroutines that serve and recover sockets, started by spawn
	life  context.Context
	stop  context.CancelFunc // ends life

	found   []*Socket     // applyOp's buffer, reused
	slots   atomic.Uint32 // sockets so far
	claims  chan struct{} // holds a token for each object that streams have claimed or checked
	pending pending
	streams stream.Settings // of every object

	warnings wire.Warnings

	// Guards what follows. The order of locks is: the hub's, a group's, a socket's, its
	// uplink's and outbox's, pending's.
	mu        sync.Mutex
	sockets   map[string]*Socket
	groups    map[string]*group // by object
	lanes     map[laneName]laneOf
	ended     map[string]uint64 // incarnations that have ended: how often their leases had been renewed
	draining  bool              // no socket is added any more
	collectAt int               // the number of sockets at which memory is collected next
	closed    bool              // no goroutine is started any more
	empty     chan struct{}     // closed when draining and no socket is left
}

// collectFirst is the number of sockets at which memory is collected first; it is collected again whenever the number
// has doubled. Opening a socket leaves more garbage than the socket keeps. If memory were collected only after
// thousands of sockets, their lasting parts would be scattered over pages that are empty otherwise. Each collection
// scans everything that is kept: collecting at every half more was a tenth of the cost of opening a socket.
const collectFirst = 256

// Config configures a Hub. All fields are required.
type Config struct {
	Name, Region string
	Frame, Queue int // bytes of a client's message, and of the messages that wait for a client
	Timing       wire.Timing
	Log          *slog.Logger
	Metrics      *Metrics
}

// Owners finds objects' owners. *wire.Client is one.
type Owners interface {
	// Activate has an object claimed. It returns the token of the object's owner.
	Activate(ctx context.Context, id wire.Address) (token uint64, err error)
	// Check is Activate, unless nobody owns the object and the gateway lacks nothing; then it returns true.
	Check(ctx context.Context, id wire.Address, heard *wire.Heard) (whole bool, token uint64, err error)
	// Plausible reports whether an owner may have the token.
	Plausible(token uint64) bool
}

// New makes a Hub. It neither subscribes nor publishes before Listen.
func New(cfg Config) *Hub {
	h := &Hub{
		Config: cfg, sockets: make(map[string]*Socket), groups: make(map[string]*group), lanes: make(map[laneName]laneOf),
		ended: make(map[string]uint64), claims: make(chan struct{}, maxClaims), pending: newPending(), streams: stream.Defaults(), pulse: pulse{soon: make(chan struct{}, 1)}, empty: make(chan struct{}), collectAt: collectFirst,
	}
	h.streams.Silence = 2 * h.Timing.Silence
	h.life, h.stop = context.WithCancel(context.Background())
	return h
}

// Listen subscribes to owners' messages.
func (h *Hub) Listen(bus Bus, owners Owners) error {
	h.bus, h.owners = bus, owners
	ctx, cancel := context.WithTimeout(h.life, h.Timing.Claim)
	defer cancel()
	h.pulse.confirm(time.Now())
	sub, err := h.bus.Subscribe(wire.GatewayInbox(h.Name)+">", h.receive)
	if err == nil {
		h.sub = sub
		err = h.bus.FlushWithContext(ctx)
	}
	if err != nil {
		return fmt.Errorf("listen for owners: %w", err)
	}
	return nil
}

// Run watches sockets, and tells hosts that this gateway lives, until ctx ends.
func (h *Hub) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { h.beat(ctx) })
	all.Go(func() { h.watch(ctx) })
	all.Go(func() { h.serveLanes(ctx) })
	all.Wait()
}

// receive handles one message from an owner. One goroutine runs it.
func (h *Hub) receive(msg *nats.Msg) {
	switch subject := strings.TrimPrefix(msg.Subject, wire.GatewayInbox(h.Name)); subject {
	case wire.Pushes:
		h.push(msg)
	case wire.Heads:
		h.onHeads(msg)
	case wire.Whichs:
		h.onWhich(msg)
	default:
		h.answer(subject, msg)
	}
}

// Close stops listening, and returns when every goroutine of the hub has ended.
func (h *Hub) Close() {
	if h.sub != nil {
		h.sub.Unsubscribe() // fails only when the connection has ended
	}
	h.stop()
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.work.Wait()
}

// spawn starts a goroutine that close waits for. It reports false if the hub is
// closed: a message may still be handled then. Without a socket's lock held.
func (h *Hub) spawn(run func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.work.Go(run)
	}
	return !h.closed
}

// Serve gives a socket its connection and a goroutine that reads it.
func (h *Hub) Serve(s *Socket, c Client) {
	if !h.spawn(func() { s.serve(c) }) {
		c.Close()
	}
}

// Add registers a socket before its object is asked for it. principal is encoded as by package ask. resumes says that
// the client speaks the protocol of package resume. Add reports false if the gateway is stopping.
func (h *Hub) Add(object wire.Address, principal []byte, resumes bool) (*Socket, bool) {
	s := makeSocket(h, object, stream.Slot(h.slots.Add(1)))
	s.principal, s.resumes = principal, resumes
	h.mu.Lock()
	if h.draining || h.closed {
		h.mu.Unlock()
		return nil, false
	}
	h.sockets[s.id] = s
	if n := len(h.sockets); n >= h.collectAt {
		h.collectAt = 2 * n
		h.work.Go(runtime.GC)
	}
	h.mu.Unlock()
	g := h.lock(s.object.Key(), true)
	g.stream.Opening(s.slot)
	g.sockets[s.slot] = s
	h.unlock(g, nil)
	return s, true
}

// unknownSocket makes a socket for a slot that the object has opened and the gateway does
// not know, or not any longer: its end must be reported to the owner. It returns nil if
// no owner can have made the object's key.
func (h *Hub) unknownSocket(g *group, slot stream.Slot) *Socket {
	class, name, _ := strings.Cut(g.key, ".")
	id, err := objects.Class(class).ParseID(name)
	if err != nil {
		return nil
	}
	s := makeSocket(h, wire.Address{ID: id}, slot)
	s.stage, s.end = closing, End{Code: closeAbnormal, Reason: "never opened"}
	close(s.over)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sockets[s.id] = s
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sockets[slot] = s
	return s
}

// remove unregisters a socket.
func (h *Hub) remove(s *Socket) {
	h.mu.Lock()
	known := h.sockets[s.id] != nil
	delete(h.sockets, s.id)
	if known && h.draining && len(h.sockets) == 0 {
		close(h.empty)
	}
	h.mu.Unlock()
	if g := h.lock(s.object.Key(), false); g != nil {
		if g.sockets[s.slot] == s {
			delete(g.sockets, s.slot)
		}
		h.unlock(g, nil)
	}
}

// end records in the object's stream that the socket has ended, or that its opening was
// given up, and does what the stream asks for.
func (h *Hub) end(s *Socket) {
	if g := h.lock(s.object.Key(), false); g != nil {
		h.perform(g, h.unlock(g, g.stream.End(s.slot)))
	}
}

func (h *Hub) find(id string) *Socket {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sockets[id]
}

func (h *Hub) all() []*Socket {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*Socket, 0, len(h.sockets))
	for _, s := range h.sockets {
		all = append(all, s)
	}
	return all
}

// Open counts the sockets whose clients are connected.
func (h *Hub) Open() int {
	n := 0
	for _, s := range h.all() {
		if s.stageNow() == open {
			n++
		}
	}
	return n
}

// watch checks for sockets that wait too long and for the gateway's own silence. After a
// reconnect messages may have been lost, so a beat and all pending frames are sent at
// once, and all quiet streams are doubted.
func (h *Hub) watch(ctx context.Context) {
	remade := h.bus.StatusChanged(nats.CONNECTED)
	defer h.bus.RemoveStatusListener(remade)
	tick := time.NewTicker(h.Timing.Silence / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-remade:
			select {
			case h.pulse.soon <- struct{}{}:
			default:
			}
			for _, s := range h.all() {
				s.uplink.again()
			}
			h.doubtAll()
		case now := <-tick.C:
			h.checkPulse(now)
			for _, s := range h.all() {
				s.check(now)
			}
			h.sendAnswered()
		}
	}
}

// recover has the socket's object claimed, and sends the pending frames again. A socket has one such goroutine while
// its uplink is stalled. After Timing.Request without an owner the socket is closed. Recovery then continues, to
// deliver the close event, with growing pauses between attempts without an acknowledgement.
func (h *Hub) recover(s *Socket) {
	h.spawn(func() {
		began := time.Now()
		for wire.Pause(h.life, s.uplink.pause()) && s.stageNow() != gone {
			ctx, cancel := context.WithTimeout(h.life, h.Timing.Request)
			token, err := h.owners.Activate(ctx, s.object)
			cancel()
			if err == nil && token > 0 {
				s.uplink.resend() // if nobody listens yet, the uplink stalls again
				return
			}
			if time.Since(began) >= h.Timing.Request {
				s.Close(End{Code: objects.Unavailable.CloseCode(), Reason: "nobody owns the object", Fault: objects.Unavailable})
			}
		}
	})
}

// closeAll closes every socket.
func (h *Hub) closeAll(how End) {
	for _, s := range h.all() {
		s.Close(how)
	}
}

// closeStep is the time between the ends of two sockets when a gateway drains. The client of a socket that is still
// open misses nothing, and each client that comes back finds a server with time for it. If all sockets were closed at
// once, the last client would wait for the handshakes of all others. A browser opens about one connection to an address
// in 15 ms.
const closeStep = 25 * time.Millisecond

// closeStepOf returns closeStep, or less if the ends of n sockets would take more than half of the time in which a
// gateway drains.
func closeStepOf(n int, drain time.Duration) time.Duration {
	return min(closeStep, drain/2/time.Duration(max(n, 1)))
}

// closeInTurn closes every socket, one after the other, or the rest at once when ctx ends.
func (h *Hub) closeInTurn(ctx context.Context, how End) {
	all, due := h.all(), time.Now()
	step := closeStepOf(len(all), h.Timing.Drain)
	for _, s := range all {
		if wait := time.Until(due); wait > 0 {
			wire.Pause(ctx, wait)
		}
		s.Close(how)
		due = due.Add(step)
	}
}

// Drain closes every socket with 1012, one after the other, and waits until their
// objects know, or until ctx ends. A socket that is not closed yet goes on as before.
func (h *Hub) Drain(ctx context.Context) {
	h.mu.Lock()
	h.draining = true
	if len(h.sockets) == 0 {
		close(h.empty)
	}
	h.mu.Unlock()
	h.closeInTurn(ctx, End{Code: closeRestart, Reason: "the gateway is restarting; connect again"})
	select {
	case <-h.empty:
	case <-ctx.Done():
		for _, s := range h.all() {
			s.outbox.cut()
			s.forget()
		}
	}
}
