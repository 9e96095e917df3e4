package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"holdfast/internal/loopback"
	"holdfast/internal/sockets"
	"holdfast/internal/wire"
)

// Worker adds routes in front of the objects. It runs once for each gateway.
type Worker func(r fiber.Router, env *Env)

// DefaultInbox is the inbox of gateways whose Config names none.
const DefaultInbox = "gateway"

// Peer is a gateway that a browser can reach.
type Peer struct {
	Region string
	City   string // of the region, if known
	URL    string
}

// Faults cause failures on purpose, where all parts run in one process, as in dev.
type Faults interface {
	// Kill ends a host as a crash does, with a write still on its way to the store. A new host takes its place some
	// seconds later. Until then, notify is called with each event, in order.
	Kill(host string, notify func(Fault)) error
	// Cut cuts a region off from all others, for a time.
	Cut(region string, lasts time.Duration) error
}

// Fault is an event that Faults have caused.
type Fault struct {
	What string // "killed", "refused": the store has refused a write of the dead host, "replaced"
	Host string
	At   time.Time
}

// Timing is every duration that gateways and hosts decide by; hosts have the same type. "go doc holdfast/internal/wire.Timing"
// lists them with their defaults.
type Timing = wire.Timing

// Nearby connects the gateways and hosts of one process in one place: requests between them, and the replies, bypass
// NATS. The zero Nearby is ready. Gateways and hosts are given the same one.
type Nearby = wire.Nearby

// Config configures a gateway. NATS is required.
type Config struct {
	Region  string     // default "local"
	Version string     // of the program, for a worker to show
	Inbox   string     // default "gateway": the subjects of its inbox begin with _HF.<Inbox> and _HF.h.<Inbox>
	NATS    *nats.Conn // the caller closes it, after Run. With nats.ReconnectBufSize(-1) a publish fails while the connection is down
	Nearby  *Nearby    // with hosts of this process in the same place; default: none
	Classes []string   // the program's, the only ones that a worker can reach; /readyz waits for a host of any. Default: all can be reached
	Worker  Worker     // default: none
	Peers   []Peer     // gateways that a page may offer; this one is among them

	// Origins are the web origins, as "https://example.org", whose pages may open sockets, send requests of any method
	// and read the answers. The gateway's own pages always may, and so may clients that send no origin, as wscat and
	// curl. On a loopback listener the origins' hosts are names of the gateway, beside localhost and Hosts.
	Origins []string
	Hosts   []string

	// Proxies are the networks of the proxies in front. Only from them X-Forwarded-For is believed for the client's
	// address, and X-Forwarded-Proto for whether the client speaks TLS.
	Proxies []netip.Prefix

	Faults Faults // what a worker can break on purpose; default: nothing

	Limits  Limits
	Idle    time.Duration // 75 s: how long a connection is kept that waits for its next request
	Timing  Timing
	Log     *slog.Logger          // default: none
	Metrics prometheus.Registerer // default: none
}

// Gateway serves HTTP and WebSockets. Make one with New, then Run it once.
type Gateway struct {
	cfg        Config
	timing     wire.Timing
	log        *slog.Logger
	name       string
	client     asker
	hub        *sockets.Hub
	owners     sockets.Owners
	metrics    *metrics
	app        *fiber.App
	trusted    proxies
	origins    origins
	names      []string // names of the gateway on loopback
	loopback   bool     // the gateway listens on loopback; fixed before the first request
	offline    bool     // no socket is held: a test has the other end
	newObjects *newObjects
	streams    streams
	mounts     []string           // where the worker has mounted classes; fixed once New returns
	asking     singleflight.Group // of /readyz

	stopping chan struct{} // closed when the gateway accepts nothing more
}

// asker sends requests to objects' owners. *wire.Client is one.
type asker interface {
	Do(ctx context.Context, to wire.Address, req *wire.Request) (*wire.Reply, error)
	Served(ctx context.Context, class string) error
	Close()
}

