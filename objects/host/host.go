package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/alarm"
	"holdfast/objects/host/internal/lease"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
)

// Timing is every duration that gateways and hosts decide by; gateways have the same type. "go doc holdfast/internal/wire.Timing"
// lists them with their defaults.
type Timing = wire.Timing

// Nearby connects the gateways and hosts of one process in one place: requests between them, and the replies, bypass
// NATS. The zero Nearby is ready. Gateways and hosts are given the same one.
type Nearby = wire.Nearby

// Config configures a host. Serve, State and Objects are required.
type Config struct {
	Name    string // for people; default: the machine's name and the process id
	Region  string // default "local"
	Objects []*objects.Implementation

	// Serve is the connection to gateways, State the connection on which records are written. They may lead to the same
	// server. Where users have permissions, only State's may write to buckets: a gateway can give any subject as the
	// one to reply to.
	Serve, State *nats.Conn

	Nearby *Nearby // with gateways of this process in the same place; default: none

	Replicas int   // of the buckets, existing ones too; 0: existing ones keep theirs, new ones have 1
	Memory   bool  // buckets are made in memory
	MaxBytes int64 // of all records, as the store counts them; 0: an existing bucket keeps its limit, a new one has three quarters of what the account has left
	Cache    int   // bytes of parts of large objects that are kept in memory; default 256 MiB
	Queue    int   // events that may wait for one object; default 4096. Beyond it: overloaded

	// PurgeAfter is how long entries that a large object has replaced are kept, in case a server loses the object's
	// last head in a power failure. It has to be longer than the servers' sync_interval; with "sync_interval: always" a
	// second is enough. While the store has no room, and when it refuses a put for want of room, they go at once.
	PurgeAfter time.Duration // 2 min 10 s
	MergeRate  int           // 16 MiB: bytes of large objects that are merged a second, by each of two merges at a time

	// Messages from objects to gateways are kept until they are acknowledged, at most for Timing.Keep. A gateway that
	// asks for one that is not kept closes the object's sockets.
	Window  int // 1 MiB: of one object for one gateway
	Windows int // of all; beyond it the largest window is dropped

	Strict bool // look in one of sixteen events for transactions that other goroutines use; this takes some microseconds

	Timing  Timing
	Log     *slog.Logger          // default: none
	Metrics prometheus.Registerer // default: none
}

// Host runs objects. Make one with New, then Run it once.
type Host struct {
	cfg      Config
	timing   wire.Timing
	terms    lease.Timing
	log      *slog.Logger
	classes  map[string]*engine.Class
	metrics  *metrics
	counters map[string]*classCounters // by class

	cache   *state.Cache
	merging chan struct{} // holds a token for each merge at work

	records *record.Bucket
	leases  *lease.Bucket
	clock   *alarm.Clock
	others  *lease.Others
	current atomic.Pointer[incarnation] // nil: there is none
}

// New opens the buckets, making them if there are none. It waits up to half a minute
// for a cluster that is electing its leaders. It fails when the server is too old
// or has no JetStream, and says which.
func New(ctx context.Context, cfg Config) (*Host, error) {
	h, err := newHost(cfg)
	if err == nil {
		err = wire.CheckPayload(cfg.Serve)
	}
	if err != nil {
		return nil, err
	}
	return h, h.open(ctx)
}

