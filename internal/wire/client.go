package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/singleflight"

	"holdfast/objects"
)

// Client sends requests to objects, wherever they live, and has them claimed when nobody
// owns them. It repeats a request only if it did not run, or if an owner's record
// recognises it. Safe for concurrent use.
type Client struct {
	cfg     ClientConfig
	replies *nats.Subscription
	bodies  *Bodies

	waiters sync.Pool // of *waiter

	claims singleflight.Group
	tokens *lru.Cache[string, uint64] // the newest token known for an object

	warnings Warnings

	mu        sync.Mutex // guards what follows
	last      uint64     // number of the newest request
	waiting   map[uint64]*waiter
	questions uint64                       // number of the newest question to hosts
	asking    map[uint64]chan<- hostAnswer // for hosts' answers, by question
	open      map[string]openRequests      // by object
	overload  map[string]time.Time         // objects that get no requests until then
	nearest   map[string]place             // by class, if this region has no hosts of it
	served    map[string]bool              // classes that a host has been seen to run
	horizon   horizon
	absent    map[string]time.Time // classes that no host runs, and until when that is believed
	announced map[uint64]bool      // tokens in announcements of lost owners
}

// answer is the answer to one copy of a request.
type answer struct {
	copy   uint64
	reply  *Reply
	nobody bool // nobody listens
}

// Conn is a client's connection. *nats.Conn is one.
type Conn interface {
	Publisher
	Subscribe(subject string, hear nats.MsgHandler) (*nats.Subscription, error)
	MaxPayload() int64 // bytes of a message
}

// ClientConfig configures a client. NATS and Name are required.
type ClientConfig struct {
	// NATS is the caller's to close, after Close. It should buffer nothing while it
	// reconnects (nats.ReconnectBufSize(-1)): then a request that could not be sent
	// certainly did not run.
	NATS   Conn
	Nearby *Nearby     // hosts that it reaches without NATS; default: none
	Host   bool        // the client is a host's: it publishes to subjects of hosts alone
	May    func() bool // reports whether a request may be sent now; default: always
	Name   string      // unique, and a subject token: it begins the client's inbox
	Region string
	Timing Timing
	Log    *slog.Logger // default: none
}

// knownTokens bounds the memory of tokens. A forgotten one costs a round trip.
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
		cfg: cfg, tokens: tokens, waiters: sync.Pool{New: newWaiter},
		waiting: make(map[uint64]*waiter), asking: make(map[uint64]chan<- hostAnswer),
		open: make(map[string]openRequests), overload: make(map[string]time.Time),
		nearest: make(map[string]place), served: make(map[string]bool), absent: make(map[string]time.Time), announced: make(map[uint64]bool), horizon: make(horizon),
	}
	c.replies, err = c.cfg.NATS.Subscribe(InboxPrefix+c.cfg.Name+".*.*", c.receive)
	if err != nil {
		return nil, fmt.Errorf("listen for replies: %w", err)
	}
	if c.bodies, err = NewBodies(c.cfg.NATS, c.cfg.Name); err != nil {
		c.replies.Unsubscribe() // likewise
		return nil, err
	}
	c.cfg.Nearby.add(c)
	return c, nil
}

// Bodies returns the bodies that the client carries beside events. A host writes responses among them.
func (c *Client) Bodies() *Bodies { return c.bodies }

// Close stops listening. Requests under way end as they would without an answer.
func (c *Client) Close() {
	c.cfg.Nearby.remove(c)
	c.replies.Unsubscribe() // fails only when the connection has ended
	c.bodies.Close()
}

// Do has the object's owner handle the request and returns its answer. It fills in the
// asking client, the asked owner and the timeout: ctx's deadline, at most Timing.Request.
// A reply that carries a code is returned, not an error. Errors are objects.Errors:
// Unknown when the request may or may not have run; otherwise it did not run:
// Unavailable, TooLarge for NATS, or NotFound for a class that no host runs.
//
// Reply.Rest is the rest of a streamed response. The caller must close it; until then a large body is carried.
func (c *Client) Do(ctx context.Context, id Address, req *Request) (*Reply, error) {
	reply, err := c.exchange(ctx, id, req)
	if err != nil || reply.Stream == nil {
		return reply, err
	}
	if req.Takes != TakesStream {
		return nil, objects.Errorf(objects.Unknown, "the answer is a stream, which was not asked for")
	}
	body, err := c.bodies.Open(reply.Stream)
	if err != nil {
		return nil, err
	}
	if req.Upload != nil {
		body.Carry(req.Upload)
	} else {
		body.Finish(nil)
	}
	body.until(ctx)
	reply.Rest = body
	return reply, nil
}

