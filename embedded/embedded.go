// Package embedded runs nats-server with JetStream inside this process.
//
// One call starts it or says why not; nothing is left behind when it does not start. What can
// go wrong is looked at in this order, each with an error of its own type, before the server
// touches anything:
//
//  1. the port is taken: [PortTakenError]
//  2. another process uses the store: [StoreInUseError]
//  3. the store holds a stream whose creation was cut short, which the server would forget at
//     its next restart with everything acknowledged in it since: [TornStoreError]
//
// A [Server] is reached over an in-process connection, and over TCP if it has a port. With
// sync always, what it acknowledged survives loss of power; without, what it acknowledged
// survives the death of the process, not that of the machine.
//
// It asks nobody who they are, unless Users says who there is: with none keep Host on the
// loopback.
//
// [StartCluster] runs several servers as one cluster, for tests.
package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	loopbackAddr = "127.0.0.1"

	startTimeout = time.Minute // longest recovery of a store that is waited for, unless ctx ends sooner

	// A frozen client is noticed after interval x (out + 1); the server's own default is minutes.
	pingInterval = 2 * time.Second
	maxPingsOut  = 2

	maxPayload = 4 << 20 // bytes in one message: a record, a request or a part of a push, with room to spare

	// Each object being committed may have one batch open; the defaults are 50 and 1,000.
	batchesPerStream = 1000
	batchesPerServer = 20000
)

// Config says what to start. The zero value is a server in memory without a port.
type Config struct {
	// Store is the directory for JetStream, made if it is not there. Empty: nothing is to
	// be kept; use memory storage for streams (see [Server.Memory]), and what JetStream
	// writes all the same goes to a temporary directory that Close removes.
	Store string

	// Name is the server's name, "holdfast" by default. In a cluster it must be unique.
	Name string

	// Port is the TCP port for other processes. 0: none, in-process only; -1: a free port.
	Port int

	// Host is what Port is on, 127.0.0.1 by default.
	Host string

	// SyncAlways makes the server sync every write to disk before it acknowledges it. It
	// costs about 0.3 ms per write; without it the disk is synced every two minutes.
	SyncAlways bool

	// PingInterval is how often the server asks a silent client whether it lives; after two
	// pings without an answer it closes the connection. 2 s by default; a plain
	// nats-server asks every 2 minutes.
	PingInterval time.Duration

	// Users are the users who may connect. None: anybody may, and may do everything. With some, [Server.Dial] connects
	// as a further user, who may do everything.
	Users []User

	// Log receives the server's warnings and errors. Nil: they are dropped.
	Log *slog.Logger
}

// User is a user who may connect, with permissions. Subjects may have wildcards.
type User struct {
	Name, Password     string
	Publish, Subscribe []string
}

// insider is the user of the process itself.
const insider = "insider"

// users returns the server's users, and the password of the insider among them.
func (c Config) users() (users []*server.User, password string) {
	if len(c.Users) == 0 {
		return nil, ""
	}
	password = rand.Text()
	for _, u := range c.Users {
		users = append(users, &server.User{Username: u.Name, Password: u.Password, Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: u.Publish}, Subscribe: &server.SubjectPermission{Allow: u.Subscribe},
		}})
	}
	return append(users, &server.User{Username: insider, Password: password}), password
}

// Server is a running nats-server. Its methods may be called at any time, by anyone.
type Server struct {
	ns     *server.Server
	memory bool
	url    string // empty without a port
	inside string // password of the insider; empty: the server has no users

	closing sync.Once
	release func() // gives the store back
}

// Start starts a server and returns when it accepts connections and JetStream is up. It gives
// up when ctx ends, at the latest after a minute. By the time it returns an error nothing of the
// server is left; the recovery of a large store cannot be broken off, so that may take longer.
// Once started, the server no longer depends on ctx.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	return start(ctx, cfg, server.ClusterOpts{}, nil)
}

