package host

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/host/internal/state"
)

// store keeps records. Every write expects the revision that the writer knows; errors
// say whether it may have landed (record.ErrStale, record.ErrRefused, record.ErrDoubt).
// A write that is not answered is in doubt after a time that the store decides on.
type store interface {
	state.Store // entries of large objects, which are not changed any more

	Read(ctx context.Context, key string) (*record.Record, uint64, error)
	Put(ctx context.Context, key string, value []byte, expect uint64) (uint64, error)
	Remove(ctx context.Context, key string, expect uint64) (uint64, error)
	Room() record.Room // for what events write
	Usage() record.Usage
}

// trust is the incarnation's lease. A lease that is not valid may become so again, in a
// new generation. Others may have acted on its end by then.
type trust interface {
	Valid() (generation uint64, valid bool)
	Again() <-chan struct{} // closed when it is valid; never if it is lost
}

// clock wakes objects for their alarms.
type clock interface {
	Set(ctx context.Context, key string, at time.Time) error
	SetAgain(ctx context.Context, key string, at time.Time) error // after a wake-up that came early
	Clear(ctx context.Context, key string) error
	Follow(ctx context.Context, class string, log *slog.Logger, wake func(ctx context.Context, key string) error)
}

// objectClient asks objects, wherever they are owned. *wire.Client is one.
type objectClient interface {
	Do(ctx context.Context, id wire.Address, req *wire.Request) (*wire.Reply, error)
}

// bus carries messages between gateways and hosts. What one goroutine publishes
// arrives in the order of publishing.
type bus interface {
	wire.Publisher

	// Subscribe has what is published to the subject sent to the channel. Of
	// subscriptions with one group, which is not "", one gets each message.
	Subscribe(subject, group string, to chan *nats.Msg) (subscription, error)

	// Flush returns when everything that the server had sent is in its channel, and
	// the server has what was published. ctx needs a deadline.
	Flush(ctx context.Context) error

	// Connected reports whether anything can be heard.
	Connected() bool

	// Connection returns a number that changes whenever the connection is made anew, and when the change was first seen;
	// zero: never.
	Connection(now time.Time) (number uint64, since time.Time)
	// Remade returns a channel that gets a value whenever the connection has been made again, until stop is called.
	Remade() (remade <-chan nats.Status, stop func())
}

// subscription is one channel's interest in one subject.
type subscription interface {
	Unsubscribe()
	Drain() // unsubscribes; what the server has sent already still comes
}

// natsBus is the bus over a connection.
type natsBus struct {
	conn *nats.Conn

	mu    sync.Mutex // guards what follows
	times uint64     // how often the connection had been made anew at the last look
	since time.Time
}

func newNatsBus(conn *nats.Conn) *natsBus {
	return &natsBus{conn: conn, times: conn.Stats().Reconnects}
}

func (b *natsBus) Connection(now time.Time) (number uint64, since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if times := b.conn.Stats().Reconnects; times != b.times {
		b.times, b.since = times, now
	}
	return b.times, b.since
}

func (b *natsBus) Publish(subject string, data []byte) error { return b.conn.Publish(subject, data) }

func (b *natsBus) PublishRequest(subject, reply string, data []byte) error {
	return b.conn.PublishRequest(subject, reply, data)
}

func (b *natsBus) Subscribe(subject, group string, to chan *nats.Msg) (subscription, error) {
	sub, err := b.conn.ChanQueueSubscribe(subject, group, to) // no group: a plain subscription
	if err != nil {
		return nil, err
	}
	return natsSubscription{sub}, nil
}

// natsSubscription is a subscription of natsBus. Its methods fail only when the
// connection has ended, and the subscription with it.
type natsSubscription struct{ sub *nats.Subscription }

func (s natsSubscription) Unsubscribe() { s.sub.Unsubscribe() }

func (s natsSubscription) Drain() { _ = s.sub.Drain() }

func (b *natsBus) Connected() bool { return b.conn.IsConnected() }

func (b *natsBus) Flush(ctx context.Context) error { return b.conn.FlushWithContext(ctx) }
func (b *natsBus) Remade() (remade <-chan nats.Status, stop func()) {
	status := b.conn.StatusChanged(nats.CONNECTED)
	return status, func() { b.conn.RemoveStatusListener(status) }
}
