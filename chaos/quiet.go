package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"holdfast/internal/bucket"
	"holdfast/internal/load"
	"holdfast/internal/wire"
)

// What the end of a host costs when a gateway holds sockets in many rooms that sleep: the gateway doubts that it has heard
// everything of them, and has the record of each looked at.

// quiet is a run.
type quiet struct {
	rooms int
	json  bool
}

const (
	quietDialers = 64
	quietRest    = 20 * time.Second // longer than the ten seconds after which a room sleeps
	quietPhase   = 20 * time.Second // longer than a lease, and the looks after it
	quietRate    = 100              // requests a second beside it

	quietNothing = "nothing" // the part without a fault
)

func quietCommand(o *options) *cobra.Command {
	var q quiet
	command := &cobra.Command{
		Use:   "quiet",
		Short: "Kill a host under many rooms that sleep with open sockets, and measure what their gateway does about it",
		Long: `Kill a host under many rooms that sleep with open sockets, and measure what their gateway does about it.

One gateway holds a socket in each of the rooms. When a host ends, the gateway has the record of every room looked at: something that the host sent last may be lost.
Measured, for 20 s without a fault and for 20 s from the kill on: what NATS carries for that, the processor time of the gateway, when the last room was asked for, and the
latency of 100 requests a second for an object of another host through the same gateway. It needs Linux's /proc.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			q.json = o.json
			return q.run(command.Context(), o)
		},
	}
	keepFlag(command, o)
	command.Flags().IntVar(&q.rooms, "rooms", 10_000, "rooms, with a socket each")
	return command
}

// quietPart is what a part of the run has cost.
type quietPart struct {
	What    string       `json:"what"`
	Claims  int64        `json:"claims"`  // questions of gateways to hosts: claims, and whether something is missing
	Reads   int64        `json:"reads"`   // of records
	Puts    int64        `json:"puts"`    // of records
	Acks    int64        `json:"acks"`    // messages of gateways to hosts about streams
	Settled float64      `json:"settled"` // seconds from the beginning to the last question
	First   float64      `json:"first"`   // and to the first
	CPU     float64      `json:"cpu"`     // seconds of the gateway
	Closed  int64        `json:"closed"`  // sockets
	Beside  load.Figures `json:"beside"`
}

func (q quiet) run(ctx context.Context, o *options) error {
	if q.rooms < 1 {
		return errors.New("want at least one room")
	}
	k, err := newKit(ctx, o.keep)
	if err != nil {
		return err
	}
	defer k.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f, err := k.newFleet(ctx, k.dir, 1)
	defer f.close()
	if err != nil {
		return err
	}
	sitting, err := q.sit(ctx, f.gateways[0])
	defer sitting.leave()
	if err != nil {
		return err
	}
	say("%d sockets are open; waiting %v", q.rooms, quietRest)
	if err := sleep(ctx, quietRest); err != nil {
		return err
	}
	var parts []quietPart
	for _, what := range []string{quietNothing, "a host is killed"} {
		p, err := q.measure(ctx, f, sitting, what)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		say("%-17s %d questions from %.1f to %.1f s  %d reads  %d puts  %d messages of gateways  gateway %.2f s of processor  beside p50 %.1f ms, p99 %.1f ms, max %.0f ms  %d closed",
			p.What, p.Claims, p.First, p.Settled, p.Reads, p.Puts, p.Acks, p.CPU, float64(p.Beside.P50)/1e3, float64(p.Beside.P99)/1e3, float64(p.Beside.Max)/1e3, p.Closed)
		parts = append(parts, p)
	}
	if q.json {
		if err := json.NewEncoder(os.Stdout).Encode(parts); err != nil {
			return err
		}
	}
	if p := parts[1]; p.Claims == 0 || p.Closed > 0 {
		return fmt.Errorf("%d of %d rooms were asked for, and %d sockets were closed", p.Claims, q.rooms, p.Closed)
	}
	return nil
}

// quietSitters are the clients in the rooms.
type quietSitters struct {
	reading sync.WaitGroup
	end     context.CancelFunc
	closed  atomic.Int64
}

func (s *quietSitters) leave() {
	s.end()
	s.reading.Wait()
}

// sit opens a socket in each room. Also after an error it returns what is to be left.
func (q quiet) sit(ctx context.Context, g *member) (*quietSitters, error) {
	reading, end := context.WithCancel(ctx)
	s := &quietSitters{end: end}
	rooms := make(chan int)
	failed := make(chan error, quietDialers)
	var dialing sync.WaitGroup
	for range quietDialers {
		dialing.Go(func() {
			for room := range rooms {
				conn, err := dialSeat(ctx, g, room)
				if err != nil {
					failed <- err
					return
				}
				s.reading.Go(func() {
					defer conn.CloseNow()
					for {
						if _, _, err := conn.Read(reading); err != nil {
							s.closed.Add(1)
							return
						}
					}
				})
			}
		})
	}
	var err error
	for room := 0; room < q.rooms && err == nil; room++ {
		select {
		case rooms <- room:
		case err = <-failed:
		}
	}
	close(rooms)
	dialing.Wait()
	if len(failed) > 0 && err == nil {
		err = <-failed
	}
	return s, err
}

// dialSeat opens a socket in a room. Who is told to come later does.
func dialSeat(ctx context.Context, g *member, room int) (conn *websocket.Conn, err error) {
	for try := 1; ; try++ {
		within, cancel := context.WithTimeout(ctx, patience)
		conn, _, err = websocket.Dial(within, strings.Replace(g.url(), "http", "ws", 1)+"/seat/quiet-"+strconv.Itoa(room), nil)
		cancel()
		if err == nil || try == 10 {
			return conn, err
		}
		if err := sleep(ctx, time.Second); err != nil {
			return nil, err
		}
	}
}

// measure has a part of the run happen.
func (q quiet) measure(ctx context.Context, f *fleet, s *quietSitters, what string) (quietPart, error) {
	g := f.gateways[0]
	victim, err := notOwner(ctx, f)
	if err != nil {
		return quietPart{}, err
	}
	target, err := load.TargetOf(g.url())
	if err != nil {
		return quietPart{}, err
	}
	began := time.Now()
	var mu sync.Mutex
	p := quietPart{What: what} // guarded by mu
	records := bucket.Records()
	for subject, n := range map[string]*int64{
		"hf.claim.>":                    &p.Claims,
		records.Reads():                 &p.Reads,
		records.Subject(">"):            &p.Puts,
		wire.LaneInbox("*") + wire.Acks: &p.Acks,
	} {
		sub, err := f.nc.Subscribe(subject, func(*nats.Msg) {
			mu.Lock()
			defer mu.Unlock()
			*n++
			if n != &p.Claims {
				return
			}
			p.Settled = time.Since(began).Seconds()
			if p.Claims == 1 {
				p.First = p.Settled
			}
		})
		if err != nil {
			return quietPart{}, fmt.Errorf("count %s: %w", subject, err)
		}
		defer func() { _ = sub.Unsubscribe() }() // or the connection has ended
	}
	before, err := processorTime(g.process)
	if err = errors.Join(err, f.nc.Flush()); err != nil {
		return quietPart{}, err
	}
	if what != quietNothing {
		victim.process.kill()
	}
	beside, err := load.Requests{Path: besidePath, Names: 1, Connections: 16, Rate: quietRate, Duration: quietPhase}.Run(ctx, target)
	if err != nil {
		return quietPart{}, err
	}
	after, err := processorTime(g.process)
	mu.Lock()
	defer mu.Unlock()
	p.Beside, p.CPU, p.Closed = beside.Figures, (after - before).Seconds(), s.closed.Load()
	return p, err
}

const besidePath = "/ticket/{name}"

// notOwner returns a host that does not own the object that is asked beside.
func notOwner(ctx context.Context, f *fleet) (*member, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.gateways[0].url()+strings.Replace(besidePath, "{name}", "bench-0", 1), nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	res.Body.Close() // nothing was written
	owner, _, _ := strings.Cut(res.Header.Get("Holdfast-Owner"), " (")
	for _, m := range f.hosts {
		if m.name != owner && owner != "" {
			return m, nil
		}
	}
	return nil, fmt.Errorf("nobody says to own the object that is asked beside: %s", res.Status)
}

// processorTime returns how long the process has had a processor.
func processorTime(p *process) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read the processor time of %s: %w", p.name, err)
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("read the processor time of %s: %q", p.name, data)
	}
	var ticks int64
	for _, field := range fields[11:13] { // user and system
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the processor time of %s: %w", p.name, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100, nil // Linux has 100 a second wherever Go runs
}