func (c *Client) exchange(ctx context.Context, id Address, req *Request) (*Reply, error) {
	now := time.Now()
	t := attempt{resume: req.Kind == Resume, looks: req.Kind == Look, maker: req.Maker, began: now, deadline: now.Add(c.cfg.Timing.Request)}
	if sooner, ok := ctx.Deadline(); ok && sooner.Before(t.deadline) {
		t.deadline = sooner
	}
	w := c.waiters.Get().(*waiter)
	defer c.release(w)
	refused := c.begin(id.Key(), req, w, now)
	if refused {
		return &Reply{Code: objects.Overloaded, Message: "too many requests wait for this object"}, nil
	}
	n := req.N
	defer c.end(id.Key(), n)
	again := req.Again // the caller's value
	if req.Time == 0 {
		req.Time = now.UnixMilli()
	}
	for {
		if reply := c.arrived(id.Key(), w, &t); reply != nil {
			return reply, nil
		}
		left := time.Until(t.deadline)
		if left <= 0 {
			return nil, t.failure(context.DeadlineExceeded)
		}
		req.For = c.token(id.Key())
		lost := t.lost
		if t.fate = t.replaced(req.For, t.same); t.lost > lost {
			c.announceLost(string(id.Class()), req.For)
		}
		if t.lost >= maxLost {
			if reply := c.lastWord(ctx, id.Key(), w, &t); reply != nil {
				return reply, nil
			}
		}
		if t.lost >= maxLost {
			return nil, objects.Errorf(objects.Unknown, "%d hosts were lost while they had the request; it may or may not have happened", maxLost)
		}
		req.Timeout = max(1, left.Milliseconds())
		req.Again = again || t.goesElsewhere(req.For)
		err := c.ask(id, c.inbox(n, t.copy+1), req, &t)
		switch {
		case errors.Is(err, nats.ErrMaxPayload) && !t.uncertain():
			return nil, objects.Errorf(objects.TooLarge, "the request is larger than a NATS message may be")
		case err != nil:
			t.why = err
			t.attempts++
			if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrMaxPayload) || !t.backOff(ctx) {
				return nil, t.failure(context.DeadlineExceeded)
			}
			continue
		}
		t.fate = t.sent(req.For, t.same)
		w.timer.Reset(min(left, c.cfg.Timing.Silence))
		reply, err := c.await(ctx, id, w, &t)
		if reply != nil || err != nil {
			return reply, err
		}
	}
}

// inbox returns the reply subject of a copy of a request.
func (c *Client) inbox(n, copy uint64) string {
	subject := make([]byte, 0, 96)
	subject = append(append(append(subject, InboxPrefix...), c.cfg.Name...), '.')
	subject = append(strconv.AppendUint(subject, n, 10), '.')
	return string(strconv.AppendUint(subject, copy, 10))
}

// ask sends one copy of a request the shortest way. Once a copy went over NATS the
// next ones do: otherwise they could overtake it.
func (c *Client) ask(id Address, inbox string, req *Request, t *attempt) error {
	if c.cfg.May != nil && !c.cfg.May() {
		return errMayNot
	}
	subject := ObjectSubject(id.ID)
	if c.cfg.Host {
		subject = ObjectHostSubject(id.Key())
	}
	if !t.overNATS {
		asked, err := c.cfg.Nearby.ask(subject, inbox, req, c.cfg.NATS.MaxPayload())
		if asked || err != nil {
			return err
		}
	}
	if err := Ask(c.cfg.NATS, subject, inbox, req); err != nil {
		return fmt.Errorf("NATS is not reached: %w", err)
	}
	t.overNATS = true
	return nil
}

// errMayNot is the reason for which ClientConfig.May forbade a request.
var errMayNot = errors.New("this host's lease has lapsed")

// waiter is where one request waits for its answers. It is pooled. It may be used
// again after end, because hand sends only while it holds c.mu.
type waiter struct {
	answers chan answer
	timer   *time.Timer
}

func newWaiter() any { return &waiter{answers: make(chan answer, 8), timer: time.NewTimer(time.Hour)} }

// release puts the waiter back into the pool, empty.
func (c *Client) release(w *waiter) {
	w.timer.Stop()
	for len(w.answers) > 0 {
		<-w.answers
	}
	c.waiters.Put(w)
}

