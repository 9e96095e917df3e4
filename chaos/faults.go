package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"holdfast/chaos/history"
	"holdfast/chaos/proxy"
	"holdfast/internal/bucket"
)

// fault is one kind of failure that is injected into a world.
type fault struct {
	key, title   string
	nodes        int           // NATS servers
	quick, times int           // injections, with --quick (0: none, unless the fault was asked for) and without
	rate         int           // messages a second of a busy socket; 0: the default
	readers      bool          // clients of the last gateway only read
	busy         int           // busy sockets of each room at each gateway; 0: one
	large        int           // objects of ten megabytes, with a history, every second one a database
	pause        time.Duration // between two injections, once to twice; 0: around a second, after all have answered
	planned      bool          // an operator does it: it may close only the sockets of a gateway
	within       time.Duration // target for the p99 of the gap; 0: none

	// inject causes the failure for the i-th time, repairs it, and fills in the record: victims,
	// and the proof that it happened.
	inject func(ctx context.Context, w *world, r *history.Fault, i int, draw *rand.Rand) error
}

const (
	blip      = 20 * time.Millisecond
	restart   = time.Second // from a death to the next life
	hostCut   = 6 * time.Second
	splitTime = 20 * time.Second
	fullTime  = 5 * time.Second
)

// gatewayCuts are the lengths of a gateway's cut, in turn.
var gatewayCuts = []time.Duration{8 * time.Second, 14 * time.Second, 3 * time.Second, 300 * time.Millisecond}

var faults = []fault{
	{key: "kill", title: "kill -9 of an owner", nodes: 1, quick: 3, times: 25, within: 3500 * time.Millisecond, inject: killOwner},
	{key: "kill-large", title: "kill -9 of an owner, five objects of 10 MB", nodes: 1, times: 50, large: 5, inject: killOwner},
	{key: "freeze", title: "SIGSTOP of an owner for 4-8 s, large objects", nodes: 1, quick: 1, times: 10, large: 2, inject: freezeOwner},
	{key: "freeze-long", title: "SIGSTOP of an owner for 20 s", nodes: 1, quick: 1, times: 3, inject: freezeOwnerLong},
	{key: "restart", title: "SIGTERM of all hosts in turn, busy sockets", nodes: 1, quick: 3, times: 12, rate: 10, busy: 8, planned: true, inject: restartHost},
	{key: "cut-host", title: "a host cut off for 6 s", nodes: 1, quick: 1, times: 4, inject: cutHost((*member).ways, proxy.Cut)},
	{key: "cut-host-up", title: "a host hears and is not heard for 6 s", nodes: 1, times: 4, inject: cutHost((*member).ways, proxy.CutUp)},
	{key: "cut-host-down", title: "a host is heard and does not hear for 6 s", nodes: 1, quick: 1, times: 4, inject: cutHost((*member).ways, proxy.CutDown)},
	{key: "cut-serve", title: "a host's serving connection cut for 6 s", nodes: 1, quick: 1, times: 4, within: 5 * time.Second, inject: cutHost(serving, proxy.Cut)},
	{key: "cut-state", title: "a host's state connection cut for 6 s", nodes: 1, quick: 1, times: 4, inject: cutHost(state, proxy.Cut)},
	{key: "reset-host", title: "20 ms reset of a host's connections", nodes: 1, quick: 10, times: 60, rate: 80, pause: 300 * time.Millisecond, inject: resetHost},
	{key: "reset-gateway", title: "20 ms reset of a gateway's connection", nodes: 1, quick: 10, times: 40, rate: 80, pause: 300 * time.Millisecond, inject: resetGateway},
	{key: "cut-gateway", title: "a gateway cut off for 0.3-14 s", nodes: 1, quick: 2, times: 8, inject: cutGateway},
	{key: "freeze-gateway", title: "SIGSTOP of a gateway for 13 s", nodes: 1, quick: 1, times: 3, inject: freezeGateway},
	{key: "freeze-gateway-2s", title: "SIGSTOP of a gateway while hosts restart", nodes: 1, quick: 1, times: 3, inject: freezeGatewayAtRestart},
	{key: "kill-gateway", title: "kill -9 of a gateway", nodes: 1, quick: 1, times: 6, inject: killGateway},
	{key: "stop-gateway", title: "SIGTERM of a gateway", nodes: 1, quick: 2, times: 9, planned: true, inject: stopGateway},
	{key: "kill-both", title: "kill -9 of a gateway and an owner together", nodes: 1, quick: 1, times: 5, inject: killBoth},
	{key: "kill-nats", title: "kill -9 of the only NATS server, restarted at once", nodes: 1, quick: 1, times: 6, inject: killNATS},
	{key: "full", title: "no room in the store for 5 s", nodes: 1, quick: 3, times: 12, within: 2 * time.Second, inject: fillStore},
	{key: "alarms", title: "the alarms' consumers deleted", nodes: 1, quick: 1, times: 3, inject: deleteConsumers},
	{key: "kill-leader", title: "R3: kill -9 of the leader of objects or leases", nodes: 3, quick: 2, times: 6, inject: killLeader},
	{key: "freeze-leader", title: "R3: SIGSTOP of the leader of objects for 5 s", nodes: 3, times: 4, inject: freezeLeader},
	{key: "stop-nats", title: "R3: SIGTERM of all NATS servers in turn", nodes: 3, quick: 3, times: 6, planned: true, inject: stopNATS},
	{key: "split", title: "R3: a NATS server split off with its clients for 20 s", nodes: 3, quick: 1, times: 3, inject: split},
	{key: "split-late", title: "R3: a split when a lease was acknowledged late, readers on the small side", nodes: 3, times: 5, readers: true, inject: splitLate},
}

