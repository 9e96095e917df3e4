package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/load"
)

// The overload: an object whose event takes a millisecond, and ten times what it can do.
const (
	busyPath    = "/busy/{name}"
	offered     = "10000" // a second; one event at a time, of 1 ms each, is 1,000 at the most
	crowd       = "2000"  // connections: each unanswered request holds one
	overloadFor = 14 * time.Second
)

// strain is the result of the overload.
type strain struct {
	Best      sample `json:"best"`      // the busy object, asked by 64 clients that wait for their answers
	Alone     sample `json:"alone"`     // another object, before
	Overload  sample `json:"overload"`  // the busy object, offered ten times its best
	Meanwhile sample `json:"meanwhile"` // the other object, during that
	Before    int64  `json:"bytesBefore"`
	Most      int64  `json:"bytesMost"`
	After     int64  `json:"bytesAfter"`
}

func overloadCommand(o *outputs) *cobra.Command {
	return &cobra.Command{
		Use:   "overload",
		Short: "Offer one object ten times what it can do, and see what becomes of it and of another",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.with(c.Context(), "overload", func(k *kit, r *report) error {
				s, err := k.overload(c.Context())
				if err != nil {
					return err
				}
				r.Settings = map[string]string{"offered": offered, "connections": crowd, "duration": overloadFor.String(), "work": "1ms"}
				r.Measures = s
				r.sections = []table{s.table()}
				return nil
			})
		},
	}
}

func (k *kit) overload(ctx context.Context) (s strain, err error) {
	r, err := k.start(ctx, shelfPeer)
	if err != nil {
		return s, err
	}
	defer r.stop()
	say("the best of an object that works 1 ms an event")
	if s.Best, err = k.load(ctx, "echo", "--url", r.url, "--path", busyPath, "--size", "0", "--connections", "64", "--warmup", "1s", "--duration", "4s"); err != nil {
		return s, err
	}
	say("another object, alone")
	if s.Alone, err = k.other(ctx, r, overloadFor-5*time.Second); err != nil {
		return s, err
	}
	if s.Before, err = load.Resident(r.pids()); err != nil {
		return s, err
	}
	say("ten times the best, and the other object meanwhile")
	if err = k.both(ctx, r, &s); err != nil {
		return s, err
	}
	if err = sleep(ctx, 2*time.Second); err != nil { // until the last answers have arrived
		return s, err
	}
	s.After, err = load.Resident(r.pids())
	return s, err
}

// other claims tickets at another object, at a low rate.
func (k *kit) other(ctx context.Context, r *running, d time.Duration) (sample, error) {
	return k.load(ctx, "ticket", "--url", r.url, "--rate", "200", "--connections", "8", "--warmup", "1s", "--duration", d.String())
}

// both runs the overload and, in its midst, the other object.
func (k *kit) both(ctx context.Context, r *running, s *strain) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failed error
	var running sync.WaitGroup
	running.Go(func() {
		s.Overload, failed = k.flood(ctx, "echo", "--url", r.url, "--path", busyPath, "--size", "0", "--rate", offered, "--connections", crowd,
			"--warmup", "1s", "--duration", overloadFor.String())
		cancel() // that is all
	})
	var unseen error
	running.Go(func() { s.Most, unseen = watch(ctx, r) })
	var err error
	if err = sleep(ctx, 2*time.Second); err == nil { // until the overload has built up
		s.Meanwhile, err = k.other(ctx, r, overloadFor-5*time.Second)
	}
	running.Wait()
	for _, e := range []error{failed, err, unseen} {
		if e != nil {
			return e
		}
	}
	return nil
}

// watch returns the most memory that the peer had until ctx ended.
func watch(ctx context.Context, r *running) (most int64, err error) {
	for {
		now, err := load.Resident(r.pids())
		if err != nil {
			return most, err
		}
		most = max(most, now)
		if sleep(ctx, 100*time.Millisecond) != nil {
			return most, nil
		}
	}
}

// table compares the strain with the targets of the design.
func (s strain) table() table {
	t := table{head: []string{"what", "without", "at ten times the load", "wanted"}}
	best, now := s.Best[perSecond], s.Overload[perSecond]
	t.add("the busy object, answered", show(perSecond, best), fmt.Sprintf("%s (%.0f %%)", show(perSecond, now), 100*now/best), "at least 80 %")
	t.add("p99 of what was answered", show(p99, s.Best[p99]), show(p99, s.Overload[p99]), "bounded")
	t.add("refused as overloaded", fmt.Sprintf("%.0f", s.Best["refused"]), fmt.Sprintf("%.0f", s.Overload["refused"]), "the rest")
	t.add("failed otherwise", fmt.Sprintf("%.0f", s.Best["failed"]), fmt.Sprintf("%.0f", s.Overload["failed"]), "0")
	t.add("memory", show(perSocket, float64(s.Before)),
		fmt.Sprintf("%s, %s after", show(perSocket, float64(s.Most)), show(perSocket, float64(s.After))), "bounded")
	t.add("p99 of another object", show(p99, s.Alone[p99]),
		fmt.Sprintf("%s (%.1fx)", show(p99, s.Meanwhile[p99]), s.Meanwhile[p99]/s.Alone[p99]), "at most 2x")
	return t
}
