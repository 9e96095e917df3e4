package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"holdfast/internal/ask"
	shared "holdfast/internal/metrics"
	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/asks"
	"holdfast/objects/internal/engine"
)

// Bounds of what events ask.
const (
	maxDepth    = 16   // objects in a chain of asks
	maxInFlight = 64   // asks of one event at once; more wait
	maxAsks     = 1000 // asks of one event
	maxLabel    = 64   // bytes of an object's name, as a chain shows it
	leastTime   = 10 * time.Millisecond
	partOfTime  = 16 // an ask gets what is left of its event's time, less one part in this many
	maxOpenSaid = 4096
	maxRoot     = 512 // bytes of an event's name
)

// asking holds the asks of one event. object.mu guards it.
type asking struct {
	run      asks.Run
	inFlight chan struct{} // holds a token for each ask that is under way
	waits    map[uint64]wait
	passed   map[string]time.Time // probes that were passed on, and when
}

// wait is an ask that is under way.
type wait struct {
	callee string
	cancel context.CancelFunc
	timer  *time.Timer   // sends the next probe
	after  time.Duration // the pause before that probe
}

var _ engine.Event = (*eventContext)(nil)

// Ask asks another object for the event. Any goroutine may call it.
func (c *eventContext) Ask(ctx context.Context, q engine.Question) (engine.Answer, error) {
	answer, err := c.ask(ctx, q)
	class, _, _ := strings.Cut(q.Key, ".")
	result := "ok"
	if err != nil {
		result = shared.CodeLabel(objects.CodeOf(err))
	}
	c.o.in.metrics.asks.WithLabelValues(c.o.class.Name, class, result).Inc()
	return answer, err
}

// Sync waits until what earlier events wrote is durable.
func (c *eventContext) Sync(ctx context.Context) error { return c.o.passGate(ctx) }

