package objectstest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"holdfast/internal/resume"
	"holdfast/objects"
	"holdfast/objects/internal/engine"
	"holdfast/objects/internal/tells"
)

// object is one object, with the state of its host and of its gateways.
type object struct {
	world *World
	to    objects.Ref
	class *engine.Class

	mu          sync.Mutex // held while an event runs; guards what follows
	data        *engine.Data
	past        []change // oldest first, if the class keeps a history
	alarm       engine.Alarm
	instance    *engine.Instance // nil while it sleeps
	clients     map[string]*Client
	sessions    *resume.Sessions // of clients that may come back; nil: none can
	slots       uint32           // places of connections so far
	ended       []end            // ends that the object has not been told
	conflation  engine.Conflation
	answers     map[string]answer
	moves       uint64
	life        context.Context    // context of tasks, until the object moves; nil: none was begun; World.mu guards it
	endLife     context.CancelFunc // likewise
	constructed int
	fate        fate // of the next commit
	forgetAlarm bool // the event that failed last has its alarm forgotten

	large *engine.LargeBody // of the request in progress, if it has one
	rest  io.Reader         // its bytes

	box   *tells.Outbox // nil: the object has told nothing
	born  uint64        // of its count of told messages
	holds bool          // messages to it are kept
	kept  []batch       // the messages that it keeps

	tasks, streams int // running ones; a stream is no task here; World.mu guards them
}

// fate is the outcome of a commit.
type fate uint8

const (
	lands   fate = iota
	refused      // another host owns the object
	lost         // it lands, and the host dies before any answer leaves
	unknown      // it lands, and the caller gets no answer
	failed       // it does not land, and the caller gets no answer
)

type end struct {
	client *Client
	how    engine.Close
}

// errFenced is the result of an event whose commit was refused: the event runs again at the next owner.
var errFenced = errors.New("the object has moved to another host")

func (o *object) String() string {
	name := o.to.Name()
	if name == "" {
		name = o.to.ID().String()
	}
	return string(o.to.ID().Class()) + "/" + name
}

// event runs one event from outside, once under a key, and then the events that follow from it.
func (o *object) event(e *event, key string, q question, run func(*engine.Instance) engine.Outcome) (engine.Outcome, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	out, err := o.once(e, key, q, run)
	o.deliverEnds()
	return out, err
}

// run runs one event, which runs again if its commit is refused.
func (o *object) run(e *event, event func(*engine.Instance) engine.Outcome) (engine.Outcome, error) {
	if o.world.isTwice() && o.wake() == nil {
		event(o.instance)
		o.drop()
		o.moved(nil)
		first := e.asked.end()
		defer func() {
			if second := e.asked.end(); !maps.Equal(first, second) {
				o.world.tb.Errorf("%v: an event that ran again has asked otherwise: %v, and before %v", o, second, first)
			}
		}()
	}
	for {
		out, err := o.try(event)
		if errors.Is(err, errFenced) {
			continue
		}
		if err == nil || !e.long {
			e.markDurable()
		}
		return out, err
	}
}

// try runs one event at one owner: it wakes the instance, runs the handler, and applies the outcome.
func (o *object) try(event func(*engine.Instance) engine.Outcome) (engine.Outcome, error) {
	if err := o.wake(); err != nil {
		return engine.Outcome{}, err
	}
	began := time.Now()
	out := event(o.instance)
	if most := o.class.Limits.Event; out.Err == nil && time.Since(began) > most { // a handler may wait for more than the world's clock
		err := objects.Errorf(objects.Unavailable, "the event took longer than %v; nothing was changed", most)
		out = engine.Outcome{Err: err, Drop: true}
	}
	return out, o.applyOutcome(out)
}

func (o *object) wake() error {
	if o.instance != nil {
		return nil
	}
	o.constructed++
	instance, out := o.class.Start(engine.World{
		Key:     o.to.ID().Key(),
		Name:    o.to.Name(),
		Data:    o.data,
		Object:  surroundings{o},
		Sockets: o.held(),
		Born:    o.born,
		Now:     o.world.Now,
		Owner:   engine.Owner{Host: "test", Region: "test", Epoch: 1 + o.moves},
		Strict:  1,
	})
	o.instance = instance
	if err := o.applyOutcome(out); err != nil {
		return err
	}
	return o.wake() // if the commit was the last thing that the host did
}

