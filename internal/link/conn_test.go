package link

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

const (
	rtt  = 80 * time.Millisecond
	half = rtt / 2
)

// inBubble runs f with both ends of a pipe, the near one delayed, in virtual time. The bubble
// itself fails the test if a goroutine is left.
func inBubble(t *testing.T, d *Delay, f func(t *testing.T, near, far net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		raw, far := net.Pipe()
		near := d.Wrap(raw)
		f(t, near, far)
		near.Close()
		far.Close()
		time.Sleep(rtt + linger) // what is still under way may arrive
	})
}

func read(t *testing.T, c net.Conn, n int) string {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatalf("read %d bytes: %v", n, err)
	}
	return string(b)
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := c.Write([]byte(s)); err != nil || n != len(s) {
		t.Fatalf("write %q: %d, %v", s, n, err)
	}
}

// send writes from a goroutine of its own; who reads checks what arrived.
func send(c net.Conn, b []byte) { _, _ = c.Write(b) }

func took(t *testing.T, start time.Time, want time.Duration, what string) {
	t.Helper()
	if got := time.Since(start); got != want {
		t.Errorf("%s took %s, want %s", what, got, want)
	}
}

func TestEachDirectionTakesHalfARoundTrip(t *testing.T) {
	inBubble(t, New(rtt), func(t *testing.T, near, far net.Conn) {
		start := time.Now()
		write(t, near, "ping")
		took(t, start, 0, "writing")
		if got := read(t, far, 4); got != "ping" {
			t.Errorf("far side read %q", got)
		}
		took(t, start, half, "the way there")
		go send(far, []byte("pong"))
		if got := read(t, near, 4); got != "pong" {
			t.Errorf("near side read %q", got)
		}
		took(t, start, rtt, "there and back")
	})
}

func TestTheDelayIsPerByteNotPerWrite(t *testing.T) {
	inBubble(t, New(rtt), func(t *testing.T, near, far net.Conn) {
		start := time.Now()
		for range 1000 {
			write(t, near, "x")
		}
		read(t, far, 1000)
		took(t, start, half, "a thousand writes")
	})
}

func TestOrderSurvivesChangesOfTheDelay(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	sent := make([]byte, 1<<20)
	for i := range sent {
		sent[i] = byte(random.Uint32())
	}
	d := New(rtt)
	inBubble(t, d, func(t *testing.T, near, far net.Conn) {
		for _, way := range []struct{ from, to net.Conn }{{near, far}, {far, near}} {
			done := make(chan struct{})
			go func() {
				defer close(done)
				for rest := sent; len(rest) > 0; {
					n := min(len(rest), 1+random.IntN(20_000))
					send(way.from, rest[:n])
					rest = rest[n:]
					d.Set(time.Duration(random.IntN(200)) * time.Millisecond)
					time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
				}
			}()
			if got := read(t, way.to, len(sent)); got != string(sent) {
				t.Error("bytes changed or changed places")
			}
			<-done
		}
	})
}

func TestAWriterWaitsOnlyForRoom(t *testing.T) {
	inBubble(t, New(rtt), func(t *testing.T, near, far net.Conn) {
		start := time.Now()
		write(t, near, string(make([]byte, 7<<20)))
		took(t, start, 0, "a write that fits")

		if err := near.SetWriteDeadline(start.Add(10 * time.Millisecond)); err != nil {
			t.Error(err)
		}
		n, err := near.Write(make([]byte, 4<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n >= 4<<20 {
			t.Errorf("write into a full link = %d, %v, want part of it and a timeout", n, err)
		}
		took(t, start, 10*time.Millisecond, "a write that does not fit")

		if err := near.SetWriteDeadline(time.Time{}); err != nil {
			t.Error(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); send(near, make([]byte, 4<<20)) }()
		read(t, far, 7<<20+n+4<<20)
		<-done
		took(t, start, half+half, "everything") // the last write got room after half, then travelled
	})
}

func TestWhatWasWrittenBeforeCloseStillArrives(t *testing.T) {
	inBubble(t, New(rtt), func(t *testing.T, near, far net.Conn) {
		start := time.Now()
		write(t, near, "last words")
		if err := near.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		took(t, start, 0, "closing")
		if got, err := io.ReadAll(far); string(got) != "last words" || err != nil {
			t.Errorf("far side read %q, %v", got, err)
		}
		took(t, start, half, "the last words")
		if _, err := near.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after close: %v", err)
		}
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after close: %v", err)
		}
	})
}

func TestAPeerThatDoesNotReadDoesNotKeepAClosedLinkAlive(t *testing.T) {
	inBubble(t, New(rtt), func(t *testing.T, near, far net.Conn) {
		start := time.Now()
		write(t, near, "unread")
		near.Close()
		synctest.Wait()
		if _, err := far.Write([]byte("x")); err != nil {
			t.Errorf("write to a link that lingers: %v", err) // taken and dropped, as a network would
		}
		time.Sleep(2 * time.Second)
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("read = %v, want the end", err)
		}
		took(t, start, 2*time.Second, "it")
	})
}

