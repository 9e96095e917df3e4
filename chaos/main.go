// Command chaos injects faults into Holdfast and counts what its users notice.
//
//	go run ./chaos                     every fault, many times; about half an hour
//	go run ./chaos --quick             every fault once or a few times; about five minutes
//	go run ./chaos --only kill,split   these faults alone
//	go run ./chaos judge DIR           what was kept with --keep DIR, judged again
//	go run ./chaos comeback            1,000 clients whose sockets come back, with restarts and kills
//	go run ./chaos quiet               10,000 rooms that sleep with open sockets, when a host is killed
//
// Each fault has a world of its own: a stock nats-server of the version in go.mod, or three of
// them, three hosts and two gateways, each a process, with a TCP proxy on every connection to
// NATS and on every one between NATS servers. Clients claim and read tickets, set alarms, and
// sit in rooms, where they listen, send numbered messages, or come and go. Faults come in the
// order and at the victims that the seed draws; the machine's own timing is not drawn.
//
// Everything is recorded. The output comes from these records alone (package history), and each
// fault has to prove that it happened: a process has ended, a proxy has held bytes back. When all
// faults of a world are over, a new client calls the roll in every room: an open socket that
// receives nothing of that is deaf. Every counter is read through every gateway.
//
// The exit code is 1 if a target is missed, a fault did not happen, or the run did not end. Targets
// of time depend on the machine: with --times=false a missed one is printed and fails nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"holdfast/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	stop()
	if err != nil {
		say("chaos: %v", err)
		os.Exit(1)
	}
}

// say reports progress to a person.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// options are the flags of a run.
type options struct {
	seed  uint64
	only  []string
	quick bool
	count int // how often each fault is injected; 0: as often as it says
	json  bool
	times bool   // a missed target of time fails the run
	keep  string // folder of histories and logs; empty: they are removed
}

func root() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:           "chaos",
		Short:         "Break Holdfast on purpose and count what its users notice",
		Long:          "Break Holdfast on purpose and count what its users notice. Faults:\n\n" + list(),
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			chosen, err := choose(o.only)
			if err != nil {
				return err
			}
			if o.quick && len(o.only) == 0 {
				chosen = slices.DeleteFunc(chosen, func(f fault) bool { return f.quick == 0 })
			}
			return o.run(c.Context(), chosen)
		},
	}
	f := c.Flags()
	f.Uint64Var(&o.seed, "seed", 1, "draws victims and pauses")
	f.StringSliceVar(&o.only, "only", nil, "faults to inject, as kill,split; default: all")
	f.BoolVar(&o.quick, "quick", false, "each fault once or a few times, about five minutes")
	f.IntVar(&o.count, "count", 0, "how often each fault is injected; 0: as often as it says")
	keepFlag(c, &o)
	c.PersistentFlags().BoolVar(&o.times, "times", true, "fail if a target of time is missed; --times=false for busy machines")
	c.PersistentFlags().BoolVar(&o.json, "json", false, "print the result as JSON")
	c.AddCommand(judgeCommand(&o), plantedCommand(&o), comebackCommand(&o), quietCommand(&o), serveCommand())
	c.CompletionOptions.DisableDefaultCmd = true
	return c
}

// keepFlag adds the flag of a run that may keep what its processes wrote.
func keepFlag(c *cobra.Command, o *options) {
	c.Flags().StringVar(&o.keep, "keep", "", "folder that gets the histories and the logs of all processes")
}

// list returns the faults for the help text.
func list() string {
	var out strings.Builder
	for _, f := range faults {
		fmt.Fprintf(&out, "  %-22s  %s\n", f.key, f.title)
	}
	return out.String()
}

// choose returns the faults of these keys, or all.
func choose(keys []string) ([]fault, error) {
	var chosen []fault
	for _, f := range faults {
		if len(keys) == 0 || slices.Contains(keys, f.key) {
			chosen = append(chosen, f)
		}
	}
	for _, key := range keys {
		if !slices.ContainsFunc(faults, func(f fault) bool { return f.key == key }) {
			return nil, fmt.Errorf("no fault is called %q; there are:\n%s", key, list())
		}
	}
	return chosen, nil
}

// run injects the faults, each in a world of its own, and prints the result.
func (o options) run(ctx context.Context, chosen []fault) error {
	k, err := newKit(ctx, o.keep)
	if err != nil {
		return err
	}
	defer k.close()
	r := k.newReport(ctx, o.seed)
	for i, f := range chosen {
		say("%d of %d: %s", i+1, len(chosen), f.title)
		result, err := k.run(ctx, f, o)
		if err != nil {
			return fmt.Errorf("%s: %w", f.key, err)
		}
		say("   %s", result.line())
		r.Results = append(r.Results, result)
	}
	return r.print(o.json, o.times)
}

// serveCommand runs Holdfast with one more class, as a process of a world.
func serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "serve",
		Short:              "Run a command of Holdfast with the class bell besides, as serve host",
		DisableFlagParsing: true, // they are the other program's
		RunE: func(c *cobra.Command, args []string) error {
			if code := app.Run(c.Context(), served, args, os.Stdout, os.Stderr); code != 0 {
				os.Exit(code) // it has said why
			}
			return nil
		},
	}
}