func (c *eventContext) ask(ctx context.Context, q engine.Question) (engine.Answer, error) {
	to, req, err := c.request(ctx, q)
	if err != nil {
		return engine.Answer{}, err
	}
	deadline, ok := c.childDeadline(ctx, time.Now())
	if !ok {
		return engine.Answer{}, objects.Errorf(objects.Unavailable, "%s was not asked: too little of the event's time is left", labelOf(to.Key(), to.Name))
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	a, err := c.beginAsk(ctx)
	if err != nil {
		return engine.Answer{}, err
	}
	defer func() { <-a.inFlight }()
	if err := c.o.passGate(ctx); err != nil {
		return engine.Answer{}, err
	}
	id, err := c.sign(a, to.Key(), req, cancel)
	if err != nil {
		return engine.Answer{}, err
	}
	reply, err := c.o.in.client.Do(ctx, to, req)
	c.endWait(a, req.Asked.N)
	if c.gaveWay.Load() {
		return engine.Answer{}, engine.ErrGaveWay
	}
	if leavesNothing(reply, err) {
		c.o.mu.Lock()
		c.o.asks.Nothing(&a.run, to.Key(), id, req.Asked.N)
		c.o.mu.Unlock()
	}
	if err == nil {
		err = reply.Err()
	}
	if err != nil {
		return engine.Answer{}, askFailed(labelOf(to.Key(), to.Name), err)
	}
	if q.Request != nil {
		return engine.Answer{Response: &engine.Response{Status: reply.Status, Header: reply.Header, Body: reply.Body}}, nil
	}
	return engine.Answer{Output: reply.Body}, nil
}

// leavesNothing reports whether the callee certainly keeps nothing of an ask, so that nothing has to be settled.
func leavesNothing(reply *wire.Reply, err error) bool {
	if err != nil {
		return objects.CodeOf(err) != objects.Unknown
	}
	return !reply.Kept
}

// askFailed returns the error of an ask as its event sees it: with the callee's name.
func askFailed(label string, err error) error {
	e, ok := errors.AsType[*objects.Error](err)
	if !ok {
		return err
	}
	told := *e
	told.Message = label + ": " + e.Message
	return &told
}

// request makes the request for a question, without what differs from one run of the event to the next.
func (c *eventContext) request(ctx context.Context, q engine.Question) (wire.Address, *wire.Request, error) {
	to := wire.Address{Name: q.Name, Near: q.Near}
	if err := to.UnmarshalText([]byte(q.Key)); err != nil {
		return to, nil, err
	}
	chain := c.chain()
	if i := slices.IndexFunc(chain, func(l wire.Link) bool { return l.Key == q.Key }); i >= 0 {
		return to, nil, objects.Errorf(objects.Conflict, "%s waits for itself: %s", chain[i].Label, chainText(chain, chain[i].Label))
	}
	if len(chain) > maxDepth {
		return to, nil, objects.Errorf(objects.Conflict, "a chain of more than %d objects that ask each other: %s", maxDepth, chainText(chain, labelOf(q.Key, q.Name)))
	}
	principal, err := ask.Principal(ctx)
	if err != nil {
		return to, nil, err
	}
	req := &wire.Request{Kind: wire.Call, Call: q.Call, Body: q.Input, Principal: principal, Time: c.asked.UnixMilli(), Again: c.mayHaveRun()}
	if r := q.Request; r != nil {
		req.Kind, req.Method, req.URL, req.Host, req.Header = wire.Fetch, r.Method, r.URL.RequestURI(), cmp.Or(r.Host, r.URL.Host), r.Header
	}
	o := c.o
	req.Asked = &wire.Asked{Caller: o.id.Key(), Name: o.id.Name, Token: o.term.token, Long: c.long(), Fence: o.term.young(time.Now()) && c.mayHaveRun(), Root: c.waiter().Root, Chain: chain}
	return to, req, nil
}

// chain returns the objects that wait for the answer to an ask of this event; the object itself is the last.
func (c *eventContext) chain() []wire.Link {
	var chain []wire.Link
	if c.from != nil {
		chain = slices.Clip(c.from.Chain)
	}
	return append(chain, wire.Link{Key: c.o.id.Key(), Label: labelOf(c.o.id.Key(), c.o.id.Name)})
}

// labelOf returns an object's name for people: class/name, or class and a part of the id if the object has no name.
func labelOf(key, name string) string {
	class, id, _ := strings.Cut(key, ".")
	if name == "" {
		name = id[:min(8, len(id))] + "..."
	}
	if len(name) > maxLabel {
		name = strings.ToValidUTF8(name[:maxLabel], "") + "..."
	}
	return class + "/" + name
}

func chainText(chain []wire.Link, last string) string {
	var text strings.Builder
	for _, l := range chain {
		text.WriteString(l.Label + " -> ")
	}
	return text.String() + last
}

// childDeadline returns when an ask must be answered, so that the event can still answer. It reports false if too
// little time is left.
func (c *eventContext) childDeadline(ctx context.Context, now time.Time) (time.Time, bool) {
	deadline := c.deadline
	if sooner, ok := ctx.Deadline(); ok && sooner.Before(deadline) {
		deadline = sooner
	}
	left := deadline.Sub(now)
	left -= max(leastTime, left/partOfTime)
	return now.Add(left), left >= leastTime
}

// beginAsk waits until the event has fewer than maxInFlight asks under way, and counts one more.
func (c *eventContext) beginAsk(ctx context.Context) (*asking, error) {
	c.o.mu.Lock()
	switch {
	case c.over:
		c.o.mu.Unlock()
		return nil, objects.Errorf(objects.Invalid, "the event that asks has ended")
	case c.asking == nil:
		c.asking = &asking{inFlight: make(chan struct{}, maxInFlight), waits: make(map[uint64]wait)}
		if c.o.asks == nil {
			c.o.asks = new(questions)
		}
		c.o.asks.begin(c)
	}
	a := c.asking
	c.o.mu.Unlock()
	select {
	case a.inFlight <- struct{}{}:
		return a, nil
	case <-ctx.Done():
		return nil, objects.Errorf(objects.Unavailable, "nothing was asked: the event has ended")
	}
}

// passGate waits until everything that the running event can have read is durable, and the object is certainly ours.
// Writes of earlier events are put at once.
func (o *object) passGate(ctx context.Context) error {
	passed := make(chan bool, 1)
	o.mu.Lock()
	start := o.putBatch()
	o.put(outboxItem{gate: passed})
	o.mu.Unlock()
	if start {
		o.spawn(o.work)
	}
	select {
	case ours := <-passed:
		if ours {
			return nil
		}
	case <-ctx.Done():
	}
	return objects.Errorf(objects.Unavailable, "nothing has left: the object is moving to another host, or its store does not answer")
}

// sign names the question, and gives the ask its number.
func (c *eventContext) sign(a *asking, to string, req *wire.Request, cancel context.CancelFunc) (asks.ID, error) {
	o := c.o
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case c.over:
		return asks.ID{}, objects.Errorf(objects.Invalid, "the event that asks has ended")
	case a.run.Asked() >= maxAsks:
		return asks.ID{}, objects.Errorf(objects.TooMany, "an event asks at most %d times", maxAsks)
	}
	what := [][]byte{[]byte(req.Call), req.Body}
	if req.Kind == wire.Fetch {
		what = [][]byte{[]byte(req.Method), []byte(req.URL), []byte(req.Host), wire.Encode(&wire.Request{Header: req.Header}), req.Body}
	}
	id := a.run.Name(o.id.Key(), c.ID(), to, what...)
	now := time.Now()
	connection, _ := o.in.bus.Connection(now)
	n, ok := o.asks.Ask(&a.run, to, id, connection, c.long(), now)
	if !ok {
		return id, objects.Errorf(objects.Overloaded, "too many questions to this object are not settled")
	}
	req.Asked.ID, req.Asked.N = id[:], n
	c.beginWait(a, n, to, cancel)
	return id, nil
}