// attempt is the state of one request over all its copies.
type attempt struct {
	fate
	resume   bool // the request is an operator's, and its claims lift the object's quarantine
	looks    bool // the request asks how the object is
	maker    Maker
	began    time.Time
	deadline time.Time
	overNATS bool // a copy went over NATS
	same     bool // the present owner has owned the object since before the first copy
	attempts int
	why      error // the last reason for sending again
}

// failure returns the caller's error when the time is over.
func (t *attempt) failure(err error) error {
	if t.why != nil && errors.Is(err, context.DeadlineExceeded) {
		err = t.why
	}
	if t.uncertain() {
		return objects.Errorf(objects.Unknown, "no answer in time; it may or may not have happened (%v)", err)
	}
	return objects.Errorf(objects.Unavailable, "nothing happened: %v", err)
}

// backOff waits before the next attempt. It reports false when there is no time for one.
func (t *attempt) backOff(ctx context.Context) bool {
	ctx, cancel := context.WithDeadline(ctx, t.deadline)
	defer cancel()
	return Pause(ctx, backoff(t.attempts))
}

// await waits for the fate of the last copy. It returns a reply for the caller, an
// error, or neither if the request must be sent again.
func (c *Client) await(ctx context.Context, id Address, w *waiter, t *attempt) (*Reply, error) {
	next := ignore
	var reply *Reply
	for next == ignore {
		select {
		case a := <-w.answers:
			next = c.consider(id.Key(), a, t)
			reply = a.reply
		case now := <-w.timer.C:
			t.fate = t.silence()
			if !now.Before(t.deadline) {
				return nil, t.failure(context.DeadlineExceeded)
			}
			t.why = errors.New("the owner does not answer")
			next = claim
		case <-ctx.Done():
			return nil, t.failure(ctx.Err())
		}
	}
	if next == final {
		return c.done(id.Key(), reply), nil
	}
	t.attempts++
	free := t.attempts <= 2 // interest takes a moment to spread: the first resends are free
	switch next {
	case later:
		free = false
	case claim:
		owned, err := c.claimFor(ctx, id, t)
		if err != nil {
			return nil, err
		}
		free = free && owned
	}
	if !free && !t.backOff(ctx) {
		return nil, t.failure(cmp.Or(ctx.Err(), context.DeadlineExceeded))
	}
	return nil, nil
}

// done returns the answer to a request. If the object's queue was full, done holds further
// requests off for a moment.
func (c *Client) done(object string, reply *Reply) *Reply {
	if reply.Busy {
		c.holdOff(object)
	}
	return reply
}

