package lease

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

var usual = Timing{TTL: 3 * time.Second, Margin: 300 * time.Millisecond}

// life is one lease in a bubble, and the bucket that it is in.
type life struct {
	t     *testing.T
	store *twin
	echo  *loopback
	began time.Time
	lapse time.Duration
}

func newLife(t *testing.T) *life {
	return &life{t: t, store: newTwin(), echo: new(loopback), began: time.Now()}
}

// others returns a watch that runs until the test has ended.
func (l *life) others(ctx context.Context) *Others {
	o := NewOthers(l.store, usual, slog.New(slog.DiscardHandler))
	go o.Run(ctx) // the bubble waits for it
	synctest.Wait()
	return o
}

// hold runs the role under a lease of the incarnation "me".
func (l *life) hold(ctx context.Context, role func(context.Context, *Holder)) error {
	timing := usual
	timing.Lapse = l.lapse
	lease := Lease{Store: l.store, Echo: l.echo, Others: l.others(ctx), Timing: timing, Log: slog.New(slog.DiscardHandler), Incarnation: "me"}
	return lease.Run(ctx, func(ctx context.Context, h *Holder) error {
		role(ctx, h)
		return nil
	})
}

// until returns how long the role's context lasted, and why it ended; after most, it was well.
func (l *life) until(ctx context.Context, most time.Duration) (time.Duration, error) {
	select {
	case <-ctx.Done():
		return time.Since(l.began), context.Cause(ctx)
	case <-time.After(most):
		return most, nil
	}
}

func inBubble(t *testing.T, f func(*testing.T, context.Context, *life)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f(t, ctx, newLife(t))
		cancel()
		synctest.Wait()
	})
}

// The renewal before the last was answered after 650 ms, then nothing was answered any
// more. Trust ends 2.7 s after the sending, in the middle of a renewal.
func TestTheRoleEndsAtTheMomentAtWhichTrustEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, l *life) {
		l.store.before = func(ctx context.Context, n int) error {
			if n == 1 {
				time.Sleep(650 * time.Millisecond)
				return nil
			}
			return silent(ctx)
		}
		err := l.hold(ctx, func(ctx context.Context, h *Holder) {
			got, err := l.until(ctx, time.Minute)
			if want := usual.TTL - usual.Margin; got != want || !errors.Is(err, ErrLost) {
				t.Errorf("the role ended after %v with %v, want %v with ErrLost", got, err, want)
			}
			if _, valid := h.Valid(); valid {
				t.Error("the lease is held after its end")
			}
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestALeaseIsKeptForAsLongAsTheRoleRuns(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, l *life) {
		other := l.others(ctx)
		if err := l.hold(ctx, func(ctx context.Context, _ *Holder) {
			if got, err := l.until(ctx, time.Hour); err != nil {
				t.Errorf("ended after %v: %v", got, err)
			}
			if !other.Live(ctx, "me") {
				t.Error("called dead")
			}
		}); err != nil {
			t.Fatal(err)
		}
		if other.Live(ctx, "me") {
			t.Error("live after it was given back")
		}
	})
}

func TestAHostThatCannotBeAskedGivesItsLeaseBack(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, l *life) {
		other := l.others(ctx)
		const cut = 10 * time.Second // then the Serve connection is lost
		l.echo.lost = func(int) bool { return time.Since(l.began) > cut }
		if err := l.hold(ctx, func(ctx context.Context, _ *Holder) {
			got, err := l.until(ctx, time.Minute)
			if want := cut + usual.TTL; !errors.Is(err, ErrDeaf) || !errors.Is(err, ErrLost) || got > want {
				t.Errorf("ended after %v with %v, want ErrDeaf within %v", got, err, want)
			}
			if !other.Live(ctx, "me") {
				t.Error("called dead before the role has ended")
			}
		}); err != nil {
			t.Fatal(err)
		}
		if other.Live(ctx, "me") {
			t.Error("others wait for the lease to run out")
		}
	})
}

