package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"holdfast/embedded"
	"holdfast/internal/bucket"
)

func restartCommand() *cobra.Command {
	var objects, rewrites int
	c := &cobra.Command{
		Use:   "restart",
		Short: "Measure how long a server with many objects takes to start, and its memory, before and after records are put again",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return measureRestart(c.Context(), objects, rewrites) },
	}
	c.Flags().IntVar(&objects, "objects", 1_000_000, "records of 200 bytes")
	c.Flags().IntVar(&rewrites, "rewrites", 1_000_000, "records, taken at random, that are put again: each leaves a hole in the stream")
	return c
}

// restarts is how often a start is measured.
const restarts = 5

// measureRestart fills a stream like that of records, and starts its server again.
func measureRestart(ctx context.Context, objects, rewrites int) error {
	if objects < 1 || rewrites < 0 {
		return errors.New("want at least one object")
	}
	dir, err := os.MkdirTemp("", "bench-restart-")
	if err != nil {
		return fmt.Errorf("make a folder for the server: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a folder that is left over is no error of the measurement
	t := table{head: []string{"records", "put again", "start, the middle one of five", "heap after it"}}
	for _, again := range []int{0, rewrites} {
		if again == 0 {
			err = withServer(ctx, dir, func(js jetstream.JetStream) error { return putRecords(ctx, js, objects, func(i int) int { return i }) })
		} else {
			err = withServer(ctx, dir, func(js jetstream.JetStream) error {
				return putRecords(ctx, js, again, func(int) int { return rand.IntN(objects) })
			})
		}
		if err != nil {
			return err
		}
		var starts []time.Duration
		var heaps []uint64
		records := uint64(0)
		for range restarts {
			began := time.Now()
			err := withServer(ctx, dir, func(js jetstream.JetStream) error {
				stream, err := js.Stream(ctx, bucket.Records().Stream())
				if err != nil {
					return err
				}
				starts = append(starts, time.Since(began))
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				records, heaps = stream.CachedInfo().State.Msgs, append(heaps, m.HeapAlloc>>20)
				return nil
			})
			if err != nil {
				return err
			}
		}
		slices.Sort(starts)
		slices.Sort(heaps)
		took := func(i int) time.Duration { return starts[i].Round(time.Millisecond) }
		t.add(fmt.Sprint(records), fmt.Sprint(again), fmt.Sprintf("%v (%v to %v)", took(restarts/2), took(0), took(restarts-1)),
			fmt.Sprintf("%d MB (%d to %d)", heaps[restarts/2], heaps[0], heaps[restarts-1]))
	}
	fmt.Print(t.markdown())
	return nil
}

func withServer(ctx context.Context, dir string, do func(jetstream.JetStream) error) error {
	server, err := embedded.Start(ctx, embedded.Config{Store: dir})
	if err != nil {
		return err
	}
	defer server.Close()
	nc, err := server.Dial()
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(1000))
	if err != nil {
		return err
	}
	return do(js)
}

// putRecords puts n records of objects.
func putRecords(ctx context.Context, js jetstream.JetStream, n int, object func(int) int) error {
	name := bucket.Records()
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: name.Stream(), Subjects: []string{name.Subject(">")}, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, AllowRollup: true, DenyDelete: true,
	})
	if err != nil {
		return fmt.Errorf("make the stream: %w", err)
	}
	value := make([]byte, 200)
	for i := range n {
		msg := &nats.Msg{Subject: name.Subject(fmt.Sprintf("ticket.%064x", object(i))), Data: value}
		if _, err := js.PublishMsgAsync(msg, jetstream.WithStallWait(time.Minute)); err != nil {
			return fmt.Errorf("put record %d: %w", i, err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
