package acceptance

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"holdfast/examples/ticket"
	"holdfast/objects"
	"holdfast/objects/host"
)

// hostOn tries to make a host on an unsuitable NATS server.
func hostOn(t *testing.T, url string) error {
	t.Helper()
	nc, err := nats.Connect(url, nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	_, err = host.New(t.Context(), host.Config{Objects: []*objects.Implementation{ticket.Objects}, Serve: nc, State: nc})
	return err
}

func TestAServerWithoutJetStreamIsRefused(t *testing.T) {
	beside(t, waiters)
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, MaxPayload: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server did not start")
	}
	if err := hostOn(t, ns.ClientURL()); err == nil || !strings.Contains(err.Error(), "JetStream is off") || !strings.Contains(err.Error(), "-js") {
		t.Errorf("err = %v, want one that says JetStream is off and what to do", err)
	}
}

func TestAServerWithSmallMessagesIsRefused(t *testing.T) {
	beside(t, waiters)
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, MaxPayload: 64 << 10, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server did not start")
	}
	if err := hostOn(t, ns.ClientURL()); err == nil || !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("err = %v, want one that says to raise max_payload", err)
	}
}

func TestAnOldServerIsRefused(t *testing.T) {
	beside(t, waiters)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go greet(ln, "2.14.3")
	if err := hostOn(t, "nats://"+ln.Addr().String()); err == nil || !strings.Contains(err.Error(), "2.14.3") || !strings.Contains(err.Error(), "2.14.4 or later") {
		t.Errorf("err = %v, want one that names both versions", err)
	}
}

// greet accepts clients as a server of a chosen version, in place of an old server.
func greet(ln net.Listener, version string) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		fmt.Fprintf(conn, "INFO {\"server_id\":\"old\",\"version\":%q,\"proto\":1,\"max_payload\":1048576,\"headers\":true}\r\n", version)
		lines := bufio.NewScanner(conn)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "PING") {
				fmt.Fprint(conn, "PONG\r\n")
			}
		}
		conn.Close()
	}
}

// A region whose host is not known yet is passed over for ten seconds, so the first objects only show that it is known. A host that
// then stands still for a fifth of a second is passed over for one object.
func TestAnObjectIsPlacedInTheRegionOfItsFirstRequest(t *testing.T) {
	onAll(t, func(t *testing.T, on *substrate) {
		doors := on.world(t)
		for i, region := range regions {
			n := 0
			placed := func() bool {
				n++
				_, header, err := claim(doors[i].url, fmt.Sprintf("placed-%s-%d", region, n))
				if err != nil {
					t.Fatal(err)
				}
				return header.Get("Holdfast-Owner") == "host-"+region+" ("+region+")"
			}
			await(t, "the host of "+region+" is known", placed)
			elsewhere := 0
			for range 20 {
				if !placed() {
					elsewhere++
				}
			}
			if elsewhere > 2 {
				t.Errorf("%d of 20 objects that were first asked for in %s are owned elsewhere", elsewhere, region)
			}
		}
	})
}