// sleep drops the instance, which may save something first.
func (o *object) sleep() {
	if o.instance != nil && o.instance.Sleeps() {
		_ = o.applyOutcome(o.instance.Sleep(context.Background())) // visibleError has logged it
	}
	o.drop()
	o.deliverEnds()
}

// drop forgets the instance.
func (o *object) drop() {
	o.instance.Close()
	o.instance = nil
}

// moved notes that another host has taken the object over, with a window of messages: the object's tasks end.
func (o *object) moved(window []byte) {
	o.passSessions(window)
	o.moves++
	o.world.mu.Lock()
	defer o.world.mu.Unlock()
	if o.life != nil {
		o.endLife()
		o.life = nil
	}
}

// surroundings are what an instance may ask about its object.
type surroundings struct{ o *object }

func (s surroundings) Alarm() engine.Alarm { return s.o.alarm }

func (s surroundings) Answered(socket *engine.Socket) time.Time {
	if c, ok := s.o.clients[socket.ID()]; ok {
		return c.lastAnswered()
	}
	return time.Time{}
}

// Told is called in an event, so mu is held.
func (s surroundings) Told() int {
	if s.o.box == nil {
		return 0
	}
	return s.o.box.Len()
}

func (s surroundings) FreeTasks() int {
	s.o.world.mu.Lock()
	defer s.o.world.mu.Unlock()
	return objects.MaxTasks - s.o.tasks
}

func (s surroundings) FreeStreams() int {
	s.o.world.mu.Lock()
	defer s.o.world.mu.Unlock()
	return objects.MaxStreams - s.o.streams
}

// Misused fails the test.
func (s surroundings) Misused(err error) {
	defer func() { _ = recover() }() // the test has ended
	s.o.world.tb.Errorf("%v", err)
}

// held returns the sockets of an object that wakes.
func (o *object) held() *engine.Sockets {
	sockets := &engine.Sockets{}
	for _, c := range slices.SortedFunc(maps.Values(o.clients), byID) { // gateways report them in any order
		if c.info.Order > 0 {
			sockets.Add(c.info)
		}
	}
	return sockets
}

// applyOutcome applies an outcome, in its order. It returns the caller's error.
func (o *object) applyOutcome(out engine.Outcome) error {
	if out.Drop {
		o.drop()
	}
	if out.Err != nil {
		o.forgetAlarm = out.Forget
		for _, s := range out.Sends {
			o.send(s)
		}
		return o.visibleError(out)
	}
	fate := lands
	if out.Changed() {
		fate, o.fate = o.fate, lands
	}
	if fate != lands {
		o.drop()
		o.moved(nil)
	}
	switch fate {
	case refused:
		return errFenced
	case failed:
		return errUnknown
	}
	if to, ok := out.Target.(target); ok {
		o.restore(to)
	}
	o.write(out.Writes)
	if out.Alarm != nil {
		o.alarm = *out.Alarm
		o.alarm.Number = o.world.number()
	}
	if fate != lands {
		return o.crashAtCommit(fate, out)
	}
	for _, s := range out.Opened {
		c := o.clients[s.ID()]
		c.accepted(s.Info())
		o.openSession(c)
	}
	joined := 0
	for _, s := range out.Sends {
		o.join(out.Opened[joined:s.Opened])
		joined = s.Opened
		o.send(s)
	}
	o.join(out.Opened[joined:])
	o.flush()
	for _, task := range out.Tasks {
		o.world.begin(o, task, &o.tasks)
	}
	if out.Response != nil && out.Response.Stream != nil {
		o.stream(out.Response)
	}
	return nil
}

var errStreamed = objects.Errorf(objects.Done, "this was done before; its answer was a stream, which is not kept")

var errUnknown = objects.Errorf(objects.Unknown, "no answer in time; it may or may not have happened")