// newHost is New without the buckets.
func newHost(cfg Config) (*Host, error) {
	if cfg.Cache <= 0 {
		cfg.Cache = 256 << 20
	}
	h := &Host{cache: state.NewCache(cfg.Cache), merging: make(chan struct{}, merges), cfg: cfg, timing: cfg.Timing.WithDefaults(), log: cfg.Log, classes: make(map[string]*engine.Class)}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.cfg.Name == "" {
		machine, err := os.Hostname()
		if err != nil {
			machine = "host"
		}
		h.cfg.Name = fmt.Sprintf("%s-%d", machine, os.Getpid())
	}
	if h.cfg.Region == "" {
		h.cfg.Region = "local"
	}
	if err := wire.CheckRegion(h.cfg.Region); err != nil {
		return nil, err
	}
	set := func(n *int, otherwise int) {
		if *n <= 0 {
			*n = otherwise
		}
	}
	set(&h.cfg.Queue, 4096)
	set(&h.cfg.MergeRate, 16<<20)
	h.cfg.PurgeAfter = cmp.Or(h.cfg.PurgeAfter, purgeAfter)
	set(&h.cfg.Window, 1<<20)
	set(&h.cfg.Windows, 64<<20)
	for _, o := range cfg.Objects {
		class := *o.Engine()
		if h.classes[class.Name] != nil {
			return nil, fmt.Errorf("class %s is given twice", class.Name)
		}
		class.Life = class.Life.Or(engine.Life{Hibernate: h.timing.Hibernate, Evict: h.timing.Evict, Queue: h.timing.Silence / 2})
		h.classes[class.Name] = &class
	}
	if h.timing.TTL > lease.LongestTTL {
		return nil, fmt.Errorf("timing: TTL is %v, at most %v", h.timing.TTL, lease.LongestTTL)
	}
	h.terms = lease.Timing{TTL: h.timing.TTL, Margin: h.timing.Margin, Lapse: lapse * h.timing.TTL}
	h.metrics, h.counters = newMetrics(cfg.Metrics, h.cfg.Region), make(map[string]*classCounters)
	for class := range h.classes {
		h.counters[class] = h.metrics.forClass(class)
	}
	return h, nil
}

// lapse is for how many TTLs a host may keep its incarnation while its lease has lapsed: longer than a cluster takes to
// elect a leader.
const lapse = 10

const (
	openWithin = 30 * time.Second // how long New waits for leaders
	openTry    = 5 * time.Second  // for one attempt: a request to a stream without a leader is never answered
)

func (h *Host) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	for {
		err := h.tryOpen(ctx)
		if err == nil || !electing(err) || !wire.Pause(ctx, 250*time.Millisecond) {
			return err
		}
		h.log.Warn("buckets cannot be opened yet; trying again", "err", err)
	}
}

// electing reports whether an error may be over when the cluster has elected its leaders.
func electing(err error) bool {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.Code == http.StatusServiceUnavailable
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse)
}

func (h *Host) tryOpen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTry)
	defer cancel()
	js, err := record.JetStream(ctx, h.cfg.State)
	if err != nil {
		return err
	}
	storage := jetstream.FileStorage
	if h.cfg.Memory {
		storage = jetstream.MemoryStorage
	}
	forRecords, forAlarms, err := record.Space(ctx, js, h.cfg.Memory, h.cfg.Replicas)
	if err != nil {
		return err
	}
	settings := record.Settings{Storage: storage, Replicas: h.cfg.Replicas, MaxBytes: h.cfg.MaxBytes, Default: forRecords, Direct: h.wide}
	if h.records, err = record.Open(ctx, js, settings); err != nil {
		return err
	}
	if h.clock, err = alarm.Open(ctx, js, storage, h.cfg.Replicas, forAlarms); err != nil {
		return err
	}
	h.leases, err = lease.Open(ctx, js, h.cfg.Memory, h.cfg.Replicas, h.terms)
	return err
}

