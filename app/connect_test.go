package app

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/embedded"
)

// A server that starts or is busy resets connections, or takes them and says nothing.
func TestAServerThatIsNotReadyYetIsTriedAgain(t *testing.T) {
	t.Parallel()
	s, err := embedded.Start(t.Context(), embedded.Config{Store: t.TempDir(), Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	address := strings.TrimPrefix(s.URL(), "nats://")
	for _, c := range []struct {
		name  string
		first func(net.Conn) // what becomes of the first connection
	}{
		{"closes", func(c net.Conn) { c.Close() }},
		{"resets", func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); c.Close() }},
		{"is silent", func(net.Conn) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			tries := make(chan int, 1)
			go func() {
				n := 0
				defer func() { tries <- n }()
				for {
					in, err := ln.Accept()
					if err != nil {
						return
					}
					defer in.Close()
					if n++; n == 1 {
						c.first(in)
						continue
					}
					out, err := net.Dial("tcp", address)
					if err != nil {
						t.Error(err)
						return
					}
					defer out.Close()
					go func() { _, _ = io.Copy(out, in) }()
					go func() { _, _ = io.Copy(in, out) }()
				}
			}()
			p := &program{}
			nc, err := p.dial(t.Context(), natsFlags{url: "nats://" + ln.Addr().String()}, time.Minute, nats.Timeout(time.Second))
			if err != nil {
				t.Fatalf("a server whose first connection %s: %v", c.name, err)
			}
			nc.Close()
			ln.Close()
			if n := <-tries; n < 2 {
				t.Errorf("%d connections were made, want 2: nothing was shown", n)
			}
		})
	}
}