// New makes a gateway. Nothing is sent before Run.
func New(cfg Config) (*Gateway, error) {
	if err := wire.CheckPayload(cfg.NATS); err != nil {
		return nil, err
	}
	g, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	client, err := wire.NewClient(wire.ClientConfig{
		NATS: cfg.NATS, Nearby: cfg.Nearby, Name: g.name, Region: g.cfg.Region, Timing: g.timing, Log: g.log,
	})
	if err != nil {
		return nil, err
	}
	g.client = client
	g.owners = client
	g.app = g.routes()
	return g, nil
}

// prepare is New without the connection to objects.
func prepare(cfg Config) (*Gateway, error) {
	if cfg.Region == "" {
		cfg.Region = "local"
	}
	if err := wire.CheckRegion(cfg.Region); err != nil {
		return nil, err
	}
	if cfg.Inbox == "" {
		cfg.Inbox = DefaultInbox
	}
	if err := wire.CheckInbox(cfg.Inbox); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = prometheus.NewRegistry()
	}
	cfg.Limits = cfg.Limits.WithDefaults()
	if cfg.Idle <= 0 {
		cfg.Idle = 75 * time.Second // load balancers keep theirs for 60 s, and must be the first to close
	}
	for _, origin := range cfg.Origins {
		if err := CheckOrigin(origin); err != nil {
			return nil, err
		}
	}
	newObjects, err := newNewObjects(cfg.Limits.NewPer)
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		cfg: cfg, timing: cfg.Timing.WithDefaults(), log: cfg.Log, name: wire.NewName(cfg.Inbox),
		trusted: cfg.Proxies, origins: cfg.Origins, streams: streams{limit: cfg.Limits.Streams, open: make(map[*response]struct{})}, names: append(origins(cfg.Origins).names(), cfg.Hosts...), newObjects: newObjects,
		metrics: newMetrics(cfg.Metrics, cfg.Region), stopping: make(chan struct{}),
	}
	g.hub = sockets.New(sockets.Config{
		Name: g.name, Region: cfg.Region, Frame: cfg.Limits.Frame, Queue: cfg.Limits.Queue,
		Timing: g.timing, Log: g.log, Metrics: g.metrics.sockets,
	})
	return g, nil
}

// Run serves the listener until ctx ends, and closes it. Then it accepts nothing more, closes every socket with 1012
// and lets requests under way finish, all within Timing.Drain, and returns nil. A connection that is busy after that is
// cut.
func (g *Gateway) Run(ctx context.Context, ln net.Listener) error {
	defer g.client.Close()
	g.loopback = loopback.Listener(ln)
	if err := g.hub.Listen(g.cfg.NATS, g.owners); err != nil {
		ln.Close() // nothing was served
		return err
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, running := errgroup.WithContext(work)
	arriving := newConns(ln, g.cfg.Limits, g.trusted)
	group.Go(func() error {
		g.hub.Run(running)
		return nil
	})
	group.Go(func() error {
		if err := g.app.Listener(arriving); err != nil {
			return fmt.Errorf("serve %s: %w", ln.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		defer stop()
		select {
		case <-ctx.Done():
		case <-running.Done():
		}
		return g.drain(ctx, arriving)
	})
	err := group.Wait()
	g.hub.Close()
	g.hub.Bye()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// isStopping reports whether the gateway serves only the requests that are on their way.
func (g *Gateway) isStopping() bool {
	select {
	case <-g.stopping:
		return true
	default:
		return false
	}
}

// Mounts returns the paths at which the worker lets HTTP reach objects, as "/rooms/:name".
func (g *Gateway) Mounts() []string { return slices.Clone(g.mounts) }

// Sockets returns the number of open sockets.
func (g *Gateway) Sockets() int { return g.hub.Open() }

func (g *Gateway) drain(ctx context.Context, arriving *conns) error {
	close(g.stopping)
	began, sockets := time.Now(), g.hub.Open()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.timing.Drain)
	defer cancel()
	var both sync.WaitGroup
	both.Go(func() { g.hub.Drain(ctx) })
	both.Go(g.streams.leave)
	var err error
	both.Go(func() {
		arriving.leave(ctx)
		err = g.app.ShutdownWithContext(ctx)
		arriving.cut()
	})
	both.Wait()
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop serving: %w", err)
	}
	g.log.Info("gateway drained", "region", g.cfg.Region, "sockets", sockets, "ms", time.Since(began).Milliseconds())
	return nil
}
