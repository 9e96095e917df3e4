package link_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"holdfast/internal/link"
)

func startServer(t *testing.T) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("server not ready")
	}
	return s
}

func TestANATSConnectionPaysTheDelay(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) }) // runs last: after the server's own
	s := startServer(t)
	for name, connect := range map[string]func(*link.Delay) (*nats.Conn, error){
		"tcp":        func(d *link.Delay) (*nats.Conn, error) { return nats.Connect(s.ClientURL(), d.Option()) },
		"in process": func(d *link.Delay) (*nats.Conn, error) { return nats.Connect("", d.InProcess(s)) },
	} {
		t.Run(name, func(t *testing.T) {
			const rtt = 30 * time.Millisecond
			d := link.New(rtt)
			far, err := connect(d)
			if err != nil {
				t.Fatal(err)
			}
			defer far.Close()
			near, err := nats.Connect("", nats.InProcessServer(s))
			if err != nil {
				t.Fatal(err)
			}
			defer near.Close()
			if _, err := near.Subscribe("echo", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
				t.Fatal(err)
			}
			if err := near.Flush(); err != nil {
				t.Fatal(err)
			}

			body := bytes.Repeat([]byte("0123456789"), 50_000)
			start := time.Now()
			m, err := far.Request("echo", body, 5*time.Second)
			if err != nil || !bytes.Equal(m.Data, body) {
				t.Fatalf("echo of %d bytes: %v", len(body), err)
			}
			if got := time.Since(start); got < rtt {
				t.Errorf("request took %s, want no less than %s", got, rtt)
			}

			d.Set(2 * rtt)
			if got, err := far.RTT(); err != nil || got < 2*rtt {
				t.Errorf("round trip = %s, %v, want no less than %s", got, err, 2*rtt)
			}
		})
	}
}

func TestMessagesPublishedJustBeforeCloseArrive(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	s := startServer(t)
	near, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	sub, err := near.SubscribeSync("news")
	if err != nil {
		t.Fatal(err)
	}
	if err := near.Flush(); err != nil {
		t.Fatal(err)
	}
	far, err := nats.Connect("", link.New(40*time.Millisecond).InProcess(s))
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := far.Publish("news", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	far.Close()
	for i := range 100 {
		if _, err := sub.NextMsg(5 * time.Second); err != nil {
			t.Fatalf("message %d of 100: %v", i, err)
		}
	}
}
