package sockets

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/wire"
)

// sentFrames notes what an uplink sends.
type sentFrames struct {
	seqs []uint64
	err  error
}

func (s *sentFrames) transmit(seq uint64, _ []byte) error {
	if s.err == nil {
		s.seqs = append(s.seqs, seq)
	}
	return s.err
}

func newTestUplink() (*uplink, *sentFrames) {
	to := new(sentFrames)
	return &uplink{to: to, room: make(chan struct{}, 1)}, to
}

func (u *uplink) submit(kind wire.Kind) bool {
	if u.full() && kind != wire.Closed {
		return false
	}
	u.add(&wire.Request{Kind: kind, Seq: u.last + 1}, false)
	u.transmit()
	return true
}

func TestAWindowOfFramesIsSentAndTheCloseAlways(t *testing.T) {
	u, to := newTestUplink()
	for i := range wire.FrameWindow {
		if !u.submit(wire.Message) {
			t.Fatalf("frame %d was refused", i+1)
		}
	}
	if u.submit(wire.Message) {
		t.Error("a frame beyond the window was taken")
	}
	if !u.submit(wire.Closed) || len(to.seqs) != wire.FrameWindow+1 {
		t.Errorf("%d frames were sent, want the window and the close", len(to.seqs))
	}
	u.acknowledge(3)
	select {
	case <-u.room:
	default:
		t.Error("an acknowledgement makes room, and nobody was told")
	}
}

func TestAStalledUplinkKeepsWhatComesAndSendsAllAgainInOrder(t *testing.T) {
	u, to := newTestUplink()
	u.submit(wire.Message)
	u.submit(wire.Message)
	if !u.notTaken(1) || u.notTaken(2) {
		t.Fatal("the first frame that is not taken starts one recovery")
	}
	u.submit(wire.Message)
	if want := []uint64{1, 2}; !slices.Equal(to.seqs, want) {
		t.Fatalf("sent %v while stalled, want %v", to.seqs, want)
	}
	u.resend()
	u.submit(wire.Message)
	if want := []uint64{1, 2, 1, 2, 3, 4}; !slices.Equal(to.seqs, want) {
		t.Errorf("sent %v, want %v", to.seqs, want)
	}
	u.acknowledge(2)
	u.overdue(time.Now().Add(time.Hour), time.Second)
	u.resend()
	if want := []uint64{3, 4}; !slices.Equal(to.seqs[6:], want) {
		t.Errorf("sent %v after two were acknowledged, want %v", to.seqs[6:], want)
	}
}

func TestWhatCouldNotBeSentIsSentWithTheNext(t *testing.T) {
	u, to := newTestUplink()
	to.err = errors.New("down")
	u.submit(wire.Message)
	to.err = nil
	u.submit(wire.Message)
	if want := []uint64{1, 2}; !slices.Equal(to.seqs, want) {
		t.Errorf("sent %v, want %v", to.seqs, want)
	}
}

func TestAnUplinkIsOverdueOnlyAfterSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, _ := newTestUplink()
		time.Sleep(time.Hour)
		u.submit(wire.Message)
		if u.overdue(time.Now(), time.Second) {
			t.Error("overdue as it was sent")
		}
		time.Sleep(2 * time.Second)
		u.submit(wire.Message)
		if !u.overdue(time.Now(), time.Second) {
			t.Error("not overdue after two seconds")
		}
		u.resend()
		if u.overdue(time.Now(), time.Second) {
			t.Error("overdue as it was sent again")
		}
		u.acknowledge(2)
		time.Sleep(time.Hour)
		if u.overdue(time.Now(), time.Second) {
			t.Error("overdue with nothing pending")
		}
	})
}

func TestAttemptsThatBringNothingAreFurtherAndFurtherApart(t *testing.T) {
	u, _ := newTestUplink()
	u.submit(wire.Message)
	u.submit(wire.Message)
	var before time.Duration
	for n := range 100 {
		d := u.pause()
		switch {
		case n == 0 && d != 0:
			t.Errorf("the first attempt waits %v", d)
		case n > 0 && d < 5*time.Millisecond, n >= 8 && d < 100*time.Millisecond, n > 60 && d < time.Second, d > 2*time.Second:
			t.Errorf("attempt %d waits %v", n, d)
		}
		before += d
	}
	if before < 30*time.Second {
		t.Errorf("a hundred attempts within %v", before)
	}
	u.acknowledge(1)
	if d := u.pause(); d != 0 {
		t.Errorf("the first attempt after an acknowledgement waits %v", d)
	}
}
