package kvfoil

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	firstPause   = 5 * time.Millisecond   // about the time of a few compare-and-sets on a cluster of three
	longestPause = 500 * time.Millisecond // bounded, because a visitor waits for the race

	readAgain = 5 * time.Second       // how long a read is repeated that no server takes: an election
	readPause = 50 * time.Millisecond // between two of them
)

// claim is one run of one counter and the record of what it did. One goroutine
// uses it.
type claim struct {
	foil *Foil
	kind kind
	name string
	key  string
	gap  time.Duration

	result Result
}

func (f *Foil) claim(k kind, name string, gap time.Duration) (*claim, error) {
	if err := errors.Join(checkName(name), checkGap(gap)); err != nil {
		return nil, fmt.Errorf("claim %s: %w", k, err)
	}
	return &claim{foil: f, kind: k, name: name, key: k.key(name), gap: gap}, nil
}

// get reads the value from the edge if its cache may be asked and has it, or else
// from whichever replica answers first, as any KV client does.
func (c *claim) get(ctx context.Context, edge Edge) (int, error) {
	if edge.CacheTTL < 0 || edge.CacheTTL > MaxCacheTTL {
		return 0, c.failed("read", fmt.Errorf("%w cache ttl: %v, must be between 0 and %v", ErrInvalid, edge.CacheTTL, MaxCacheTTL))
	}
	if n, ok := c.foil.edge.lookup(c.key, edge.CacheTTL, time.Now()); ok {
		c.noteRead(n, true)
		return n, nil
	}
	if err := c.reachable(ctx); err != nil {
		return 0, c.failed("read", err)
	}
	n, err := c.stored(ctx)
	if err != nil {
		return 0, c.failed("read", err)
	}
	c.foil.edge.remember(c.key, n, time.Now())
	c.noteRead(n, false)
	return n, nil
}

// stored reads the value.
func (c *claim) stored(ctx context.Context) (int, error) {
	kve, err := readTaken(ctx, func() (jetstream.KeyValueEntry, error) { return c.foil.kv.Get(ctx, c.key) })
	switch {
	case err == nil:
		return decode(kve.Value())
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return 0, nil
	default:
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
}

// readTaken reads until a server takes the read. A server of a cluster may not have learned yet which of the others
// keeps a bucket that was just made, or that it was made, and nobody keeps one while its leader is elected. Such a read
// is made again for a few seconds, as a write is by the jetstream client.
func readTaken[T any](ctx context.Context, read func() (T, error)) (T, error) {
	for end := time.Now().Add(readAgain); ; {
		v, err := read()
		taken := !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, jetstream.ErrStreamNotFound)
		if taken || time.Now().After(end) || pause(ctx, readPause) != nil {
			return v, err
		}
	}
}

// getRevision reads the value and its revision from the leader, so that a
// compare-and-set is refused only for a write that really came between.
// A counter that does not exist is 0 at revision 0.
func (c *claim) getRevision(ctx context.Context) (int, uint64, error) {
	if err := c.reachable(ctx); err != nil {
		return 0, 0, c.failed("read", err)
	}
	last, err := readTaken(ctx, func() (message, error) { return c.last(ctx) })
	if err != nil {
		return 0, 0, c.failed("read", fmt.Errorf("%w: %w", ErrUnavailable, err))
	}
	n := 0
	if len(last.Data) > 0 { // a deleted key has a revision and no value
		if n, err = decode(last.Data); err != nil {
			return 0, 0, c.failed("read", err)
		}
	}
	c.noteRead(n, false)
	return n, last.Revision, nil
}

// leaderAnswer is what $JS.API.STREAM.MSG.GET answers, as far as it matters here.
type leaderAnswer struct {
	Error   *jetstream.APIError `json:"error"`
	Message message             `json:"message"`
}

type message struct {
	Revision uint64 `json:"seq"`
	Data     []byte `json:"data"`
}

// last asks the leader for the last message of the key. KeyValue.Get cannot be
// told to: it takes the answer of any replica, also of one that is behind.
func (c *claim) last(ctx context.Context) (message, error) {
	ask, err := json.Marshal(map[string]string{"last_by_subj": "$KV." + Bucket + "." + c.key})
	if err != nil {
		return message{}, err
	}
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	reply, err := c.foil.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET.KV_"+Bucket, ask)
	if err != nil {
		return message{}, err
	}
	var answer leaderAnswer
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return message{}, err
	}
	if answer.Error == nil {
		return answer.Message, nil
	}
	if answer.Error.Code == http.StatusNotFound && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
		return message{}, nil
	}
	return message{}, answer.Error
}

