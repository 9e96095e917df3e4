// Package client lets a Go program on the same NATS ask objects: a job, a command, a service of yours. It has no host, no
// gateway and no listener.
//
//	objs, err := client.New(nc, client.Config{Region: "fra"})
//	...
//	n, err := ticket.Claim.Do(ctx, objs.Object(ticket.Tickets, "global"), nil)
//
// A Client is an objects.Caller, as a worker's Env is: Call.Do and Ref.Fetch use it. The context means the same as in a
// worker:
//
//	ctx, cancel := context.WithTimeout(ctx, time.Second)                    // when the answer has to be there
//	ctx = objects.WithIdempotencyKey(ctx, "order-17")                       // one effect, however often it is repeated
//	ctx = objects.WithPrincipal(ctx, objects.Principal{ID: "nightly-job"})  // who asks: the object believes it
//
// So every user of the connection may ask as any principal: the connection is the program's proof of identity, and
// `holdfast nats permissions` prints a NATS user for it. Errors are *objects.Error; objects.CodeOf says whether
// anything happened.
//
// Connect opens a WebSocket of an object. The program holds the WebSocket itself, as a gateway does for its clients.
package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"holdfast/internal/ask"
	"holdfast/internal/sockets"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// DefaultInbox is the inbox of a Client whose Config names none.
const DefaultInbox = "client"

// Client is an objects.Caller over NATS. It is safe for concurrent use.
type Client struct {
	objects.Caller

	region string
	nc     *nats.Conn
	owners *wire.Client
	hub    *sockets.Hub

	mu      sync.Mutex    // guards what follows
	running chan struct{} // closed when the hub's goroutines have ended; nil: no socket was opened yet
	stop    func()
	open    map[*Socket]struct{}
	pipes   map[*pipe]struct{} // connections that the hub serves
	closed  bool
}

// Config configures a Client. Its zero value is usable.
type Config struct {
	// Region is the program's region, "local" by default: an object that nobody owns is claimed by a host of this
	// region, if there is one.
	Region string

	// Request is the longest time that one request takes, 15 s by default, a minute at most. An earlier deadline of the
	// context counts.
	Request time.Duration

	// Inbox is "client" by default: the subjects of the Client's inbox begin with _HF.<Inbox>. It is the name of the
	// program's NATS user, if that is one of `holdfast nats permissions`.
	Inbox string

	Log *slog.Logger // default: none
}

// New makes a Client on a connection. The connection stays the caller's, who closes it; until then the Client receives
// its answers on it. A Client without sockets needs no Close; Close ends the sockets of one that has opened some. One
// Client per connection is enough.
//
// With nats.ReconnectBufSize(-1) the connection buffers nothing while it reconnects: a request that cannot be sent then
// fails with Unavailable instead of Unknown.
func New(nc *nats.Conn, cfg Config) (*Client, error) {
	if nc == nil {
		return nil, errors.New("client: the connection to NATS is nil: pass a connected *nats.Conn")
	}
	if cfg.Region == "" {
		cfg.Region = "local"
	}
	if cfg.Inbox == "" {
		cfg.Inbox = DefaultInbox
	}
	if err := errors.Join(wire.CheckRegion(cfg.Region), wire.CheckInbox(cfg.Inbox)); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	if cfg.Request < 0 || cfg.Request > wire.CopyLife {
		return nil, fmt.Errorf("client: Config.Request is %v, at most %v is allowed", cfg.Request, wire.CopyLife)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	name, timing := wire.NewName(cfg.Inbox), wire.Timing{Request: cfg.Request}.WithDefaults()
	owners, err := wire.NewClient(wire.ClientConfig{NATS: nc, Name: name, Region: cfg.Region, Timing: timing, Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	hub := sockets.New(sockets.Config{
		Name: name, Region: cfg.Region, Frame: objects.MaxFrame, Queue: queue, Timing: timing, Log: cfg.Log,
		Metrics: sockets.NewMetrics(prometheus.NewRegistry()),
	})
	return &Client{Caller: objects.NewCaller(sender(owners)), region: cfg.Region, nc: nc, owners: owners, hub: hub}, nil
}

// sender returns the function that sends the program's requests to owners.
func sender(owners *wire.Client) ask.Transport {
	return func(ctx context.Context, to wire.Address, req *wire.Request) (*wire.Reply, error) {
		if err := ask.Identify(ctx, netip.Addr{}, to, req); err != nil {
			return nil, err
		}
		reply, err := owners.Do(ctx, to, req)
		if err != nil {
			return nil, err
		}
		return reply, reply.Err()
	}
}
