package acceptance

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"holdfast/gateway"
)

func TestABurstOfTinyFramesArrivesInOrder(t *testing.T) {
	p := newPlace(t, nil)
	const frames = 10_000
	w := p.probe(t, "burst", "w")
	var sent bytes.Buffer
	for n := 1; n <= frames; n++ {
		sent.Write(frame(fin|opText, []byte("count "+strconv.Itoa(n))))
	}
	sent.Write(frame(fin|opText, []byte("counted")))
	if err := w.write(sent.Bytes()); err != nil {
		t.Fatal(err)
	}
	w.want(t, fmt.Sprint("counted ", frames))
}

// A client that does not read fills its own queue and is closed; the others in
// the room get every message meanwhile.
func TestASlowReaderIsClosedAndTheOthersGoOn(t *testing.T) {
	metrics := prometheus.NewRegistry()
	p := newPlace(t, func(cfg *gateway.Config) {
		cfg.Metrics = metrics
		cfg.Limits.Queue = 512 << 10
	})
	conn := p.dial(t, func(fd int) {
		if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096); err != nil {
			t.Error(err)
		}
	})
	slow, _ := p.handshake(t, conn, "GET", "/objects/probe/slow/?tag=slow")
	if slow == nil {
		t.Fatal("the slow one was not let in")
	}
	slow.want(t, "to slow welcome")
	quickly := p.probe(t, "slow", "quick")
	const size = 64 << 10
	rounds, most := 0, 300 // 19 MB: more than all buffers between here and there
	for ; closesWith(t, metrics, "1013") == 0 && rounds < most; rounds++ {
		quickly.say(t, fmt.Sprint("all ", size))
		if got, err := quickly.message(); err != nil || len(got) != size {
			t.Fatalf("round %d: the quick one got %d bytes, %v", rounds, len(got), err)
		}
	}
	if rounds == most {
		t.Fatalf("not closed after %d messages of %d bytes", rounds, size)
	}
	if code, reason := slow.closed(t); code != 1013 || !strings.Contains(reason, "slow") {
		t.Errorf("the slow one was closed with %d %q, want 1013", code, reason)
	}
	await(t, "the object has heard of it", func() bool { return len(p.heard.closesAt("slow")) > 0 })
	if all := p.heard.closesAt("slow"); len(all) != 1 || all[0].Code != 1013 {
		t.Errorf("the object heard %+v, want 1013 once", all)
	}
	quickly.say(t, "alone now")
	quickly.want(t, "alone now")
}

// closesWith returns how many sockets the gateway has ended with a code.
func closesWith(t *testing.T, metrics *prometheus.Registry, code string) (n float64) {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "holdfast_gateway_closes_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if label.GetName() == "code" && label.GetValue() == code {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

// Clients come and go while messages for each of them fly about: nobody gets
// what was for somebody else, though memory and connections are used again.
func TestNoFrameReachesAnotherSocket(t *testing.T) {
	p := newPlace(t, nil)
	const clients, lives = 50, 8
	done := make(chan struct{})
	var tellers, crowd sync.WaitGroup
	for i := range 2 {
		w := p.probe(t, "crowd", fmt.Sprint("teller-", i))
		tellers.Go(func() { tell(t, w, fmt.Sprint("teller-", i), done) })
	}
	var frames atomic.Int64
	for i := range clients {
		crowd.Go(func() {
			for life := range lives {
				tag := fmt.Sprintf("client-%d-life-%d", i, life)
				n, err := p.live(t, tag, life%2 == 0)
				frames.Add(int64(n))
				if err != nil {
					t.Errorf("%s: %v", tag, err)
					return
				}
			}
		})
	}
	crowd.Wait()
	close(done)
	tellers.Wait()
	if frames.Load() < clients*lives*5 {
		t.Errorf("only %d frames were looked at", frames.Load())
	}
	t.Logf("%d frames, none foreign", frames.Load())
}

// tell makes the object send to everybody, again and again, and reads messages for
// itself until done, and then to the last of it.
func tell(t *testing.T, w *peer, tag string, done chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-done:
			return
		default:
		}
		mine := fmt.Sprintf("%s-%d", tag, n)
		if err := w.write(frame(fin|opText, []byte("each "+mine))); err != nil {
			t.Errorf("%s: %v", tag, err)
			return
		}
		for {
			got, err := w.message()
			if err != nil || !strings.HasPrefix(got, "to "+tag+" ") {
				t.Errorf("%s got %q, %v", tag, got, err)
				return
			}
			if got == "to "+tag+" "+mine {
				break
			}
		}
	}
}

// live returns one life of a client: it connects, reads a few messages, and leaves,
// politely or not.
func (p *place) live(t *testing.T, tag string, politely bool) (frames int, err error) {
	conn := p.dial(t)
	defer conn.Close()
	w, a := p.handshake(t, conn, "GET", "/objects/probe/crowd/?tag="+tag)
	if w == nil {
		return 0, fmt.Errorf("not let in: %d %s", a.StatusCode, a.body)
	}
	for frames = range 6 {
		got, err := w.message()
		if err != nil {
			return frames, err
		}
		if !strings.HasPrefix(got, "to "+tag+" ") {
			return frames, fmt.Errorf("got a foreign frame: %q", got)
		}
	}
	if !politely {
		return frames, nil
	}
	if err := w.write(frame(fin|opClose, []byte{0x03, 0xe8})); err != nil {
		return frames, err
	}
	for {
		op, payload, err := w.next()
		if err != nil {
			return frames, fmt.Errorf("no answer to the close: %w", err)
		}
		if op == opClose {
			return frames, nil
		}
		if !strings.HasPrefix(string(payload), "to "+tag+" ") {
			return frames, fmt.Errorf("got a foreign frame: %q", payload)
		}
		frames++
	}
}

// Requests outlive their handlers, too: names, headers and bodies of many at
// once must not run into each other.
func TestNoRequestSeesAnothersBytes(t *testing.T) {
	p := newPlace(t, nil)
	burst(200, func(i int) {
		mine := fmt.Sprintf("%d-%s", i, strings.Repeat(string(rune('a'+i%26)), 100+i*7))
		name := fmt.Sprintf("own-%d", i%10)
		status, _, body, err := try("POST", p.url+"/objects/probe/"+name+"/"+mine+"?q="+mine, mine, "X-Mine", mine)
		if err != nil || status != http.StatusOK {
			t.Errorf("request %d: %d %s %v", i, status, body, err)
			return
		}
		var got echoed
		decode(t, body, &got)
		if got.URL != "/"+mine+"?q="+mine || string(got.Body) != mine || len(got.Header["X-Mine"]) != 1 || string(got.Header["X-Mine"][0]) != mine {
			t.Errorf("request %d arrived as %+v", i, got)
		}
	})
}
