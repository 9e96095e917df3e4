package objects_test

import (
	"math"
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

func (h *harness) alarmIs(t *testing.T, want time.Time) {
	t.Helper()
	h.must(func(tx *objects.Tx) {
		if at, set := tx.Alarm(); !at.Equal(want) || set != !want.IsZero() {
			t.Errorf("alarm = %v, %v, want %v", at, set, want)
		}
	})
}

func TestAnAlarmIsReadBackAndTheLastOneWins(t *testing.T) {
	h := newHarness(t)
	h.alarmIs(t, time.Time{})
	at := h.now.Add(time.Hour)
	out := h.must(func(tx *objects.Tx) {
		tx.SetAlarm(h.now)
		tx.SetAlarm(at)
		if got, set := tx.Alarm(); !got.Equal(at) || !set {
			t.Errorf("within the event = %v, %v, want %v", got, set, at)
		}
	})
	if out.Alarm == nil || !out.Alarm.At.Equal(at) {
		t.Errorf("outcome's alarm = %v, want %v", out.Alarm, at)
	}
	h.alarmIs(t, at)
	if out := h.must(func(tx *objects.Tx) { tx.SetAlarm(at) }); out.Changed() {
		t.Errorf("setting the same time is a change: %+v", out.Alarm)
	}
	if out := h.must(func(tx *objects.Tx) { tx.SetAlarm(h.now); tx.SetAlarm(at) }); out.Changed() {
		t.Errorf("setting it there and back is a change: %+v", out.Alarm)
	}
	h.must(func(tx *objects.Tx) { tx.DeleteAlarm() })
	h.alarmIs(t, time.Time{})
	if out := h.must(func(tx *objects.Tx) { tx.DeleteAlarm() }); out.Changed() {
		t.Errorf("deleting none is a change: %+v", out.Alarm)
	}
}

func TestAnAlarmIsNeverKeptEarlierThanItWasSet(t *testing.T) {
	h := newHarness(t)
	for _, past := range []time.Duration{0, 1, time.Microsecond, time.Millisecond - 1} {
		at := h.now.Add(past)
		h.must(func(tx *objects.Tx) { tx.SetAlarm(at) })
		if late := h.alarm.At.Sub(at); late < 0 || late >= time.Millisecond {
			t.Errorf("%v is kept as %v, %v later", at, h.alarm.At, late)
		}
	}
	h.must(func(tx *objects.Tx) { tx.SetAlarm(time.Now().Add(time.Hour)) })
	if at := h.alarm.At; at.Location() != time.UTC || at != at.Round(0) {
		t.Errorf("kept as %#v, want UTC without a monotonic reading", at)
	}
}

func TestATimeThatIsNoneFailsTheEvent(t *testing.T) {
	for _, at := range []time.Time{
		{}, time.Unix(math.MaxInt64/4, 0), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		h := newHarness(t)
		out := h.call(func(tx *objects.Tx) error { tx.SetAlarm(at); return nil })
		nothingHappened(t, out)
	}
	h := newHarness(t)
	h.must(func(tx *objects.Tx) { tx.SetAlarm(time.Unix(0, 0)) }) // the past is a time
	if _, ok := h.alarm.Next(); !ok {
		t.Error("an alarm in the past is not to run")
	}
}

func TestAClassWithoutAnAlarmMethodCannotSetOne(t *testing.T) {
	type mute struct{}
	const mutes objects.Class = "mute"
	act := objects.NewCall[objects.None, objects.None](mutes, "do")
	class := objects.Implement(mutes, objects.New[mute], objects.On(act, func(_ *mute, tx *objects.Tx, _ objects.None) (objects.None, error) {
		tx.SetAlarm(tx.Now())
		return nil, nil
	}))
	instance, out := class.Engine().Start(engine.World{
		Key: nameID(t, mutes, "a").Key(), Name: "a", Data: &engine.Data{}, Sockets: &engine.Sockets{}, Now: time.Now,
		Object: engine.Alone{},
	})
	if out.Err != nil {
		t.Fatal(out.Err)
	}
	nothingHappened(t, instance.Call(t.Context(), "do", []byte("null")))
	if out := instance.Alarm(t.Context(), engine.AlarmInfo{}); objects.CodeOf(out.Err) != objects.NotFound {
		t.Errorf("alarm without a handler: %v, want not_found", out.Err)
	}
}

func TestARunningAlarmIsGoneAndClearedBySuccess(t *testing.T) {
	h := newHarness(t)
	at := h.now.Add(time.Second)
	set := func() { h.alarm = engine.Alarm{At: at} }

	set()
	out := h.ring(func(tx *objects.Tx) error {
		if got, is := tx.Alarm(); is {
			t.Errorf("while it runs the alarm is %v, want none", got)
		}
		number.Set(tx, 1)
		return nil
	})
	if out.Err != nil || out.Alarm == nil || !out.Alarm.At.IsZero() {
		t.Errorf("after success: %v, %v, want it cleared", out.Alarm, out.Err)
	}

	set()
	next := at.Add(time.Hour)
	h.ring(func(tx *objects.Tx) error { tx.SetAlarm(next); return nil })
	if !h.alarm.At.Equal(next) {
		t.Errorf("after setting a new one: %v, want %v", h.alarm, next)
	}

	set()
	h.ring(func(tx *objects.Tx) error { tx.DeleteAlarm(); number.Set(tx, 5); return nil })
	if !h.alarm.At.IsZero() || h.stored() != `{"number":5}` {
		t.Errorf("after deleting: alarm %v and %s, want it to have run to its end", h.alarm, h.stored())
	}

	for name, end := range map[string]func() error{
		"error":   func() error { return errOnPurpose },
		"refusal": func() error { return objects.Errorf(objects.Conflict, "no") },
		"panic":   func() error { panic("on purpose") },
	} {
		set()
		out := h.ring(func(tx *objects.Tx) error { tx.SetAlarm(next); number.Set(tx, 6); return end() })
		nothingHappened(t, out)
		if !h.alarm.At.Equal(at) || h.stored() != `{"number":5}` {
			t.Errorf("after a %s: alarm %v and %s, want both as before", name, h.alarm, h.stored())
		}
	}
}

func TestARetriedAlarmIsSetAnew(t *testing.T) {
	h := newHarness(t)
	h.alarm = engine.Alarm{At: h.now, Due: h.now.Add(2 * time.Second), Retry: 1}
	was := h.alarm
	h.must(func(tx *objects.Tx) { tx.SetAlarm(h.now) })
	if h.alarm.Equal(was) || h.alarm.Retry != 0 || !h.alarm.Due.IsZero() {
		t.Errorf("alarm = %+v, want a fresh one", h.alarm)
	}
}

func TestAFailedTransactionLeavesTheAlarmAsItWas(t *testing.T) {
	h := newHarness(t)
	at := h.now.Add(time.Hour)
	h.must(func(tx *objects.Tx) { tx.SetAlarm(at) })
	for _, change := range []func(*objects.Tx){
		func(tx *objects.Tx) { tx.SetAlarm(h.now) },
		func(tx *objects.Tx) { tx.DeleteAlarm() },
	} {
		out := h.call(func(tx *objects.Tx) error {
			_ = tx.Transact(func() error { change(tx); return errOnPurpose })
			if got, set := tx.Alarm(); !set || !got.Equal(at) {
				t.Errorf("after the transaction = %v, %v, want %v", got, set, at)
			}
			return nil
		})
		if out.Err != nil || out.Changed() {
			t.Errorf("outcome = %+v, want no change", out)
		}
	}
}

func TestNextIsWhenTheAlarmIsToRun(t *testing.T) {
	at, due := time.Unix(100, 0), time.Unix(102, 0)
	for name, c := range map[string]struct {
		alarm engine.Alarm
		want  time.Time
		ok    bool
	}{
		"none":    {engine.Alarm{}, time.Time{}, false},
		"set":     {engine.Alarm{At: at}, at, true},
		"retried": {engine.Alarm{At: at, Due: due, Retry: 1}, due, true},
		"parked":  {engine.Alarm{At: at, Due: due, Retry: 6, Parked: true}, time.Time{}, false},
	} {
		if got, ok := c.alarm.Next(); !got.Equal(c.want) || ok != c.ok {
			t.Errorf("%s: %v, %v, want %v, %v", name, got, ok, c.want, c.ok)
		}
	}
}