// crashAtCommit ends an event whose host died at its commit: attachments are in the record, messages have not left, and
// the next owner gives the remembered answer, if there is one.
func (o *object) crashAtCommit(fate fate, out engine.Outcome) error {
	for _, s := range out.Sends {
		if s.Op == engine.OpAttach {
			o.send(s)
		}
	}
	size := len(out.Output)
	if out.Response != nil {
		size = len(out.Response.Body)
	}
	switch {
	case fate == unknown:
		return errUnknown
	case len(out.Opened) > 0:
		return objects.Errorf(objects.Unknown, "the object's host was lost as the socket opened; connect again")
	case out.Response != nil && out.Response.Stream != nil:
		return errStreamed
	case size > maxAnswer:
		return objects.Errorf(objects.Done, "this was done before; its answer was too large to keep")
	}
	return nil
}

func (o *object) join(sockets []*engine.Socket) {
	for _, s := range sockets {
		if s.Conflated() {
			o.conflation.Join(s)
		}
	}
}

// frames delivers conflated values.
func (o *object) frames(frames []engine.Frame) {
	for _, f := range frames {
		o.noteSent(objects.Message{Data: f.Data}, f.Sockets)
		for _, s := range f.Sockets {
			if c, ok := o.clients[s.ID()]; ok {
				c.deliver(objects.Message{Data: f.Data})
			}
		}
	}
}

// visibleError returns a failure as the caller sees it: a refusal unchanged, a fault as a reference to the log.
func (o *object) visibleError(out engine.Outcome) error {
	if e, ok := errors.AsType[*objects.Error](out.Err); ok {
		return e
	}
	ref := rand.Text()[:8]
	say := o.world.tb.Logf
	if !o.world.wanted() {
		say = o.world.tb.Errorf // World.Faults announces the expected ones
	}
	say("%v: %v (reference %s)\n%s", o, out.Err, ref, out.Stack)
	return &objects.Error{Code: objects.Internal, Message: "the object failed; nothing was changed", Reference: ref}
}

func (o *object) send(s engine.Send) {
	switch {
	case s.Op == engine.OpConflate:
		if o.conflation.Full(s.Message.Conflate, len(s.Message.Data)) {
			o.frames(o.conflation.TakeAll(o.world.Now()))
		}
		o.conflation.Add(s.Message.Conflate, s.Message.Data)
	case s.Op != engine.OpAttach:
		o.frames(o.conflation.Take(s.Sockets))
	}
	if s.Op == engine.OpMessage {
		o.noteSent(objects.Message{Binary: s.Message.Binary, Data: s.Message.Data}, s.Sockets)
	}
	for _, socket := range s.Sockets {
		c, ok := o.clients[socket.ID()]
		switch {
		case !ok: // the object is being told its close
		case s.Op == engine.OpMessage:
			c.deliver(objects.Message{Binary: s.Message.Binary, Data: s.Message.Data})
		case s.Op == engine.OpClose:
			o.hangUp(c, s.Close)
		case s.Op == engine.OpAttach:
			c.info.Attachment = s.Attachment
		}
	}
}

// hangUp closes a socket from the object's side. The peer answers with the same close, which the object is then told.
func (o *object) hangUp(c *Client, how engine.Close) {
	how.Clean = true
	if c.end(how) {
		o.ended = append(o.ended, end{c, how})
	}
}

// deliverEnds tells the object of each socket that has ended, once.
func (o *object) deliverEnds() {
	for len(o.ended) > 0 {
		e := o.ended[0]
		o.ended = o.ended[1:]
		ctx := o.begin(e.client.as, "")
		_, _ = o.run(ctx, func(i *engine.Instance) engine.Outcome { // no caller waits for it; visibleError has logged a failure
			return i.Closed(ctx, e.client.ID(), e.how)
		})
		delete(o.clients, e.client.ID())
		if o.sessions != nil {
			o.sessions.End(e.client.ID())
		}
		o.conflation.Leave(e.client.ID())
	}
}

