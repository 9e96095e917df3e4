package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// What a gateway counts, as its /metrics page begins the lines.
const (
	requestsDone = "holdfast_gateway_requests_total{"
	framesOut    = `holdfast_gateway_frames_total{class="echo",direction="out"`
)

const (
	warm  = time.Second     // from the first operation to the first reading
	meter = 3 * time.Second // between the readings
	spare = 2 * time.Second // the load goes on for this long in case the readings are late
)

// cost runs a load against r, and reads twice in its middle how much processor time the peer
// used and how many operations it counted. So connecting and warming up are not counted. The
// sample also holds the figures of the load.
func (k *kit) cost(ctx context.Context, r *running, counter string, args ...string) (sample, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		figures sample
		err     error
	}
	before, err := read(ctx, r, counter)
	if err != nil {
		return nil, err
	}
	done := make(chan result, 1)
	go func() {
		s, err := k.load(ctx, append(args, "--url", r.url, "--warmup", "0s", "--duration", (warm+meter+spare).String())...)
		done <- result{s, err}
	}()
	took, metered := r.readTwice(ctx, counter, before)
	if metered != nil {
		cancel() // the load need not end by itself
	}
	load := <-done
	if err := errors.Join(metered, load.err); err != nil {
		return nil, err
	}
	load.figures[operation] = took
	return load.figures, nil
}

// readTwice returns the processor time of one operation, in microseconds.
func (r *running) readTwice(ctx context.Context, counter string, idle reading) (float64, error) {
	first := idle
	for first.count == idle.count {
		if err := sleep(ctx, 5*pollEvery); err != nil {
			return 0, err
		}
		var err error
		if first, err = read(ctx, r, counter); err != nil {
			return 0, err
		}
	}
	if err := sleep(ctx, warm); err != nil {
		return 0, err
	}
	first, err := read(ctx, r, counter)
	if err != nil {
		return 0, err
	}
	if err := sleep(ctx, meter); err != nil {
		return 0, err
	}
	last, err := read(ctx, r, counter)
	if err != nil {
		return 0, err
	}
	if last.count == first.count {
		return 0, fmt.Errorf("%s did nothing for %v", r.last().name, meter)
	}
	return float64((last.used - first.used).Microseconds()) / (last.count - first.count), nil
}

// reading is the state of a peer's counters at one moment.
type reading struct {
	used  time.Duration // of processor
	count float64       // of operations
}

func read(ctx context.Context, r *running, counter string) (reading, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.ops+"/metrics", nil)
	if err != nil {
		return reading{}, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return reading{}, fmt.Errorf("read the gateway's counters: %w", err)
	}
	defer res.Body.Close()
	count, err := counterSum(res.Body, counter)
	if err != nil {
		return reading{}, err
	}
	used, err := processorTime(r.pids())
	return reading{used, count}, err
}

// counterSum adds the values of all lines of a page of metrics that begin as counter says.
func counterSum(page io.Reader, counter string) (float64, error) {
	var all float64
	lines := bufio.NewScanner(page)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, counter) {
			continue
		}
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("read the gateway's counters: %q: %w", line, err)
		}
		all += value
	}
	return all, lines.Err()
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
