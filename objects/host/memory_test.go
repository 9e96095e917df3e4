package host

import (
	"testing"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/asks"
	"holdfast/objects/host/internal/state"
	"holdfast/objects/internal/engine"
)

func TestARequestRunsOnceAndIsAnsweredAsBefore(t *testing.T) {
	const token = 7
	now := time.Unix(100_000, 0)
	old := term{token: token, since: instantOf(now.Add(-wire.CopyLife))}
	young, first := term{token: token, since: instantOf(now)}, term{token: token, since: instantOf(now), first: true}
	asked := func(n uint64) *wire.Asked {
		return &wire.Asked{Caller: "guest.01", ID: make([]byte, len(asks.ID{})), Token: 3, N: n, Root: "r"}
	}
	for _, tt := range []struct {
		name   string
		term   *term
		before *wire.Request // was handled, and wrote
		req    wire.Request
		want   repeated
		code   objects.Code
	}{
		{"a new one", &old, nil, wire.Request{Gateway: "g", N: 5}, fresh, ""},
		{"a new one for this owner", &young, nil, wire.Request{Gateway: "g", N: 5, For: token}, fresh, ""},
		{"one for another owner", &old, nil, wire.Request{Gateway: "g", N: 5, For: token - 1}, elsewhere, ""},
		{"one for anybody, while copies may come", &young, nil, wire.Request{Gateway: "g", N: 5}, elsewhere, ""},
		{"one for anybody, when there was no owner before", &first, nil, wire.Request{Gateway: "g", N: 5}, fresh, ""},
		{"one that nobody waits for", &old, &wire.Request{Gateway: "g", N: 9, Low: 9}, wire.Request{Gateway: "g", N: 5}, stale, ""},
		{"a copy", &old, &wire.Request{Gateway: "g", N: 5}, wire.Request{Gateway: "g", N: 5}, answered, ""},
		{"a copy for another owner", &young, &wire.Request{Gateway: "g", N: 5}, wire.Request{Gateway: "g", N: 5, For: 1}, answered, ""},
		{"the number of another gateway", &old, &wire.Request{Gateway: "g", N: 5}, wire.Request{Gateway: "h", N: 5}, fresh, ""},
		{"a key again", &old, &wire.Request{Gateway: "g", N: 5, Key: "p.k"}, wire.Request{Gateway: "h", N: 1, Key: "p.k"}, answered, ""},
		{"a key for something else", &old, &wire.Request{Gateway: "g", N: 5, Key: "p.k"}, wire.Request{Gateway: "h", N: 1, Key: "p.k", Call: "other"}, answered, objects.Conflict},
		{"a question", &old, nil, wire.Request{Gateway: "i", N: 1, Asked: asked(1)}, fresh, ""},
		{"a question for another owner", &old, nil, wire.Request{Gateway: "i", N: 1, For: 1, Asked: asked(1)}, elsewhere, ""},
		{"a question again", &old, &wire.Request{Gateway: "i", N: 1, Asked: asked(1)}, wire.Request{Gateway: "i", N: 2, Asked: asked(1)}, answered, ""},
	} {
		m := memory{State: state.New(new(engine.Data))}
		if tt.before != nil {
			tt.before.Kind = wire.Call
			if what, _, _ := m.repeats(tt.before, &old, now); what != fresh {
				t.Fatalf("%s: the first copy is %d", tt.name, what)
			}
			m.remember(tt.before, &wire.Reply{Body: []byte("1")}, now, func() bool { return true })
		}
		tt.req.Kind = wire.Call
		what, reply, _ := m.repeats(&tt.req, tt.term, now)
		if what != tt.want {
			t.Errorf("%s: it is %d, want %d", tt.name, what, tt.want)
			continue
		}
		if (reply != nil) != (what == answered) {
			t.Errorf("%s: the answer is %+v", tt.name, reply)
		}
		if reply != nil && (!reply.Kept || reply.Code != tt.code || tt.code == "" && string(reply.Body) != "1") {
			t.Errorf("%s: the answer is %+v, want the one of before, or %q", tt.name, reply, tt.code)
		}
	}
}

func TestAnAnswerThatIsTooLargeOrDamagedIsNotGivenAgain(t *testing.T) {
	now := time.Unix(100_000, 0)
	req := &wire.Request{Kind: wire.Call, Gateway: "g", N: 5}
	m := memory{State: state.New(new(engine.Data))}
	m.remember(req, &wire.Reply{Body: make([]byte, maxKept+1)}, now, func() bool { return true })
	if what, reply, _ := m.repeats(req, new(term), now); what != answered || reply.Code != objects.Done || !reply.Kept {
		t.Errorf("a large answer is %d, %+v, want that it was done", what, reply)
	}
	m.answers.kept[0].JSON = []byte("{")
	if what, reply, _ := m.repeats(req, new(term), now); what != answered || reply.Code != objects.Internal || !reply.Kept {
		t.Errorf("a damaged answer is %d, %+v, want internal", what, reply)
	}
	for name, reply := range map[string]*wire.Reply{"an opening": {Status: 101}, "a stream": {Stream: new(wire.StreamAt)}} {
		m := memory{State: state.New(new(engine.Data))}
		m.remember(req, reply, now, func() bool { return true })
		if _, again, _ := m.repeats(req, new(term), now); again.Code != objects.Unknown && again.Code != objects.Done {
			t.Errorf("%s is given again: %+v", name, again)
		}
	}
}
