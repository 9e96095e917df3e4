package objects_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// harness is one object, driven as a host drives it. Every event does what the
// test hands in.
type harness struct {
	t        failer
	data     *engine.Data
	alarm    engine.Alarm
	sockets  *engine.Sockets
	now      time.Time
	instance *engine.Instance
	work     work // of the event that runs
}

// failer is a *testing.T or a *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
}

type work = func(context.Context, *objects.State) error

// probe is an object that does what its harness says, whatever the event.
type probe struct {
	state *objects.State
	h     *harness
}

var do = objects.NewCall[objects.None, objects.None]("do")

func (p *probe) do(ctx context.Context, _ objects.None) (objects.None, error) {
	return objects.None{}, p.h.work(ctx, p.state)
}

func (p *probe) WebSocketMessage(ctx context.Context, _ *objects.Socket, _ objects.Message) error {
	return p.h.work(ctx, p.state)
}

func (p *probe) WebSocketClose(ctx context.Context, _ *objects.Socket, _ objects.Close) error {
	return p.h.work(ctx, p.state)
}

func (p *probe) Alarm(ctx context.Context, _ objects.AlarmInfo) error { return p.h.work(ctx, p.state) }

func (p *probe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := p.h.work(context.WithValue(r.Context(), exchange{}, &exchange{w, r}), p.state); err != nil {
		panic(err)
	}
}

// exchange is how a fetch's work finds its writer and its request.
type exchange struct {
	w http.ResponseWriter
	r *http.Request
}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchange{}).(*exchange) }

func newHarness(t failer) *harness {
	t.Helper()
	h := &harness{t: t, data: &engine.Data{}, sockets: &engine.Sockets{}, now: time.Unix(1_900_000_000, 0).UTC()}
	h.start()
	return h
}

// start constructs the instance anew.
func (h *harness) start() {
	h.t.Helper()
	class := objects.Define("probe", func(s *objects.State) *probe { return &probe{s, h} }, objects.On(do, (*probe).do))
	id, err := objects.NameID("probe", "a")
	if err != nil {
		h.t.Fatal(err)
	}
	instance, out := class.Engine().Start(engine.World{
		Key: id.Key(), Name: id.Name(), Data: h.data, Sockets: h.sockets,
		Alarm: func() engine.Alarm { return h.alarm },
		Now:   func() time.Time { return h.now },
		Owner: engine.Owner{Host: "h", Region: "r", Epoch: 3},
	})
	if out.Err != nil {
		h.t.Fatal(out.Err)
	}
	h.instance = instance
}

// call runs one event, and commits it.
func (h *harness) call(fn work) engine.Outcome {
	h.work = fn
	return h.commit(h.instance.Call(context.Background(), do.Name(), []byte("{}")))
}

// must is call for an event that has to succeed and needs no context.
func (h *harness) must(fn func(*objects.State)) engine.Outcome {
	h.t.Helper()
	out := h.call(func(_ context.Context, s *objects.State) error { fn(s); return nil })
	if out.Err != nil {
		h.t.Fatal(out.Err)
	}
	return out
}

func (h *harness) ring(fn work) engine.Outcome {
	h.work = fn
	return h.commit(h.instance.Alarm(context.Background(), engine.AlarmInfo{Scheduled: h.alarm.At, Retry: h.alarm.Retry}))
}

// fetch runs a fetch that opens the socket with this id, or none.
func (h *harness) fetch(socket string, fn work) engine.Outcome {
	h.work = fn
	var info *engine.SocketInfo
	if socket != "" {
		info = &engine.SocketInfo{ID: socket, Gateway: "g", Region: "r"}
	}
	return h.commit(h.instance.Fetch(httptest.NewRequest(http.MethodGet, "/", nil), info))
}

// open accepts a socket.
func (h *harness) open(id string, tags ...string) {
	h.t.Helper()
	out := h.fetch(id, func(ctx context.Context, s *objects.State) error {
		_, err := s.Accept(exchangeOf(ctx).r, tags...)
		return err
	})
	if out.Err != nil {
		h.t.Fatal(out.Err)
	}
}

func (h *harness) commit(out engine.Outcome) engine.Outcome {
	if out.Err == nil {
		h.data.Apply(out.Writes)
		if out.Alarm != nil {
			h.alarm = *out.Alarm
		}
	}
	return out
}

// stored is all that is stored.
func (h *harness) stored() string { return string(h.data.AppendJSON(nil)) }

// nothingHappened fails the test if a failed event left anything to be done.
func nothingHappened(t testing.TB, out engine.Outcome) {
	t.Helper()
	if out.Err == nil {
		t.Error("the event succeeded")
	}
	if out.Changed() || len(out.Writes)+len(out.Sends)+len(out.Opened) > 0 || out.Output != nil || out.Response != nil {
		t.Errorf("a failed event left %+v", out)
	}
}