// lastWord waits for a moment for an answer of an owner that counts as lost: an owner that learns
// of its replacement answers. It returns the final answer if one comes.
func (c *Client) lastWord(ctx context.Context, object string, w *waiter, t *attempt) *Reply {
	w.timer.Reset(min(c.cfg.Timing.Silence/2, time.Until(t.deadline)))
	for t.lost >= maxLost {
		select {
		case a := <-w.answers:
			if c.consider(object, a, t) == final {
				return c.done(object, a.reply)
			}
		case <-w.timer.C:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// arrived returns the final answer to the last copy, if it came while the object was
// claimed. The next copy would make that answer void.
func (c *Client) arrived(object string, w *waiter, t *attempt) *Reply {
	for {
		select {
		case a := <-w.answers:
			if c.consider(object, a, t) == final {
				return c.done(object, a.reply)
			}
		default:
			return nil
		}
	}
}

// consider notes the answer to a copy, and returns what to do next.
func (c *Client) consider(object string, a answer, t *attempt) (next verdict) {
	if a.nobody {
		t.fate, next = t.nobody(a.copy)
		return next
	}
	known := c.token(object)
	if a.reply.Token > known {
		if !c.Plausible(a.reply.Token) {
			return ignore
		}
		c.tokens.Add(object, a.reply.Token)
	}
	t.fate, next = t.onReply(a.copy, a.reply, known)
	switch {
	case next == later:
		t.why = errors.New("too many requests wait for this object")
	case a.reply.Moved:
		t.why = errors.New("the object is moving to another host")
	}
	return next
}

// claimFor has the object claimed for a request, and reports whether it is owned. An error
// ends the request.
func (c *Client) claimFor(ctx context.Context, id Address, t *attempt) (owned bool, err error) {
	if t.looks {
		return false, objects.Errorf(objects.NotFound, "nobody owns it, or its owner does not answer")
	}
	ctx, cancel := context.WithDeadline(ctx, t.deadline)
	defer cancel()
	if t.maker != nil && !t.uncertain() && !t.maker.MayMake() {
		return false, objects.Errorf(objects.TooMany, "too many new objects from this address; come back in a second")
	}
	reply, err := c.activate(ctx, id, t.resume, t.maker)
	if errors.Is(err, errUnknownClass) && !t.uncertain() {
		return false, objects.Errorf(objects.NotFound, "no host runs class %s", id.Class())
	}
	if err != nil {
		if t.why == nil || !errors.Is(err, context.DeadlineExceeded) { // else what came before says more
			t.why = err
		}
		return false, nil
	}
	if reply.Code != "" && !t.uncertain() {
		return false, &objects.Error{Code: reply.Code, Message: reply.Failure, Reference: reply.Ref}
	}
	if !reply.Owned {
		t.why = reply.why()
		return false, nil
	}
	t.same = reply.Token > 0 && time.Duration(reply.Held)*time.Millisecond > time.Since(t.began)
	return true, nil
}

// token returns the newest token known for the object; 0: none.
func (c *Client) token(object string) uint64 {
	token, _ := c.tokens.Get(object)
	return token
}

// Plausible reports whether a token may be true, and notes it.
func (c *Client) Plausible(token uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.horizon.plausible(token) {
		return true
	}
	c.warnings.Log(c.cfg.Log, "answers are dropped", "err", errForgedToken)
	return false
}

var errForgedToken = errors.New("its token is far beyond all others, so somebody has forged it")

// backoff grows from 5 ms to 200 ms, with jitter.
func backoff(attempt int) time.Duration {
	full := min(200*time.Millisecond, 5*time.Millisecond<<min(attempt, 10))
	return full/2 + rand.N(full/2)
}

// Pause waits. It reports false if ctx ended first.
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

// holdOff has begin refuse requests for the object for a moment, so that its queue can
// shrink.
func (c *Client) holdOff(object string) {
	const most = 1000 // objects; beyond it, those whose moment is over are forgotten
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if len(c.overload) >= most {
		maps.DeleteFunc(c.overload, func(_ string, until time.Time) bool { return !now.Before(until) })
	}
	c.overload[object] = now.Add(c.cfg.Timing.Silence / 20)
}

// begin numbers a request, and notes in it which requests for its object wait. If
// the object refused one as overloaded within the last 50 ms, begin refuses this one
// here and saves the object the work.
func (c *Client) begin(object string, req *Request, w *waiter, now time.Time) (refused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until, busy := c.overload[object]; busy && now.Before(until) {
		return true
	} else if busy {
		delete(c.overload, object)
	}
	c.last++
	c.waiting[c.last] = w
	req.Gateway, req.N = c.cfg.Name, c.last
	var open openRequests
	open, req.Low, req.Open = c.open[object].begin(c.last)
	c.open[object] = open
	return false
}

func (c *Client) end(object string, n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, n)
	if open := c.open[object].end(n); len(open.numbers) > 0 {
		c.open[object] = open
	} else {
		delete(c.open, object)
	}
}

// receive hands a message from NATS to its receiver: a reply to a copy comes on
// <number>.<copy>, a host's answer on claim.<number>.
func (c *Client) receive(msg *nats.Msg) {
	if kind, number := lastTwo(msg.Subject); kind == "claim" {
		c.receiveClaim(number, msg)
		return
	}
	a := answer{nobody: Nobody(msg)}
	if !a.nobody {
		a.reply = new(Reply)
		if err := errors.Join(Decode(msg.Data, a.reply), checkCode(a.reply.Code)); err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.warnings.Log(c.cfg.Log, "answers are dropped", "err", err)
			return
		}
	}
	c.hand(msg.Subject, a)
}

// lastTwo returns the last two tokens of a subject.
func lastTwo(subject string) (string, string) {
	i := strings.LastIndexByte(subject, '.')
	if i < 0 {
		return "", subject
	}
	return subject[strings.LastIndexByte(subject[:i], '.')+1 : i], subject[i+1:]
}

// hand gives an answer to the request whose copy the subject names. If nobody waits
// for it any more, it is dropped. It reports whether the subject names a copy.
func (c *Client) hand(subject string, a answer) bool {
	request, number := lastTwo(subject)
	n, err := strconv.ParseUint(request, 10, 64)
	if err != nil {
		return false
	}
	if a.copy, err = strconv.ParseUint(number, 10, 64); err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.waiting[n]; w != nil {
		select {
		case w.answers <- a:
		default: // the waiter has enough answers to go on
		}
	}
	return true
}

// Nobody reports whether msg is the server's notice that nobody listens ("no responders").
func Nobody(msg *nats.Msg) bool {
	return len(msg.Data) == 0 && msg.Header.Get("Status") == "503"
}
