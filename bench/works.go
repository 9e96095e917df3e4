package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"holdfast/internal/load"
)

// settings are the settings of one run of `go run ./bench`.
type settings struct {
	Rounds   int           `json:"rounds"`
	Quick    bool          `json:"quick"`
	Warmup   time.Duration `json:"warmupNs"`
	Duration time.Duration `json:"durationNs"`
}

var (
	full  = settings{Rounds: 3, Warmup: time.Second, Duration: 5 * time.Second}
	quick = settings{Rounds: 1, Quick: true, Warmup: 500 * time.Millisecond, Duration: 1500 * time.Millisecond}
)

// timed returns the flags of a load that runs for some time.
func (s settings) timed() []string {
	return []string{"--warmup", s.Warmup.String(), "--duration", s.Duration.String()}
}

// work is one row of the table.
type work struct {
	key, title string
	peers      []string // the peers that are measured, in order
	slow       bool     // not with --quick
	figure     string   // that is shown first
	run        func(ctx context.Context, k *kit, s settings, p peer) (sample, error)
}

// Who takes turns at what. The raw limits know no counters.
var (
	atCounters = []string{"always", "default", "r3", "workerd"}
	atRooms    = []string{"always", "default", "r3", "workerd", "fiber"}
	atEchoes   = []string{"always", "default", "r3", "workerd", "nats", "fiber"}
	atPairs    = []string{"always", "default", "workerd"}
	atIdle     = []string{"always", "default", "split", "r3", "workerd", "fiber"}
)

var works = []work{
	{"hot", "one hot counter, 64 connections", atCounters, false, perSecond, loaded("ticket", "--names", "1", "--connections", "64")},
	{"one", "one hot counter, 1 connection", atCounters, false, perSecond, loaded("ticket", "--names", "1", "--connections", "1")},
	{"many", "1,000 counters, 64 connections", atCounters, false, perSecond, many},
	{"echo", "object echo, 64 connections", atEchoes, false, perSecond, loaded("echo", "--names", "1", "--connections", "64", "--size", "32")},
	{"ask", "an object asks another, both store; 64 pairs, 64 connections", atPairs, false, perSecond, paired("ask", 64, 64)},
	{"tell", "1,000 messages of an object to another, from the request to the last one's effect", atPairs, false, p50, paired("tell", 1, 1)},
	{"fan", "1,000 messages of an object to a thousand others, likewise", atPairs, false, p50, paired("fan", 1, 1)},
	{"first", "first request to a new object", atCounters, false, perSecond, first},
	{"room", "room, 100 sockets, 10 senders, 500 msg/s", atRooms, false, perSecond,
		loaded("room", "--sockets", "100", "--senders", "10", "--rate", "500", "--size", "64")},
	{"find", "room, highest rate with all delivered and p99 < 250 ms", atRooms, true, perSecond, find},
	{"crowd", "1,000 sockets in one room, 10 senders, 50 msg/s", atRooms, true, perSecond,
		loaded("room", "--sockets", "1000", "--senders", "10", "--rate", "50", "--size", "64")},
	{"idle", "memory per idle WebSocket of a relay, all processes together", atIdle, true, perSocket, idleAt("/echo/{name}")},
	{"seat", "memory per idle WebSocket of the demo's room, whose every comer is announced", []string{"always"}, true, perSocket, idleAt("/room/{name}")},
	{"asleep", "memory per hibernated object in the host, of 100,000", []string{"split"}, true, perObject, asleep},
	{"start", "`holdfast dev` from start to ready", []string{"default"}, false, startup, startDev},
}

// loaded starts a peer and runs the load generator against it.
func loaded(args ...string) func(context.Context, *kit, settings, peer) (sample, error) {
	return func(ctx context.Context, k *kit, s settings, p peer) (sample, error) {
		return k.against(ctx, p, slices.Concat(args, s.timed())...)
	}
}

// paired returns a load of what objects ask and tell each other. Ours needs the classes of this program; of workerd's
// objects each call is one.
func paired(work string, names, connections int) func(context.Context, *kit, settings, peer) (sample, error) {
	return func(ctx context.Context, k *kit, s settings, p peer) (sample, error) {
		switch p.key {
		case "always":
			p.raise = raiseServe("--sync", "always")
		case "default":
			p.raise = raiseServe()
		}
		args := []string{"echo", "--path", "/" + work + "/{name}?n=1000", "--size", "0", "--names", strconv.Itoa(names), "--connections", strconv.Itoa(connections)}
		return k.against(ctx, p, slices.Concat(args, s.timed())...)
	}
}

