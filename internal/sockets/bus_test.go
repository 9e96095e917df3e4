package sockets

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// memoryBus is a bus in memory between a hub and one owner. It keeps the order of
// messages. It can be slow, refuse, and lose.
type memoryBus struct {
	far func(msg *nats.Msg) // what the other side does with a message

	work time.Duration // that a subscription has with each message

	there, back chan delivery // closed by nobody; the goroutines end with the context of run

	mu      sync.Mutex // guards what follows
	delay   time.Duration
	refuses bool // publishing and flushing fail, and nothing comes back
	lost    int  // messages there that are lost next
	muted   int  // messages back that are lost next
	sent    int  // messages that have left
	subs    []subscription
	status  []chan nats.Status // who hears that the connection was made again
}

type delivery struct {
	msg *nats.Msg
	at  time.Time
}

var errRefused = errors.New("the bus is down")

// newMemoryBus has room for every message of a test: publishing never waits.
func newMemoryBus(far func(*nats.Msg)) *memoryBus {
	return &memoryBus{far: far, there: make(chan delivery, 1<<16), back: make(chan delivery, 1<<16)}
}

// run delivers until ctx ends. As with NATS each subscription has a goroutine of its
// own, and one that has much to do does not hold up the others.
func (b *memoryBus) run(ctx context.Context) {
	var all sync.WaitGroup
	carry := func(from chan delivery, deliver func(*nats.Msg)) {
		for {
			select {
			case <-ctx.Done():
				return
			case d := <-from:
				time.Sleep(time.Until(d.at))
				deliver(d.msg)
			}
		}
	}
	b.mu.Lock()
	subs := b.subs
	b.mu.Unlock()
	all.Go(func() { carry(b.there, b.far) })
	all.Go(func() {
		carry(b.back, func(msg *nats.Msg) {
			for _, sub := range subs {
				if strings.HasPrefix(msg.Subject, sub.prefix) {
					sub.queue <- delivery{msg, time.Now()}
					return
				}
			}
		})
	})
	for _, sub := range subs {
		all.Go(func() {
			carry(sub.queue, func(msg *nats.Msg) {
				time.Sleep(b.work)
				sub.handler(msg)
			})
		})
	}
	all.Wait()
}

// subscription is one of a memoryBus.
type subscription struct {
	prefix  string
	handler nats.MsgHandler
	queue   chan delivery
}

func (b *memoryBus) Publish(subject string, data []byte) error {
	return b.PublishRequest(subject, "", data)
}

func (b *memoryBus) PublishRequest(subject, reply string, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuses {
		return errRefused
	}
	b.sent++
	if b.lost > 0 {
		b.lost--
		return nil
	}
	b.there <- delivery{&nats.Msg{Subject: subject, Reply: reply, Data: append([]byte(nil), data...)}, time.Now().Add(b.delay)}
	return nil
}

func (b *memoryBus) Subscribe(subject string, handler nats.MsgHandler) (*nats.Subscription, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs = append(b.subs, subscription{strings.TrimRight(subject, ">*"), handler, make(chan delivery, 1<<16)})
	return new(nats.Subscription), nil
}

func (b *memoryBus) FlushWithContext(ctx context.Context) error {
	b.mu.Lock()
	refuses, delay := b.refuses, b.delay
	b.mu.Unlock()
	if refuses {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(2 * delay):
		return nil
	}
}

func (b *memoryBus) StatusChanged(...nats.Status) chan nats.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	status := make(chan nats.Status, 10)
	b.status = append(b.status, status)
	return status
}

func (b *memoryBus) RemoveStatusListener(chan nats.Status) {}

// remake has the bus go on after it has refused, as a connection that was made again.
func (b *memoryBus) remake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuses = false
	for _, status := range b.status {
		status <- nats.CONNECTED
	}
}

// answer sends a message back to the hub.
func (b *memoryBus) answer(msg *nats.Msg) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.refuses:
	case b.muted > 0:
		b.muted--
	default:
		b.back <- delivery{msg, time.Now().Add(b.delay)}
	}
}

// set changes the bus.
func (b *memoryBus) set(change func(b *memoryBus)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b)
}

func (b *memoryBus) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent
}
