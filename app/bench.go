package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/load"
)

// benchOptions are the flags of the commands under bench. Each command has some of them.
type benchOptions struct {
	url      string
	path     string
	names    int
	clients  int
	most     int
	rate     int
	size     int
	warmup   time.Duration
	duration time.Duration
	sockets  int
	senders  int
	find     bool
	pids     []int
}

func (p *program) benchCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "Put a load on a gateway and measure it",
		Long: "Put a load on whoever answers the demo's routes at --url, Holdfast or not, and\n" +
			"measure it. Without --rate every connection asks again as soon as it was\n" +
			"answered; with it requests are due at that rate, and a latency is counted from\n" +
			"when its request was due.",
		Example: p.examples("bench ticket --connections 64\n" +
			"bench room --sockets 100 --rate 500 --json"),
		SuggestionsMinimumDistance: 2,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			message := fmt.Sprintf("unknown load %q", args[0])
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				return usage(errors.New(message), "did you mean: "+strings.Join(near, ", "))
			}
			return usage(errors.New(message), "see: "+c.CommandPath()+" --help")
		},
	}
	c.AddCommand(p.benchTicket(), p.benchEcho(), p.benchFirst(), p.benchRoom(), p.benchIdle())
	return c
}

// bencher makes one of the commands. do returns the measurement to print.
func (p *program) bencher(use, short, long, examples string, o *benchOptions, do func(ctx context.Context, t load.Target) (any, error)) *cobra.Command {
	var c *cobra.Command
	c = &cobra.Command{
		Use: use, Short: short, Long: long, Example: p.examples(examples), Args: cobra.NoArgs,
		RunE: p.run(func(ctx context.Context, _ []string) error {
			target, err := load.TargetOf(o.url)
			if err != nil {
				return usage(fmt.Errorf("--url %w", err), "")
			}
			if err := o.check(c); err != nil {
				return err
			}
			measured, err := do(ctx, target)
			p.progress("")
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				return unreachable(err, "start one:     "+p.cfg.Name+" dev\nor say where:  --url http://host:8787")
			}
			return p.printMeasured(use, o.url, measured)
		}),
	}
	c.Flags().StringVar(&o.url, "url", "http://localhost:8787", "of the gateway, or of anybody with its routes")
	return c
}

// check refuses values that the command's flags cannot have. Options without a flag are 0.
func (o *benchOptions) check(c *cobra.Command) error {
	counts := map[string]int{"names": o.names, "connections": o.clients, "sockets": o.sockets, "senders": o.senders}
	if c.Flags().Lookup("find") != nil {
		counts["rate"] = o.rate // without messages there is nothing to hear
	}
	for flag, n := range counts {
		if n < 1 && c.Flags().Lookup(flag) != nil {
			return usage(fmt.Errorf("--%s %d: want 1 or more", flag, n), "")
		}
	}
	switch {
	case o.senders > o.sockets:
		return usage(fmt.Errorf("--senders %d: there are %d sockets", o.senders, o.sockets), "")
	case o.most < 0 || o.rate < 0 || o.size < 0:
		return usage(fmt.Errorf("--requests %d, --rate %d and --size %d: want 0 or more", o.most, o.rate, o.size), "")
	case o.warmup < 0 || o.duration < 0:
		return usage(fmt.Errorf("--warmup %v and --duration %v: want no less than 0", o.warmup, o.duration), "")
	}
	return nil
}

// timed adds the flags of a load that runs for some time.
func (o *benchOptions) timed(c *cobra.Command) {
	c.Flags().DurationVar(&o.warmup, "warmup", time.Second, "before anything counts")
	c.Flags().DurationVar(&o.duration, "duration", 5*time.Second, "of what counts")
}

func (o *benchOptions) asking(c *cobra.Command) {
	o.timed(c)
	c.Flags().IntVar(&o.names, "names", 1, "objects that are asked in turns")
	c.Flags().IntVar(&o.clients, "connections", 64, "clients, each with a connection of its own")
	c.Flags().IntVar(&o.most, "requests", 0, "that are made at the most, the warm-up's too; 0: as many as the time allows")
	c.Flags().IntVar(&o.rate, "rate", 0, "requests a second that are due; 0: each client asks again when it was answered")
}

func (o *benchOptions) requests() load.Requests {
	return load.Requests{Path: o.path, Names: o.names, Connections: o.clients, Most: o.most, Rate: o.rate, Warmup: o.warmup, Duration: o.duration}
}

func (p *program) benchTicket() *cobra.Command {
	var o benchOptions
	c := p.bencher("ticket", "Claim tickets", "Claim tickets at counters, and see that none is given twice.",
		"bench ticket --names 1000 --connections 64\nbench ticket --rate 500 --duration 30s", &o,
		func(ctx context.Context, t load.Target) (any, error) {
			r := o.requests()
			r.Tickets = true
			return r.Run(ctx, t)
		})
	o.asking(c)
	c.Flags().StringVar(&o.path, "path", "/ticket/{name}", "of the counters")
	return c
}

