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
	engine.Alone // but for what has a method here
	t            failer
	data         *engine.Data
	alarm        engine.Alarm
	sockets      *engine.Sockets
	now          time.Time
	instance     *engine.Instance
	work         work                // of the event that runs
	w            http.ResponseWriter // of the fetch that runs
	settings     objects.Settings    // of the class
}

// failer is a *testing.T or a *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
}

type work = func(*objects.Tx) error

// probe is an object that does what its harness says, whatever the event.
type probe struct{ h *harness }

const probes objects.Class = "probe"

var do = objects.NewCall[objects.None, objects.None](probes, "do")

func (p *probe) do(tx *objects.Tx, _ objects.None) (objects.None, error) { return nil, p.h.work(tx) }

func (p *probe) WebSocketMessage(tx *objects.Tx, _ objects.Socket, _ objects.Message) error {
	return p.h.work(tx)
}

func (p *probe) WebSocketClose(tx *objects.Tx, _ objects.Socket, _ objects.Close) error {
	return p.h.work(tx)
}

func (p *probe) Alarm(tx *objects.Tx, _ objects.AlarmInfo) error { return p.h.work(tx) }

func (p *probe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.h.w = w
	tx := objects.TxOf(r)
	if err := p.h.work(tx); err != nil {
		tx.Refuse(err)
	}
}

func newHarness(t failer) *harness {
	t.Helper()
	h := &harness{t: t, data: &engine.Data{}, sockets: &engine.Sockets{}, now: time.Unix(1_900_000_000, 0).UTC()}
	h.start()
	return h
}

func (h *harness) Alarm() engine.Alarm { return h.alarm }

// start constructs the instance anew.
func (h *harness) start() {
	h.t.Helper()
	class := objects.Implement(probes, func(*objects.Tx) *probe { return &probe{h} }, objects.On(do, (*probe).do)).With(h.settings)
	instance, out := class.Engine().Start(engine.World{
		Key: nameID(h.t, probes, "a").Key(), Name: "a", Data: h.data, Sockets: h.sockets,
		Object: h,
		Now:    func() time.Time { return h.now },
		Owner:  engine.Owner{Host: "h", Region: "r", Epoch: 3},
	})
	if out.Err != nil {
		h.t.Fatal(out.Err)
	}
	h.instance = instance
}

// call runs one event, and commits it.
func (h *harness) call(fn work) engine.Outcome {
	h.work = fn
	return h.commit(h.instance.Call(context.Background(), "do", []byte("null")))
}

// must is call for an event that has to succeed.
func (h *harness) must(fn func(*objects.Tx)) engine.Outcome {
	h.t.Helper()
	out := h.call(func(tx *objects.Tx) error { fn(tx); return nil })
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
	return h.commit(h.instance.Fetch(httptest.NewRequest(http.MethodGet, "/", nil), engine.Fetching{Socket: info}))
}

// open accepts a socket.
func (h *harness) open(id string, tags ...string) {
	h.t.Helper()
	out := h.fetch(id, func(tx *objects.Tx) error {
		_, err := tx.Accept(objects.Tags(tags...))
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

// stored returns all that is stored.
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