// someOwner draws a host that owns an object.
func (w *world) someOwner(draw *rand.Rand) (*member, error) {
	var owners []*member
	for _, h := range w.hosts {
		if len(w.owned(h.name)) > 0 {
			owners = append(owners, h)
		}
	}
	if len(owners) == 0 {
		return nil, errors.New("no host owns an object")
	}
	return owners[draw.IntN(len(owners))], nil
}

func pick[V any](draw *rand.Rand, from []V) V { return from[draw.IntN(len(from))] }

// hits makes a host the victim, and notes its objects as affected.
func (w *world) hits(r *history.Fault, host *member) {
	r.Victims, r.Objects, r.At = []string{host.name}, w.owned(host.name), w.now()
}

func killOwner(ctx context.Context, w *world, r *history.Fault, _ int, draw *rand.Rand) error {
	host, err := w.someOwner(draw)
	if err != nil {
		return err
	}
	w.hits(r, host)
	r.Proof = host.process.kill()
	return w.again(ctx, host)
}

// again starts members whose processes have ended, after a pause.
func (w *world) again(ctx context.Context, dead ...*member) error {
	if err := sleep(ctx, restart); err != nil {
		return err
	}
	for _, m := range dead {
		if err := w.startMember(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

func freezeOwner(ctx context.Context, w *world, r *history.Fault, _ int, draw *rand.Rand) error {
	host, err := w.someOwner(draw)
	if err != nil {
		return err
	}
	w.hits(r, host)
	return frozen(ctx, r, host.process, 4*time.Second+time.Duration(draw.IntN(4000))*time.Millisecond)
}

// freezeOwnerLong freezes an owner for so long that others take over its objects, on a server that
// still counts the owner as connected.
func freezeOwnerLong(ctx context.Context, w *world, r *history.Fault, _ int, draw *rand.Rand) error {
	host, err := w.someOwner(draw)
	if err != nil {
		return err
	}
	w.hits(r, host)
	return frozen(ctx, r, host.process, 20*time.Second)
}

// frozen freezes a process for a time.
func frozen(ctx context.Context, r *history.Fault, p *process, d time.Duration) error {
	proof, err := p.freeze()
	if err != nil {
		return err
	}
	err = sleep(ctx, d)
	r.Proof = fmt.Sprintf("%s for %v", proof, d.Round(time.Millisecond))
	return errors.Join(err, p.thaw())
}

func restartHost(ctx context.Context, w *world, r *history.Fault, i int, _ *rand.Rand) error {
	host := w.hosts[i%hostCount]
	w.hits(r, host)
	return w.restart(ctx, r, host)
}

// restart stops a member as an operator does, and starts it again. A member that does not stop in
// order leaves the proof empty, and does not end the run.
func (w *world) restart(ctx context.Context, r *history.Fault, m *member) error {
	how, err := m.process.terminate()
	if err != nil {
		say("   %v", err)
		how = ""
	}
	r.Proof = how
	return w.startMember(ctx, m)
}

// set changes the state of proxies and returns how many connections they carry.
func set(ways []*proxy.Proxy, s proxy.State) int {
	n := 0
	for _, way := range ways {
		way.Set(s)
		n += way.Stats().Connections
	}
	return n
}

// held returns how many bytes proxies have held back so far.
func held(ways []*proxy.Proxy) int64 {
	var n int64
	for _, way := range ways {
		n += way.Stats().Held
	}
	return n
}

// cut makes proxies hold back bytes for a time.
func cut(ctx context.Context, r *history.Fault, whose string, ways []*proxy.Proxy, s proxy.State, d time.Duration) error {
	before := held(ways)
	n := set(ways, s)
	err := sleep(ctx, d)
	if bytes := held(ways) - before; n > 0 && bytes > 0 {
		r.Proof = fmt.Sprintf("%d connections of %s %s for %v, %d bytes held back", n, whose, s, d, bytes)
	}
	set(ways, proxy.Open)
	return err
}

// cutHost cuts some of a host's connections.
func cutHost(which func(*member) []*proxy.Proxy, s proxy.State) func(context.Context, *world, *history.Fault, int, *rand.Rand) error {
	return func(ctx context.Context, w *world, r *history.Fault, _ int, draw *rand.Rand) error {
		host, err := w.someOwner(draw)
		if err != nil {
			return err
		}
		w.hits(r, host)
		return cut(ctx, r, host.name, which(host), s, hostCut)
	}
}

func serving(m *member) []*proxy.Proxy { return m.serve }
func state(m *member) []*proxy.Proxy   { return m.state }

const (
	renewEvery = time.Second             // how often a host renews its lease
	lateBy     = 1600 * time.Millisecond // so late that the answer comes while the renewal before is still trusted
)

// holdClaims makes the clients that claim wait, or continue.
func (w *world) holdClaims(hold bool) { w.held.Store(hold) }

// renewal waits until a host renews its lease.
func (w *world) renewal(host *member) error {
	renewals, err := w.nc.SubscribeSync(bucket.Leases().Subject(">"))
	if err != nil {
		return fmt.Errorf("watch the leases: %w", err)
	}
	defer renewals.Unsubscribe()
	for {
		m, err := renewals.NextMsg(10 * renewEvery)
		if err != nil {
			return fmt.Errorf("wait until %s renews its lease: %w", host.name, err)
		}
		if strings.Contains(string(m.Data), `"`+host.name+`"`) {
			return nil
		}
	}
}

// reset ends all connections of a member, which cannot connect again for a moment.
func reset(ctx context.Context, r *history.Fault, m *member) error {
	set(m.ways(), proxy.Refusing)
	n := 0
	for _, way := range m.ways() {
		n += way.Reset()
	}
	if n > 0 {
		r.Proof = fmt.Sprintf("%d connections of %s reset", n, m.name)
	}
	err := sleep(ctx, blip)
	set(m.ways(), proxy.Open)
	return err
}

func resetHost(ctx context.Context, w *world, r *history.Fault, _ int, draw *rand.Rand) error {
	host, err := w.someOwner(draw)
	if err != nil {
		return err
	}
	w.hits(r, host)
	return reset(ctx, r, host)
}

func resetGateway(ctx context.Context, w *world, r *history.Fault, _ int, draw *rand.Rand) error {
	g := pick(draw, w.gateways)
	r.Victims = []string{g.name}
	return reset(ctx, r, g)
}

func cutGateway(ctx context.Context, w *world, r *history.Fault, i int, draw *rand.Rand) error {
	g := pick(draw, w.gateways)
	r.Victims, r.Excused = []string{g.name}, []string{g.name}
	return cut(ctx, r, g.name, g.ways(), proxy.Cut, gatewayCuts[i%len(gatewayCuts)])
}

func freezeGateway(ctx context.Context, w *world, r *history.Fault, _ int, draw *rand.Rand) error {
	g := pick(draw, w.gateways)
	r.Victims, r.Excused = []string{g.name}, []string{g.name}
	return frozen(ctx, r, g.process, 13*time.Second)
}

// freezeGatewayAtRestart freezes a gateway for two seconds, in which the hosts are told to stop.
// The new owners have to ask a gateway that does not answer.
func freezeGatewayAtRestart(ctx context.Context, w *world, r *history.Fault, _ int, draw *rand.Rand) error {
	g := pick(draw, w.gateways)
	r.Victims, r.Excused = []string{g.name}, []string{g.name}
	proof, err := g.process.freeze()
	if err != nil {
		return err
	}
	thawed := make(chan error, 1)
	time.AfterFunc(2*time.Second, func() { thawed <- g.process.thaw() })
	var restarts []string
	for _, host := range w.hosts {
		if err := w.restart(ctx, r, host); err != nil {
			return errors.Join(err, <-thawed)
		}
		restarts = append(restarts, r.Proof)
	}
	r.Proof = proof + " for 2 s; " + strings.Join(restarts, "; ")
	return <-thawed
}

func killGateway(ctx context.Context, w *world, r *history.Fault, _ int, draw *rand.Rand) error {
	g := pick(draw, w.gateways)
	r.Victims, r.Gone, r.Excused = []string{g.name}, []string{g.name}, []string{g.name}
	r.Proof = g.process.kill()
	return w.again(ctx, g)
}

func stopGateway(ctx context.Context, w *world, r *history.Fault, i int, _ *rand.Rand) error {
	g := w.gateways[i%gatewayCount]
	r.Victims, r.Gone = []string{g.name}, []string{g.name}
	return w.restart(ctx, r, g)
}

func killBoth(ctx context.Context, w *world, r *history.Fault, _ int, draw *rand.Rand) error {
	room := fmt.Sprintf("r%d", draw.IntN(roomCount))
	host, g := w.owner(room), pick(draw, w.gateways)
	if host == nil {
		return fmt.Errorf("nobody is known to own %s", room)
	}
	w.hits(r, host)
	r.Victims = append(r.Victims, g.name)
	r.Gone, r.Excused = []string{g.name}, []string{g.name}
	r.Proof = host.process.kill() + "; " + g.process.kill()
	return w.again(ctx, host, g)
}

func killNATS(ctx context.Context, w *world, r *history.Fault, _ int, _ *rand.Rand) error {
	n := w.nodes[0]
	r.Victims, r.Proof = []string{n.name}, n.process.kill()
	return w.startNode(ctx, n)
}

// fillStore leaves no room in the bucket of objects for a time. Reads count as successes, so they
// must go on.
func fillStore(ctx context.Context, w *world, r *history.Fault, _ int, _ *rand.Rand) error {
	info, err := w.info(ctx, objectStream)
	if err != nil {
		return err
	}
	cfg := info.Config
	usual := cfg.MaxBytes
	cfg.MaxBytes = int64(info.State.Bytes)
	if _, err := w.js.UpdateStream(ctx, cfg); err != nil {
		return fmt.Errorf("leave no room in %s: %w", objectStream, err)
	}
	r.Victims = []string{objectStream}
	if err := sleep(ctx, fullTime); err != nil {
		return err
	}
	full, err := w.info(ctx, objectStream)
	if err != nil {
		return err
	}
	cfg.MaxBytes = usual
	if _, err := w.js.UpdateStream(ctx, cfg); err != nil {
		return fmt.Errorf("make room in %s: %w", objectStream, err)
	}
	if full.State.Bytes*10 >= uint64(full.Config.MaxBytes)*9 { // hosts refuse writes before it is quite full, and records also shrink
		r.Proof = fmt.Sprintf("%d of at most %d bytes after %v", full.State.Bytes, full.Config.MaxBytes, fullTime)
	}
	return nil
}

// deleteConsumers deletes the consumers that deliver alarms to hosts.
func deleteConsumers(ctx context.Context, w *world, r *history.Fault, _ int, _ *rand.Rand) error {
	stream, err := w.js.Stream(ctx, alarmStream)
	if err != nil {
		return fmt.Errorf("look at %s: %w", alarmStream, err)
	}
	names := stream.ConsumerNames(ctx)
	var deleted []string
	for name := range names.Name() {
		deleted = append(deleted, name)
	}
	if err := names.Err(); err != nil {
		return fmt.Errorf("list the consumers of %s: %w", alarmStream, err)
	}
	for _, name := range deleted {
		if err := stream.DeleteConsumer(ctx, name); err != nil {
			return fmt.Errorf("delete the consumer %s: %w", name, err)
		}
	}
	r.Victims = deleted
	if len(deleted) > 0 {
		r.Proof = strings.Join(deleted, ", ") + " deleted"
	}
	return sleep(ctx, 5*time.Second)
}

func killLeader(ctx context.Context, w *world, r *history.Fault, i int, _ *rand.Rand) error {
	stream := []string{objectStream, leaseStream}[i%2]
	n, err := w.leader(ctx, stream)
	if err != nil {
		return err
	}
	r.Victims, r.At = []string{n.name}, w.now()
	r.Proof = n.process.kill() + ", leader of " + stream
	if err := w.elected(ctx, r, n); err != nil {
		return err
	}
	if err := w.startNode(ctx, n); err != nil {
		return err
	}
	return w.current(ctx)
}

// elected waits until another server leads what the victim has led, and notes when.
func (w *world) elected(ctx context.Context, r *history.Fault, victim *node) error {
	for _, stream := range []string{objectStream, leaseStream, alarmStream} {
		for {
			n, err := w.leader(ctx, stream)
			if err != nil {
				return err
			}
			if n != victim {
				break
			}
			if err := sleep(ctx, pollEvery); err != nil {
				return err
			}
		}
	}
	r.Elected = w.now()
	return nil
}

func freezeLeader(ctx context.Context, w *world, r *history.Fault, _ int, _ *rand.Rand) error {
	n, err := w.leader(ctx, objectStream)
	if err != nil {
		return err
	}
	r.Victims, r.At = []string{n.name}, w.now()
	if err := frozen(ctx, r, n.process, 5*time.Second); err != nil {
		return err
	}
	return w.current(ctx)
}

func stopNATS(ctx context.Context, w *world, r *history.Fault, i int, _ *rand.Rand) error {
	n := w.nodes[i%len(w.nodes)]
	r.Victims, r.At = []string{n.name}, w.now()
	how, err := n.process.terminate()
	if err != nil {
		say("   %v", err)
		how = ""
	}
	r.Proof = how
	if err := w.startNode(ctx, n); err != nil {
		return err
	}
	return w.current(ctx)
}

// split cuts a server off from the others; its clients stay with it.
func split(ctx context.Context, w *world, r *history.Fault, _ int, draw *rand.Rand) error {
	k := draw.IntN(len(w.nodes))
	r.Victims = []string{w.nodes[k].name}
	for _, m := range slices.Concat(w.hosts, w.gateways) {
		if m.serve[k].Stats().Connections > 0 || m.state != nil && m.state[k].Stats().Connections > 0 {
			r.Victims = append(r.Victims, m.name)
			if m.listen != "" {
				r.Excused = append(r.Excused, m.name)
			}
		}
	}
	return w.splitOff(ctx, r, k, splitTime)
}

// splitOff cuts the routes of a server for a while. The victims are the server and its clients.
func (w *world) splitOff(ctx context.Context, r *history.Fault, k int, d time.Duration) error {
	var routes []*proxy.Proxy
	for i, n := range w.nodes {
		for j, route := range n.routes {
			if route != nil && (i == k || j == k) {
				routes = append(routes, route)
			}
		}
	}
	before := held(routes)
	n := set(routes, proxy.Cut)
	err := sleep(ctx, d)
	bytes := held(routes) - before
	set(routes, proxy.Open)
	if n > 0 && bytes > 0 {
		r.Proof = fmt.Sprintf("%d routes of %s cut, with %s, %d bytes held back", n, r.Victims[0], strings.Join(r.Victims[1:], ", "), bytes)
	}
	return err
}

// splitLate splits off a server that leads no stream, with one host and one gateway as its only
// clients. Only readers use the gateway. Shortly before, the answer to a renewal of the host's
// lease is held back for as long as the renewal before is trusted, so the lease was renewed longer
// ago than the host knows. When another host has taken over, the readers must not get answers from
// the first.
func splitLate(ctx context.Context, w *world, r *history.Fault, _ int, draw *rand.Rand) error {
	host, err := w.someOwner(draw)
	if err != nil {
		return err
	}
	k, err := w.follower(ctx)
	if err != nil {
		return err
	}
	g := w.gateways[gatewayCount-1]
	defer set(w.allWays(), proxy.Open)
	if err := w.place(ctx, k, host, g); err != nil {
		return err
	}
	w.hits(r, host)
	r.Victims = []string{w.nodes[k].name, host.name, g.name}
	r.Excused = []string{g.name}
	if err := w.renewal(host); err != nil {
		return err
	}
	w.holdClaims(true) // an owner whose put is not answered also holds back reads
	defer w.holdClaims(false)
	if err := sleep(ctx, renewEvery-100*time.Millisecond); err != nil { // shortly before the next renewal
		return err
	}
	before := held(host.state)
	set(host.state, proxy.CutDown)
	if err := sleep(ctx, lateBy); err != nil {
		return err
	}
	set(host.state, proxy.CutUp) // the host gets the answer, and renews no more
	late := held(host.state) - before
	time.AfterFunc(100*time.Millisecond, func() { w.holdClaims(false) })
	err = w.splitOff(ctx, r, k, hostCut)
	if late == 0 || len(r.Objects) == 0 {
		r.Proof = ""
	}
	return err
}

// follower returns the number of a server that leads neither objects nor leases.
func (w *world) follower(ctx context.Context) (int, error) {
	objects, err := w.leader(ctx, objectStream)
	if err != nil {
		return 0, err
	}
	leases, err := w.leader(ctx, leaseStream)
	if err != nil {
		return 0, err
	}
	return slices.IndexFunc(w.nodes, func(n *node) bool { return n != objects && n != leases }), nil
}

// place makes some members connect to one server and all others to the other servers, and waits
// until the objects answer again. The proxies of all other ways stay closed.
func (w *world) place(ctx context.Context, k int, there ...*member) error {
	for _, m := range slices.Concat(w.hosts, w.gateways) {
		for i := range w.nodes {
			if (i == k) == slices.Contains(there, m) {
				continue
			}
			shut := []*proxy.Proxy{m.serve[i]}
			if m.state != nil {
				shut = append(shut, m.state[i])
			}
			set(shut, proxy.Refusing)
			for _, way := range shut {
				way.Reset()
			}
		}
	}
	if err := sleep(ctx, 2*time.Second); err != nil { // time to connect again
		return err
	}
	w.back(ctx, &history.Fault{Healed: w.now()})
	return ctx.Err()
}

// allWays returns the proxies of all hosts and gateways.
func (w *world) allWays() []*proxy.Proxy {
	var all []*proxy.Proxy
	for _, m := range slices.Concat(w.hosts, w.gateways) {
		all = append(all, m.ways()...)
	}
	return all
}
