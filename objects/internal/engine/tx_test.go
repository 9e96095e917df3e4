package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/objects/internal/engine"
)

// code is an author whose calls do what the test hands in.
type code struct{ work func(tx *engine.Tx) error }

type refusal struct{ error }

func (c *code) Begin() *engine.Tx { return new(engine.Tx) }
func (c *code) Alarms(any) bool   { return true }

func (c *code) HearsUndelivered(any) bool                      { return false }
func (c *code) Undelivered(any, *engine.Tx, engine.Told) error { return nil }
func (c *code) Sleeps(any) bool                                { return false }
func (c *code) Open(*engine.Tx) any                            { return c }
func (c *code) Call(_ any, tx *engine.Tx, _ string, _ []byte) ([]byte, error) {
	return nil, c.work(tx)
}
func (c *code) Fetch(_ any, tx *engine.Tx, _ http.ResponseWriter, _ *http.Request) error {
	return c.work(tx)
}
func (c *code) Message(_ any, tx *engine.Tx, _ *engine.Socket, _ engine.Message) error {
	return c.work(tx)
}
func (c *code) Closed(_ any, tx *engine.Tx, _ *engine.Socket, _ engine.Close) error {
	return c.work(tx)
}
func (c *code) Alarm(_ any, tx *engine.Tx, _ engine.AlarmInfo) error { return c.work(tx) }
func (c *code) Sleep(_ any, tx *engine.Tx) error                     { return c.work(tx) }
func (c *code) Errorf(code, format string, args ...any) error {
	return refusal{fmt.Errorf(code+": "+format, args...)}
}
func (c *code) Refusal(err error) (error, bool) {
	_, ok := errors.AsType[refusal](err)
	return err, ok
}

// object is an instance whose events do what the test hands in, and what was said of misuse.
type object struct {
	engine.Alone // but for what has a method here
	code         code
	world        engine.World
	run          *engine.Instance
	misused      []string
}

func (o *object) Misused(err error) { o.misused = append(o.misused, err.Error()) }

func newObject(t *testing.T, change func(*engine.World)) *object {
	t.Helper()
	o := &object{}
	o.world = engine.World{
		Key: "thing.1", Data: new(engine.Data), Sockets: new(engine.Sockets), Now: time.Now,
		Object: o,
	}
	if change != nil {
		change(&o.world)
	}
	limits := engine.Limits{Key: 64, Value: 1 << 10, Writes: 1 << 10, State: 1 << 10, Call: 64, Body: 64, Frame: 64, Message: 64, Sockets: 4, Tags: 2, Tag: 8, Attachment: 16, Event: 30 * time.Second}
	class := &engine.Class{Name: "thing", Limits: limits, Author: &o.code, Alarms: true}
	var out engine.Outcome
	if o.run, out = class.Start(o.world); out.Err != nil {
		t.Fatal(out.Err)
	}
	return o
}

func (o *object) do(work func(tx *engine.Tx) error) engine.Outcome {
	o.code.work = work
	out := o.run.Call(context.Background(), "do", nil)
	o.world.Data.(*engine.Data).Apply(out.Writes)
	return out
}

// apart runs fn on a goroutine of its own, and reports whether it came to its end.
func apart(fn func()) (came bool) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		fn()
		came = true
	}()
	<-ended
	return came
}

func TestATransactionUsedAfterItsEventEndsTheGoroutineAndNotTheProcess(t *testing.T) {
	o := newObject(t, nil)
	var kept *engine.Tx
	o.do(func(tx *engine.Tx) error { kept = tx; return nil })
	for name, use := range map[string]func(){
		"set":    func() { kept.Set("a", []byte("1")) },
		"get":    func() { kept.Get("a") },
		"list":   func() { kept.Entries("", engine.LastKey, false) },
		"alarm":  func() { kept.SetAlarm(time.Now()) },
		"accept": func() { _, _ = kept.Accept(engine.Acceptance{}) },
		"nested": func() { _ = kept.Transact(func() error { return nil }) },
	} {
		o.misused = nil
		if apart(use) || len(o.misused) != 1 || !strings.Contains(o.misused[0], "after its event") {
			t.Errorf("%s: went on, or was told %q", name, o.misused)
		}
	}
}

// A stray goroutine that writes while another event runs must not write into that event.
func TestAStrayGoroutineDoesNotWriteIntoTheNextEvent(t *testing.T) {
	o := newObject(t, nil)
	var kept *engine.Tx
	o.do(func(tx *engine.Tx) error { kept = tx; return nil })
	out := o.do(func(tx *engine.Tx) error {
		if apart(func() { kept.Set("a", []byte("666")) }) {
			t.Error("the stray goroutine went on")
		}
		tx.Set("b", []byte("1"))
		return nil
	})
	if len(out.Writes) != 1 || out.Writes[0].Key != "b" || out.Err != nil {
		t.Errorf("outcome = %+v, want the event's own write", out)
	}
}

func TestAKeptTransactionFailsTheEventThatUsesIt(t *testing.T) {
	o := newObject(t, nil)
	var kept *engine.Tx
	o.do(func(tx *engine.Tx) error { kept = tx; return nil })
	out := o.do(func(*engine.Tx) error { kept.Set("a", []byte("1")); t.Error("the event went on"); return nil })
	if out.Err == nil || !out.Drop || len(out.Writes) > 0 || len(o.misused) != 1 {
		t.Errorf("outcome = %+v, told %q, want a fault", out, o.misused)
	}
}

