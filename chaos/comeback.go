package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"holdfast/chaos/seats"
	hf "holdfast/client"
	"holdfast/objects"
)

// Whether sockets come back: many clients of the JavaScript client sit in rooms that say ten numbers a second, while every
// gateway and every host is restarted, one after the other, and then one of each is killed.

// comeback is a run.
type comeback struct {
	clients, rooms, rate int
	browser, json        bool
}

func comebackCommand(o *options) *cobra.Command {
	var c comeback
	command := &cobra.Command{
		Use:   "comeback",
		Short: "Restart and kill gateways and hosts under clients that come back, and count what they miss",
		Long: `Restart and kill gateways and hosts under clients that come back, and count what they miss.

The clients are clients/js under node (20 or newer), or with --browser in one page of Chromium. All gateways and hosts are restarted one after the other, then one gateway and
one host are killed, each after the last fault is over. Nobody may miss or hear anything twice without a gap event, nobody may become another socket, and a restart may
make no gap event. The longest silence of each client is reported: targets are a p99 of 1 s, 3 s and 4 s.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			c.json = o.json
			return c.run(command.Context(), o)
		},
	}
	keepFlag(command, o)
	command.Flags().IntVar(&c.clients, "clients", 1000, "sockets")
	command.Flags().BoolVar(&c.browser, "browser", false, "the sockets are a page's in Chromium, which allows 255; without it they are node's")
	command.Flags().IntVar(&c.rooms, "rooms", 20, "rooms")
	command.Flags().IntVar(&c.rate, "rate", 10, "messages a second of each room")
	return command
}

// phase is what one fault has cost the clients.
type phase struct {
	Fault string `json:"fault"`

	Open    int `json:"open"`
	Missed  int `json:"missed"`  // without a gap event
	Doubled int `json:"doubled"` // likewise
	Gaps    int `json:"gaps"`    // gap events
	Changed int `json:"changed"` // sockets that are others to their objects
	Behind  int `json:"behind"`  // clients that have not heard what others of their room have
	Got     int `json:"got"`

	P50 int `json:"p50"` // milliseconds: the longest silence of a client
	P99 int `json:"p99"`
	Max int `json:"max"`

	target time.Duration // of P99
	killed bool          // gap events may come
}

// faults returns what is wrong with a phase.
func (p *phase) faults(clients int) (wrong []string) {
	say := func(n int, what string) {
		if n > 0 {
			wrong = append(wrong, fmt.Sprintf("%s: %d %s", p.Fault, n, what))
		}
	}
	say(clients-p.Open, "clients did not come back")
	say(p.Missed, "messages were missed without a gap event")
	say(p.Doubled, "messages came twice")
	say(p.Changed, "sockets are others than they were")
	if !p.killed {
		say(p.Gaps, "gap events in a restart")
	}
	return wrong
}

func (c comeback) run(ctx context.Context, o *options) error {
	k, err := newKit(ctx, o.keep)
	if err != nil {
		return err
	}
	defer k.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var page *pageServer
	if c.browser {
		if page, err = k.servePage(); err != nil {
			return err
		}
		defer page.Close()
		k.origin = page.origin
	}
	f, err := k.newFleet(ctx, k.dir, 1)
	defer f.close()
	if err != nil {
		return err
	}
	var speaking sync.WaitGroup
	defer speaking.Wait()
	speak, quiet := context.WithCancel(ctx)
	defer quiet()
	objs, err := hf.New(f.nc, hf.Config{Region: "fra"})
	if err != nil {
		return err
	}
	for room := range c.rooms {
		speaking.Go(func() { c.speak(speak, objs.Object(seats.Seats, fmt.Sprint("room-", room))) })
	}
	sitting, err := c.sit(ctx, k, f, page)
	if err != nil {
		return err
	}
	defer sitting.end()
	phases, err := c.disturb(ctx, f, sitting)
	if err != nil {
		return err
	}
	quiet()
	return c.print(phases, o.times)
}

// speak has a room say numbers, each once: what may or may not have been said is asked again under its key.
func (c comeback) speak(ctx context.Context, room objects.Ref) {
	tick := time.NewTicker(time.Second / time.Duration(c.rate))
	defer tick.Stop()
	run := nats.NewInbox() // unlike all others
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for ctx.Err() == nil {
			asked, cancel := context.WithTimeout(ctx, patience)
			_, err := seats.Next.Do(objects.WithIdempotencyKey(asked, run+"-"+strconv.Itoa(i)), room, nil)
			cancel()
			if err == nil || objects.CodeOf(err) == objects.Done {
				break
			}
		}
	}
}

// sitters are the clients, in a process of their own.
type sitters interface {
	tell(word string) error // "reset" or "who", which seats.mjs explains
	report() (phase, error)
	end()
}

// sit has clients sit down: in the page, if there is one.
func (c comeback) sit(ctx context.Context, k *kit, f *fleet, page *pageServer) (sitters, error) {
	var urls []string
	for _, g := range f.gateways {
		urls = append(urls, strings.Replace(g.url(), "http", "ws", 1))
	}
	config, err := json.Marshal(map[string]any{"urls": urls, "rooms": c.rooms, "clients": c.clients})
	if err != nil {
		return nil, err
	}
	if page != nil {
		return sitInPage(ctx, page, string(config))
	}
	return sitUnderNode(ctx, k, string(config))
}

// nodeSitters are clients under node.
type nodeSitters struct {
	cmd   *exec.Cmd
	say   io.WriteCloser
	lines *bufio.Scanner
}

func sitUnderNode(ctx context.Context, k *kit, config string) (*nodeSitters, error) {
	s := &nodeSitters{cmd: exec.CommandContext(ctx, "node", "--experimental-websocket", "--no-warnings", filepath.Join(k.root, "chaos", "seats.mjs"), config)}
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if s.say, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	s.lines = bufio.NewScanner(out)
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the clients, which needs node: %w", err)
	}
	return s, nil
}

func (s *nodeSitters) end() {
	_ = s.say.Close() // they end with it
	_ = s.cmd.Wait()  // or with the context
}

func (s *nodeSitters) tell(word string) error {
	_, err := io.WriteString(s.say, word+"\n")
	return err
}

func (s *nodeSitters) report() (p phase, err error) {
	if err := s.tell("report"); err != nil {
		return p, err
	}
	if !s.lines.Scan() {
		return p, errors.Join(errors.New("the clients have ended"), s.lines.Err())
	}
	return p, json.Unmarshal(s.lines.Bytes(), &p)
}

// settled waits until all clients are there and have heard the same, and reports.
func settled(ctx context.Context, s sitters, clients int) (p phase, err error) {
	waited := until(ctx, time.Minute, "all clients are there", func() bool {
		p, err = s.report()
		return err != nil || p.Open == clients && p.Behind < clients/10
	})
	if waited != nil && !errors.Is(waited, errNotInTime) {
		return p, waited
	}
	return p, err
}

// disturb restarts and kills.
func (c comeback) disturb(ctx context.Context, f *fleet, s sitters) (phases []phase, err error) {
	if _, err := settled(ctx, s, c.clients); err != nil {
		return nil, err
	}
	restart := func(m *member) error {
		if _, err := m.process.terminate(); err != nil {
			return err
		}
		return f.startMember(ctx, m)
	}
	kill := func(m *member) error {
		m.process.kill()
		return f.startMember(ctx, m)
	}
	type fault struct {
		name   string
		m      *member
		do     func(*member) error
		target time.Duration
		killed bool
		before time.Duration // what passes before it
	}
	all := []fault{{"nothing", nil, func(*member) error { return nil }, time.Second, false, 0}}
	for _, m := range slices.Concat(f.gateways, f.hosts) {
		all = append(all, fault{m.name + " restarts", m, restart, time.Second, false, 0})
	}
	// Hosts give a killed gateway up after five beats of two seconds. Until then a new owner waits a second for its answer: that is
	// no fault of the host's, so the host is killed later.
	all = append(all, fault{f.gateways[0].name + " is killed", f.gateways[0], kill, 3 * time.Second, true, 0},
		fault{f.hosts[1].name + " is killed", f.hosts[1], kill, 4 * time.Second, true, 12 * time.Second})
	for _, fault := range all {
		if err := errors.Join(sleep(ctx, fault.before), s.tell("reset"), sleep(ctx, time.Second), fault.do(fault.m), sleep(ctx, 3*time.Second), s.tell("who")); err != nil {
			return phases, fmt.Errorf("%s: %w", fault.name, err)
		}
		if err := sleep(ctx, 2*time.Second); err != nil {
			return phases, err
		}
		p, err := settled(ctx, s, c.clients)
		if err != nil {
			return phases, fmt.Errorf("%s: %w", fault.name, err)
		}
		p.Fault, p.target, p.killed = fault.name, fault.target, fault.killed
		say("%-24s %5d open  %d missed  %d doubled  %d gaps  %d changed  silence p50 %d ms, p99 %d ms, max %d ms", p.Fault, p.Open, p.Missed, p.Doubled, p.Gaps, p.Changed, p.P50, p.P99, p.Max)
		phases = append(phases, p)
	}
	return phases, nil
}

func (c comeback) print(phases []phase, times bool) error {
	if c.json {
		if err := json.NewEncoder(os.Stdout).Encode(phases); err != nil {
			return err
		}
	}
	var wrong []string
	for _, p := range phases {
		wrong = append(wrong, p.faults(c.clients)...)
		if late := time.Duration(p.P99) * time.Millisecond; late > p.target {
			text := fmt.Sprintf("%s: the p99 of the silence is %v, want %v", p.Fault, late, p.target)
			if say("%s", text); times {
				wrong = append(wrong, text)
			}
		}
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "\n"))
	}
	return nil
}
