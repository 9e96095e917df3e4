// Command bench measures Holdfast against workerd, the engine behind `wrangler dev`, and
// against what the machine can do without either.
//
//	go run ./bench             every work, three rounds; the table and the ratios
//	go run ./bench --quick     one short round, under two minutes, the ratios alone
//	go run ./bench cost        cost of one operation against the size of things, and a plot
//	go run ./bench overload    ten times the load that can be sustained
//	go run ./bench profile     profiles of the hottest works
//
// The client is the same for all peers: `holdfast bench`, built once and started as a process
// of its own. So is each peer, on free ports of the loopback, with a new and empty store for
// every measure, so that no measure pays for an earlier one. Peers take turns: A B
// C, A B C. A ratio divides two figures of the same round, and the median of the ratios
// counts; a machine that is slow for a minute slows both.
//
// Nothing is asserted. A missed target is printed as missed, a failed measure as failed. The exit code says only
// whether the run ended. With --write, the
// figures go to bench/results and the tables to docs/performance.md.
//
// Every process that is started is in a group of its own, and is killed when its measure or
// the run ends, also by Ctrl-C.
//
// workerd syncs each commit to disk, so the column to compare it with is Holdfast with sync
// always. Memory and processor time are read from Linux's /proc.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil {
		err = errors.New("interrupted; nothing was kept")
	}
	stop()
	if err != nil {
		say("bench: %v", err)
		os.Exit(1)
	}
}

// outputs are the flags common to all runs.
type outputs struct{ json, write bool }

func root() *cobra.Command {
	var o outputs
	var only []string
	var rounds int
	var isQuick bool
	c := &cobra.Command{
		Use:           "bench",
		Short:         "Measure Holdfast against workerd and the raw limits",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			s := full
			if isQuick {
				s = quick
			}
			if c.Flags().Changed("rounds") {
				s.Rounds = rounds
			}
			if s.Rounds < 1 {
				return fmt.Errorf("--rounds %d: want at least 1", s.Rounds)
			}
			return compare(c.Context(), s, only, o)
		},
	}
	c.PersistentFlags().BoolVar(&o.json, "json", false, "print the results as JSON")
	c.PersistentFlags().BoolVar(&o.write, "write", false, "keep the results in bench/results and docs")
	c.Flags().IntVar(&rounds, "rounds", full.Rounds, "how often each peer takes its turn")
	c.Flags().BoolVar(&isQuick, "quick", false, "one short round without R3 and the slow works; prints the ratios alone")
	c.Flags().StringSliceVar(&only, "only", nil, "peers and works, as always,workerd,hot; default: all")
	c.AddCommand(sqlCommand(&o), costCommand(&o), overloadCommand(&o), profileCommand(), stateCommand(), restartCommand(), rawCommand(), serveCommand())
	c.CompletionOptions.DisableDefaultCmd = true
	return c
}

// with makes a kit and a report, lets fn fill the report, prints the report and keeps it.
func (o outputs) with(ctx context.Context, kind string, fn func(*kit, *report) error) error {
	k, err := newKit(ctx)
	if err != nil {
		return err
	}
	defer k.close()
	r, err := k.newReport(ctx, kind)
	if err != nil {
		return err
	}
	if err := fn(k, r); err != nil {
		return err
	}
	if err := r.tell(o.json); err != nil {
		return err
	}
	if !o.write {
		return nil
	}
	return r.keep()
}
