package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"holdfast/objects"
)

// Runs are kept in a bucket of plain KV: each is written once and then only read.
const (
	runsBucket = "HF_RUNS"
	runsKept   = 7 * 24 * time.Hour
	runsSize   = 64 << 20  // of all runs
	maxRun     = 512 << 10 // of one run; a longer one is not kept
	runsWait   = 3 * time.Second
)

var runPattern = regexp.MustCompile(`^[A-Za-z0-9]{22}$`)

// runs keeps the events of races, so that a link can show a race again.
type runs struct {
	nc *nats.Conn

	mu     sync.Mutex // guards what follows
	opened jetstream.KeyValue
}

// bucket opens the bucket when it is first needed.
func (r *runs) bucket(ctx context.Context) (jetstream.KeyValue, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.opened != nil {
		return r.opened, nil
	}
	js, err := jetstream.New(r.nc)
	if err != nil {
		return nil, err
	}
	kv, err := js.KeyValue(ctx, runsBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: runsBucket, Description: "Holdfast: the events of races", TTL: runsKept, MaxBytes: runsSize, MaxValueSize: maxRun,
		})
		if errors.Is(err, jetstream.ErrBucketExists) { // another gateway was faster
			kv, err = js.KeyValue(ctx, runsBucket)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", runsBucket, err)
	}
	r.opened = kv
	return kv, nil
}

// keep stores the lines of a run and returns the run's name.
func (r *runs) keep(ctx context.Context, lines []byte) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, runsWait)
	defer cancel()
	kv, err := r.bucket(ctx)
	if err != nil {
		return "", err
	}
	id := nuid.Next()
	if _, err := kv.Create(ctx, id, lines); err != nil {
		return "", fmt.Errorf("keep a run: %w", err)
	}
	return id, nil
}

// run answers with the lines of a run as they were streamed.
func (d *demo) run(c *fiber.Ctx) error {
	id := c.Params("id")
	if !runPattern.MatchString(id) {
		return objects.Errorf(objects.NotFound, "no run has this name")
	}
	ctx, cancel := context.WithTimeout(c.UserContext(), runsWait)
	defer cancel()
	kv, err := d.runs.bucket(ctx)
	if err != nil {
		return objects.Errorf(objects.Unavailable, "%v", err)
	}
	entry, err := kv.Get(ctx, id)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return objects.Errorf(objects.NotFound, "this run is not kept any more, or never was: runs are kept for seven days")
	case err != nil:
		return objects.Errorf(objects.Unavailable, "read a run: %v", err)
	}
	c.Set(fiber.HeaderContentType, "application/x-ndjson")
	c.Set(fiber.HeaderCacheControl, "private, max-age=3600, immutable")
	return c.Send(entry.Value())
}

// recording has the lines of a run so far, as long as it is short enough to be kept.
type recording struct {
	lines bytes.Buffer
	full  bool
}

func (r *recording) Write(line []byte) (int, error) {
	if r.full = r.full || r.lines.Len()+len(line) > maxRun; !r.full {
		r.lines.Write(line)
	}
	return len(line), nil
}
