package app

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"holdfast/objects"
	"holdfast/objects/host"
)

func (p *program) tellsCommand() *cobra.Command {
	return p.objectCommand(&cobra.Command{
		Use:   "tells CLASS/NAME [retry [N] | drop N|all]",
		Short: "Print what an object has told others and what is not delivered",
		Long: "Print what an object has told others, or itself, and what is not delivered yet: on\n" +
			"its way, not due, or parked, because its handler has refused it or has failed too\n" +
			"often. `retry` sends parked messages again, all of them or number N, behind what\n" +
			"was told since; `drop` gives them up for good. The object's owner is asked for\n" +
			"that; an object that nobody owns is claimed for it.",
		Example: p.examples("tells order/7\ntells order/7 retry\ntells order/7 drop 12 --json"),
		Args:    cobra.RangeArgs(1, 3),
	}, func(id objects.ID, name string, more []string) (inspection, error) {
		n, drop, err := parseParked(more)
		return func(ctx context.Context, nc *nats.Conn, in *host.Inspector) error {
			if len(more) == 0 {
				return p.tells(ctx, in, id, name)
			}
			return p.parked(ctx, nc, id, name, n, drop)
		}, err
	})
}

// parseParked returns the action and the number of the parked message; 0 stands for all.
func parseParked(args []string) (n uint64, drop bool, err error) {
	if len(args) == 0 {
		return 0, false, nil
	}
	drop = args[0] == "drop"
	switch {
	case !drop && args[0] != "retry":
		return 0, false, usage(fmt.Errorf("%.80q: want retry or drop", args[0]), "")
	case drop && len(args) == 1:
		return 0, false, usage(fmt.Errorf("drop: want the number of a parked message, or all"), "")
	case len(args) == 1 || args[1] == "all":
		return 0, drop, nil
	}
	if n, err = strconv.ParseUint(args[1], 10, 64); err != nil || n == 0 {
		return 0, false, usage(fmt.Errorf("%.80q: want the number of a parked message", args[1]), "")
	}
	return n, drop, nil
}

// parkedReport is the JSON form of the result of `tells retry` and `tells drop`.
type parkedReport struct {
	OK       bool   `json:"ok"`
	Messages int    `json:"messages"`
	Did      string `json:"did"` // sent again, dropped
}

func (p *program) parked(ctx context.Context, nc *nats.Conn, id objects.ID, name string, n uint64, drop bool) error {
	seen, err := host.Parked(ctx, nc, id, name, n, drop)
	if err != nil {
		return err
	}
	done := parkedReport{true, seen, "sent again"}
	if drop {
		done.Did = "dropped"
	}
	if p.json {
		return p.print(done)
	}
	_, err = fmt.Fprintf(p.stdout, "%s %s\n", count(seen, "parked message"), done.Did)
	return err
}

func (p *program) tells(ctx context.Context, in *host.Inspector, id objects.ID, name string) error {
	info, err := in.Get(ctx, id, name)
	if err != nil {
		return err
	}
	told := host.Told{}
	if info.Told != nil {
		told = *info.Told
	}
	if p.json {
		return p.print(struct {
			OK bool `json:"ok"`
			host.Told
		}{true, told})
	}
	return printTells(p.stdout, told, time.Now())
}

func printTells(w io.Writer, told host.Told, now time.Time) error {
	if len(told.First) == 0 {
		_, err := fmt.Fprintln(w, "nothing is under way")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "N\tSTATE\tTO\tCALL\tKEY\tDUE\tTRIES\tWHY")
	for _, m := range told.First {
		to := shown(m.To)
		if class, _, _ := strings.Cut(m.To, "."); m.Name != "" {
			to = class + "/" + shown(m.Name)
		}
		due := "now"
		switch {
		case m.State == "parked":
			due = "-"
		case m.At.After(now):
			due = humanize.RelTime(m.At, now, "ago", "from now")
		}
		why := "-"
		if m.Code != "" {
			why = shown(m.Code + ": " + m.Message)
		}
		key := "-"
		if m.Key != "" {
			key = shown(m.Key)
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", m.N, m.State, to, shown(m.Call), key, due, m.Tries, why)
	}
	if hidden := told.Sending + told.Timers + told.Parked - len(told.First); hidden > 0 {
		fmt.Fprintf(t, "and %s\n", count(hidden, "more message"))
	}
	return t.Flush()
}