// fetch runs an HTTP request whose body was read. If c is not nil, the request may open c.
func (o *object) fetch(e *event, key string, r *http.Request, data []byte, rest io.Reader, c *Client) (*engine.Response, error) {
	target, err := url.ParseRequestURI(r.URL.RequestURI())
	if err != nil {
		return nil, objects.Errorf(objects.Invalid, "the path cannot be read")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if c != nil {
		c.object = o
		o.clients[c.ID()] = c
	}
	out, err := o.once(e, key, askHTTP(r, data), func(i *engine.Instance) engine.Outcome {
		again := r.Clone(e)
		again.URL, again.RequestURI = target, target.RequestURI() // without the host
		again.Body, again.ContentLength = body(data), int64(len(data))
		o.large = nil
		if rest != nil {
			o.large = new(engine.LargeBody)
			again.Body, again.ContentLength = o.large, r.ContentLength
			o.rest = io.MultiReader(bytes.NewReader(data), rest)
		}
		how := engine.Fetching{Takes: engine.TakesStream}
		if r.ProtoMajor == 1 && r.ProtoMinor == 0 {
			how.Takes = engine.TakesWhole
		}
		if c != nil {
			info := c.info
			how.Socket = &info
		}
		return i.Fetch(again, how)
	})
	if c != nil && c.info.Order == 0 {
		delete(o.clients, c.ID())
	}
	o.deliverEnds()
	return out.Response, err
}

func body(data []byte) *reader { return &reader{*bytes.NewReader(data)} }

// reader is a request's body.
type reader struct{ bytes.Reader }

func (*reader) Close() error { return nil }

// message delivers a frame of c. If its event fails, the socket is closed with the reason.
func (o *object) message(c *Client, m objects.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.over() {
		return
	}
	ctx := o.begin(c.as, "")
	_, err := o.run(ctx, func(i *engine.Instance) engine.Outcome {
		return i.Message(ctx, c.ID(), engine.Message(m))
	})
	if e, ok := errors.AsType[*objects.Error](err); ok {
		reason := e.Message
		if e.Reference != "" {
			reason += " (reference " + e.Reference + ")"
		}
		o.hangUp(c, engine.Close{Code: e.Code.CloseCode(), Reason: reason, Fault: string(e.Code)})
	}
	o.deliverEnds()
}

// closed handles the client's close.
func (o *object) closed(c *Client, how engine.Close) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !c.isAway() && c.end(how) {
		o.ended = append(o.ended, end{c, how})
	}
	o.deliverEnds()
}

func (o *object) due() (time.Time, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at, ok := o.alarm.Next()
	if o.conflation.Waits() && (!ok || o.conflation.Due().Before(at)) {
		at, ok = o.conflation.Due(), true
	}
	if o.sessions != nil {
		if over := o.sessions.Next(); !over.IsZero() && (!ok || over.Before(at)) {
			at, ok = over, true
		}
	}
	return at, ok
}

// flush delivers the conflated values that wait, if they are due.
func (o *object) flush() {
	if now := o.world.Now(); o.conflation.Waits() && !now.Before(o.conflation.Due()) {
		o.frames(o.conflation.TakeAll(now))
	}
}

// dueTold returns when a told message of the object is due next.
func (o *object) dueTold() (at time.Time, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.box == nil {
		return at, false
	}
	if at, ok = o.box.NextDue(); !ok {
		return o.box.Next()
	}
	if again, some := o.box.Next(); some && again.Before(at) {
		at = again
	}
	return at, ok
}

// runAlarm runs the alarm if it is due by then, reports whether it did, and sets the alarm for another try if it fails.
// A refused commit is not the handler's fault: the alarm runs again at the next owner. runAlarm first delivers due
// conflated values, and ends the sockets whose time to come back is over.
func (o *object) runAlarm(by time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flush()
	o.endAway()
	now, was := o.world.Now(), o.alarm
	if due, ok := was.Next(); !ok || due.After(by) {
		return false
	}
	ctx := o.beginAlarm(was)
	_, err := o.run(ctx, func(i *engine.Instance) engine.Outcome {
		if !o.alarm.Equal(was) {
			return engine.Outcome{} // the constructor has set another alarm
		}
		return i.Alarm(ctx, was.Info())
	})
	if err != nil && o.alarm.Equal(was) {
		o.world.tb.Logf("%v: alarm, retry %d: %v", o, was.Retry, err)
		if o.alarm = was.Failed(now, o.world.jitter()); o.forgetAlarm {
			o.alarm = engine.Alarm{}
		}
	}
	o.deliverEnds()
	return true
}
