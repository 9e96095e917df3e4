package acceptance

import (
	"net/http"
	"strings"
	"testing"
)

func TestAFaultIsToldByReferenceAndNeverByItsText(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	fault := func(t *testing.T, a answered) {
		t.Helper()
		if e := refusal(t, a, http.StatusInternalServerError, "internal"); len(e["reference"]) < 8 {
			t.Errorf("no reference in %s", a.body)
		}
		for name, values := range a.Header {
			if strings.Contains(strings.Join(values, " "), secret) {
				t.Errorf("header %s tells the fault", name)
			}
		}
		if strings.Contains(a.body, secret) || strings.Contains(a.body, "panic") || strings.Contains(a.body, ".go:") {
			t.Errorf("the body tells the fault: %s", a.body)
		}
	}
	works := func(t *testing.T, class, name string, effects int) {
		t.Helper()
		a := p.once(t, "GET", "/objects/"+class+"/"+name, "")
		var got echoed
		decode(t, a.body, &got)
		if a.StatusCode != http.StatusOK || got.Effects != effects {
			t.Errorf("afterwards: %d %s, want %d effects", a.StatusCode, a.body, effects)
		}
	}

	t.Run("ServeHTTP", func(t *testing.T) {
		p.once(t, "POST", "/objects/probe/fault-a/do", "")
		fault(t, p.once(t, "POST", "/objects/probe/fault-a/panic", ""))
		works(t, "probe", "fault-a", 1) // what it wrote before is undone
	})
	t.Run("an upgrade", func(t *testing.T) {
		_, a := p.handshake(t, p.dial(t), "GET", "/objects/probe/fault-b/panic")
		fault(t, a)
		works(t, "probe", "fault-b", 0)
	})
	t.Run("a call", func(t *testing.T) {
		p.once(t, "POST", "/objects/probe/fault-c/do", "")
		fault(t, p.once(t, "POST", "/boom/probe/fault-c", ""))
		works(t, "probe", "fault-c", 1)
	})
	t.Run("WebSocketMessage", func(t *testing.T) {
		other := p.probe(t, "fault-d", "other")
		w := p.probe(t, "fault-d", "w")
		w.say(t, "panic")
		code, reason := w.closed(t)
		if code != 1011 || !strings.Contains(reason, "reference ") || strings.Contains(reason, secret) {
			t.Errorf("closed with %d %q, want 1011 and a reference", code, reason)
		}
		other.say(t, "still here?")
		other.want(t, "still here?")
		works(t, "probe", "fault-d", 0)
	})
	t.Run("the constructor", func(t *testing.T) {
		p.heard.doomed.Store("fault-e", true)
		fault(t, p.once(t, "GET", "/objects/stillborn/fault-e", ""))
		fault(t, p.once(t, "GET", "/objects/stillborn/fault-e", ""))
		_, a := p.handshake(t, p.dial(t), "GET", "/objects/stillborn/fault-e/socket")
		fault(t, a)
		p.heard.doomed.Delete("fault-e")
		works(t, "stillborn", "fault-e", 0)
	})
	for _, kind := range []string{"text", "error", "objects-error", "fiber-error", "runtime", "returned"} {
		t.Run("a worker's route: "+kind, func(t *testing.T) {
			fault(t, p.once(t, "GET", "/fault/"+kind, ""))
		})
	}
	if a := p.once(t, "GET", "/healthz", ""); a.StatusCode != http.StatusOK {
		t.Errorf("afterwards the gateway says %d %s", a.StatusCode, a.body)
	}
}
