package host

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
)

func TestWhoWouldWaitTooLongIsToldSo(t *testing.T) {
	const wait = 500 * time.Millisecond
	tests := []struct {
		name     string
		waiting  int
		avgEvent time.Duration
		want     bool
	}{
		{"nobody waits", 0, time.Hour, false},
		{"few wait for a slow object", alwaysWait - 1, time.Hour, false},
		{"many wait for a slow object", alwaysWait, time.Second, true},
		{"as many as there is time for", 500, time.Millisecond, false},
		{"one more", 501, time.Millisecond, true},
		{"many wait for a quick object", 4095, time.Microsecond, false},
		{"as many as may", 4096, 0, true},
	}
	for _, tt := range tests {
		if got := tooMany(tt.waiting, queueLimits{4096, wait}, tt.avgEvent); got != tt.want {
			t.Errorf("%s: too many = %t, want %t", tt.name, got, tt.want)
		}
	}
}

func TestTheKindOfARequestIsSeenWithoutDecodingIt(t *testing.T) {
	for kind := range wire.Kind(20) {
		data := wire.Encode(&wire.Request{Kind: kind, Gateway: "g", Socket: "s", Seq: 5})
		if got := isKind(data, wire.Closed); got != (kind == wire.Closed) {
			t.Errorf("a request of kind %d counts as an end: %t", kind, got)
		}
	}
	if isKind(nil, wire.Closed) || isKind([]byte{1 << 3}, wire.Closed) {
		t.Error("garbage counts as an end")
	}
}

func TestAFullMailboxTakesWhatIsSaidOnce(t *testing.T) {
	limits := queueLimits{events: 2, wait: time.Second}
	push := func(m *mailbox, kind wire.Kind, reply string, byHost bool) verdict {
		return m.push(delivery{kind: request, byHost: byHost, msg: &nats.Msg{Reply: reply, Data: wire.Encode(&wire.Request{Kind: kind})}}, limits)
	}
	for _, tt := range []struct {
		kind   wire.Kind
		byHost bool
		want   verdict
	}{{wire.Call, false, refused}, {wire.Told, true, refused}, {wire.Closed, false, queued}, {wire.Forget, true, queued}, {wire.Forget, false, refused}} {
		m := mailbox{stage: serving}
		push(&m, wire.Call, "_HF.g.1.1", false)
		push(&m, wire.Call, "_HF.g.2.1", false)
		if got := push(&m, tt.kind, "_HF.g.3.1", tt.byHost); got != tt.want {
			t.Errorf("kind %d, by a host: %t: verdict %d, want %d", tt.kind, tt.byHost, got, tt.want)
		}
	}
}

func TestAMailboxTakesWhatItsStageAllows(t *testing.T) {
	limits := queueLimits{events: 10, wait: time.Second}
	msg := delivery{kind: request, msg: &nats.Msg{Reply: "_HF.g.1"}}
	lost, marker := delivery{kind: gatewayLost, gateway: "g"}, delivery{kind: drainMarker}
	tests := []struct {
		stage                           stage
		request, local, lost, theMarker verdict
	}{
		{claiming, notServed, notServed, queued, notServed},
		{serving, startLoop, startLoop, startLoop, ignored},
		{draining, startLoop, notServed, startLoop, startLoop},
		{gone, notServed, notServed, notServed, notServed},
	}
	for _, tt := range tests {
		for i, got := range []verdict{
			(&mailbox{stage: tt.stage}).push(msg, limits), (&mailbox{stage: tt.stage}).pushLocal(msg, limits),
			(&mailbox{stage: tt.stage}).push(lost, limits), (&mailbox{stage: tt.stage}).push(marker, limits),
		} {
			if want := []verdict{tt.request, tt.local, tt.lost, tt.theMarker}[i]; got != want {
				t.Errorf("%s: delivery %d: verdict %d, want %d", tt.stage, i, got, want)
			}
		}
	}
}

func TestASlowEventRunsOnceAndAnswersItsNewestCopy(t *testing.T) {
	limits := queueLimits{events: 10, wait: time.Second}
	copyOf := func(n string) delivery { return delivery{kind: request, msg: &nats.Msg{Reply: "_HF.g.7." + n}} }
	m := mailbox{stage: serving}
	if got := m.push(copyOf("1"), limits); got != startLoop {
		t.Fatalf("the first copy: verdict %d", got)
	}
	m.next(time.Now())
	for _, n := range []string{"2", "3"} {
		if got := m.push(copyOf(n), limits); got != ignored {
			t.Errorf("copy %s of the request in hand: verdict %d, want %d", n, got, ignored)
		}
	}
	if got, want := m.newestReply("_HF.g.7.1"), "_HF.g.7.3"; got != want {
		t.Errorf("the answer goes to %s, want %s", got, want)
	}
	if got := m.push(copyOf("4"), limits); got != queued {
		t.Errorf("a copy after the answer was decided on: verdict %d, want %d", got, queued)
	}
}
