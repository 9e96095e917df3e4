package lease

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// Every change of standing, by time, by a renewal and by an end, against the table.
func TestALeaseGoesFromStandingToStandingAlongTheTable(t *testing.T) {
	timing := Timing{TTL: 3 * time.Second, Margin: time.Second, Lapse: 10 * time.Second}
	fresh := Trust{}.Renewed(after(0), after(0), timing) // until 2
	for _, c := range []struct {
		name       string
		trust      Trust
		want       Standing
		generation uint64
	}{
		{"not renewed yet", Trust{}.At(after(100), timing), Lapsed, 0},
		{"renewed", fresh, Valid, 1},
		{"a moment before its end", fresh.At(after(2).Add(-1), timing), Valid, 1},
		{"at its end", fresh.At(after(2), timing), Lapsed, 1},
		{"renewed in time", fresh.Renewed(after(1), after(1.5), timing).At(after(2.5), timing), Valid, 1},
		{"renewed after its end", fresh.At(after(2), timing).Renewed(after(5), after(5), timing), Valid, 2},
		{"renewed after its end, which nobody has noticed", fresh.Renewed(after(5), after(5), timing), Valid, 2},
		{"a renewal that was under way for too long", fresh.Renewed(after(1), after(3), timing), Lapsed, 1},
		{"a moment before a lapse is over", fresh.At(after(12).Add(-1), timing), Lapsed, 1},
		{"a lapse that was too long", fresh.At(after(12), timing), Lost, 1},
		{"renewed after that", fresh.At(after(12), timing).Renewed(after(13), after(13), timing), Lost, 1},
		{"ended by somebody", fresh.Ended(), Lost, 1},
		{"ended twice", fresh.Ended().Ended(), Lost, 1},
		{"renewed after an end", fresh.Ended().Renewed(after(1), after(1), timing), Lost, 1},
		{"lapsed, then ended", fresh.At(after(3), timing).Ended(), Lost, 1},
	} {
		if c.trust.Standing != c.want || c.trust.Generation != c.generation {
			t.Errorf("%s: %s in generation %d, want %s in %d", c.name, c.trust.Standing, c.trust.Generation, c.want, c.generation)
		}
	}
	for from := Lapsed; from <= Lost; from++ {
		for to := Lapsed; to <= Lost; to++ {
			allowed := from == Lapsed && to != Lapsed || from == Valid && to != Valid
			if refused := panics(func() { Trust{Standing: from}.to(to) }); refused == allowed {
				t.Errorf("from %s to %s: allowed %t", from, to, !refused)
			}
		}
	}
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}

// away has NATS answer no renewal for a while from ten seconds on.
func (l *life) away(d time.Duration) {
	l.store.before = func(ctx context.Context, _ int) error {
		if at := time.Since(l.began); at > 10*time.Second && at < 10*time.Second+d {
			return silent(ctx)
		}
		return nil
	}
}

func TestALeaseThatNobodyCouldRenewGoesOnAsItself(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, l *life) {
		const gap = 13 * time.Second
		l.lapse = 30 * time.Second
		l.away(gap)
		if err := l.hold(ctx, func(ctx context.Context, h *Holder) {
			time.Sleep(10*time.Second + gap/2)
			if generation, valid := h.Valid(); generation != 1 || valid {
				t.Errorf("in the gap: valid %t in generation %d", valid, generation)
			}
			<-h.Again()
			if late := time.Since(l.began) - 10*time.Second - gap; late > 700*time.Millisecond {
				t.Errorf("valid again %v after the gap", late)
			}
			if generation, valid := h.Valid(); generation != 2 || !valid {
				t.Errorf("after the gap: valid %t in generation %d", valid, generation)
			}
			if _, err := l.until(ctx, time.Hour); err != nil {
				t.Errorf("ended with %v", err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestALapseThatIsTooLongEndsTheLease(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, l *life) {
		l.lapse = 30 * time.Second
		l.away(time.Hour)
		if err := l.hold(ctx, func(ctx context.Context, h *Holder) {
			got, err := l.until(ctx, time.Hour)
			if want := 42 * time.Second; !errors.Is(err, ErrLost) || got < 40*time.Second || got > want {
				t.Errorf("ended after %v with %v, want about %v with ErrLost", got, err, want)
			}
		}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAHostWhoseConnectionWasClosedWaitsForNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, l *life) {
		l.lapse = 30 * time.Second
		l.store.before = func(context.Context, int) error {
			if time.Since(l.began) > 10*time.Second {
				return nats.ErrConnectionClosed
			}
			return nil
		}
		if err := l.hold(ctx, func(ctx context.Context, _ *Holder) {
			if got, err := l.until(ctx, time.Minute); !errors.Is(err, ErrLost) || got > 11*time.Second {
				t.Errorf("ended after %v with %v, want ErrLost at once", got, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// A claimer that was not kept from the bucket ends the entry: its holder learns of it by
// the first renewal that is answered, and is never valid again.
func TestALapsedLeaseThatWasEndedIsLost(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, l *life) {
		l.lapse = 30 * time.Second
		other := l.others(ctx)
		l.store.before = func(ctx context.Context, _ int) error {
			if at := time.Since(l.began); at > 10*time.Second && at < 15*time.Second && ctx.Value(claimer{}) == nil {
				return silent(ctx)
			}
			return nil
		}
		if err := l.hold(ctx, func(ctx context.Context, h *Holder) {
			time.Sleep(14900 * time.Millisecond)
			if other.Live(context.WithValue(ctx, claimer{}, true), "me") {
				t.Fatal("not called dead")
			}
			got, err := l.until(ctx, time.Minute)
			if !errors.Is(err, ErrEnded) || got > 16*time.Second {
				t.Errorf("ended after %v with %v, want ErrEnded at once", got, err)
			}
			if generation, valid := h.Valid(); generation != 1 || valid {
				t.Errorf("valid %t in generation %d", valid, generation)
			}
		}); err != nil {
			t.Fatal(err)
		}
	})
}

type claimer struct{}

// When it was NATS that nobody could reach, the first host that reaches it again does
// not end the others, which are about to.
func TestTheFirstHostAfterAGapDoesNotEndTheOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, l *life) {
		l.lapse = 30 * time.Second
		l.away(8 * time.Second)
		ended := make(chan error, 8)
		for i := range 8 {
			others := l.others(ctx)
			timing := usual
			timing.Lapse = l.lapse
			one := Lease{Store: l.store, Echo: new(loopback), Others: others, Timing: timing, Log: quiet, Incarnation: fmt.Sprint(i)}
			go func() {
				ended <- one.Run(ctx, func(ctx context.Context, h *Holder) error {
					time.Sleep(14 * time.Second)
					<-h.Again()
					for range 100 {
						for other := range 8 {
							if other != i && !others.Live(ctx, fmt.Sprint(other)) {
								return fmt.Errorf("host %d was called dead", other)
							}
						}
						time.Sleep(10 * time.Millisecond)
					}
					return context.Cause(ctx)
				})
			}()
			time.Sleep(70 * time.Millisecond)
		}
		for range 8 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}
