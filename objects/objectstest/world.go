package objectstest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// World runs objects. It is an objects.Caller.
type World struct {
	tb      testing.TB
	classes map[string]*objects.Class

	advancing sync.Mutex // held while Advance runs alarms

	mu      sync.Mutex // guards what follows
	now     time.Time
	objects map[string]*object // by ID.Key
	sockets int                // made so far
	chance  *rand.Rand
}

// New makes a world with these classes. Its clock starts at 2030-01-01 00:00 UTC.
func New(tb testing.TB, classes ...*objects.Class) *World {
	w := &World{
		tb:      tb,
		classes: make(map[string]*objects.Class),
		now:     time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		objects: make(map[string]*object),
		chance:  rand.New(rand.NewPCG(1, 2)), // the same in every run
	}
	for _, c := range classes {
		w.classes[c.Name()] = c
	}
	return w
}

// Ref is the object that class calls name, for typed calls. A name that cannot
// be one ends the test.
func (w *World) Ref(class, name string) objects.Ref {
	w.tb.Helper()
	return objects.NewRef(w.id(class, name), w)
}

// Call runs a typed call; Ref and Call.Do are the comfortable way to it.
func (w *World) Call(ctx context.Context, id objects.ID, call string, input []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("call %s: %w", call, err)
	}
	o, err := w.object(id)
	if err != nil {
		return nil, err
	}
	within, cancel := within(ctx)
	defer cancel()
	out, err := o.event(func(i *engine.Instance) engine.Outcome { return i.Call(within, call, input) })
	if err == nil && ctx.Err() != nil {
		return nil, fmt.Errorf("call %s: %w", call, ctx.Err()) // it has happened, and nobody waits for the answer
	}
	return out.Output, err
}

// requestTime is how long whoever asks an object waits, as a gateway does.
const requestTime = 15 * time.Second

// within is the context of an event that ctx has asked for. Only the deadline travels: what else is in ctx stays with its
// caller, and a caller that goes away does not end the event.
func within(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline := time.Now().Add(requestTime)
	if sooner, ok := ctx.Deadline(); ok && sooner.Before(deadline) {
		deadline = sooner
	}
	return context.WithDeadline(context.Background(), deadline)
}

// Fetch has the object answer r. A failure becomes the response that a gateway
// would make of it: the code's status and a JSON body with code, message and,
// for a fault, ref. To open a WebSocket use Connect.
func (w *World) Fetch(class, name string, r *http.Request) *http.Response {
	w.tb.Helper()
	response, err := w.fetch(w.id(class, name), r, nil)
	if err != nil {
		response = failure(err)
	}
	return &http.Response{
		Status:     fmt.Sprintf("%d %s", response.Status, http.StatusText(response.Status)),
		StatusCode: response.Status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        response.Header,
		Body:          io.NopCloser(strings.NewReader(string(response.Body))),
		ContentLength: int64(len(response.Body)),
		Request:       r,
	}
}

func (w *World) fetch(id objects.ID, r *http.Request, c *Client) (*engine.Response, error) {
	o, err := w.object(id)
	if err != nil {
		return nil, err
	}
	var body []byte
	if r.Body != nil {
		body, err = io.ReadAll(http.MaxBytesReader(nil, r.Body, objects.MaxBody))
		if _, long := errors.AsType[*http.MaxBytesError](err); long {
			return nil, objects.Errorf(objects.TooLarge, "the request's body has more than %d bytes", objects.MaxBody)
		}
		if err != nil {
			return nil, objects.Errorf(objects.Invalid, "read the request's body: %v", err)
		}
	}
	ctx, cancel := within(r.Context())
	defer cancel()
	return o.fetch(ctx, r, body, c)
}

func failure(err error) *engine.Response {
	e, ok := objects.AsError(err)
	if !ok {
		e = &objects.Error{Code: objects.CodeOf(err), Message: err.Error()}
	}
	body, _ := json.Marshal(map[string]string{"code": string(e.Code), "message": e.Message, "ref": e.Ref}) // strings always encode
	header := http.Header{"Content-Type": {"application/json"}}
	if e.Code == objects.Unavailable || e.Code == objects.Overloaded {
		header.Set("Retry-After", "1")
	}
	return &engine.Response{Status: e.Code.HTTPStatus(), Header: header, Body: body}
}

