package app

import (
	"context"
	"encoding/json"

	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"holdfast/gateway"
	"holdfast/internal/bucket"
	"holdfast/internal/link"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host"
)

const (
	replaceAfter = 5 * time.Second        // from a host's death to its replacement
	lastWords    = 150 * time.Millisecond // how long a dying host may still write, beside two round trips
	lateAfter    = 2 * devTTL             // how late its last writes arrive: other hosts own its objects by then
	longestCut   = 30 * time.Second
)

// faults has the hosts of a dev run, and what is broken about them on purpose.
type faults struct {
	d   *devRun
	own *nats.Conn // receives the store's answers

	mu    sync.Mutex // guards what follows
	hosts map[string]*devHost
}

// devHost is a host that can be killed and started again under its name.
type devHost struct {
	region int
	name   string

	// These describe the current life, and are guarded by faults.mu.
	host  *host.Host
	serve *nats.Conn
	state *nats.Conn
	way   *link.Delay // delay of serve
	ink   *link.Delay // delay of state
	inbox string      // prefix of the subjects on which the store answers state
	down  bool        // killed, and not yet raised
}

func newFaults(d *devRun) *faults { return &faults{d: d, hosts: make(map[string]*devHost)} }

// raise starts a region's host for the first time.
func (f *faults) raise(region int, name string) error {
	h := &devHost{region: region, name: name}
	cfg, err := f.connect(h, 0)
	if err != nil {
		return err
	}
	f.hosts[name] = h
	f.d.fleet.addHost(cfg, func() *host.Host {
		f.mu.Lock()
		defer f.mu.Unlock()
		return h.host
	})
	f.run(h)
	return nil
}

// connect makes the host for a new life.
func (f *faults) connect(h *devHost, rtt time.Duration) (host.Config, error) {
	d := f.d
	h.way, h.ink, h.inbox = link.New(rtt), link.New(rtt), wire.InboxPrefix+stateUser+"."+nuid.Next()
	var err error
	if h.serve, err = d.server.Dial(append(connection("host "+h.name+" serve", hostUser, d.p.log), h.way.InProcess(d.server))...); err != nil {
		return host.Config{}, err
	}
	h.state, err = d.server.Dial(append(connection("host "+h.name+" state", stateUser, d.p.log), h.ink.InProcess(d.server), nats.CustomInboxPrefix(h.inbox))...)
	if err != nil {
		h.serve.Close()
		return host.Config{}, err
	}
	cfg := host.Config{
		Name: h.name, Region: d.regions[h.region], Serve: h.serve, State: h.state, Nearby: d.nearby(h.region),
		Memory: d.server.Memory(), Strict: true, Timing: wire.Timing{TTL: devTTL},
	}
	d.hosting.configure(&cfg)
	if h.host, err = d.fleet.newHost(cfg); err != nil {
		h.serve.Close()
		h.state.Close()
		return host.Config{}, err
	}
	return cfg, nil
}

// run runs a host's current life. Its end is a failure of the fleet unless the host was killed.
func (f *faults) run(h *devHost) {
	now, serve, state := h.host, h.serve, h.state
	f.d.fleet.hosts.Go(func() error {
		err := now.Run(f.d.fleet.hosting)
		serve.Close()
		state.Close()
		f.mu.Lock()
		killed := h.down || h.host != now
		f.mu.Unlock()
		if err != nil && !killed {
			f.d.fleet.stop(fmt.Errorf("host %s failed: %w", h.name, err))
		}
		return nil
	})
}

// spread starts the distance of a region's hosts.
func (f *faults) spread(region int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.hosts {
		if h.region == region {
			h.way.Set(f.d.rtts[region])
			h.ink.Set(f.d.rtts[region])
		}
	}
}

// Kill implements gateway.Faults. The last writes of the host are held up, and arrive when other hosts have taken over
// its objects.
func (f *faults) Kill(name string, tell func(gateway.Fault)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.hosts[name]
	switch {
	case h == nil:
		return objects.Errorf(objects.NotFound, "no host of this process is called %.40q", name)
	case h.down:
		return objects.Errorf(objects.Conflict, "%s is down already", name)
	case f.d.fleet.hosting.Err() != nil:
		return objects.Errorf(objects.Unavailable, "everything is stopping")
	}
	refused, err := f.own.SubscribeSync(h.inbox + ".>")
	if err != nil {
		return err
	}
	h.down = true
	killed := time.Now()
	h.ink.HoldSent(killed.Add(lateAfter))
	tell(gateway.Fault{What: "killed", Host: name, At: killed})
	f.d.fleet.hosts.Go(func() error {
		f.endHost(h, killed, refused, tell)
		return nil
	})
	return nil
}

// endHost ends a dying host, reports the store's answer to its last write, and starts a replacement.
func (f *faults) endHost(h *devHost, killed time.Time, refused *nats.Subscription, tell func(gateway.Fault)) {
	ctx := f.d.fleet.hosting
	defer refused.Unsubscribe()
	pause(ctx, lastWords+2*f.d.rtts[h.region])
	h.serve.Close()
	h.state.Close() // writes on their way still travel
	late, cancel := context.WithDeadline(ctx, killed.Add(replaceAfter))
	defer cancel()
	for {
		msg, err := refused.NextMsgWithContext(late)
		if err != nil {
			break // the time is up
		}
		if isRefusal(msg.Data) {
			tell(gateway.Fault{What: "refused", Host: h.name, At: time.Now()})
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for ctx.Err() == nil {
		_, err := f.connect(h, f.d.rtts[h.region])
		if err == nil {
			break
		}
		f.d.p.log.Warn("the killed host cannot be replaced yet", "host", h.name, "err", err)
		pause(ctx, time.Second)
	}
	if ctx.Err() != nil {
		return
	}
	h.down = false
	f.run(h)
	tell(gateway.Fault{What: "replaced", Host: h.name, At: time.Now()})
}

// isRefusal reports whether the store refused a record because another one was written since.
func isRefusal(answer []byte) bool {
	var ack struct {
		Stream string `json:"stream"`
		Error  *struct {
			Code int `json:"err_code"`
		} `json:"error"`
	}
	const wrongLastSequence = 10071
	return json.Unmarshal(answer, &ack) == nil && ack.Error != nil && ack.Error.Code == wrongLastSequence && ack.Stream == bucket.Records().Stream()
}

// Cut implements gateway.Faults.
func (f *faults) Cut(region string, lasts time.Duration) error {
	if lasts <= 0 || lasts > longestCut {
		return objects.Errorf(objects.Invalid, "a cut lasts up to %v, not %v", longestCut, lasts)
	}
	for k, name := range f.d.regions {
		if name != region {
			continue
		}
		until := time.Now().Add(lasts)
		f.d.links[k].Hold(until)
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, h := range f.hosts {
			if h.region == k && !h.down {
				h.way.Hold(until)
				h.ink.Hold(until)
			}
		}
		return nil
	}
	return objects.Errorf(objects.NotFound, "this process has nothing in %.40q", region)
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

var _ gateway.Faults = (*faults)(nil)
