package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/singleflight"

	"holdfast/objects"
)

// Client sends requests to objects, wherever they live, and has them claimed
// when nobody owns them. It repeats only what did not happen or what an owner's
// record can recognise. Safe for concurrent use.
type Client struct {
	cfg     ClientConfig
	replies *nats.Subscription

	claims singleflight.Group
	tokens *lru.Cache[string, uint64] // the newest token seen for an object

	mu      sync.Mutex // guards what follows
	last    uint64     // number of the newest request
	waiting map[uint64]*waiter
	open    map[string][]uint64  // numbers that wait, for each object, ascending
	busy    map[string]time.Time // objects that are to be spared until then
}

// answer is a reply, or the news that nobody listens.
type answer struct {
	reply  *Reply
	nobody bool
}

// ClientConfig is what a client is made of. NATS and Name are needed.
type ClientConfig struct {
	// NATS is the caller's to close, after Close. It should keep nothing for later
	// while it reconnects (nats.ReconnectBufSize(-1)), so that what could not be
	// sent certainly did not happen.
	NATS   *nats.Conn
	Nearby *Nearby // whom it reaches without NATS; default: nobody
	Name   string  // unique, and a subject token: it begins the client's inbox
	Region string
	Timing Timing
	Log    *slog.Logger // default: none
}

// knownTokens bounds the memory of tokens: it is only a guard against late
// replies of a replaced owner, which compare-and-set has refused anyway.
const knownTokens = 64 << 10

// NewClient starts to listen for replies.
func NewClient(cfg ClientConfig) (*Client, error) {
	tokens, err := lru.New[string, uint64](knownTokens)
	if err != nil {
		return nil, err
	}
	cfg.Timing = cfg.Timing.WithDefaults()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Client{
		cfg: cfg, tokens: tokens,
		waiting: make(map[uint64]*waiter), open: make(map[string][]uint64), busy: make(map[string]time.Time),
	}
	c.replies, err = c.cfg.NATS.Subscribe(InboxPrefix+c.cfg.Name+".*", c.receive)
	if err != nil {
		return nil, fmt.Errorf("listen for replies: %w", err)
	}
	c.cfg.Nearby.add(c)
	return c, nil
}

// Close stops listening. Requests under way end as they would without an answer.
func (c *Client) Close() {
	c.cfg.Nearby.remove(c)
	c.replies.Unsubscribe() // fails only when the connection has ended
}

// Do has the object's owner handle the request and returns its answer. It fills
// in who asks and for how long; the time is ctx's deadline, at most
// Timing.Request. A reply that carries a code is returned, not an error. Errors
// are objects.Errors: Unavailable when it certainly did not happen, Unknown when
// nobody can tell.
func (c *Client) Do(ctx context.Context, id objects.ID, req *Request) (*Reply, error) {
	now := time.Now()
	t := try{deadline: now.Add(c.cfg.Timing.Request)}
	if sooner, ok := ctx.Deadline(); ok && sooner.Before(t.deadline) {
		t.deadline = sooner
	}
	w := waiters.Get().(*waiter)
	defer w.rest()
	n, low, spared := c.begin(id.Key(), w, now)
	if spared {
		return &Reply{Code: objects.Overloaded, Message: "too many requests wait for this object"}, nil
	}
	defer c.end(id.Key(), n)
	req.Gateway, req.N, req.Low = c.cfg.Name, n, low
	inbox := InboxPrefix + c.cfg.Name + "." + strconv.FormatUint(n, 10)
	for {
		left := time.Until(t.deadline)
		req.Timeout = max(1, left.Milliseconds())
		if err := c.ask(id, inbox, req); err != nil {
			t.why = fmt.Errorf("NATS is not reached: %w", err)
			t.attempts++
			if errors.Is(err, nats.ErrConnectionClosed) || !t.pause(ctx) {
				return nil, t.failure(context.DeadlineExceeded)
			}
			continue
		}
		w.timer.Reset(min(left, c.cfg.Timing.Silence))
		reply, err := c.await(ctx, id, w, &t)
		if reply != nil || err != nil {
			return reply, err
		}
	}
}