func TestCloseFreesWhoeverWaits(t *testing.T) {
	for name, d := range map[string]*Delay{"delayed": New(rtt), "direct": New(0)} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, d, func(t *testing.T, near, far net.Conn) {
				failed := make(chan error, 2)
				go func() { _, err := near.Read(make([]byte, 1)); failed <- err }()
				go func() { _, err := near.Write(make([]byte, laneSize*2)); failed <- err }()
				synctest.Wait()
				near.Close()
				for range 2 {
					if err := <-failed; !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
						t.Errorf("error = %v, want that of a closed connection", err)
					}
				}
			})
		})
	}
}

func TestCloseFreesAReaderThatBeganBeforeTheDelay(t *testing.T) {
	d := New(0)
	inBubble(t, d, func(t *testing.T, near, far net.Conn) {
		failed := make(chan error, 1)
		go func() { _, err := near.Read(make([]byte, 1)); failed <- err }()
		synctest.Wait()
		d.Set(rtt)
		write(t, near, "under way")
		near.Close()
		if err := <-failed; !errors.Is(err, net.ErrClosed) {
			t.Errorf("error = %v, want closed", err)
		}
		if got := read(t, far, 9); got != "under way" {
			t.Errorf("far side read %q", got)
		}
	})
}

func TestTheEndComesAfterTheLastByte(t *testing.T) {
	inBubble(t, New(rtt), func(t *testing.T, near, far net.Conn) {
		start := time.Now()
		go func() { send(far, []byte("bye")); far.Close() }()
		got, err := io.ReadAll(near)
		if string(got) != "bye" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		took(t, start, half, "the end")
	})
}

func TestABrokenPeerFailsTheNextWrites(t *testing.T) {
	inBubble(t, New(rtt), func(t *testing.T, near, far net.Conn) {
		far.Close()
		write(t, near, "nobody") // accepted: the news has not come back
		time.Sleep(rtt)
		if _, err := near.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("write = %v, want the error of the connection below", err)
		}
	})
}

func TestReadDeadlinesCountTheDelay(t *testing.T) {
	inBubble(t, New(rtt), func(t *testing.T, near, far net.Conn) {
		start := time.Now()
		go send(far, []byte("late"))
		if err := near.SetReadDeadline(start.Add(half - 1)); err != nil {
			t.Error(err)
		}
		if _, err := near.Read(make([]byte, 4)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read before arrival = %v, want a timeout", err)
		}
		took(t, start, half-1, "the timeout")
		if err := near.SetDeadline(time.Time{}); err != nil {
			t.Error(err)
		}
		if got := read(t, near, 4); got != "late" {
			t.Errorf("read %q after the timeout", got)
		}

		failed := make(chan error, 1)
		go func() { _, err := near.Read(make([]byte, 1)); failed <- err }()
		synctest.Wait()
		if err := near.SetReadDeadline(time.Now()); err != nil { // while a read waits
			t.Error(err)
		}
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read under a new deadline = %v, want a timeout", err)
		}
	})
}

func TestNoDelayAddsNothing(t *testing.T) {
	d := New(0)
	inBubble(t, d, func(t *testing.T, near, far net.Conn) {
		start := time.Now()
		go send(near, []byte("direct"))
		read(t, far, 6)
		go send(far, []byte("direct"))
		read(t, near, 6)
		took(t, start, 0, "both ways")
		if c := near.(*conn); c.sending || c.receiving {
			t.Error("a lane was started though there was no delay")
		}
	})
}

func TestADelaySetLaterHoldsForAReaderThatAlreadyWaits(t *testing.T) {
	d := New(0)
	inBubble(t, d, func(t *testing.T, near, far net.Conn) {
		got := make(chan []byte)
		go func() {
			for range 2 {
				b := make([]byte, 16)
				n, _ := near.Read(b)
				got <- b[:n]
			}
		}()
		synctest.Wait()
		d.Set(rtt)
		for _, word := range []string{"first", "second"} {
			start := time.Now()
			write(t, far, word)
			if b := <-got; !bytes.Equal(b, []byte(word)) {
				t.Errorf("read %q, want %q", b, word)
			}
			took(t, start, half, word)
		}
	})
}

// What is sent while the link is held arrives when it is mended, in order, and what was under
// way before arrives as if nothing had been.
func TestAHeldLinkDeliversWhenItIsMended(t *testing.T) {
	inBubble(t, New(rtt), func(t *testing.T, near, far net.Conn) {
		began := time.Now()
		d := near.(*conn).delay
		write := func(text string) {
			t.Helper()
			if _, err := near.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		write("a")
		d.HoldSent(began.Add(3 * time.Second))
		write("b")
		got := make([]byte, 1)
		for _, want := range []struct {
			text string
			at   time.Duration
		}{{"a", half}, {"b", 3*time.Second + half}} {
			if _, err := io.ReadFull(far, got); err != nil || string(got) != want.text || time.Since(began) != want.at {
				t.Errorf("read %s after %v, %v, want %s after %v", got, time.Since(began), err, want.text, want.at)
			}
		}
		// The other direction is held by Hold alone.
		for _, held := range []time.Duration{0, time.Second} {
			began := time.Now()
			if held > 0 {
				d.Hold(began.Add(held))
			}
			go func() { _, _ = far.Write([]byte("c")) }() // a pipe takes what somebody reads; the reader misses what fails
			if _, err := io.ReadFull(near, got); err != nil || time.Since(began) != held+half {
				t.Errorf("with a hold of %v the answer came after %v, %v", held, time.Since(began), err)
			}
		}
		near.Close()
		far.Close()
	})
}
