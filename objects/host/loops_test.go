package host

import (
	"fmt"
	"testing"
	"testing/synctest"

	"holdfast/internal/wire"
)

// The bubble checks that all of them end with the incarnation.
func TestAfterACrowdAFewGoroutinesWaitForEventsAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const crowd = maxWaiting + 20
		for n := range crowd {
			w.own(fmt.Sprint(n))
		}
		var replies []chan *wire.Reply
		for n := range crowd {
			replies = append(replies, w.ask(fmt.Sprint(n), &wire.Request{Kind: wire.Call, Call: "hold", Body: []byte("{}")}))
		}
		synctest.Wait()
		close(w.room.hold)
		for _, reply := range replies {
			if r := <-reply; r == nil || r.Code != "" {
				t.Fatalf("an event among many: %+v", r)
			}
		}
		synctest.Wait()
		if waiting := w.in.loops.waiting.Load(); waiting != maxWaiting {
			t.Errorf("%d goroutines wait, want %d", waiting, maxWaiting)
		}
		if r := w.call("0", "read"); r == nil || r.Code != "" {
			t.Errorf("an event after the crowd: %+v", r)
		}
		if _, err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}