// ask sends a request the shortest way.
func (c *Client) ask(id objects.ID, inbox string, req *Request) error {
	if c.cfg.Nearby.ask(id, inbox, req) {
		return nil
	}
	return Ask(c.cfg.NATS, ObjectSubject(id), inbox, req)
}

// waiter is where one request waits for its answer. It is used again by another
// request, after end: hand holds the client's lock while it answers.
type waiter struct {
	answers chan answer
	timer   *time.Timer
}

var waiters = sync.Pool{New: func() any {
	return &waiter{answers: make(chan answer, 4), timer: time.NewTimer(time.Hour)}
}}

// rest is the end of a request's wait.
func (w *waiter) rest() {
	w.timer.Stop()
	for len(w.answers) > 0 {
		<-w.answers
	}
	waiters.Put(w)
}

// try is what is known about one request so far.
type try struct {
	deadline time.Time
	doubt    bool // an owner may have taken it and not said so
	attempts int
	why      error // the last reason for trying again
}

// failure is what to tell the client when the time is over.
func (t *try) failure(err error) error {
	if t.why != nil && errors.Is(err, context.DeadlineExceeded) {
		err = t.why
	}
	if t.doubt {
		return objects.Errorf(objects.Unknown, "no answer in time; it may or may not have happened (%v)", err)
	}
	return objects.Errorf(objects.Unavailable, "nothing happened: %v", err)
}

// pause waits before the next attempt; false when there is no time for one.
func (t *try) pause(ctx context.Context) bool {
	ctx, cancel := context.WithDeadline(ctx, t.deadline)
	defer cancel()
	return Pause(ctx, backoff(t.attempts))
}

// await waits for the fate of one sending: a reply for the client, an error, or
// neither, to send again.
func (c *Client) await(ctx context.Context, id objects.ID, w *waiter, t *try) (*Reply, error) {
	var a answer
	select {
	case a = <-w.answers:
	case now := <-w.timer.C:
		t.doubt = true // it was sent and nothing came back
		if !now.Before(t.deadline) {
			return nil, t.failure(context.DeadlineExceeded)
		}
		a.nobody = true
		t.why = errors.New("the owner does not answer")
	case <-ctx.Done():
		t.doubt = true
		return nil, t.failure(ctx.Err())
	}
	switch {
	case a.nobody:
	case a.reply.Moved:
		t.doubt = t.doubt || a.reply.Unsure
		t.why = errors.New("the object is moving to another host")
	case !c.current(id.Key(), a.reply.Token):
		t.why = errors.New("a replaced owner answered")
	default:
		if a.reply.Busy {
			c.spare(id.Key())
		}
		return a.reply, nil
	}
	t.attempts++
	within, cancel := context.WithDeadline(ctx, t.deadline)
	defer cancel()
	owned, err := c.Activate(within, id)
	if err != nil {
		t.why = err
	}
	if !owned || t.attempts > 2 { // interest takes a moment to spread: the first resends are free
		if !t.pause(ctx) {
			return nil, t.failure(cmp.Or(ctx.Err(), context.DeadlineExceeded))
		}
	}
	return nil, nil
}

// backoff grows from 5 ms to 200 ms, with jitter.
func backoff(attempt int) time.Duration {
	full := min(200*time.Millisecond, 5*time.Millisecond<<min(attempt, 10))
	return full/2 + rand.N(full/2)
}

