package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdfast/chaos/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// target echoes lines, in the order in which it gets them, and says on a channel what it got.
type target struct {
	ln    net.Listener
	lines chan string // buffered; whoever tests it sends less
}

func newTarget(t *testing.T) *target {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tg := &target{ln: ln, lines: make(chan string, 64)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go tg.serve(conn) // ends when the proxy has ended
		}
	}()
	t.Cleanup(func() { ln.Close(); <-served })
	return tg
}

func (tg *target) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			tg.lines <- "ended: " + err.Error()
			return
		}
		tg.lines <- line
		fmt.Fprint(conn, line)
	}
}

func (tg *target) got(t *testing.T) string {
	t.Helper()
	select {
	case line := <-tg.lines:
		return strings.TrimSpace(line)
	case <-time.After(time.Minute):
		t.Fatal("the target got nothing")
		return ""
	}
}

func through(t *testing.T, tg *target) *proxy.Proxy {
	t.Helper()
	p, err := proxy.Listen(tg.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// peer is a client of the proxy.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dial(t *testing.T, p *proxy.Proxy) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &peer{t, conn, bufio.NewReader(conn)}
}

func (c *peer) say(line string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.conn, line); err != nil {
		c.t.Fatalf("say %q: %v", line, err)
	}
}

func (c *peer) hears(want string) {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		c.t.Fatal(err)
	}
	if line, err := c.in.ReadString('\n'); err != nil || strings.TrimSpace(line) != want {
		c.t.Fatalf("heard %q, %v, want %q", line, err, want)
	}
}

// hearsNothing waits for a moment: what is held back never comes while it is.
func (c *peer) hearsNothing() {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		c.t.Fatal(err)
	}
	if line, err := c.in.ReadString('\n'); !isTimeout(err) {
		c.t.Fatalf("heard %q, %v, want nothing", line, err)
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// holds waits until the proxy has held back so many bytes.
func holds(t *testing.T, p *proxy.Proxy, n int64) {
	t.Helper()
	late := time.After(time.Minute)
	for {
		held, more := p.Held()
		if held >= n {
			return
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("held back %d bytes, want %d", held, n)
		}
	}
}

func TestACutLosesNoByte(t *testing.T) {
	tg := newTarget(t)
	p := through(t, tg)
	c := dial(t, p)
	c.say("one")
	c.hears("one")
	p.Set(proxy.Cut)
	c.say("two")
	holds(t, p, 4)
	c.hearsNothing()
	c.say("three")
	p.Set(proxy.Open)
	c.hears("two")
	c.hears("three")
	for _, want := range []string{"one", "two", "three"} {
		if got := tg.got(t); got != want {
			t.Errorf("the target got %q, want %q", got, want)
		}
	}
}

func TestACutInOneDirectionCarriesTheOther(t *testing.T) {
	tg := newTarget(t)
	p := through(t, tg)
	c := dial(t, p)
	c.say("one")
	c.hears("one")
	tg.got(t)

	p.Set(proxy.CutDown)
	c.say("two")
	if got := tg.got(t); got != "two" {
		t.Errorf("the target got %q, want %q: it is heard", got, "two")
	}
	holds(t, p, 4)
	c.hearsNothing()
	p.Set(proxy.Open)
	c.hears("two")

	p.Set(proxy.CutUp)
	c.say("three")
	holds(t, p, 4+6)
	select {
	case got := <-tg.lines:
		t.Errorf("the target got %q through a cut", got)
	default:
	}
	p.Set(proxy.Open)
	c.hears("three")
}

func TestAnEndIsNotHeardOfThroughACut(t *testing.T) {
	tg := newTarget(t)
	p := through(t, tg)
	c := dial(t, p)
	c.say("one")
	c.hears("one")
	tg.got(t)
	p.Set(proxy.Cut)
	c.say("two")
	holds(t, p, 4)
	c.conn.Close()
	select {
	case got := <-tg.lines:
		t.Errorf("the target got %q through a cut", got)
	case <-time.After(50 * time.Millisecond):
	}
	p.Set(proxy.Open)
	if got := tg.got(t); got != "two" {
		t.Errorf("the target got %q, want %q, which was sent before the end", got, "two")
	}
	if got := tg.got(t); !strings.HasPrefix(got, "ended") {
		t.Errorf("the target got %q, want the end", got)
	}
}

func TestWhoConnectsThroughACutWaits(t *testing.T) {
	tg := newTarget(t)
	p := through(t, tg)
	p.Set(proxy.Cut)
	c := dial(t, p)
	c.say("one")
	c.hearsNothing()
	p.Set(proxy.Open)
	c.hears("one")
}

func TestAResetEndsBothSidesAtOnce(t *testing.T) {
	tg := newTarget(t)
	p := through(t, tg)
	a, b := dial(t, p), dial(t, p)
	for _, c := range []*peer{a, b} {
		c.say("one")
		c.hears("one")
		tg.got(t)
	}
	if n := p.Reset(); n != 2 {
		t.Errorf("%d connections were reset, want 2", n)
	}
	for _, c := range []*peer{a, b} {
		if _, err := c.in.ReadString('\n'); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the client saw %v, want a reset", err)
		}
		if got := tg.got(t); !strings.HasPrefix(got, "ended") || strings.Contains(got, "EOF") {
			t.Errorf("the target saw %q, want a reset", got)
		}
	}
	if s := p.Stats(); s.Connections != 0 || s.Accepted != 2 || s.Reset != 2 {
		t.Errorf("stats = %+v, want none there, 2 accepted, 2 reset", s)
	}
	dial(t, p).say("two")
	if got := tg.got(t); got != "two" {
		t.Errorf("the target got %q, want %q: the proxy goes on", got, "two")
	}
}

func TestARefusingProxyKeepsWhatIsThere(t *testing.T) {
	tg := newTarget(t)
	p := through(t, tg)
	there := dial(t, p)
	there.say("one")
	there.hears("one")
	p.Set(proxy.Refusing)
	late, err := net.Dial("tcp", p.Addr())
	if err == nil { // the reset may also come after that
		defer late.Close()
		_, err = late.Read(make([]byte, 1))
	}
	if err == nil {
		t.Error("who came late was let in")
	}
	there.say("two")
	there.hears("two")
	if s := p.Stats(); s.Refused != 1 || s.Accepted != 1 {
		t.Errorf("stats = %+v, want 1 refused, 1 accepted", s)
	}
}

func TestCloseLeavesNothingBehindAlsoInACut(t *testing.T) {
	tg := newTarget(t)
	p := through(t, tg)
	c := dial(t, p)
	c.say("one")
	c.hears("one")
	p.Set(proxy.Cut)
	c.say("two")
	holds(t, p, 4)
	p.Close() // TestMain looks for what is left
	if _, err := net.Dial("tcp", p.Addr()); err == nil {
		t.Error("a closed proxy takes connections")
	}
}
