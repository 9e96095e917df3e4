package objects_test

import (
	"testing"
	"time"

	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

func plain() *objects.Implementation { return objects.Implement("plain", objects.New[struct{}]) }

func TestSettingsReplaceWhatTheyName(t *testing.T) {
	before := plain()
	set := before.With(objects.Settings{Hibernate: time.Minute, Frame: 100, EventTime: time.Second})
	set = set.With(objects.Settings{Hibernate: -1, Evict: -1, Body: 200, Response: 300, Queue: 2 * time.Second})
	e := set.Engine()
	if want := (engine.Life{Hibernate: engine.Never, Evict: engine.Never, Queue: 2 * time.Second}); e.Life != want {
		t.Errorf("life = %+v, want %+v", e.Life, want)
	}
	if l := e.Limits; l.Frame != 100 || l.Body != 200 || l.Response != 300 || l.Event != time.Second {
		t.Errorf("limits = %+v", l)
	}
	if l := before.Engine().Limits; before.Engine().Life != (engine.Life{}) || l.Frame != objects.MaxFrame || l.Event != 30*time.Second {
		t.Errorf("the implementation before has changed: %+v", l)
	}
	if set.Class() != "plain" {
		t.Errorf("class = %s", set.Class())
	}
	hosts := engine.Life{Hibernate: 1, Evict: 2, Queue: 3}
	if got := (engine.Life{Evict: 5}).Or(hosts); got != (engine.Life{Hibernate: 1, Evict: 5, Queue: 3}) {
		t.Errorf("with the host's: %+v", got)
	}
}

func TestASettingThatCannotBePanics(t *testing.T) {
	for name, s := range map[string]objects.Settings{
		"a body that no gateway carries":  {Body: objects.MaxBody + 1},
		"a response likewise":             {Response: objects.MaxBody + 1},
		"a frame likewise":                {Frame: objects.MaxFrame + 1},
		"less than nothing":               {Frame: -1},
		"events that end before they run": {EventTime: -1},
		"a queue that refuses all":        {Queue: -1},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: it was taken", name)
				}
			}()
			plain().With(s)
		}()
	}
}

func TestAnEventThatTakesTooLongChangesNothing(t *testing.T) {
	h := newHarness(t)
	out := h.call(func(tx *objects.Tx) error {
		number.Set(tx, 1)
		h.now = h.now.Add(30*time.Second + 1)
		return nil
	})
	nothingHappened(t, out)
	if objects.CodeOf(out.Err) != objects.Unavailable || !out.Drop {
		t.Errorf("%v, drop %v, want unavailable and the instance dropped", out.Err, out.Drop)
	}
	h.must(func(tx *objects.Tx) {
		number.Set(tx, 1)
		h.now = h.now.Add(30 * time.Second)
	})
}
