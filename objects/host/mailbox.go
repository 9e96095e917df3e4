package host

import (
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects"
)

// deliveryKind is what a delivery is.
type deliveryKind uint8

const (
	nothing     deliveryKind = iota
	request                  // msg, from a gateway or a host's alarm
	gatewayLost              // gateway has died, and so its sockets have ended
	endsDue                  // ends of sockets that the object does not know of are tried again
	toldDue                  // told messages are due, or chores are
	sleepDue                 // the instance has been idle and has something to save before it is dropped
	drainMarker              // everything before it has been handled: release the object
)

// delivery is one item of a mailbox.
type delivery struct {
	kind    deliveryKind
	msg     *nats.Msg // of a request; its newest copy
	request string    // what all copies of a request have in common
	at      time.Time // when a request came
	byHost  bool      // a host has sent the request
	again   bool      // the request gave way, and runs again
	gateway string    // of gatewayLost
}

// mailbox is the part of an object that holds what waits for it, and its stage. Only its methods
// use its fields. It has a lock of its own, under which
// nothing is sent, so the dispatcher never waits for an object's output. The zero
// mailbox belongs to an object that is being claimed.
type mailbox struct {
	mu       sync.Mutex   // guards what follows
	stage    stage        // changed by object.advance alone, with the object's lock held too: either lock suffices to read it
	handling deliveryKind // what the event loop handles; nothing: there is no event loop, or it is about to begin
	queue    []delivery
	reply    string        // the reply subject of the newest copy of the request in hand; "" once the answer is decided on
	token    uint64        // of the claim or, until the object is served, of the object whose place it has taken; 0: none
	used     instant       // when the event in hand began, or the last one ended
	avgEvent time.Duration // how long events took recently
}

// verdict is what became of a delivery.
type verdict uint8

const (
	queued    verdict = iota
	startLoop         // queued, and the caller has to start the event loop
	ignored           // a request that waits already, or will be sent again
	refused           // too many wait
	notServed         // the object is not here, or not any more
)

// queueLimits bound a mailbox.
type queueLimits struct {
	events int           // that may wait
	wait   time.Duration // after which a sender has given up
}

// push adds a delivery. While the object is being claimed, the mailbox takes only the news of lost gateways, which is
// handled when the object is served.
func (m *mailbox) push(d delivery, limits queueLimits) verdict {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stage == gone || m.stage == claiming && d.kind != gatewayLost {
		return notServed
	}
	if d.kind == drainMarker && m.stage != draining {
		return ignored // the marker was for this object's predecessor
	}
	return m.add(d, limits)
}

// pushLocal is push for a request from a gateway in this process. An object that is
// draining takes nothing this way, so nothing overtakes its drain marker.
func (m *mailbox) pushLocal(d delivery, limits queueLimits) verdict {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stage != serving {
		return notServed
	}
	return m.add(d, limits)
}

// add is the rest of push, with mu held.
func (m *mailbox) add(d delivery, limits queueLimits) verdict {
	switch {
	case m.has(&d):
		return ignored
	case d.kind == request && tooMany(len(m.queue), limits, m.avgEvent):
		if !isKind(d.msg.Data, wire.Closed) && (!d.byHost || !isKind(d.msg.Data, wire.Forget)) {
			return refused
		}
		if len(m.queue) >= limits.events+objects.MaxSockets {
			return ignored // more ends than there can be sockets
		}
	}
	verdict := queued
	if m.idle() && m.stage != claiming {
		verdict = startLoop
	}
	m.queue = append(m.queue, d)
	return verdict
}

// alwaysWait is how many events may wait for an object, however slow it is: all
// that a gateway sends of one socket before it waits for an answer.
const alwaysWait = wire.FrameWindow

// tooMany reports whether to refuse an event: the queue is full, or at the recent
// pace the event would start after its sender has given up.
func tooMany(waiting int, limits queueLimits, avgEvent time.Duration) bool {
	return waiting >= limits.events || waiting >= alwaysWait && time.Duration(waiting)*avgEvent > limits.wait
}

// isKind reports whether an encoded request is of this kind, which is its first field. Two kinds are never refused,
// because their senders send them only once: the end of a socket, without which the object would keep the socket for
// ever, and the news that a mark is no longer needed.
func isKind(data []byte, kind wire.Kind) bool {
	return len(data) >= 2 && data[0] == 1<<3 && data[1] == byte(kind)
}