func TestEverySecondMessageMayBeLost(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, l *life) {
		l.echo.lost = func(n int) bool { return n%2 == 0 }
		if err := l.hold(ctx, func(ctx context.Context, _ *Holder) {
			if got, err := l.until(ctx, time.Minute); err != nil {
				t.Errorf("ended after %v: %v", got, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNoLeaseIsTakenByAHostThatCannotBeAsked(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, l *life) {
		l.echo.lost = func(int) bool { return true }
		err := l.hold(ctx, func(context.Context, *Holder) { t.Error("the role ran") })
		if !errors.Is(err, ErrDeaf) {
			t.Errorf("err = %v, want ErrDeaf", err)
		}
		if e := l.store.all()["me"]; e.State != Ended {
			t.Errorf("the entry is left: %+v", e)
		}
	})
}

// While NATS itself is away, nothing comes back and nothing is acknowledged. That says
// nothing about the Serve connection, and trust lasts until its end.
func TestAShortOutageOfNATSCostsNoLease(t *testing.T) {
	for _, c := range []struct {
		name string
		away func(ctx context.Context, left time.Duration) error
	}{
		{"its server is restarted", func(context.Context, time.Duration) error { return errSilent }},
		{"its server is frozen", func(ctx context.Context, left time.Duration) error {
			select {
			case <-time.After(left):
				return nil
			case <-ctx.Done():
				return errSilent
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, ctx context.Context, l *life) {
				left := func() time.Duration { // of the outage
					d := time.Since(l.began)
					if d < 9500*time.Millisecond {
						return 0
					}
					return 11_500*time.Millisecond - d
				}
				l.echo.lost = func(int) bool { return left() > 0 }
				l.store.before = func(ctx context.Context, _ int) error {
					if left := left(); left > 0 {
						return c.away(ctx, left)
					}
					return nil
				}
				if err := l.hold(ctx, func(ctx context.Context, _ *Holder) {
					if got, err := l.until(ctx, time.Minute); err != nil {
						t.Errorf("ended after %v: %v", got, err)
					}
				}); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestARenewalWhoseAnswerIsLostDoesNoHarm(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, l *life) {
		l.store.after = func(ctx context.Context, n int) error {
			if n%2 == 0 {
				return silent(ctx)
			}
			return nil
		}
		if err := l.hold(ctx, func(ctx context.Context, _ *Holder) {
			if got, err := l.until(ctx, time.Minute); err != nil {
				t.Errorf("ended after %v: %v", got, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// The clock of a suspended machine stands still: the holder would trust its lease.
func TestAHolderThatWasDeclaredDeadLearnsOfItAtItsNextRenewal(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, l *life) {
		if err := l.hold(ctx, func(ctx context.Context, _ *Holder) {
			time.Sleep(9500 * time.Millisecond)
			if err := l.store.Remove(ctx, "me", l.store.all()["me"].Revision); err != nil {
				t.Fatal(err)
			}
			if got, err := l.until(ctx, time.Minute); got > 10_100*time.Millisecond || !errors.Is(err, ErrEnded) || !errors.Is(err, ErrLost) {
				t.Errorf("ended after %v with %v, want at most 10.1 s with ErrEnded", got, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestABucketMadeAnewMakesNoLivingHostLookDead(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, l *life) {
		other := l.others(ctx)
		if err := l.hold(ctx, func(ctx context.Context, _ *Holder) {
			for i := range 300 {
				time.Sleep(100 * time.Millisecond)
				if i == 55 || i == 155 {
					l.store.forget()
				}
				if !other.Live(ctx, "me") {
					t.Fatalf("called dead after %v", time.Since(l.began))
				}
			}
			if ctx.Err() != nil {
				t.Errorf("the role has ended: %v", context.Cause(ctx))
			}
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// A watch that has lost its server shows no renewals. It is begun again when a host's own
// renewals are missing, and what it shows then of a dead host is no sign of life. So the
// dead host's objects can be claimed after TTL + Margin since it was last heard of, not
// since somebody asked.
func TestAWatchThatWentBlindCostsNoSecondWait(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, l *life) {
		beat := func(n uint64, expect uint64) uint64 {
			revision, err := l.store.write(ctx, Entry{Incarnation: "dead", State: Present, Beat: n}, expect)
			if err != nil {
				t.Fatal(err)
			}
			return revision
		}
		o := l.others(ctx)
		lease := Lease{Store: l.store, Echo: l.echo, Others: o, Timing: usual, Log: slog.New(slog.DiscardHandler), Incarnation: "me"}
		if err := lease.Run(ctx, func(ctx context.Context, _ *Holder) error {
			revision := beat(1, 0)
			time.Sleep(1500 * time.Millisecond)
			l.store.blind()
			beat(2, revision) // its last; nobody is told
			died := time.Now()
			const late = 1500 * time.Millisecond // until two own renewals are missing, at most
			time.Sleep(usual.TTL + usual.Margin - 1)
			if !o.Live(ctx, "dead") {
				t.Errorf("called dead %v after its last renewal", time.Since(died))
			}
			time.Sleep(late + 1)
			if o.Live(ctx, "dead") {
				t.Errorf("still waited for %v after its last renewal", time.Since(died))
			}
			if ctx.Err() != nil {
				t.Errorf("the role has ended: %v", context.Cause(ctx))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// Many objects of a dead host are claimed at once. Each claimer is told, and its entry
// is ended once.
func TestADeadHostIsEndedOnceAndEverybodyIsToldSo(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, l *life) {
		if _, err := l.store.write(ctx, Entry{Incarnation: "dead", State: Present, Beat: 1}, 0); err != nil {
			t.Fatal(err)
		}
		one, two := l.others(ctx), l.others(ctx)
		time.Sleep(usual.TTL + usual.Margin)
		l.store.before = func(context.Context, int) error {
			time.Sleep(time.Millisecond)
			return nil
		}
		dead := make(chan bool, 20)
		for range 10 {
			go func() { dead <- !one.Live(ctx, "dead") }() // the bubble waits
			go func() { dead <- !two.Live(ctx, "dead") }()
		}
		for range 20 {
			if !<-dead {
				t.Error("a claimer was told that the dead host lives")
			}
		}
		if e := l.store.all()["dead"]; e.State != Ended {
			t.Errorf("the entry is %+v, want it ended", e)
		}
	})
}

func TestWhoAwaitsTheOthersWaitsNoLongerThanItSays(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, l *life) {
		waits := func(o *Others, want time.Duration) {
			t.Helper()
			began := time.Now()
			o.Await(ctx, time.Second)
			if took := time.Since(began); took != want {
				t.Errorf("waited %v, want %v", took, want)
			}
		}
		waits(NewOthers(l.store, usual, slog.New(slog.DiscardHandler)), time.Second) // it does not run, so it sees nothing
		o := l.others(ctx)
		waits(o, 0)
		if !o.AllRead(1) {
			t.Error("nobody is there, and somebody reads no records of version 1")
		}
	})
}