func TestAnotherGoroutineIsFoundDuringTheEventWhereThatIsAsked(t *testing.T) {
	o := newObject(t, func(w *engine.World) { w.Strict = 1 })
	out := o.do(func(tx *engine.Tx) error {
		tx.Set("a", []byte("1"))
		if apart(func() { tx.Set("a", []byte("2")) }) {
			t.Error("the other goroutine went on")
		}
		func() { func() { tx.Set("b", []byte("3")) }() }()
		return nil
	})
	if len(out.Writes) != 2 || string(out.Writes[0].Value) != "1" || len(o.misused) != 1 {
		t.Errorf("outcome = %+v, told %q", out, o.misused)
	}
}

func TestAHandlerThatRecoversFromAnAbortGoesNoFurther(t *testing.T) {
	o := newObject(t, nil)
	errAbort := errors.New("abort")
	out := o.do(func(tx *engine.Tx) error {
		func() {
			defer func() { _ = recover() }()
			tx.Abort(errAbort)
		}()
		return nil
	})
	if !errors.Is(out.Err, errAbort) || !out.Drop {
		t.Errorf("outcome = %+v, want the abort", out)
	}
	out = o.do(func(tx *engine.Tx) error {
		func() {
			defer func() { _ = recover() }()
			tx.Abort(errAbort)
		}()
		tx.Set("a", []byte("1"))
		t.Error("it wrote after the abort")
		return nil
	})
	if !errors.Is(out.Err, errAbort) {
		t.Errorf("outcome = %+v, want the abort", out)
	}
}

func TestTheContextEndsWithTheEventAndAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newObject(t, nil)
		var kept, asked *engine.Tx
		o.do(func(tx *engine.Tx) error {
			kept = tx
			if tx.Err() != nil {
				t.Errorf("within the event: %v", tx.Err())
			}
			return nil
		})
		o.do(func(tx *engine.Tx) error { asked = tx; return nil })
		if kept.Err() == nil || asked.Err() == nil {
			t.Error("the context is alive after the event")
		}
		o.do(func(tx *engine.Tx) error {
			began := time.Now()
			<-tx.Done()
			if took := time.Since(began); took != 30*time.Second || !errors.Is(tx.Err(), context.DeadlineExceeded) {
				t.Errorf("done after %v with %v, want the deadline after 30 s", took, tx.Err())
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		o.code.work = func(tx *engine.Tx) error {
			if at, ok := tx.Deadline(); !ok || time.Until(at) != time.Second {
				t.Errorf("deadline in %v, want the caller's", time.Until(at))
			}
			return nil
		}
		o.run.Call(ctx, "do", nil)
	})
}

func TestSocketsAreInOrderOfAcceptanceHoweverTheyAreAdded(t *testing.T) {
	var ss engine.Sockets
	for _, n := range []uint64{3, 1, 4, 2} {
		ss.Add(engine.SocketInfo{ID: fmt.Sprint(n), Order: n})
	}
	var got []string
	for _, s := range ss.All() {
		got = append(got, s.ID())
	}
	if !slices.Equal(got, []string{"4", "3", "2", "1"}) {
		t.Errorf("order = %q", got)
	}
}

func TestASavepointJoinsNoMessageWithWhatWasSentBefore(t *testing.T) {
	o := newObject(t, func(w *engine.World) {
		w.Sockets.Add(engine.SocketInfo{ID: "a", Order: 1})
		w.Sockets.Add(engine.SocketInfo{ID: "b", Order: 2})
	})
	m := engine.Message{Data: []byte("m")}
	out := o.do(func(tx *engine.Tx) error {
		all := slices.Collect(tx.Sockets("", true))
		tx.SendTo(all[0], m)
		_ = tx.Transact(func() error { tx.SendTo(all[1], m); return errors.New("no") })
		return nil
	})
	if len(out.Sends) != 1 || len(out.Sends[0].Sockets) != 1 {
		t.Errorf("sends = %+v, want the first alone", out.Sends)
	}
}

func BenchmarkEvent(b *testing.B) {
	o := &object{}
	class := &engine.Class{Name: "thing", Limits: engine.Limits{Key: 64, Value: 1 << 20, Writes: 1 << 20, State: 1 << 20, Call: 64, Event: time.Second}, Author: &o.code}
	o.run, _ = class.Start(engine.World{
		Data: new(engine.Data), Sockets: new(engine.Sockets), Now: time.Now, Object: engine.Alone{},
	})
	o.code.work = func(*engine.Tx) error { return nil }
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		o.run.Call(ctx, "do", nil)
	}
}

func BenchmarkStrictUse(b *testing.B) {
	o := &object{}
	class := &engine.Class{Name: "thing", Limits: engine.Limits{Key: 64, Value: 1 << 20, Writes: 1 << 20, State: 1 << 20, Call: 64, Event: time.Second}, Author: &o.code}
	o.run, _ = class.Start(engine.World{
		Data: new(engine.Data), Sockets: new(engine.Sockets), Now: time.Now, Object: engine.Alone{}, Strict: 1,
	})
	o.code.work = func(tx *engine.Tx) error {
		b.ReportAllocs()
		for b.Loop() {
			tx.Get("a")
		}
		return nil
	}
	o.run.Call(b.Context(), "do", nil)
}