// wait lets the gap pass.
func (c *claim) wait(ctx context.Context) error {
	if err := pause(ctx, c.gap); err != nil {
		return c.failed("wait", fmt.Errorf("%w: %w", ErrUnavailable, err))
	}
	return nil
}

// backOff waits a random time, of which the longest possible doubles with each
// refusal ("full jitter"): writers that collided once must not collide again.
func (c *claim) backOff(ctx context.Context) error {
	tries := len(c.result.Attempts)
	longest := min(longestPause, firstPause<<min(tries-1, 10))
	if err := pause(ctx, rand.N(longest)); err != nil {
		return c.failed("retry", fmt.Errorf("%w: refused %d times: %w", ErrUnavailable, tries, err))
	}
	return nil
}

// put writes n whatever is there. The write limit applies.
func (c *claim) put(ctx context.Context, n int, edge Edge) error {
	if !c.foil.edge.mayWrite(c.key, edge.WriteLimit, time.Now()) {
		c.noteWrite(n, ErrTooMany)
		return c.failed("write", ErrTooMany)
	}
	return c.overwrite(ctx, n)
}

func (c *claim) overwrite(ctx context.Context, n int) error {
	err := c.write(ctx, n, func(value []byte) error {
		_, err := c.foil.kv.Put(ctx, c.key, value)
		return err
	})
	if err == nil {
		c.foil.edge.remember(c.key, n, time.Now())
	}
	return err
}

// update writes n if the key is still at revision. It fails with errMoved if not.
func (c *claim) update(ctx context.Context, n int, revision uint64) error {
	return c.write(ctx, n, func(value []byte) error {
		_, err := c.foil.kv.Update(ctx, c.key, value, revision)
		return err
	})
}

func (c *claim) write(ctx context.Context, n int, send func(value []byte) error) error {
	value, err := encode(c.name, n)
	if err != nil {
		return c.failed("write", err)
	}
	if err := c.reachable(ctx); err != nil {
		return c.failed("write", err)
	}
	err = writeError(send(value))
	c.noteWrite(n, err)
	if err != nil {
		return c.failed("write", err)
	}
	return nil
}

// writeError sorts the failures of a write by what became of it. Whatever does
// not prove that nothing was stored is unknown.
func writeError(err error) error {
	var refusal *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyRevisionMismatch), errors.Is(err, jetstream.ErrKeyExists):
		// 10071: somebody wrote since. 10164: somebody's write is under way.
		// Ours was refused in both cases.
		return fmt.Errorf("%w: %w", errMoved, err)
	case errors.As(err, &refusal),
		errors.Is(err, jetstream.ErrNoStreamResponse), // nobody was there to take it
		errors.Is(err, nats.ErrNoResponders),
		errors.Is(err, nats.ErrReconnectBufExceeded): // it was never sent
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
}

// reachable fails while the connection is down. A write that nats.go buffers
// until it is up again could land long after its claim gave up.
func (c *claim) reachable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if !c.foil.nc.IsConnected() {
		return fmt.Errorf("%w: connection is %v", ErrUnavailable, c.foil.nc.Status())
	}
	return nil
}

func (c *claim) noteRead(n int, cached bool) {
	c.result.Attempts = append(c.result.Attempts, Attempt{Read: time.Now(), ReadValue: n, Cached: cached})
}

func (c *claim) noteWrite(n int, err error) {
	if len(c.result.Attempts) == 0 { // a reset
		return
	}
	a := &c.result.Attempts[len(c.result.Attempts)-1]
	a.WroteValue = n
	if errors.Is(err, ErrUnknown) {
		return
	}
	a.Wrote = time.Now()
	a.Refused = err != nil
}

func (c *claim) won(ticket int) Result {
	c.result.Ticket = ticket
	return c.result
}

func (c *claim) failed(verb string, err error) error {
	return fmt.Errorf("%s %s counter %q: %w", verb, c.kind, c.name, err)
}

// pause waits for d or until ctx ends. It fails only in the second case.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// withDeadline gives a context that has no deadline the one that the jetstream
// client gives its own requests.
func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, 5*time.Second)
}
