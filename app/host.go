package app

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"holdfast/internal/link"
	"holdfast/objects"
	"holdfast/objects/host"
)

// hostOptions are the flags of host.
type hostOptions struct {
	nats, state  natsFlags
	region, name string
	replicas     int
	memory       bool
	maxBytes     string
	limit        int64 // maxBytes, parsed
	rtt          string
	hosting      hostFlags
	ops          string
}

func (p *program) hostCommand() *cobra.Command {
	var o hostOptions
	c := &cobra.Command{
		Use:   "host",
		Short: "Run one host, which owns and runs objects, on a NATS that runs already",
		Long: "Run one host, which owns and runs objects of this program's classes, on a NATS\n" +
			"that runs already. On the NATS of `dev` or `nats` it pays the way from its region\n" +
			"to theirs; on any other the distance is what it is.",
		Example: p.examples("host --region iad\nhost --region fra --nats nats://10.0.0.5:4222 --replicas 3"),
		Args:    cobra.NoArgs,
		RunE:    p.run(func(ctx context.Context, _ []string) error { return p.runHost(ctx, o) }),
	}
	f := c.Flags()
	o.nats.add(c)
	o.state.addState(c)
	f.StringVar(&o.region, "region", "", "where this host stands")
	f.StringVar(&o.name, "name", "", "of this host, for people; default: machine and process id")
	f.IntVar(&o.replicas, "replicas", 0, "of the buckets, which are changed to that many; default: as they are, and 1 if this host is the first and makes them")
	f.BoolVar(&o.memory, "memory", false, "make the buckets in memory, if this host is the first and makes them")
	f.StringVar(&o.maxBytes, "max-bytes", "", "most that the records of all objects may take in the store, as 20GiB, also in a bucket that is there; default: what is set already or, for a new one, three quarters of the account's free space")
	f.StringVar(&o.rtt, "rtt", "real", "round trip to the NATS of dev or nats: real (a table), 0, or one for all, as 40ms")
	o.hosting.add(p, c)
	opsFlag(c, &o.ops)
	return c
}

func (p *program) runHost(ctx context.Context, o hostOptions) error {
	began := time.Now()
	setting, err := emulation(o.rtt, o.region)
	if err != nil {
		return err
	}
	if o.replicas < 0 || o.replicas > 5 {
		return usage(fmt.Errorf("--replicas %d: want 1 to 5", o.replicas), "")
	}
	if o.limit, err = parseSize(o.maxBytes); err != nil {
		return usage(fmt.Errorf("--max-bytes %.80q: %w", o.maxBytes, err), "")
	}
	if err := o.hosting.check(); err != nil {
		return err
	}
	if o.name == "" {
		machine, err := os.Hostname()
		if err != nil {
			machine = "host"
		}
		o.name = fmt.Sprintf("%s-%d", machine, os.Getpid())
	}
	f, err := p.newFleet(ctx, o.ops)
	if err != nil {
		return err
	}
	j, err := p.joinAsHost(f, o, setting)
	if err == nil {
		err = awaitHosts(f.ctx, j.nc, []string{o.name}, began)
	}
	if err == nil {
		err = p.printJoined(f, j, map[string]any{"host": o.name}, fmt.Sprintf("host  %s owns %s", o.name, p.classList()))
	}
	if err != nil {
		return f.close(err)
	}
	return f.stopInOrder()
}

// leastStore is the smallest limit of the store: enough for some hundred full objects.
const leastStore = 64 << 20

// parseSize reads a size; "" is 0.
func parseSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := humanize.ParseBytes(s)
	if err == nil && (n < leastStore || n > math.MaxInt64) {
		err = fmt.Errorf("want %s or more", humanize.IBytes(leastStore))
	}
	return int64(n), err
}

func (p *program) joinAsHost(f *fleet, o hostOptions, setting link.Setting) (*joined, error) {
	serve, err := p.join(f, o.nats, o.region, setting, connection("host "+o.name+" serve", hostUser, p.log))
	if err != nil {
		return nil, err
	}
	state, err := p.join(f, o.state.orElse(o.nats), o.region, setting, connection("host "+o.name+" state", stateUser, p.log))
	if err != nil {
		return nil, err
	}
	cfg := host.Config{
		Name: o.name, Region: o.region, Serve: serve.nc, State: state.nc, Replicas: o.replicas, Memory: o.memory, MaxBytes: o.limit,
		Timing: timing(state.nc.ConnectedServerName()),
	}
	o.hosting.configure(&cfg)
	return state, f.host(cfg)
}

// joined is a connection to a NATS that runs already.
type joined struct {
	nc     *nats.Conn
	region string
	rtt    time.Duration // simulated
	stands string        // region of the server, if it is one of ours
}

// join opens a connection and gives it the distance to the server's region.
func (p *program) join(f *fleet, to natsFlags, region string, setting link.Setting, opts []nats.Option) (*joined, error) {
	way := link.New(0)
	nc, err := f.keep(p.dial(f.ctx, to, reachWithin, append(opts, way.Option())...))
	if err != nil {
		return nil, err
	}
	j := &joined{nc: nc, region: region}
	j.rtt, j.stands, err = distance(setting, region, nc.ConnectedServerName())
	way.Set(j.rtt)
	return j, err
}

// printJoined reports on standard output that a gateway or a host has started.
func (p *program) printJoined(f *fleet, j *joined, facts map[string]any, line string) error {
	url := withoutSecrets(j.nc.ConnectedUrl())
	if p.json {
		facts["ok"], facts["region"], facts["nats"], facts["rttMs"] = true, j.region, url, float64(j.rtt)/float64(time.Millisecond)
		f.addOps(facts)
		return p.print(facts)
	}
	way := ""
	if j.rtt > 0 {
		way = fmt.Sprintf(", +%v simulated", j.rtt)
	}
	_, err := fmt.Fprintf(p.stdout, "%s · region %s · NATS %s%s%s\n", line, j.region, url, way, f.opsPhrase())
	return err
}

// hostError turns an error of host.New into one about NATS: New works with nothing else.
func hostError(cfg host.Config, err error) error {
	if _, told := errors.AsType[*objects.Error](err); told {
		return err
	}
	return unreachable(fmt.Errorf("start host %s: %w", cfg.Name, err), "")
}