// has reports whether a delivery like d waits or is being handled. The answer to a
// request goes to its newest copy then. With mu held.
func (m *mailbox) has(d *delivery) bool {
	if d.kind == request {
		if d.msg.Reply == "" {
			return false
		}
		d.request = wire.RequestOf(d.msg.Reply)
		if m.reply != "" && wire.RequestOf(m.reply) == d.request {
			m.reply = d.msg.Reply
			return true
		}
	}
	for i := range m.queue {
		q := &m.queue[i]
		if q.kind == d.kind && q.gateway == d.gateway && q.request == d.request {
			if d.kind == request {
				q.msg = d.msg
			}
			return true
		}
	}
	return false
}

// newestReply returns where to answer the request in hand, once the answer is decided on: the reply subject of the
// newest copy. Later copies are events of their own.
func (m *mailbox) newestReply(reply string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if reply == "" || m.reply == "" {
		return reply
	}
	newest := m.reply
	m.reply = ""
	return newest
}

// idle reports whether no event loop runs and none is about to. With mu held.
func (m *mailbox) idle() bool { return m.handling == nothing && len(m.queue) == 0 }

// next ends the event in hand and takes the next delivery; its kind is nothing if
// there is none, and the event loop must end.
func (m *mailbox) next(now time.Time) delivery {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.handling != nothing {
		m.avgEvent += (now.Sub(m.used.time()) - m.avgEvent) / 8
	}
	m.used, m.handling, m.reply = instantOf(now), nothing, ""
	if len(m.queue) == 0 || m.stage == gone {
		m.queue = nil
		return delivery{}
	}
	d := m.queue[0]
	m.queue[0] = delivery{}
	m.queue = m.queue[1:]
	m.handling = d.kind
	if d.kind == request {
		m.reply = d.msg.Reply
	}
	return d
}

// empty reports whether nothing waits.
func (m *mailbox) empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue) == 0
}

// begin sets the start of the event in hand to now.
func (m *mailbox) begin(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used = instantOf(now)
}

// current returns the object's stage. With object.mu or mu held.
func (m *mailbox) current() stage { return m.stage }

// advance changes the stage; object.advance alone calls it. It reports whether something waits.
// With object.mu held.
func (m *mailbox) advance(to stage) (waiting bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stage = to
	return len(m.queue) > 0
}

// holdIdle reports whether no event loop runs and none is about to. If so, none begins until the caller has called
// release.
func (m *mailbox) holdIdle() (release func(), idle bool) {
	m.mu.Lock()
	if !m.idle() {
		m.mu.Unlock()
		return nil, false
	}
	return m.mu.Unlock, true
}

// take empties the mailbox.
func (m *mailbox) take() []delivery {
	m.mu.Lock()
	defer m.mu.Unlock()
	queue := m.queue
	m.queue = nil
	return queue
}

// serve notes the token in whose name requests are answered from now on.
func (m *mailbox) serve(token uint64, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.token, m.used = token, instantOf(now)
}

// claimToken returns the token under which the object is or was last served here; 0: none.
func (m *mailbox) claimToken() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.token
}

// activity returns when the object was last used and whether an event loop runs. While one runs, used is when the event
// in hand began.
func (m *mailbox) activity() (stage stage, used time.Time, running bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stage, m.used.time(), !m.idle()
}

// giveWay puts the delivery in hand back, behind the asks of other objects: one of them waits for it. The answer goes
// to the newest copy.
func (m *mailbox) giveWay(d delivery) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d.again = true
	if m.reply != "" {
		copied := *d.msg
		copied.Reply = m.reply
		d.msg = &copied
	}
	m.reply = ""
	m.putBehindAsks(d)
}

// pushBehindAsks adds a delivery of the object's own behind the asks of other objects. The event loop calls it.
func (m *mailbox) pushBehindAsks(d delivery) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = slices.DeleteFunc(m.queue, func(q delivery) bool { return q.kind == d.kind && q.kind != request })
	m.putBehindAsks(d)
}

// putBehindAsks puts a delivery behind the asks of other objects, and before all else. With mu held.
func (m *mailbox) putBehindAsks(d delivery) {
	queue := make([]delivery, 0, len(m.queue)+1)
	for _, first := range []bool{true, false} {
		for _, q := range m.queue {
			if (q.kind == request && q.byHost) == first {
				queue = append(queue, q)
			}
		}
		if first {
			queue = append(queue, d)
		}
	}
	m.queue = queue
}