// Pause waits; it is false if ctx ended first.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Activate asks a host to claim the object, one of this client's region first.
// It is false if somebody else's lease on it still holds.
func (c *Client) Activate(ctx context.Context, id objects.ID) (bool, error) {
	result := c.claims.DoChan(id.Key(), func() (any, error) {
		claim := Claim{Class: id.Class(), ID: id.String(), Name: id.Name()}
		reply, err := c.claim(context.WithoutCancel(ctx), claim)
		return err == nil && reply.Owned, err
	})
	select {
	case r := <-result:
		return r.Val.(bool), r.Err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// Served tells whether any host runs the class.
func (c *Client) Served(ctx context.Context, class string) error {
	_, err := c.claim(ctx, Claim{Class: class})
	return err
}

func (c *Client) claim(ctx context.Context, claim Claim) (*ClaimReply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timing.Claim)
	defer cancel()
	msg, err := c.askHosts(ctx, claim)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, fmt.Errorf("no host runs class %s", claim.Class)
	}
	if err != nil {
		return nil, fmt.Errorf("ask for an owner: %w", err)
	}
	reply := new(ClaimReply)
	if err := Decode(msg.Data, reply); err != nil {
		return nil, fmt.Errorf("ask for an owner: decode the answer: %w", err)
	}
	if reply.Failure != "" {
		return nil, fmt.Errorf("ask for an owner: %s", reply.Failure)
	}
	return reply, nil
}

// askHosts sends a claim to one of the hosts, of this region if there are any. One
// that is frozen still listens: after a silence the next is asked, and one that was
// only slow does no harm by being asked twice.
func (c *Client) askHosts(ctx context.Context, claim Claim) (*nats.Msg, error) {
	payload := Encode(&claim)
	for {
		within, cancel := context.WithTimeout(ctx, c.cfg.Timing.Silence)
		msg, err := c.cfg.NATS.RequestWithContext(within, ClaimSubject(c.cfg.Region, claim.Class), payload)
		if errors.Is(err, nats.ErrNoResponders) {
			msg, err = c.cfg.NATS.RequestWithContext(within, ClaimSubject(AnyRegion, claim.Class), payload)
		}
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return msg, err
		}
	}
}

// current tells whether a token is as new as any seen for the object.
func (c *Client) current(object string, token uint64) bool {
	known, ok := c.tokens.Get(object)
	if !ok || token > known {
		c.tokens.Add(object, token)
	}
	return token >= known
}

// spare has the object spared for a moment, in which a part of those who wait is
// served.
func (c *Client) spare(object string) {
	const most = 1000 // objects; those that nobody asks for any more are forgotten
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if len(c.busy) >= most {
		maps.DeleteFunc(c.busy, func(_ string, until time.Time) bool { return !now.Before(until) })
	}
	c.busy[object] = now.Add(c.cfg.Timing.Silence / 20)
}

// begin numbers a request; low is the lowest number for its object that waits. An
// object that is to be spared has just said that too many wait for it, and to say
// that again would cost it time that it does not have.
func (c *Client) begin(object string, w *waiter, now time.Time) (n, low uint64, spared bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until, busy := c.busy[object]; busy && now.Before(until) {
		return 0, 0, true
	} else if busy {
		delete(c.busy, object)
	}
	c.last++
	c.waiting[c.last] = w
	open := append(c.open[object], c.last)
	c.open[object] = open
	return c.last, open[0], false
}

func (c *Client) end(object string, n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, n)
	open := c.open[object]
	if i, ok := slices.BinarySearch(open, n); ok {
		open = slices.Delete(open, i, i+1)
	}
	if len(open) == 0 {
		delete(c.open, object)
		return
	}
	c.open[object] = open
}

// receive hands a reply from NATS to the one who waits for it.
func (c *Client) receive(msg *nats.Msg) {
	n, err := strconv.ParseUint(msg.Subject[strings.LastIndexByte(msg.Subject, '.')+1:], 10, 64)
	if err != nil {
		return
	}
	var a answer
	if Nobody(msg) {
		a.nobody = true
	} else {
		a.reply = new(Reply)
		if err := Decode(msg.Data, a.reply); err != nil {
			c.cfg.Log.Error("reply not understood", "err", err)
			return
		}
	}
	c.hand(n, a)
}

// hand gives an answer to the one who waits for it; one that nobody waits for any
// more is dropped.
func (c *Client) hand(n uint64, a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.waiting[n]; w != nil {
		select {
		case w.answers <- a:
		default: // the waiter has enough to go on
		}
	}
}

// Nobody tells whether msg is the server's news that nobody listens.
func Nobody(msg *nats.Msg) bool {
	return len(msg.Data) == 0 && msg.Header.Get("Status") == "503"
}
