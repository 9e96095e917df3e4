package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/nats-io/nats.go"

	"holdfast/internal/stream"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// bus is what the hub needs of NATS. *nats.Conn is one.
type bus interface {
	wire.Publisher
	Subscribe(subject string, handler nats.MsgHandler) (*nats.Subscription, error)
	FlushWithContext(ctx context.Context) error
	StatusChanged(statuses ...nats.Status) chan nats.Status
	RemoveStatusListener(status chan nats.Status)
}

// hub knows every socket of this gateway, by id and by object.
//
// All messages of owners come through one subscription, so one goroutine handles
// acknowledgements, pushes and questions in the order of their arrival. A new owner's
// question is answered after everything that the former owner had sent.
type hub struct {
	name, region           string // the gateway's
	frameLimit, queueLimit int
	timing                 wire.Timing
	log                    *slog.Logger
	metrics                *metrics
	bus                    bus
	activate               func(ctx context.Context, id wire.Address) (token uint64, err error) // has an object claimed

	sub   *nats.Subscription
	pulse pulse
	work  sync.WaitGroup // goroutines that serve and recover sockets, started by spawn
	life  context.Context
	stop  context.CancelFunc // ends life

	found   []*socket     // do's, used again by each
	slots   atomic.Uint32 // sockets so far
	pending pending

	// Guards what follows. The order of locks is: the hub's, a group's, a socket's, its
	// uplink's and outbox's, pending's.
	mu       sync.Mutex
	sockets  map[string]*socket
	groups   map[string]*group // by object
	lanes    map[laneName]laneOf
	draining bool          // no socket is added any more
	closed   bool          // no goroutine is started any more
	empty    chan struct{} // closed when draining and no socket is left
}

// newHub makes a hub without a bus.
func newHub(g *Gateway) *hub {
	h := &hub{
		name: g.name, region: g.cfg.Region, frameLimit: g.cfg.Limits.Frame, queueLimit: g.cfg.Limits.Queue,
		timing: g.timing, log: g.log, metrics: g.metrics,
		sockets: make(map[string]*socket), groups: make(map[string]*group), lanes: make(map[laneName]laneOf), pending: newPending(), pulse: pulse{soon: make(chan struct{}, 1)}, empty: make(chan struct{}),
	}
	h.life, h.stop = context.WithCancel(context.Background())
	return h
}

// listen subscribes to owners' messages.
func (h *hub) listen() error {
	ctx, cancel := context.WithTimeout(h.life, h.timing.Claim)
	defer cancel()
	h.pulse.confirm(time.Now())
	sub, err := h.bus.Subscribe(wire.GatewayInbox(h.name)+">", h.receive)
	if err == nil {
		h.sub = sub
		err = h.bus.FlushWithContext(ctx)
	}
	if err != nil {
		return fmt.Errorf("listen for owners: %w", err)
	}
	return nil
}

// receive handles one message from an owner. One goroutine runs it.
func (h *hub) receive(msg *nats.Msg) {
	switch subject := strings.TrimPrefix(msg.Subject, wire.GatewayInbox(h.name)); subject {
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

// close stops listening, and returns when every goroutine of the hub has ended.
func (h *hub) close() {
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
func (h *hub) spawn(run func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.work.Go(run)
	}
	return !h.closed
}

// serve gives a socket its connection and a goroutine that reads it.
func (h *hub) serve(s *socket, c client) {
	if !h.spawn(func() { s.serve(c) }) {
		c.close()
	}
}

// add registers a socket before its object is asked for it. It reports false if the
// gateway is stopping.
func (h *hub) add(s *socket) bool {
	h.mu.Lock()
	if h.draining {
		h.mu.Unlock()
		return false
	}
	h.sockets[s.id] = s
	h.mu.Unlock()
	g := h.lock(s.object.Key(), true)
	g.stream.Opening(s.slot)
	g.sockets[s.slot] = s
	h.unlock(g, nil)
	return true
}

// unknownSocket makes a socket for a slot that the object has opened and the gateway does
// not know, or not any longer: its end must be reported to the owner. It returns nil if
// no owner can have made the object's key.
func (h *hub) unknownSocket(g *group, slot stream.Slot) *socket {
	class, name, _ := strings.Cut(g.key, ".")
	id, err := objects.Class(class).ParseID(name)
	if err != nil {
		return nil
	}
	s := makeSocket(h, wire.Address{ID: id}, slot)
	s.stage, s.end = closing, closeInfo{code: websocket.CloseAbnormalClosure, reason: "never opened"}
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
func (h *hub) remove(s *socket) {
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
func (h *hub) end(s *socket) {
	if g := h.lock(s.object.Key(), false); g != nil {
		h.perform(g, h.unlock(g, g.stream.End(s.slot)))
	}
}

func (h *hub) find(id string) *socket {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sockets[id]
}

func (h *hub) all() []*socket {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*socket, 0, len(h.sockets))
	for _, s := range h.sockets {
		all = append(all, s)
	}
	return all
}

// open counts the sockets whose clients are connected.
func (h *hub) open() int {
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
// once.
func (h *hub) watch(ctx context.Context) error {
	remade := h.bus.StatusChanged(nats.CONNECTED)
	defer h.bus.RemoveStatusListener(remade)
	tick := time.NewTicker(h.timing.Silence / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-remade:
			select {
			case h.pulse.soon <- struct{}{}:
			default:
			}
			for _, s := range h.all() {
				s.uplink.again()
			}
		case now := <-tick.C:
			h.checkPulse(now)
			for _, s := range h.all() {
				s.check(now)
			}
			h.sendAnswered()
		}
	}
}

// recover has the socket's object owned, and sends again what is pending. One
// goroutine a socket, while its uplink is stalled. After Timing.Request without an
// owner the socket is closed; the recovery goes on, to deliver the close. Attempts
// that bring no acknowledgement are further and further apart.
func (h *hub) recover(s *socket) {
	h.spawn(func() {
		began := time.Now()
		for wire.Pause(h.life, s.uplink.pause()) && s.stageNow() != gone {
			ctx, cancel := context.WithTimeout(h.life, h.timing.Request)
			_, err := h.activate(ctx, s.object)
			cancel()
			if err == nil {
				s.uplink.resend() // to whoever owns it; if nobody listens yet, the uplink stalls again
				return
			}
			if time.Since(began) >= h.timing.Request {
				s.close(closeInfo{code: objects.Unavailable.CloseCode(), reason: "nobody owns the object", fault: objects.Unavailable})
			}
		}
	})
}

// closeAll closes every socket.
func (h *hub) closeAll(how closeInfo) {
	for _, s := range h.all() {
		s.close(how)
	}
}

// drain closes every socket with 1012 and waits until their objects know, or
// until ctx ends.
func (h *hub) drain(ctx context.Context) {
	h.mu.Lock()
	h.draining = true
	if len(h.sockets) == 0 {
		close(h.empty)
	}
	h.mu.Unlock()
	h.closeAll(closeInfo{code: websocket.CloseServiceRestart, reason: "the gateway is restarting; connect again"})
	select {
	case <-h.empty:
	case <-ctx.Done():
		for _, s := range h.all() {
			s.outbox.cut()
			s.forget()
		}
	}
}