func (k *kit) against(ctx context.Context, p peer, args ...string) (sample, error) {
	r, err := k.start(ctx, p)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	return k.load(ctx, append(args, "--url", r.url)...)
}

// many creates its counters before it measures: creation is a row of its own.
func many(ctx context.Context, k *kit, s settings, p peer) (sample, error) {
	const counters = 1000
	r, err := k.start(ctx, p)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	if _, err := k.touch(ctx, r.url, counters); err != nil {
		return nil, err
	}
	return k.load(ctx, slices.Concat([]string{"ticket", "--url", r.url, "--names", strconv.Itoa(counters), "--connections", "64"}, s.timed())...)
}

func first(ctx context.Context, k *kit, s settings, p peer) (sample, error) {
	return k.against(ctx, p, "first", "--connections", "1", "--warmup", "500ms", "--duration", s.Duration.String())
}

func find(ctx context.Context, k *kit, _ settings, p peer) (sample, error) {
	return k.against(ctx, p, "room", "--sockets", "100", "--senders", "10", "--size", "64", "--find")
}

// idleAt opens idle sockets. Peers offer only a relay at /room; Holdfast's equal of a relay
// is /echo.
func idleAt(path string) func(context.Context, *kit, settings, peer) (sample, error) {
	return func(ctx context.Context, k *kit, _ settings, p peer) (sample, error) {
		r, err := k.start(ctx, p)
		if err != nil {
			return nil, err
		}
		defer r.stop()
		at := path
		if p.key == "workerd" || p.key == "fiber" {
			at = "/room/{name}"
		}
		return k.load(ctx, "idle", "--url", r.url, "--path", at, "--sockets", "1000", "--pids", r.pidList())
	}
}

const starts = 5 // of dev in one round; the median counts

// startDev returns the time from exec to the banner, with an empty store.
func startDev(ctx context.Context, k *kit, _ settings, p peer) (sample, error) {
	var took []float64
	for range starts {
		began := time.Now()
		r, err := k.start(ctx, p)
		if err != nil {
			return nil, err
		}
		took = append(took, float64(time.Since(began))/float64(time.Millisecond))
		r.stop()
	}
	all, _ := spreadOf(took)
	return sample{startup: all.Median, "minMs": all.Min, "maxMs": all.Max}, nil
}

const (
	sleepers = 100_000
	rest     = 30 * time.Second // longer than the ten seconds of hibernation and the time after which free memory is returned
)

// asleep creates objects, lets them hibernate, and measures the memory of the host, and of
// NATS and the host together.
func asleep(ctx context.Context, k *kit, _ settings, p peer) (sample, error) {
	r, err := k.start(ctx, p)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	nats, host := r.pids()[:1], r.pids()[1:2]
	// Memory that the first requests allocate once must not count as the objects'.
	if _, err := k.load(ctx, "ticket", "--url", r.url, "--names", "1", "--connections", "64", "--duration", "2s"); err != nil {
		return nil, err
	}
	before, err := residents(host, nats)
	if err != nil {
		return nil, err
	}
	s, err := k.touch(ctx, r.url, sleepers)
	if err != nil {
		return nil, err
	}
	say("asleep: %d objects are there; waiting %v", sleepers, rest)
	select {
	case <-time.After(rest):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	after, err := residents(host, nats)
	if err != nil {
		return nil, err
	}
	s[perObject] = float64(after[0]-before[0]) / sleepers
	s[allObject] = float64(after[0]+after[1]-before[0]-before[1]) / sleepers
	return s, nil
}

// residents returns the resident memory of each group of processes.
func residents(groups ...[]int) ([]int64, error) {
	var all []int64
	for _, pids := range groups {
		n, err := load.Resident(pids)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

// touch claims a ticket at each of n counters. One in a thousand may be missed.
func (k *kit) touch(ctx context.Context, url string, n int) (sample, error) {
	all := strconv.Itoa(n)
	s, err := k.load(ctx, "ticket", "--url", url, "--names", all, "--requests", all, "--connections", "64", "--warmup", "0s", "--duration", longest.String())
	if err == nil && s["requests"] < 0.999*float64(n) {
		err = fmt.Errorf("%.0f of %d counters were reached, %.0f refused and %.0f failed", s["requests"], n, s["refused"], s["failed"])
	}
	return s, err
}