// settles returns the asks that are settled when the event is durable; nil if there are none, or the event runs again.
// The event asks nothing after this. With the object's lock held.
func (ev event) settles(failure *objects.Error) *asking {
	c := ev.ctx
	if c == nil {
		return nil
	}
	c.over = true
	c.o.asks.end(c)
	if c.asking == nil || !c.asking.run.Owes() || ev.comesAgain || failure != nil && c.comesAgain() {
		return nil
	}
	return c.asking
}

// endAsking ends the asks of an event that has failed and will run again.
func (o *object) endAsking(c *eventContext) {
	if c == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	c.over = true
	o.asks.end(c)
}

// settleAsks notes that an event is durable. With mu held.
func (o *object) settleAsks(a *asking) {
	now := time.Now()
	connection, _ := o.in.bus.Connection(now)
	o.asks.Settle(&a.run, connection, now)
	o.sendSettled(now)
}

// sendSettled tells callees which asks are settled, if such a message is due. With mu held.
func (o *object) sendSettled(now time.Time) {
	if o.asks == nil {
		return
	}
	due, again := o.asks.Due(now)
	for i := range due {
		o.in.sendSettled(o.id.Key(), o.commit.state().Token, &due[i])
	}
	o.asks.sayAgain(again, now, func() *time.Timer { return time.AfterFunc(again.Sub(now), o.sayLater) })
}

func (o *object) sayLater() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage() != gone {
		o.sendSettled(time.Now())
	}
}

// sendSettled tells one callee which asks of an object are settled. The message always goes over NATS, so it comes
// after all copies of the asks.
func (in *incarnation) sendSettled(caller string, token uint64, s *asks.Say) {
	settled := wire.SettledAsks{Caller: caller, Token: token, Low: s.Low}
	for _, n := range s.Open {
		settled.Open = append(settled.Open, wire.Number{N: n})
	}
	req := wire.Request{Kind: wire.Settled, Settled: &settled}
	in.logSendError(wire.Publish(in.bus, wire.ObjectHostSubject(s.Callee), &req))
}

// What follows is the callee's half.

// checkAsked refuses an ask that no host can have sent.
func checkAsked(req *wire.Request) error {
	var caller objects.ID
	a := req.Asked
	if err := caller.UnmarshalText([]byte(a.Caller)); err != nil || a.Caller == "" {
		return fmt.Errorf("%.80q is no object that could ask", a.Caller)
	}
	switch {
	case len(a.ID) != len(asks.ID{}):
		return fmt.Errorf("the id of a question has %d bytes", len(a.ID))
	case len(a.Name) > objects.MaxName:
		return fmt.Errorf("the name of the object that asks has %d bytes", len(a.Name))
	case a.Root == "" || len(a.Root) > maxRoot:
		return fmt.Errorf("the event that began the chain has a name of %d bytes", len(a.Root))
	case len(a.Chain) == 0 || len(a.Chain) > maxDepth+1:
		return fmt.Errorf("a chain of %d objects", len(a.Chain))
	case req.Kind != wire.Call && req.Kind != wire.Fetch || req.Key != "" || req.Socket != "":
		return errors.New("this kind of request comes from no object")
	}
	return nil
}

func checkSettled(s *wire.SettledAsks) error {
	if s == nil || s.Caller == "" || len(s.Open) > maxOpenSaid {
		return errors.New("these fields settle no asks")
	}
	return nil
}

func questionOf(a *wire.Asked) asks.Question {
	return asks.Question{ID: asks.ID(a.ID), Caller: a.Caller, Token: a.Token, N: a.N, Long: a.Long, Fence: a.Fence}
}

// tooLargeToKeep refuses an answer to an object if the event wrote and the answer is too large to be kept.
func (o *object) tooLargeToKeep(ev event, out engine.Outcome) error {
	if ev.req == nil || ev.req.Asked == nil || out.Err != nil {
		return nil
	}
	size := len(out.Output)
	if out.Response != nil {
		size = len(wire.Encode(&wire.Reply{Status: out.Response.Status, Header: out.Response.Header, Body: out.Response.Body}))
	}
	if size <= asks.MaxAnswer || !out.Changed() && len(out.Sends) == 0 && !o.owes(ev.ctx) {
		return nil
	}
	return objects.Errorf(objects.TooLarge, "the answer to an object has %d bytes, at most %d are allowed where the event has changed something", size, asks.MaxAnswer)
}

// owes reports whether callees may still keep answers to the event's asks.
func (o *object) owes(c *eventContext) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return c.asking != nil && c.asking.run.Owes()
}

// forgetSettled drops answers that the caller has settled. The next put drops them from the record.
func (o *object) forgetSettled(s *wire.SettledAsks) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.memory.settle(s)
}