func start(ctx context.Context, cfg Config, cluster server.ClusterOpts, peers []peer) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start nats-server %s: %w", cfg.Name, err)
	}
	if err := checkPort(cfg.Host, cfg.Port); err != nil {
		return nil, err
	}
	dir, release, err := openStore(cfg.Store)
	if err != nil {
		return nil, err
	}
	opts := cfg.options(dir)
	var inside string
	opts.Users, inside = cfg.users()
	opts.Cluster, opts.Routes = cluster, routes(peers)
	s, err := run(ctx, opts, cfg.Log)
	if err != nil {
		release()
		return nil, fmt.Errorf("start nats-server %s: %w", cfg.Name, err)
	}
	s.memory, s.release, s.inside = cfg.Store == "", release, inside
	return s, nil
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = "holdfast"
	}
	if c.Host == "" {
		c.Host = loopbackAddr
	}
	if c.PingInterval == 0 {
		c.PingInterval = pingInterval
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) options(dir string) *server.Options {
	return &server.Options{
		ServerName:   c.Name,
		Host:         c.Host,
		Port:         c.Port,
		DontListen:   c.Port == 0,
		NoSigs:       true,
		MaxPayload:   maxPayload,
		PingInterval: c.PingInterval,
		MaxPingsOut:  maxPingsOut,
		JetStream:    true,
		StoreDir:     dir,
		SyncAlways:   c.SyncAlways,
		JetStreamLimits: server.JSLimitOpts{
			MaxBatchInflightPerStream: batchesPerStream,
			MaxBatchInflightTotal:     batchesPerServer,
		},
		DisableJetStreamBanner: true,
	}
}

// run brings a server up; on an error it is down again.
func run(ctx context.Context, opts *server.Options, log *slog.Logger) (*Server, error) {
	ns, err := server.NewServer(opts)
	if err != nil {
		return nil, err
	}
	bridge := newBridge(log, opts.ServerName)
	ns.SetLoggerV2(bridge, false, false, false)

	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	started := make(chan struct{})
	go func() { defer close(started); ns.Start() }()
	err = awaitStart(ctx, ns, started, bridge.fatal)
	if err != nil {
		ns.Shutdown()
		<-started
		ns.WaitForShutdown()
		return nil, err
	}
	s := &Server{ns: ns}
	if addr, ok := ns.Addr().(*net.TCPAddr); ok && opts.Port != 0 {
		s.url = "nats://" + net.JoinHostPort(opts.Host, fmt.Sprint(addr.Port))
	}
	return s, nil
}

// awaitStart waits until Start has returned and what it began is up.
func awaitStart(ctx context.Context, ns *server.Server, started <-chan struct{}, fatal <-chan error) error {
	select {
	case <-started:
	case err := <-fatal:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait until it is up: %w", ctx.Err())
	}
	select {
	case err := <-fatal: // the server reports one and carries on
		return err
	default:
	}
	deadline, _ := ctx.Deadline()
	if !ns.ReadyForConnections(time.Until(deadline)) {
		return errors.New("it does not accept connections")
	}
	if !ns.JetStreamEnabled() {
		return errors.New("it came up without JetStream")
	}
	return nil
}

// Dial opens an in-process connection. An option such as another in-process provider, put
// round [Server.InProcessConn], replaces what Dial would use.
func (s *Server) Dial(opts ...nats.Option) (*nats.Conn, error) {
	own := []nats.Option{nats.InProcessServer(s)}
	if s.inside != "" {
		own = append(own, nats.UserInfo(insider, s.inside))
	}
	nc, err := nats.Connect("", append(own, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("dial embedded server %s: %w", s.ns.Name(), err)
	}
	return nc, nil
}

// InProcessConn opens the raw connection that a client library speaks NATS over.
func (s *Server) InProcessConn() (net.Conn, error) { return s.ns.InProcessConn() }

// Name returns the server's name.
func (s *Server) Name() string { return s.ns.Name() }

// URL returns where other processes connect, empty if they cannot.
func (s *Server) URL() string { return s.url }

// Memory reports whether the server was started without a store, so that streams should be
// made with memory storage.
func (s *Server) Memory() bool { return s.memory }

// Close stops the server, waits until it has stopped, and frees the store. Calling it again
// does nothing but wait for the first call.
func (s *Server) Close() {
	s.closing.Do(func() {
		s.ns.Shutdown()
		s.ns.WaitForShutdown()
		s.release()
	})
}

// openStore returns a directory that is this process's alone and fit to start on.
func openStore(store string) (dir string, release func(), err error) {
	if store == "" {
		dir, err := os.MkdirTemp("", "holdfast-memory-")
		if err != nil {
			return "", nil, fmt.Errorf("make temporary store: %w", err)
		}
		return dir, func() { os.RemoveAll(dir) }, nil
	}
	dir, err = filepath.Abs(store)
	if err != nil {
		return "", nil, fmt.Errorf("find store %s: %w", store, err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", nil, fmt.Errorf("make store %s: %w", dir, err)
	}
	release, err = lockStore(dir)
	if err != nil {
		return "", nil, err
	}
	if err := checkStreams(dir); err != nil {
		release()
		return "", nil, err
	}
	return dir, release, nil
}