// Run owns and runs objects until ctx ends. Then it finishes the events in hand, releases its objects, so that other
// hosts may claim them at once, and returns nil. While its lease has lapsed, the host answers nothing. If the lease is
// lost, Run drops all objects and starts over as a new incarnation. Run fails if a connection is closed for good, if
// the buckets have gone and NATS has refused for half a minute to make them anew, and if an event has not ended when
// the time for stopping is over: then the process should end. Run returns at most Drain + 2 s after ctx has ended,
// whatever an event does.
func (h *Host) Run(ctx context.Context) error {
	h.others = lease.NewOthers(h.leases, h.terms, h.log)
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	g, following := errgroup.WithContext(following)
	g.Go(func() error {
		h.others.Run(following)
		return nil
	})
	g.Go(func() error {
		h.records.Run(following, h.log)
		return nil
	})
	g.Go(func() error {
		defer stop()
		var unusable time.Time // since when buckets cannot be made, though NATS answers; zero: they can
		for ctx.Err() == nil {
			err := h.make(ctx)
			switch {
			case err == nil:
				unusable = time.Time{}
				err = h.runIncarnation(ctx)
			case electing(err) || !h.cfg.State.IsConnected():
				unusable = time.Time{}
			case unusable.IsZero():
				unusable = time.Now()
			case time.Since(unusable) > openWithin:
				return fmt.Errorf("run the host: its buckets have gone and cannot be made anew: %w", err)
			}
			if h.cfg.State.IsClosed() || h.cfg.Serve.IsClosed() {
				return fmt.Errorf("run the host: its connection to NATS was closed (%w)", errors.Join(err, nats.ErrConnectionClosed))
			}
			if errors.Is(err, errStuck) && ctx.Err() != nil {
				return fmt.Errorf("stop the host: %w", err)
			}
			if err != nil && ctx.Err() == nil {
				h.log.Warn("incarnation ended; starting over", "err", err)
				wire.Pause(ctx, h.timing.TTL/4)
			}
		}
		return nil
	})
	return g.Wait()
}

// wide reports whether every host reads records with parts. Run has begun.
func (h *Host) wide() bool { return h.others.AllRead(record.Version) }

// Ready returns nil while the host holds its lease and takes claims: only then it answers requests for any object of
// its classes.
func (h *Host) Ready() error {
	if in := h.current.Load(); in != nil {
		if _, valid := in.lease.Valid(); valid {
			return in.takesClaims()
		}
	}
	return errors.New("the host holds no lease")
}

// make makes buckets that have gone: buckets in memory go with their server.
func (h *Host) make(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTry)
	defer cancel()
	for _, one := range []interface{ Make(context.Context) error }{h.records, h.clock, h.leases} {
		if err := one.Make(ctx); err != nil {
			return err
		}
	}
	return nil
}

// runIncarnation runs one incarnation. The host owns objects only while this
// function runs.
func (h *Host) runIncarnation(ctx context.Context) error {
	id := nuid.Next()
	info := lease.Info{Host: h.cfg.Name, Region: h.cfg.Region, PID: os.Getpid(), TTL: (h.terms.TTL + time.Millisecond - 1).Milliseconds()}
	info.Classes, info.Reads = slices.Sorted(maps.Keys(h.classes)), record.Version
	h.log.Info("incarnation began", "host", h.cfg.Name, "region", h.cfg.Region, "incarnation", id)
	echo, err := lease.OpenLoop(h.cfg.State, h.cfg.Serve, id)
	if err != nil {
		return err
	}
	defer echo.Close()
	l := lease.Lease{Store: h.leases, Echo: echo, Others: h.others, Timing: h.terms, Log: h.log, Incarnation: id, Info: info}
	return l.Run(ctx, func(ctx context.Context, holder *lease.Holder) error {
		client, err := wire.NewClient(wire.ClientConfig{
			NATS: h.cfg.Serve, Nearby: h.cfg.Nearby, Host: true, Name: id, Region: h.cfg.Region, Timing: h.timing, Log: h.log,
			May: func() bool {
				_, valid := holder.Valid()
				return valid
			},
		})
		if err != nil {
			return err
		}
		defer client.Close()
		in := newIncarnation(h, id)
		in.bus, in.store, in.clock = newNatsBus(h.cfg.Serve), h.records, h.clock
		in.client, in.lease, in.bodies = client, holder, client.Bodies()
		in.live = func(ctx context.Context, other string) bool {
			_, valid := holder.Valid()
			return !valid || h.others.Live(ctx, other) // a host that could not renew its own lease cannot judge others
		}
		in.first, in.ends, in.ended = h.others.First, h.others.Ends, h.others.EndedWithin
		in.wide = h.wide
		h.current.Store(in)
		defer h.current.Store(nil)
		h.others.Await(ctx, h.timing.Silence) // a new object's first commit has a history only when all hosts are known to read it
		err = in.run(ctx)
		if errors.Is(err, lease.ErrLost) {
			h.metrics.leasesLost.Inc()
		}
		return err
	})
}
