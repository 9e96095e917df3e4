package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"holdfast/objects"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestAnAddressIsWhoTheTrustedProxiesSay(t *testing.T) {
	trusted := proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	for _, row := range []struct {
		remote    string
		forwarded []string
		want      string
	}{
		{"192.0.2.1", nil, "192.0.2.1"},
		{"192.0.2.1", []string{"198.51.100.1"}, "192.0.2.1"}, // anybody may write that
		{"10.1.1.1", nil, "10.1.1.1"},
		{"10.1.1.1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"10.1.1.1", []string{"203.0.113.9, 198.51.100.1"}, "198.51.100.1"}, // the client has written the first
		{"10.1.1.1", []string{"203.0.113.9", "198.51.100.1 , 10.2.2.2"}, "198.51.100.1"},
		{"10.1.1.1", []string{"198.51.100.1:4711"}, "198.51.100.1"},
		{"10.1.1.1", []string{"[2001:db8::7]:4711"}, "2001:db8::7"},
		{"10.1.1.1", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"10.1.1.1", []string{"198.51.100.1, unknown"}, "10.1.1.1"},
		{"10.1.1.1", []string{"10.3.3.3"}, "10.3.3.3"},
		{"2001:db8:1::1", []string{"2001:db8:2::1"}, "2001:db8:2::1"},
		{"::ffff:10.1.1.1", []string{"198.51.100.1"}, "198.51.100.1"},
	} {
		var rc fasthttp.RequestCtx
		rc.Init(&fasthttp.Request{}, &net.TCPAddr{IP: net.ParseIP(row.remote), Port: 1}, nil)
		for _, line := range row.forwarded {
			rc.Request.Header.Add("X-Forwarded-For", line)
		}
		if got := trusted.clientIP(&rc); got != addr(row.want) {
			t.Errorf("%s with %q: %s, want %s", row.remote, row.forwarded, got, row.want)
		}
	}
}

func TestAnIPv6AddressCountsAsItsNetwork(t *testing.T) {
	for _, row := range []struct{ ip, want string }{
		{"192.0.2.1", "192.0.2.1/32"}, {"2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"}, {"127.0.0.1", "invalid Prefix"}, {"::1", "invalid Prefix"},
	} {
		if got := sourceOf(addr(row.ip)).String(); got != row.want {
			t.Errorf("%s counts as %s, want %s", row.ip, got, row.want)
		}
	}
}

func TestAnAddressMakesSoManyObjectsASecond(t *testing.T) {
	n, err := newNewObjects(10)
	if err != nil {
		t.Fatal(err)
	}
	now, a, b := time.Unix(1e9, 0), sourceOf(addr("192.0.2.1")), sourceOf(addr("192.0.2.2"))
	make := func(from netip.Prefix, most int) (made int) {
		for range most {
			if n.allows(from, now) {
				n.made(from, now)
				made++
			}
		}
		return made
	}
	if got := make(a, 100); got != 10 {
		t.Errorf("at once: %d, want 10", got)
	}
	if got := make(b, 100); got != 10 {
		t.Errorf("another address: %d, want 10", got)
	}
	now = now.Add(500 * time.Millisecond)
	if got := make(a, 100); got != 5 {
		t.Errorf("half a second later: %d, want 5", got)
	}
	for range 30 { // claims that were under way when the reserve ended
		n.made(a, now)
	}
	now = now.Add(2 * time.Second)
	if n.allows(a, now) {
		t.Error("a debt is forgotten")
	}
	now = now.Add(time.Hour)
	if got := make(a, 100); got != 10 {
		t.Errorf("an hour later: %d, want 10", got)
	}
}

// crowd is a listener whose connections come from the addresses that it is given.
type crowd struct {
	net.Listener
	from chan net.Addr
}

func (c crowd) Accept() (net.Conn, error) {
	accepted, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return fromElsewhere{accepted.(*net.TCPConn), <-c.from}, nil
}

type fromElsewhere struct {
	*net.TCPConn
	remote net.Addr
}

func (c fromElsewhere) RemoteAddr() net.Addr { return c.remote }

func TestConnectionsAreBoundedInAllAndForEachAddress(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	from := make(chan net.Addr, 1)
	among := newConns(crowd{ln, from}, Limits{Conns: 5, ConnsPer: 2}.WithDefaults(), proxies{netip.MustParsePrefix("10.0.0.1/32")})
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := among.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	// connect returns the connection, or the answer that refuses it.
	connect := func(ip string) (net.Conn, string) {
		t.Helper()
		from <- &net.TCPAddr{IP: net.ParseIP(ip), Port: 1}
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		answer := make(chan string, 1)
		go func() {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n") // the answer tells
			r, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				answer <- err.Error()
				return
			}
			defer r.Body.Close()
			body, err := io.ReadAll(r.Body)
			answer <- fmt.Sprint(r.StatusCode, string(body), err)
		}()
		select {
		case c := <-accepted:
			return c, ""
		case said := <-answer:
			return nil, said
		}
	}
	const one, other, proxy = "2001:db8::1", "192.0.2.7", "10.0.0.1"
	first, _ := connect(one)
	second, _ := connect("2001:db8::2:1") // the same network
	if first == nil || second == nil {
		t.Fatal("refused within the limit")
	}
	if c, said := connect("2001:db8::3"); c != nil || !strings.Contains(said, "429") || !strings.Contains(said, "too_many") {
		t.Errorf("a third one of an address: %v, %q", c, said)
	}
	if c, said := connect(other); c == nil {
		t.Errorf("another address: %q", said)
	}
	for range 2 {
		if c, said := connect(proxy); c == nil {
			t.Errorf("the proxy has no limit of its own: %q", said)
		}
	}
	if c, said := connect("192.0.2.8"); c != nil || !strings.Contains(said, "503") || !strings.Contains(said, "which are 5") {
		t.Errorf("a sixth one: %v, %q", c, said)
	}
	first.Close()
	first.Close() // twice counts once
	through, said := connect(proxy)
	if through == nil {
		t.Fatalf("after one has ended: %q", said)
	}
	held := through.(*conn)
	if charged, err := among.takes(held, addr(one)); !charged || err != nil {
		t.Errorf("the first WebSocket through the proxy: %v, %v", charged, err)
	}
	another := &conn{Conn: through, among: among}
	if _, err := among.takes(another, addr(one)); objects.CodeOf(err) != objects.TooMany {
		t.Errorf("one too many through the proxy: %v, want too_many", err)
	}
	among.discharge(held)
	if charged, err := among.takes(another, addr(one)); !charged || err != nil {
		t.Errorf("after one was not opened: %v, %v", charged, err)
	}
	ln.Close()
	<-accepted
	among.refusing.Wait()
}
