package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"holdfast/chaos/history"
	"holdfast/internal/planted"
)

// plant is a planted fault of Holdfast, and how the suite finds it.
type plant struct {
	name  string
	fault string // the injected fault that shows it
	times int    // most injections of that fault
	seed  uint64
	seen  func(t history.Tickets, s history.Sockets) int // the numbers of the verdict that show it
}

var plants = []plant{
	{planted.NoFenceName, "kill", 5, 1, func(t history.Tickets, _ history.Sockets) int { return t.Doubled + t.Lost + t.Illegal }},
	{planted.AnswerBeforeCommitName, "cut-state", 2, 1, func(t history.Tickets, _ history.Sockets) int { return t.Doubled + t.Lost + t.Stale }},
	{planted.AnswersForgottenName, "reset-host", 20, 1, func(t history.Tickets, _ history.Sockets) int { return t.Phantom + t.Illegal }},
	{planted.UnnumberedPushName, "reset-gateway", 10, 1, func(_ history.Tickets, s history.Sockets) int { return s.Missed + s.Deaf }},
	{planted.AckBeforePushName, "kill", 3, 1, func(_ history.Tickets, s history.Sockets) int { return s.Missed + s.Deaf }},
	{planted.LeaseFromReplyName, "split-late", 5, 1, func(t history.Tickets, _ history.Sockets) int { return t.Stale + t.Doubled + t.Illegal }},
	{planted.FarewellLostName, "reset-gateway", 3, 1, func(_ history.Tickets, s history.Sockets) int { return s.Untold }},
}

// plantedCommand exists in every build, and works only in one with the tag planted.
func plantedCommand(o *options) *cobra.Command {
	var names []string
	for _, p := range plants {
		names = append(names, p.name)
	}
	return &cobra.Command{
		Use:       "planted [FAULT...]",
		Short:     "Show that planted faults are found; needs go run -tags planted ./chaos planted",
		Args:      cobra.OnlyValidArgs,
		ValidArgs: names,
		RunE: func(c *cobra.Command, args []string) error {
			if !planted.Any {
				return errors.New("nothing is planted in this program; run it with: go run -tags planted ./chaos planted")
			}
			return o.findPlants(c.Context(), args)
		},
	}
}

// findPlants runs a world for every plant of these names, or for all, and fails if one is not
// found.
func (o options) findPlants(ctx context.Context, names []string) error {
	missed := 0
	for _, p := range plants {
		if len(names) > 0 && !slices.Contains(names, p.name) {
			continue
		}
		n, err := o.findPlant(ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		verdict := fmt.Sprintf("found, %d times", n)
		if n == 0 {
			missed++
			verdict = "NOT FOUND"
		}
		fmt.Printf("%-22s in %-14s seed %d: %s\n", p.name, p.fault, p.seed, verdict)
	}
	if missed > 0 {
		return fmt.Errorf("%d planted faults were not found", missed)
	}
	return nil
}

// findPlant returns how often the suite saw a plant.
func (o options) findPlant(ctx context.Context, p plant) (int, error) {
	chosen, err := choose([]string{p.fault})
	if err != nil {
		return 0, err
	}
	f := chosen[0]
	f.times = p.times
	k, err := newKit(ctx, "")
	if err != nil {
		return 0, err
	}
	defer k.close()
	if err := os.Setenv(planted.Variable, p.name); err != nil { // the processes of the world inherit it
		return 0, fmt.Errorf("choose the planted fault: %w", err)
	}
	say("planted: %s", p.name)
	r, err := k.run(ctx, f, options{seed: p.seed})
	if err != nil {
		return 0, err
	}
	say("   %s", r.line())
	return p.seen(r.Tickets, r.Sockets), nil
}
