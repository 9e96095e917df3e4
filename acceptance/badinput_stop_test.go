package acceptance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A gateway that stops closes every socket with 1012 while a request is still
// under way, takes no more, and has stopped when the request has been answered.
func TestAStoppingGatewayLeavesNobodyInTheDark(t *testing.T) {
	beside(t, places)
	p := newPlace(t, nil)
	const sockets = 20
	var peers []*peer
	for i := range sockets {
		peers = append(peers, p.probe(t, fmt.Sprint("stop-", i%2), fmt.Sprint(i)))
	}
	g := p.heard.newGate("stop-busy")
	under := make(chan answered, 1)
	go func() {
		status, header, body, err := try("POST", p.url+"/objects/probe/stop-busy/wait", "")
		if err != nil {
			t.Errorf("the request under way: %v", err)
		}
		under <- answered{&http.Response{StatusCode: status, Header: header}, body}
	}()
	<-g.entered

	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		p.stop()
	}()
	for i, w := range peers {
		if code, reason := w.closed(t); code != 1012 || reason == "" {
			t.Errorf("socket %d was closed with %d %q, want 1012 and why", i, code, reason)
		}
	}
	await(t, "the objects have heard of every socket", func() bool {
		return len(p.heard.closesAt("stop-0")) == sockets/2 && len(p.heard.closesAt("stop-1")) == sockets/2
	})
	for _, end := range append(p.heard.closesAt("stop-0"), p.heard.closesAt("stop-1")...) {
		if end.Code != 1012 {
			t.Errorf("an object heard %+v, want 1012", end)
		}
	}
	await(t, "nobody is let in", func() bool {
		conn, err := net.Dial("tcp", p.addr)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	select {
	case a := <-under:
		t.Fatalf("the request under way was answered before its time: %d %s", a.StatusCode, a.body)
	case <-stopped:
		t.Fatal("the gateway has stopped with a request under way")
	default:
	}
	close(g.open)
	if a := <-under; a.StatusCode != http.StatusOK {
		t.Errorf("the request under way: %d %s, want 200", a.StatusCode, a.body)
	}
	<-stopped
	if n := p.Sockets(); n != 0 {
		t.Errorf("%d sockets are open at a gateway that has stopped", n)
	}
}

// A client that uses its connections again is told with an answer that there is no
// next one: no request of its ends with a closed connection instead of an answer.
func TestAStopEndsNoRequestOnAKeptConnection(t *testing.T) {
	beside(t, places)
	for round := range 5 {
		p := newPlace(t, nil)
		const clients = 16
		var busy, idle []*net.TCPConn
		for range clients {
			busy, idle = append(busy, p.dial(t)), append(idle, p.dial(t))
		}
		ask := func(conn *net.TCPConn, r *bufio.Reader) (closing bool, err error) {
			if _, err := io.WriteString(conn, post("Content-Length: 1", "a")); err != nil {
				return false, err
			}
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				return false, err
			}
			defer res.Body.Close()
			if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
				return false, fmt.Errorf("status %d, %w", res.StatusCode, err)
			}
			return res.Close, nil
		}
		var working sync.WaitGroup
		var answers atomic.Int64
		for _, conn := range busy {
			working.Go(func() {
				r := bufio.NewReader(conn)
				for {
					closing, err := ask(conn, r)
					if err != nil {
						t.Errorf("round %d: a request under load: %v", round, err)
						return
					}
					if answers.Add(1); closing {
						return
					}
				}
			})
		}
		readers := make([]*bufio.Reader, clients)
		for i, conn := range idle {
			readers[i] = bufio.NewReader(conn)
			if closing, err := ask(conn, readers[i]); err != nil || closing {
				t.Fatalf("before the stop: closing %v, %v", closing, err)
			}
		}
		await(t, "the clients are at work", func() bool { return answers.Load() > 10*clients })
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			p.stop()
		}()
		await(t, "nobody is let in", func() bool {
			conn, err := net.Dial("tcp", p.addr)
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
		for i, conn := range idle { // their next request was on its way
			working.Go(func() {
				if closing, err := ask(conn, readers[i]); err != nil || !closing {
					t.Errorf("round %d: a request that crossed the stop: closing %v, %v", round, closing, err)
				}
			})
		}
		working.Wait()
		<-stopped
	}
}

func TestAConnectionThatSaysNothingHoldsNoStopUp(t *testing.T) {
	beside(t, places)
	on := single(t)
	on.startHost(t, "a", "fra", steady, nil)
	timing := steady
	timing.Drain = 2 * time.Minute // longer than anything here waits
	d := on.startGateway(t, "fra", timing)
	silent, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://")) // as browsers do, in advance
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if n, _, err := claim(d.url, "a"); n != 1 || err != nil { // it has been accepted before this
		t.Fatalf("claim = %d, %v", n, err)
	}
	stopped := make(chan struct{})
	go func() { defer close(stopped); d.stop() }()
	await(t, "the gateway has stopped", func() bool {
		select {
		case <-stopped:
			return true
		default:
			return false
		}
	})
}
