package host

import (
	"testing"
	"time"

	"holdfast/objects/host/internal/owner"
)

func TestWhatIsWrittenIsPartOfThePutAfterTheOneUnderWay(t *testing.T) {
	for _, tt := range []struct {
		name    string
		own     owner.State
		putting bool
		next    uint64
	}{
		{"nothing was put", owner.State{}, false, 1},
		{"nothing is under way", owner.State{Head: owner.Head{Commit: 7}}, false, 8},
		{"a put is under way", owner.State{Head: owner.Head{Commit: 7}, Pending: owner.Put{Head: owner.Head{Commit: 8}}}, true, 9},
	} {
		c := committer{own: tt.own}
		if c.putting() != tt.putting || c.nextCommit() != tt.next {
			t.Errorf("%s: putting %t, next commit %d, want %t and %d", tt.name, c.putting(), c.nextCommit(), tt.putting, tt.next)
		}
	}
}

func TestTheWakeUpFollowsWhatIsDurable(t *testing.T) {
	now := time.Unix(1000, 0)
	early, late := wakeUp{at: now.Add(time.Minute)}, wakeUp{at: now.Add(time.Hour)}
	for _, tt := range []struct {
		name    string
		durable *wakeNeed
		set     wakeUp
		pending bool
		next    wakeUp
		replace bool
	}{
		{"nothing is needed or set", nil, wakeUp{}, false, wakeUp{}, true},
		{"nothing is needed any more", nil, early, false, wakeUp{}, true},
		{"a later one is needed", &wakeNeed{at: late.at}, early, false, late, true},
		{"the put under way may need the one that is set", &wakeNeed{at: late.at}, early, true, wakeUp{}, false},
		{"a loose one is set", nil, wakeUp{early.at, true}, false, wakeUp{}, false},
		{"a loose one is needed", &wakeNeed{soon: true}, early, false, wakeUp{}, false},
	} {
		c := committer{durable: tt.durable}
		c.noteWakeUp(tt.set)
		if tt.pending {
			c.own.Pending.Commit = 8
		}
		next, set, replace := c.wakeUpAfterCommit(now)
		if set != tt.set || replace != tt.replace || replace && next != tt.next {
			t.Errorf("%s: %+v for %+v, replaced: %t", tt.name, next, set, replace)
		}
	}
}

func TestAGenerationOfTheLeaseIsProvedByOnePut(t *testing.T) {
	var c committer
	if !c.needsProof(2) || c.needsProof(2) {
		t.Error("a put is asked for not once")
	}
	c.begin(&payload{put: owner.Put{Head: owner.Head{Commit: 5}}}, 3)
	if c.needsProof(3) || c.provedIn(3) {
		t.Error("a put is asked for beside the one under way, or that has landed already")
	}
	if !c.covers(5) || c.covers(6) {
		t.Error("the put covers another commit than its own")
	}
	c.landed()
	if !c.provedIn(3) || c.provedIn(2) || c.underWay(owner.Put{}) != nil {
		t.Error("the put has landed, and proves nothing")
	}
	if !c.needsProof(4) {
		t.Error("a put of an earlier generation proves the next")
	}
}

func TestABatchIsPutOnceAndTimedOnce(t *testing.T) {
	var c committer
	timers := 0
	newTimer := func() *time.Timer {
		timers++
		return time.NewTimer(time.Hour)
	}
	if c.startBatchTimer(newTimer); timers > 0 || c.endBatch() {
		t.Error("a batch of nothing is timed, or put")
	}
	for range 2 {
		c.wrote()
		if !c.batchWaits() {
			t.Error("what was written waits for nothing")
		}
		c.startBatchTimer(newTimer)
		c.wrote()
		if c.startBatchTimer(newTimer); c.batchWaits() || timers != 1 {
			t.Errorf("%d timers were made, or none runs", timers)
		}
		if !c.endBatch() || c.endBatch() {
			t.Error("the batch is put not once")
		}
	}
}

func TestReadingAgainAndAgainIsSpacedOut(t *testing.T) {
	var c committer
	want := []time.Duration{0, 0, 5, 10, 20, 40, 80, 160, 250, 250}
	for i, ms := range want {
		if wait := c.nextRead(); wait != ms*time.Millisecond {
			t.Errorf("read %d waits %v, want %d ms", i, wait, ms)
		}
	}
	c.settled()
	if wait := c.nextRead(); wait != 0 {
		t.Errorf("the read after an answer waits %v", wait)
	}
}

func TestOneGoroutineIsAtTheStore(t *testing.T) {
	var c committer
	if !c.enqueue(owner.ReadRecord{}) || c.enqueue(owner.Serve{}) {
		t.Error("not exactly the first obligation starts a goroutine")
	}
	if !c.fulfilled() || c.obligation() != (owner.Serve{}) || c.fulfilled() {
		t.Error("the obligations are not done in order")
	}
	if !c.enqueue(owner.ReadRecord{}) {
		t.Error("nobody is started after all was done")
	}
}
