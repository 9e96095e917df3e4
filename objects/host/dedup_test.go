package host

import (
	"fmt"
	"testing"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects/host/internal/record"
)

var now = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func ask(gateway string, n, low uint64) *wire.Request {
	return &wire.Request{Kind: wire.Call, Gateway: gateway, N: n, Low: low}
}

func TestAnAnswerIsKeptWhileItsGatewayWaits(t *testing.T) {
	a := answers{}
	for n := uint64(1); n <= 4; n++ {
		a.add(record.Answer{Gateway: "g", N: n})
		a.add(record.Answer{Gateway: "other", N: n})
	}
	a.noteLow(ask("g", 5, 3))
	if got := len(a.list(now)); got != 6 {
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
	a.add(record.Answer{Gateway: "g", N: 7, Reply: []byte("x")})
	b := answers{kept: a.list(now)}
	kept, known := b.find(ask("g", 7, 7))
	if answer, err := kept.Answer(); !known || err != nil || string(answer.Reply) != "x" {
		t.Errorf("answer = %+v, %v, %v", answer, known, err)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	a := answers{}
	for n := range uint64(maxAnswers + 10) {
		a.add(record.Answer{Gateway: "g", N: n + 1})
	}
	for n := range maxKeyed + 10 {
		a.add(record.Answer{Key: fmt.Sprint(n), At: now})
	}
	if got := len(a.list(now)); got != maxAnswers+maxKeyed {
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
		a.add(record.Answer{Gateway: "g", N: n + 1, Reply: make([]byte, maxKept)})
		a.add(record.Answer{Key: fmt.Sprint(n), At: now, Reply: make([]byte, maxKept)})
	}
	size := 0
	for _, answer := range a.list(now) {
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
	a.add(record.Answer{Key: "k", At: now})
	if got := len(a.list(now.Add(keepKeyed))); got != 1 {
		t.Errorf("after a day: %d answers, want 1", got)
	}
	if got := len(a.list(now.Add(keepKeyed + time.Second))); got != 0 {
		t.Errorf("after more than a day: %d answers, want none", got)
	}
}
