package sockets

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"
)

// RFC 6455, section 5.2.
func TestAFrameSaysHowLongItIs(t *testing.T) {
	tests := []struct {
		kind, size int
		want       []byte // before the data
	}{
		{TextFrame, 0, []byte{0x81, 0}},
		{TextFrame, 125, []byte{0x81, 125}},
		{BinaryFrame, 126, []byte{0x82, 126, 0, 126}},
		{BinaryFrame, 65_535, []byte{0x82, 126, 0xff, 0xff}},
		{TextFrame, 65_536, []byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
		{pongMessage, 3, []byte{0x8a, 3}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.kind, tt.size), func(t *testing.T) {
			data := bytes.Repeat([]byte{'x'}, tt.size)
			frame := FrameOf(tt.kind, data)
			if header, rest := frame[:len(tt.want)], frame[len(tt.want):]; !bytes.Equal(header, tt.want) || !bytes.Equal(rest, data) {
				t.Errorf("header % x and %d bytes, want % x and %d", header, len(rest), tt.want, tt.size)
			}
			if isControl := frame[0]&control != 0; isControl != (tt.kind == pongMessage) {
				t.Errorf("control = %t", isControl)
			}
		})
	}
}

func newTestOutbox(limit int) *outbox {
	return &outbox{limit: limit, written: prometheus.NewCounter(prometheus.CounterOpts{Name: "written"})}
}

func text(s string) []byte { return FrameOf(TextFrame, []byte(s)) }

// History on connect is many small messages in one event.
func TestABurstOfSmallMessagesArrivesWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := newTestOutbox(1<<20), newMemoryClient()
		b.attach(c, time.Now())
		for i := range 3000 {
			if !b.send(text(strconv.Itoa(i))) {
				t.Fatalf("message %d of 3000 found the queue full", i)
			}
		}
		b.finish(End{Code: 1000})
		b.wait()
		got, ends := c.messages()
		for i, m := range got {
			if m != strconv.Itoa(i) {
				t.Fatalf("message %d is %q", i, m)
			}
		}
		if len(got) != 3000 || !slices.Equal(ends, []int{1000}) {
			t.Errorf("%d messages and closes %v, want 3000 and the close", len(got), ends)
		}
	})
}

func TestMessagesWaitForTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := newTestOutbox(1<<20), newMemoryClient()
		b.send(text("early"))
		b.finish(End{Code: 4001})
		if b.send(text("behind the close")); b.stage != detached {
			t.Fatalf("the outbox is %s without a connection", b.stage)
		}
		b.attach(c, time.Now())
		b.wait()
		if got, ends := c.messages(); !slices.Equal(got, []string{"early"}) || !slices.Equal(ends, []int{4001}) {
			t.Errorf("written %q, closes %v; want what was sent before the connection came, and the close", got, ends)
		}
	})
}

func TestAFullOutboxIsCountedInBytes(t *testing.T) {
	for _, size := range []int{0, 1, 100, 5000} {
		const limit = 100_000
		b, n := newTestOutbox(limit), 0
		for b.send(text(strings.Repeat("x", size))) {
			n++
		}
		if cost := len(text(strings.Repeat("x", size))) + frameCost; n != limit/cost {
			t.Errorf("%d messages of %d bytes wait, want %d", n, size, limit/cost)
		}
	}
	if !newTestOutbox(10).send(text("larger than the limit")) {
		t.Error("a message was refused by a queue that is empty")
	}
}

// What a slow client has not been sent when its socket is closed for that is dropped,
// also what the writer has in hand.
func TestAClientThatIsTooSlowIsToldSoWithoutTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := newTestOutbox(1<<20), newMemoryClient()
		c.pace = time.Second
		b.attach(c, time.Now())
		for range 10 {
			b.send(text(strings.Repeat("x", joinUpTo)))
		}
		time.Sleep(2500 * time.Millisecond)
		b.finish(End{Code: 1013, Discard: true})
		began := time.Now()
		b.wait()
		got, ends := c.messages()
		if took := time.Since(began); len(got) != 3 || !slices.Equal(ends, []int{1013}) || took > time.Second {
			t.Errorf("%d messages, closes %v after %v; want the one that was being written, then 1013", len(got), ends, took)
		}
	})
}

func TestAConnectionThatTakesNothingIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := newTestOutbox(1<<20), newMemoryClient()
		c.pace = time.Hour
		b.attach(c, time.Now())
		b.send(text("x"))
		<-c.gone
		b.finish(End{Code: 1000})
		b.wait()
		if _, ends := c.messages(); len(ends) > 0 || b.stage != finished {
			t.Errorf("closes %v, stage %s", ends, b.stage)
		}
	})
}

func TestAnIdleOutboxHasNoWriterAndPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := newTestOutbox(1<<20), newMemoryClient()
		b.attach(c, time.Now())
		b.send(text("x"))
		synctest.Wait()
		if b.stage != idle || b.bytes != 0 || cap(b.waiting) > keptQueue {
			t.Errorf("stage %s, %d bytes, room for %d; want an idle outbox", b.stage, b.bytes, cap(b.waiting))
		}
		for range 4 * pingEvery / time.Second {
			time.Sleep(time.Second)
			b.ping(time.Now())
		}
		synctest.Wait()
		if c.pings != 4 {
			t.Errorf("%d pings in %v, want 4", c.pings, 4*pingEvery)
		}
		b.finish(End{Code: 1000})
		b.wait()
	})
}

// Whatever the senders, the client and the end do: messages of each sender arrive in
// order without a gap, the close is the last, and nobody waits for ever.
func TestMessagesArriveInOrderAndTheCloseLast(t *testing.T) {
	type step struct{ what, size int }
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.IntRange(200, 100_000).Draw(rt, "limit")
		pace := rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Second, time.Minute}).Draw(rt, "pace")
		steps := rapid.SliceOf(rapid.Custom(func(rt *rapid.T) step {
			return step{rapid.IntRange(0, 9).Draw(rt, "what"), rapid.IntRange(0, 40_000).Draw(rt, "size")}
		})).Draw(rt, "steps")
		discard := rapid.Bool().Draw(rt, "discard")
		var sent, got []string
		var ends []int
		var late int
		var at outboxStage
		synctest.Test(t, func(*testing.T) {
			b, c := newTestOutbox(limit), newMemoryClient()
			c.pace = pace
			attached := false
			for i, s := range steps {
				switch {
				case s.what == 0 && !attached:
					b.attach(c, time.Now())
					attached = true
				case s.what == 1:
					time.Sleep(time.Duration(s.size) * time.Millisecond)
				case s.what == 2:
					b.ping(time.Now())
				default:
					m := fmt.Sprint(i, strings.Repeat("x", s.size/(1+s.what)))
					if b.send(text(m)) {
						sent = append(sent, m)
					}
				}
			}
			if !attached {
				b.attach(c, time.Now())
			}
			b.finish(End{Code: 1000, Discard: discard})
			b.wait()
			got, ends = c.messages()
			late, at = c.late, b.stage
		})
		switch {
		case late > 0 || len(ends) > 1 || at != finished:
			rt.Errorf("%d writes behind the close, closes %v, stage %s", late, ends, at)
		case len(got) > len(sent) || !slices.Equal(got, sent[:len(got)]):
			rt.Errorf("%d of %d messages arrived, out of order or with a gap", len(got), len(sent))
		case !discard && pace < WriteTime && len(got) != len(sent):
			rt.Errorf("%d of %d messages arrived", len(got), len(sent))
		}
	})
}
