package host

import (
	"fmt"
	"testing"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects/host/internal/record"
)

var now = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

const keep = time.Minute

func ask(gateway string, n, low uint64) *wire.Request {
	return &wire.Request{Kind: wire.Call, Gateway: gateway, N: n, Low: low}
}

func TestAnAnswerIsKeptWhileItsGatewayWaits(t *testing.T) {
	a := answers{}
	for n := uint64(1); n <= 4; n++ {
		a.add(record.Answer{Gateway: "g", N: n}, now)
		a.add(record.Answer{Gateway: "other", N: n}, now)
	}
	a.noteLow(ask("g", 5, 3))
	if got := len(a.list(now, keep)); got != 6 {
		t.Errorf("%d answers are kept, want 2 of g and 4 of the other", got)
	}
	for n, want := range map[uint64]bool{1: false, 2: false, 3: true, 4: true} {
		if _, known := a.find(ask("g", n, 0)); known != want {
			t.Errorf("answer %d known = %v, want %v", n, known, want)
		}
	}
	a.noteLow(ask("g", 6, 2)) // an older word changes nothing
	if _, known := a.find(ask("g", 3, 0)); !known {
		t.Error("answer 3 was forgotten")
	}
}

func TestTheNextOwnerKnowsTheAnswers(t *testing.T) {
	a := answers{}
	a.add(record.Answer{Gateway: "g", N: 7, Reply: []byte("x")}, now)
	b := answers{kept: a.list(now, keep)}
	kept, known := b.find(ask("g", 7, 7))
	if answer, err := kept.Answer(); !known || err != nil || string(answer.Reply) != "x" {
		t.Errorf("answer = %+v, %v, %v", answer, known, err)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	a := answers{}
	for n := range uint64(maxAnswers + 10) {
		a.add(record.Answer{Gateway: "g", N: n + 1}, now)
	}
	for n := range maxKeyed + 10 {
		a.add(record.Answer{Key: fmt.Sprint(n), At: now}, now)
	}
	if got := len(a.list(now, keep)); got != maxAnswers+maxKeyed {
		t.Errorf("%d answers are kept, want %d", got, maxAnswers+maxKeyed)
	}
	if _, known := a.find(ask("g", 1, 0)); known {
		t.Error("the oldest is still there")
	}
	if _, known := a.find(ask("g", maxAnswers+10, 0)); !known {
		t.Error("the newest is gone")
	}
}

func TestAnswersLeaveRoomForTheState(t *testing.T) {
	a := answers{}
	for n := range uint64(maxAnswers) {
		a.add(record.Answer{Gateway: "g", N: n + 1, Reply: make([]byte, maxKept)}, now)
		a.add(record.Answer{Key: fmt.Sprint(n), At: now, Reply: make([]byte, maxKept)}, now)
	}
	size := 0
	for _, answer := range a.list(now, keep) {
		size += answer.Size()
	}
	if size > maxAnswersSize+maxKeyedSize || size < maxAnswersSize {
		t.Errorf("answers take %d bytes, want at most %d", size, maxAnswersSize+maxKeyedSize)
	}
	if _, known := a.find(ask("g", maxAnswers, 0)); !known {
		t.Error("the newest is gone")
	}
}

func TestAClientsKeyIsKnownForADay(t *testing.T) {
	a := answers{}
	a.add(record.Answer{Key: "k", At: now}, now)
	if got := len(a.list(now.Add(keepKeyed), keep)); got != 1 {
		t.Errorf("after a day: %d answers, want 1", got)
	}
	if got := len(a.list(now.Add(keepKeyed+time.Second), keep)); got != 0 {
		t.Errorf("after more than a day: %d answers, want none", got)
	}
}

// A late copy of a request is recognised for as long as it can arrive, at the next owner
// too, which does not know how old the answer is.
func TestAGatewaysAnswerIsKeptForAsLongAsACopyLives(t *testing.T) {
	a := answers{}
	a.add(record.Answer{Gateway: "g", N: 1}, now)
	if got := len(a.list(now.Add(keep), keep)); got != 1 {
		t.Errorf("after a minute: %d answers, want 1", got)
	}
	b := answers{kept: a.list(now, keep)}
	b.adopted(now.Add(keep))
	if got := len(b.list(now.Add(2*keep), keep)); got != 1 {
		t.Errorf("a minute after the takeover: %d answers, want 1", got)
	}
	if got := len(b.list(now.Add(2*keep+1), keep)); got != 0 {
		t.Errorf("later: %d answers, want none", got)
	}
}

func TestNamesOfGatewaysAreBounded(t *testing.T) {
	a := answers{}
	for n := range 2 * maxLows {
		a.noteLow(ask(fmt.Sprint("forged-", n), 1, 1))
		a.noteLow(ask("g", uint64(n)+1, uint64(n)))
	}
	if len(a.lows) > maxLows {
		t.Errorf("%d gateways are remembered, want at most %d", len(a.lows), maxLows)
	}
	if got := a.noteLow(ask("g", 1, 1)); got != 2*maxLows-1 {
		t.Errorf("the gateway that speaks all the time waits for %d, want %d", got, 2*maxLows-1)
	}
}

func TestALostGatewayThatComesBackFindsItsAnswers(t *testing.T) {
	a := answers{}
	a.noteLow(ask("g", 1, 1))
	a.add(record.Answer{Gateway: "g", N: 1}, now)
	a.loseGateway("g", now)
	if got := len(a.list(now.Add(forgetLost), forgetLost)); got != 1 {
		t.Errorf("%d answers are kept, want 1: the gateway may only have been frozen", got)
	}
	if got := len(a.list(now.Add(forgetLost+time.Second), time.Hour)); got != 0 || len(a.lows) != 0 {
		t.Errorf("%d answers and %d gateways are kept, want none", got, len(a.lows))
	}
}
