package crowd

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestFramesAreReadInWholeAndInParts(t *testing.T) {
	long := strings.Repeat("x", 300)
	stream := "\x81\x02{}" + "\x89\x01p" + "\x81\x7e\x01\x2c" + long + "\x8a\x00" + "\x82\x00"
	for cut := range len(stream) + 1 {
		first, pings, rest, err := frames([]byte(stream[:cut]))
		if err != nil {
			t.Fatal(err)
		}
		second, more, rest, err := frames(append(rest, stream[cut:]...))
		if pings = append(pings, more...); err != nil || first+second != 3 || len(pings) != 1 || string(pings[0]) != "p" || len(rest) != 0 {
			t.Fatalf("cut at %d: %d and %d messages, pings %q, rest %q, %v", cut, first, second, pings, rest, err)
		}
	}
	for _, bad := range []string{"\x81\x82abcdef", "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "\x88\x00"} {
		if _, _, _, err := frames([]byte(bad)); err == nil {
			t.Errorf("%q was taken for a frame", bad)
		}
	}
	if _, _, _, err := frames([]byte("\x88\x02\x03\xe8")); !errors.Is(err, io.EOF) {
		t.Errorf("a close = %v", err)
	}
}

// served returns a room that sends each who comes two messages and a ping, and hears what they say.
func served(t *testing.T) (to Room, said func() []string) {
	t.Helper()
	var mu sync.Mutex
	var all []string
	var serving sync.WaitGroup
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, what)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serving.Add(1)
		defer serving.Done()
		if r.URL.Path != "/room/a" {
			http.Error(w, "no such room", http.StatusNotFound)
			return
		}
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			note(err.Error())
			return
		}
		for range 2 {
			if err := c.Write(r.Context(), websocket.MessageText, []byte(`{"type":"hello"}`)); err != nil {
				note(err.Error())
			}
		}
		ctx := c.CloseRead(r.Context())
		if c.Ping(ctx) == nil {
			note("pong")
		}
		<-ctx.Done()
		note("left")
	})}
	serving.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(func() {
		server.Close()
		serving.Wait()
	})
	return Room{Addr: ln.Addr().String(), Host: "here", Path: "/room/a"}, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), all...)
	}
}

func TestACrowdComesListensAndLeaves(t *testing.T) {
	to, said := served(t)
	people, err := Enter(t.Context(), to, 40, func(int) {})
	if err != nil || people.People() != 40 {
		t.Fatalf("%d came in: %v", people.People(), err)
	}
	heard := 0
	for deadline := time.Now().Add(20 * time.Second); (heard < 80 || len(said()) < 40) && time.Now().Before(deadline); {
		heard += people.Listen()
	}
	if all := said(); heard != 80 || len(all) != 40 || all[0] != "pong" {
		t.Errorf("they heard %d messages, and answered %v", heard, all)
	}
	people.Leave()
	for deadline := time.Now().Add(20 * time.Second); len(said()) < 80 && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	if all := said(); len(all) != 80 || all[79] != "left" {
		t.Errorf("they left as %v", all)
	}
}

func TestWhoIsNotLetInIsNoCrowd(t *testing.T) {
	to, _ := served(t)
	to.Path = "/" + url.PathEscape("elsewhere")
	people, err := Enter(t.Context(), to, 40, func(int) {})
	if err == nil || !strings.Contains(err.Error(), "404") || !errors.Is(err, errRefused) || people.People() != 0 {
		t.Errorf("%d came in: %v", people.People(), err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to.Addr = ln.Addr().String()
	ln.Close()
	if people, err := Enter(t.Context(), to, 3, func(int) {}); err == nil || people.People() != 0 {
		t.Errorf("%d came in where nobody listens: %v", people.People(), err)
	}
}

// A crowd whose time ends before all are in says so, also if nobody has failed.
func TestACrowdThatIsNotWholeSaysWhy(t *testing.T) {
	to, _ := served(t)
	late := errors.New("too late")
	ctx, cancel := context.WithCancelCause(t.Context())
	people, err := Enter(ctx, to, 1000, func(int) { cancel(late) })
	defer people.Leave()
	if n := people.People(); n == 1000 || n < 100 || err == nil {
		t.Errorf("%d came in: %v", n, err)
	}
}

// A door that is too busy is tried again.
func TestABusyDoorIsTriedAgain(t *testing.T) {
	to, _ := served(t)
	busy := 5
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	back := to.Addr
	to.Addr = front.Addr().String()
	go func() {
		for ; ; busy-- {
			in, err := front.Accept()
			if err != nil {
				return
			}
			if busy > 0 {
				_, _ = io.WriteString(in, "HTTP/1.1 503 Service Unavailable\r\n\r\n")
				in.Close()
				continue
			}
			out, err := net.Dial("tcp", back)
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(out, in); out.Close() }()
			go func() { _, _ = io.Copy(in, out); in.Close() }()
		}
	}()
	people, err := Enter(t.Context(), to, 1, func(int) {})
	defer people.Leave()
	if err != nil || people.People() != 1 {
		t.Errorf("%d came in: %v", people.People(), err)
	}
}

// The page says what the other end of a socket takes up: it is the connection and little else.
func TestTheOtherEndOfASocketIsSmall(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	each := int64(0)
	for range 5 { // other tests leave garbage, which goes meanwhile
		if each = end(t, ln); each <= Half && each >= Half/4 {
			return
		}
	}
	t.Errorf("an end of a connection has %d bytes, the page says %d", each, Half)
}

// end returns how many bytes one end of a connection takes up.
func end(t *testing.T, ln net.Listener) int64 {
	t.Helper()
	const n = 400
	ends := make([]net.Conn, 0, 2*n)
	defer func() {
		for _, c := range ends {
			c.Close()
		}
	}()
	before := heap()
	for range n {
		near, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		far, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, near, far)
	}
	return (heap() - before) / (2 * n)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
