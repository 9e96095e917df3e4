package gateway

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/gofiber/fiber/v2"

	"holdfast/internal/wire"
)

// Answer has an object handle a request. A request to open a WebSocket has a Socket.
type Answer func(ctx context.Context, to wire.Address, req *wire.Request) (*wire.Reply, error)

// Offline makes a gateway without NATS and without a listener, for package gatewaytest. answer stands for all objects.
// serve serves one request; answer has the other end of a WebSocket.
func Offline(cfg Config, answer Answer) (serve func(*http.Request) (*http.Response, error), err error) {
	g, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	g.client, g.offline = answer, true
	g.app = g.routes()
	g.app.Handler() // builds the routes
	return g.serveOne, nil
}

// serveOne serves a request on a connection of its own, from the request's RemoteAddr.
func (g *Gateway) serveOne(r *http.Request) (*http.Response, error) {
	near, far := net.Pipe()
	var running sync.WaitGroup
	defer running.Wait()
	defer near.Close()
	from := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1234}
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		from = net.TCPAddrFromAddrPort(at)
	}
	running.Go(func() {
		defer far.Close()
		_ = g.app.Server().ServeConn(&conn{Conn: pipe{far, from}, among: newConns(nil, g.cfg.Limits, g.trusted)}) // an error is in the response
	})
	running.Go(func() { _ = r.Write(near) }) // the gateway need not read all of the request
	response, err := http.ReadResponse(bufio.NewReader(near), r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, err
}

// pipe is a connection with an address.
type pipe struct {
	net.Conn
	from net.Addr
}

func (p pipe) RemoteAddr() net.Addr { return p.from }

// Do has answer handle the request.
func (a Answer) Do(ctx context.Context, to wire.Address, req *wire.Request) (*wire.Reply, error) {
	return a(ctx, to, req)
}

// Served returns nil: every class has a host.
func (Answer) Served(context.Context, string) error { return nil }

// Close does nothing.
func (Answer) Close() {}

// upgradeOffline is upgrade for a test: Answer holds the client's end of the socket.
func (g *Gateway) upgradeOffline(c *fiber.Ctx, s *requestScope, to wire.Address, req *wire.Request, prefix string) error {
	req.Socket, req.Key = g.name, ""
	reply, err := g.send(c.UserContext(), s, to, req)
	if err != nil {
		return err
	}
	if reply.Status != fiber.StatusSwitchingProtocols {
		return respond(c, reply, prefix)
	}
	for _, chosen := range copyHandshake(c, reply.Header, prefix) {
		c.Set("Sec-WebSocket-Protocol", chosen)
	}
	c.Status(reply.Status)
	return nil
}
