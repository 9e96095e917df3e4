package sockets

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestAGatewayIsGivenUpAfterFiveBeats(t *testing.T) {
	heard := time.Now()
	const beat = 2 * time.Second
	for silent, want := range map[time.Duration]bool{
		-time.Second: false, 0: false, 9 * time.Second: false, 10*time.Second - 1: false, 10 * time.Second: true, time.Hour: true,
	} {
		if got := givenUp(heard, heard.Add(silent), beat); got != want {
			t.Errorf("given up after %v: %v, want %v", silent, got, want)
		}
	}
}

// Otherwise they stay open, are pinged, and hear nothing any more: the hosts have told
// the object that they ended.
func TestSocketsOfAGatewayThatCouldNotBeHeardAreClosed(t *testing.T) {
	for _, row := range []struct {
		silent time.Duration
		want   []int
	}{
		{3 * time.Second, nil},
		{7 * time.Second, nil},
		{13 * time.Second, []int{1012}},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			defer w.end()
			s, c := w.open()
			time.Sleep(time.Minute)
			w.bus.set(func(b *memoryBus) { b.refuses = true })
			time.Sleep(row.silent)
			_, ends := c.messages()
			if !slices.Equal(ends, row.want) {
				t.Errorf("closes %v after %v of silence, want %v", ends, row.silent, row.want)
			}
			w.bus.set(func(b *memoryBus) { b.refuses = false })
			time.Sleep(10 * time.Second)
			if _, told := w.owner.heard(s); told != len(row.want) {
				t.Errorf("the object was told of %d ends after %v of silence, want %d", told, row.silent, len(row.want))
			}
			_, fresh := w.open()
			time.Sleep(time.Minute)
			if _, ends := fresh.messages(); ends != nil {
				t.Errorf("a socket that was opened after the silence was closed with %v", ends)
			}
		})
	}
}

// A process that was frozen finds its connection alive, and beats before it looks at
// anything else.
func TestSocketsOfAGatewayThatWasFrozenAreClosedBeforeItsFirstBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		s, _ := w.open()
		synctest.Wait()
		w.hub.pulse.confirm(time.Now().Add(-13 * time.Second)) // as after a freeze of 13 s
		thawed, cancel := context.WithCancel(t.Context())
		cancel() // one beat
		if w.hub.beat(thawed); !s.stageNow().ended() {
			t.Errorf("the socket is %s behind the first beat", s.stageNow())
		}
	})
}
