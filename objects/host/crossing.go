package host

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
	"holdfast/objects/host/internal/asks"
	"holdfast/objects/internal/engine"
)

// Events that wait for each other in a cycle: see asks.Waiter.

const (
	firstProbe = 25 * time.Millisecond // an event that has waited this long asks whether somebody waits for it
	lastProbe  = 500 * time.Millisecond
	passAgain  = 20 * time.Millisecond // a probe is passed on again only after this time
	maxPassed  = 256
	maxHops    = 64
)

// beginWait notes that the event waits for an answer. With the object's lock held.
func (c *eventContext) beginWait(a *asking, n uint64, callee string, cancel context.CancelFunc) {
	w := wait{callee: callee, cancel: cancel, after: firstProbe}
	w.timer = time.AfterFunc(w.after, func() { c.probe(a, n) })
	a.waits[n] = w
}

func (c *eventContext) endWait(a *asking, n uint64) {
	c.o.mu.Lock()
	defer c.o.mu.Unlock()
	a.waits[n].timer.Stop()
	delete(a.waits, n)
}

// probe sends a probe along the chain of waits: if it returns to the event, there is a cycle.
func (c *eventContext) probe(a *asking, n uint64) {
	o := c.o
	o.mu.Lock()
	defer o.mu.Unlock()
	w, waits := a.waits[n]
	if !waits || o.stage() == gone {
		return
	}
	self := c.waiter()
	o.in.sendProbe(w.callee, &wire.Waiting{
		Object: o.id.Key(), Event: self.Event, N: n, Root: self.Root, Time: self.Time, Depth: uint8(self.Depth),
	})
	w.after = min(lastProbe, 2*w.after)
	w.timer.Reset(w.after)
	a.waits[n] = w
}

// sendProbe publishes a probe.
func (in *incarnation) sendProbe(to string, p *wire.Waiting) {
	req := wire.Request{Kind: wire.Probe, Probe: p}
	in.logSendError(wire.Publish(in.bus, wire.ObjectHostSubject(to), &req))
}

// onProbe passes a probe on. If the probe began at the object's own event, that event gives way.
func (o *object) onProbe(msg *nats.Msg) {
	var req wire.Request
	err := wire.Decode(msg.Data, &req)
	p := req.Probe
	if err != nil || p == nil || len(p.Event) > maxRoot || len(p.Root) > maxRoot {
		o.in.warnings.Log(o.in.log, "probe dropped: not understood", "object", o.id.Key(), "err", err)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.asks.waiting()
	if c == nil || len(c.asking.waits) == 0 || c.gaveWay.Load() {
		return
	}
	a, self := c.asking, c.waiter()
	if p.Object == o.id.Key() && p.Event == self.Event {
		if _, waits := a.waits[p.N]; waits {
			c.giveWay()
		}
		return
	}
	from := asks.Waiter{Time: p.Time, Root: p.Root, Depth: int(p.Depth), Event: p.Event}
	if self.Younger(from) || p.Hops >= maxHops {
		return
	}
	now := time.Now()
	if last, known := a.passed[p.Event]; known && now.Sub(last) < passAgain {
		return
	}
	if a.passed == nil || len(a.passed) >= maxPassed {
		a.passed = make(map[string]time.Time)
	}
	a.passed[p.Event] = now
	p.Hops++
	callees := make(map[string]bool, len(a.waits))
	for _, w := range a.waits {
		callees[w.callee] = true
	}
	for _, callee := range slices.Sorted(maps.Keys(callees)) {
		o.in.sendProbe(callee, p)
	}
}

// giveWay makes the event unwind. With the object's lock held.
func (c *eventContext) giveWay() {
	c.gaveWay.Store(true)
	for _, w := range c.asking.waits {
		w.cancel()
	}
}

// givesWay reports whether the event is to run again, instead of ending as its handler has it. Its asks are not
// settled: the next run asks the same.
func (o *object) givesWay(ev event, out engine.Outcome) bool {
	if !errors.Is(out.Err, engine.ErrGaveWay) {
		return false
	}
	o.in.metrics.events.WithLabelValues(o.class.Name, ev.label(), "gave way").Inc()
	o.in.log.Debug("event gave way to one that waits for its object", "object", o.id.Key(), "event", ev.ctx.ID())
	o.mu.Lock()
	defer o.mu.Unlock()
	ev.ctx.over = true
	o.asks.end(ev.ctx)
	o.setInstance(nil)
	o.gaveWay = true
	return true
}

// GaveWay reports whether the event must unwind.
func (c *eventContext) GaveWay() bool { return c.gaveWay.Load() }