func (p *program) benchEcho() *cobra.Command {
	var o benchOptions
	c := p.bencher("echo", "Have objects say something back", "Have objects say something back, and see that they do.",
		"bench echo --connections 64\nbench echo --size 4096 --rate 1000", &o,
		func(ctx context.Context, t load.Target) (any, error) {
			r := o.requests()
			r.Body = []byte(strings.Repeat("e", o.size))
			return r.Run(ctx, t)
		})
	o.asking(c)
	c.Flags().StringVar(&o.path, "path", "/echo/{name}", "of the objects")
	c.Flags().IntVar(&o.size, "size", 32, "bytes of a body; 0: none, and any answer will do")
	return c
}

func (p *program) benchFirst() *cobra.Command {
	var o benchOptions
	c := p.bencher("first", "Make objects", "Claim the first ticket of counters that nobody has asked before.",
		"bench first --connections 1", &o,
		func(ctx context.Context, t load.Target) (any, error) {
			r := o.requests()
			r.Names = 0
			return r.Run(ctx, t)
		})
	o.timed(c)
	c.Flags().IntVar(&o.clients, "connections", 1, "clients, each with a connection of its own")
	c.Flags().StringVar(&o.path, "path", "/ticket/{name}", "of the counters")
	return c
}

func (p *program) benchRoom() *cobra.Command {
	var o benchOptions
	c := p.bencher("room", "Talk in a room", "Open sockets into one room; some send, and all others are to hear it. With --find\n"+
		"the rate is the highest at which all is heard, and 99 of 100 messages in 250 ms.",
		"bench room --sockets 100 --senders 10 --rate 500\nbench room --find", &o,
		func(ctx context.Context, t load.Target) (any, error) {
			r := load.Room{Path: o.path, Sockets: o.sockets, Senders: o.senders, Rate: o.rate, Size: o.size, Warmup: o.warmup, Duration: o.duration}
			if !o.find {
				return r.Run(ctx, t)
			}
			return r.Highest(ctx, t, 250*time.Millisecond, func(h load.Heard, ok bool) {
				verdict := map[bool]string{true: "all heard in time", false: "too many"}[ok]
				p.progress("%d messages a second: %s", h.Rate, verdict)
			})
		})
	o.timed(c)
	c.Flags().StringVar(&o.path, "path", "/room/{name}", "of the room")
	c.Flags().IntVar(&o.sockets, "sockets", 100, "in the room")
	c.Flags().IntVar(&o.senders, "senders", 10, "of them that send")
	c.Flags().IntVar(&o.rate, "rate", 500, "messages a second, of all senders together")
	c.Flags().IntVar(&o.size, "size", 64, "bytes of a message, at the least")
	c.Flags().BoolVar(&o.find, "find", false, "find the highest rate")
	c.MarkFlagsMutuallyExclusive("find", "rate")
	return c
}

func (p *program) benchIdle() *cobra.Command {
	var o benchOptions
	c := p.bencher("idle", "Open sockets that say nothing", "Open sockets into one room that say nothing, and see what they cost the processes\n"+
		"that are named, in memory. Needs Linux, on the machine of those processes.",
		"bench idle --sockets 1000 --pids 4711,4712", &o,
		func(ctx context.Context, t load.Target) (any, error) {
			p.progress("waiting for memory to settle, twice 17 s")
			return load.Idle{Path: o.path, Sockets: o.sockets, PIDs: o.pids}.Run(ctx, t)
		})
	c.Flags().StringVar(&o.path, "path", "/room/{name}", "of the room")
	c.Flags().IntVar(&o.sockets, "sockets", 1000, "in the room")
	c.Flags().IntSliceVar(&o.pids, "pids", nil, "processes whose memory counts")
	_ = c.MarkFlagRequired("pids") // the flag exists
	return c
}

// printMeasured prints a measurement.
func (p *program) printMeasured(work, url string, measured any) error {
	if p.json {
		return p.print(benchReport{true, work, url, measured})
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	switch m := measured.(type) {
	case load.Result:
		printFigures(table, m.Figures, "requests")
		fmt.Fprintf(table, "refused\t%d\nfailed\t%d %s\nduplicates\t%d\n", m.Refused, m.Failed, m.Failure, m.Duplicates)
	case load.Heard:
		printFigures(table, m.Figures, "deliveries")
		fmt.Fprintf(table, "delivered\t%d of %d\nsockets closed\t%d\nmessages due\t%d a second\n", m.Delivered, m.Due, m.Closed, m.Rate)
	case load.Held:
		fmt.Fprintf(table, "before\t%d bytes\nafter\t%d bytes\na socket\t%d bytes\nopened\t%.0f/s\n", m.BeforeBytes, m.AfterBytes, m.BytesPerSocket, m.OpenedPerSecond)
	}
	return table.Flush()
}

func printFigures(to io.Writer, f load.Figures, what string) {
	us := func(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
	fmt.Fprintf(to, "%s\t%d\na second\t%.0f\n", what, f.Requests, f.PerSecond)
	fmt.Fprintf(to, "p50\t%v\np90\t%v\np99\t%v\np99.9\t%v\nmost\t%v\n", us(f.P50), us(f.P90), us(f.P99), us(f.P999), us(f.Max))
}

// benchReport is the JSON form of a measurement.
type benchReport struct {
	OK       bool   `json:"ok"` // true
	Work     string `json:"work"`
	URL      string `json:"url"`
	Measured any    `json:"measured"` // a Result, a Heard or a Held of package load
}
