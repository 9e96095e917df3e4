package host

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnEventsContextIsOneLikeAnyOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		incarnation, stop := context.WithCancel(t.Context())
		begin := func() *eventContext {
			return &eventContext{Context: incarnation, deadline: time.Now().Add(time.Second)}
		}
		expired := begin()
		if d, ok := expired.Deadline(); !ok || time.Until(d) != time.Second || expired.Err() != nil {
			t.Errorf("deadline %v, %t, err %v, want a second and no error", d, ok, expired.Err())
		}
		<-expired.Done()
		if !errors.Is(expired.Err(), context.DeadlineExceeded) {
			t.Errorf("err = %v after the deadline", expired.Err())
		}
		expired.end()

		ended, child := begin(), begin()
		derived, done := context.WithCancel(child)
		defer done()
		ended.end()
		if !errors.Is(ended.Err(), context.Canceled) {
			t.Errorf("err = %v after the event, asked for the first time", ended.Err())
		}
		child.end()
		<-derived.Done()

		lost := begin()
		stop()
		<-lost.Done()
		if !errors.Is(lost.Err(), context.Canceled) {
			t.Errorf("err = %v after the incarnation", lost.Err())
		}
		lost.end()
	})
}
