package gateway

import (
	"strings"

	"github.com/fasthttp/websocket"
	fiberws "github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"

	"holdfast/internal/resume"
	"holdfast/internal/sockets"
	"holdfast/internal/wire"
	"holdfast/objects"
)

// upgrades reports whether the client wants a WebSocket.
func upgrades(c *fiber.Ctx) bool { return fiberws.IsWebSocketUpgrade(c) }

// upgrade asks the object for a socket and, if the object accepts, hands the connection over. Messages that the object
// sends meanwhile wait in the outbox.
func (g *Gateway) upgrade(c *fiber.Ctx, scope *requestScope, id wire.Address, req *wire.Request, prefix string) error {
	offer, err := offered(req)
	if err != nil {
		return err
	}
	s, ok := g.hub.Add(id, req.Principal, offer.Resumes)
	if !ok {
		return objects.Errorf(objects.Unavailable, "the gateway is stopping")
	}
	req.Socket, req.Region, req.Key = s.ID(), g.cfg.Region, "" // each connection is a socket of its own
	reply, err := g.send(c.UserContext(), scope, id, req)
	switch {
	case err != nil:
		s.Abandon() // if the object has accepted the socket, its stream reports that, and is answered
		return err
	case reply.Status != fiber.StatusSwitchingProtocols:
		s.Abandon()
		return respond(c, reply, prefix)
	case !s.AwaitOpen(c.UserContext()):
		return objects.Errorf(objects.Unknown, "the object's host was lost as the socket opened; connect again")
	}
	// fasthttp leaves the connection alone when the handler returns (KeepHijackedConns).
	// Fiber reuses its wrapper of the connection.
	connected := func(conn *fiberws.Conn) { g.hub.Serve(s, clientOf(s, conn.Conn, g.cfg.Limits.Frame)) }
	subprotocols := copyHandshake(c, reply.Header, prefix)
	if offer.Resumes {
		subprotocols = []string{resume.Protocol}
	}
	err = fiberws.New(connected, fiberws.Config{
		Subprotocols:   subprotocols,
		ReadBufferSize: readBuffer, WriteBufferSize: writeBuffer, WriteBufferPool: &writeBuffers,
	})(c)
	if err != nil {
		s.Abandon()
	}
	return err
}

// offered removes the subprotocols that are meant for the gateway from those that a client offers.
func offered(req *wire.Request) (resume.Offer, error) {
	const header = "Sec-Websocket-Protocol"
	offer, rest, err := resume.Offered(req.Header[header])
	switch {
	case err != nil:
		return offer, objects.Errorf(objects.Invalid, "%w", err)
	case !offer.Resumes:
		return offer, nil
	case len(rest) > 0:
		req.Header[header] = []string{strings.Join(rest, ", ")}
	default:
		delete(req.Header, header)
	}
	req.Resumes, req.Session, req.Secret, req.Received = true, offer.Session, offer.Secret, offer.Received
	return offer, nil
}

// clientOf prepares the connection of a socket's client.
func clientOf(s *sockets.Socket, conn *websocket.Conn, limit int) sockets.Client {
	c := wsClient{conn, limit}
	c.prepare(s.Ping, func() { s.ExtendDeadline(c) })
	return c
}
