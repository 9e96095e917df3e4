package objectstest

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"holdfast/objects"
)

// object is one object, and all that a host and the gateways would keep for it.
type object struct {
	world *World
	id    objects.ID
	class *objects.Class

	mu          sync.Mutex // held while an event runs; guards what follows
	data        *objects.Data
	alarm       objects.Alarm
	instance    *objects.Instance // nil while it sleeps
	clients     map[string]*Client
	accepted    int   // sockets so far
	ended       []end // closes that the object is to be told
	moves       uint64
	constructed int
	refuse      bool // the next commit
}

type end struct {
	client *Client
	how    objects.Close
}

// errFenced is what the caller gets whose event could not commit.
var errFenced = objects.Errorf(objects.Unavailable, "the object has moved to another host")

func (o *object) String() string {
	name := o.id.Name()
	if name == "" {
		name = o.id.String()
	}
	return o.id.Class() + "/" + name
}

// event runs one event from outside, and then those that follow from it.
func (o *object) event(run func(*objects.Instance) objects.Outcome) (objects.Outcome, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	out, err := o.run(run)
	o.tellEnds()
	return out, err
}

// run is one event: wake the instance, let it work, settle what it wants.
func (o *object) run(event func(*objects.Instance) objects.Outcome) (objects.Outcome, error) {
	if err := o.wake(); err != nil {
		return objects.Outcome{}, err
	}
	out := event(o.instance)
	return out, o.settle(out)
}

func (o *object) wake() error {
	if o.instance != nil {
		return nil
	}
	o.constructed++
	instance, out := o.class.Start(objects.World{
		ID:      o.id,
		Data:    o.data,
		Alarm:   func() objects.Alarm { return o.alarm },
		Sockets: o.held(),
		Now:     o.world.Now,
		Owner:   objects.Owner{Host: "test", Region: "test", Epoch: 1 + o.moves},
	})
	o.instance = instance
	return o.settle(out)
}

// held are the sockets that a waking object is told of, in the order they were accepted.
func (o *object) held() *objects.Sockets {
	sockets := &objects.Sockets{}
	for _, c := range slices.SortedFunc(maps.Values(o.clients), byAcceptance) {
		if c.accepted > 0 {
			sockets.Add(c.info)
		}
	}
	return sockets
}

// settle does what an outcome wants, in its order. The error is what the caller is told.
func (o *object) settle(out objects.Outcome) error {
	if out.Drop {
		o.instance = nil
	}
	if out.Err != nil {
		return o.told(out)
	}
	if out.Changed() {
		if o.refuse {
			o.refuse, o.instance = false, nil
			return errFenced
		}
		o.data.Apply(out.Writes)
		if out.Alarm != nil {
			o.alarm = *out.Alarm
		}
	}
	for _, s := range out.Opened {
		c := o.clients[s.ID()]
		o.accepted++
		c.info, c.accepted = s.Info(), o.accepted
	}
	for _, s := range out.Sends {
		o.send(s)
	}
	return nil
}

// told is how a failure looks from outside: refusals word for word, faults as a
// reference to the log.
func (o *object) told(out objects.Outcome) error {
	if e, ok := objects.AsError(out.Err); ok {
		return e
	}
	ref := rand.Text()[:8]
	o.world.tb.Logf("%v: %v (reference %s)\n%s", o, out.Err, ref, out.Stack)
	return &objects.Error{Code: objects.Internal, Message: "the object failed", Ref: ref}
}

func (o *object) send(s objects.Send) {
	for _, socket := range s.Sockets {
		c, ok := o.clients[socket.ID()]
		switch {
		case !ok: // its close is being told
		case s.Op == objects.OpMessage:
			c.deliver(s.Message)
		case s.Op == objects.OpClose:
			o.hangUp(c, s.Close)
		case s.Op == objects.OpAttach:
			c.info.Attachment = s.Attachment
		}
	}
}

// hangUp closes a socket from the object's side. The peer answers with the same
// close, so that is what the object is told.
func (o *object) hangUp(c *Client, how objects.Close) {
	how.Clean = true
	if c.end(how) {
		o.ended = append(o.ended, end{c, how})
	}
}

// tellEnds tells the object of sockets that have ended, each once. A close whose
// commit is refused is told to the next instance.
func (o *object) tellEnds() {
	for len(o.ended) > 0 {
		e := o.ended[0]
		o.ended = o.ended[1:]
		for {
			_, err := o.run(func(i *objects.Instance) objects.Outcome {
				return i.Closed(context.Background(), e.client.ID(), e.how)
			})
			if !errors.Is(err, errFenced) {
				break
			}
		}
		delete(o.clients, e.client.ID())
	}
}

// connect is a fetch that may open c.
func (o *object) connect(r *http.Request, c *Client) (*objects.Response, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c.object = o
	info := c.info
	o.clients[c.ID()] = c
	out, err := o.run(func(i *objects.Instance) objects.Outcome { return i.Fetch(r, &info) })
	if c.accepted == 0 {
		delete(o.clients, c.ID())
	}
	o.tellEnds()
	return out.Response, err
}

// message is a frame from c. If its event fails the socket is closed with the reason.
func (o *object) message(c *Client, m objects.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.over() {
		return
	}
	_, err := o.run(func(i *objects.Instance) objects.Outcome {
		return i.Message(context.Background(), c.ID(), m)
	})
	if e, ok := objects.AsError(err); ok {
		reason := e.Message
		if e.Ref != "" {
			reason += " (reference " + e.Ref + ")"
		}
		o.hangUp(c, objects.Close{Code: e.Code.CloseCode(), Reason: reason})
	}
	o.tellEnds()
}

// closed is the peer's close.
func (o *object) closed(c *Client, how objects.Close) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.end(how) {
		o.ended = append(o.ended, end{c, how})
	}
	o.tellEnds()
}

func (o *object) due() (time.Time, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.alarm.Next()
}

// ring runs the alarm if it is due, and sets it for another try if it fails. A
// refused commit is not the handler's fault: the alarm stays due.
func (o *object) ring() {
	o.mu.Lock()
	defer o.mu.Unlock()
	now, was := o.world.Now(), o.alarm
	if due, ok := was.Next(); !ok || due.After(now) {
		return
	}
	_, err := o.run(func(i *objects.Instance) objects.Outcome {
		if !o.alarm.Equal(was) {
			return objects.Outcome{} // the constructor has set another
		}
		return i.Alarm(context.Background(), objects.AlarmInfo{Scheduled: was.At, Retry: was.Retry})
	})
	if err != nil && !errors.Is(err, errFenced) && o.alarm.Equal(was) {
		o.world.tb.Logf("%v: alarm, retry %d: %v", o, was.Retry, err)
		o.alarm = again(was, now)
	}
	o.tellEnds()
}

const (
	retries    = 6
	firstRetry = 2 * time.Second // and double from there
)

// again is the alarm after a failure at now.
func again(a objects.Alarm, now time.Time) objects.Alarm {
	if a.Retry == retries {
		a.Parked = true
		return a
	}
	a.Due = now.Add(firstRetry << a.Retry)
	a.Retry++
	return a
}