// Now is the world's time, which is the objects' State.Now.
func (w *World) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Advance lets d pass. Alarms that fall due run at their own time, in order, with
// the retries that objects.Alarmer describes. Alarms run nowhere else; Advance(0)
// runs those that are due already.
func (w *World) Advance(d time.Duration) {
	w.tb.Helper()
	if d < 0 {
		w.tb.Fatalf("advance by %v: time does not go back", d)
	}
	w.advancing.Lock()
	defer w.advancing.Unlock()
	const tooOften = 10_000 // runs without time passing: an alarm that sets itself to now, for ever
	until := w.Now().Add(d)
	for still := 0; ; still++ {
		o, due := w.nextAlarm(until)
		if o == nil {
			break
		}
		if due.After(w.Now()) {
			still = 0
			w.set(due)
		}
		if still == tooOften {
			w.tb.Fatalf("advance: the alarm of %v has run %d times at %v and is due again", o, tooOften, w.Now())
		}
		o.ring()
	}
	w.set(until)
}

// jitter is a number in [0, 1).
func (w *World) jitter() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.chance.Float64()
}

func (w *World) set(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = now
}

// nextAlarm is the object whose alarm comes first and when, nil if none is due by then.
func (w *World) nextAlarm(until time.Time) (first *object, at time.Time) {
	for _, o := range w.all() {
		due, ok := o.due()
		if !ok || due.After(until) {
			continue
		}
		if first == nil || cmp.Or(due.Compare(at), strings.Compare(o.id.Key(), first.id.Key())) < 0 {
			first, at = o, due
		}
	}
	return first, at
}

func (w *World) all() []*object {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]*object, 0, len(w.objects))
	for _, o := range w.objects {
		all = append(all, o)
	}
	return all
}

// Evict drops the object's instance, as a host does with an idle one. Storage and
// sockets stay; the next event constructs it again.
func (w *World) Evict(class, name string) {
	w.tb.Helper()
	w.do(class, name, func(o *object) { o.instance = nil })
}

// Move has another host take the object over: the instance is gone, and the next
// one sees an Owner.Epoch that is one higher.
func (w *World) Move(class, name string) {
	w.tb.Helper()
	w.do(class, name, func(o *object) { o.instance, o.moves = nil, o.moves+1 })
}

// RefuseCommit has the object's next commit refused, as when another host has taken
// the object over: nothing of the event is stored or sent, the instance is dropped,
// and the event runs again at the next owner, whose Owner.Epoch is one higher. Events
// that write nothing do not commit.
func (w *World) RefuseCommit(class, name string) {
	w.tb.Helper()
	w.do(class, name, func(o *object) { o.refuse = true })
}

// Constructed tells how often the object's constructor has run.
func (w *World) Constructed(class, name string) (n int) {
	w.tb.Helper()
	w.do(class, name, func(o *object) { n = o.constructed })
	return n
}

// Stored is the JSON that the object keeps under key; false if there is none.
func (w *World) Stored(class, name, key string) (value string, ok bool) {
	w.tb.Helper()
	w.do(class, name, func(o *object) {
		var raw []byte
		raw, ok = o.data.Get(key)
		value = string(raw)
	})
	return value, ok
}

// Alarm is an object's alarm with its retries, as `holdfast get` shows it.
type Alarm struct {
	At     time.Time // what the object has set; zero: there is none
	Due    time.Time // when it is tried again; zero: it has not failed
	Retry  int       // failures so far
	Parked bool      // given up after the last retry
}

// Alarm is the object's alarm; the zero Alarm is none.
func (w *World) Alarm(class, name string) (a Alarm) {
	w.tb.Helper()
	w.do(class, name, func(o *object) { a = Alarm(o.alarm) })
	return a
}

// do runs fn while no event runs.
func (w *World) do(class, name string, fn func(*object)) {
	w.tb.Helper()
	o, err := w.object(w.id(class, name))
	if err != nil {
		w.tb.Fatal(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	fn(o)
}

func (w *World) id(class, name string) objects.ID {
	w.tb.Helper()
	id, err := objects.NameID(class, name)
	if err != nil {
		w.tb.Fatal(err)
	}
	return id
}

func (w *World) object(id objects.ID) (*object, error) {
	class, ok := w.classes[id.Class()]
	if !ok {
		return nil, objects.Errorf(objects.NotFound, "no class %q", id.Class())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	o, ok := w.objects[id.Key()]
	if !ok {
		o = &object{world: w, id: id, class: class, data: &engine.Data{}, clients: make(map[string]*Client), answers: make(map[string]answer)}
		w.objects[id.Key()] = o
	}
	return o, nil
}
