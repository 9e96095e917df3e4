package wire

import (
	"github.com/nats-io/nats.go"

	"holdfast/objects"
)

// leastPayload is the least max_payload of a server between gateways and hosts: the
// largest body of a request, or part of what an object sends at once, and the headers
// around it.
const leastPayload = objects.MaxBody + 256<<10

// Server is what CheckPayload needs of a connection. *nats.Conn is one.
type Server interface {
	MaxPayload() int64 // 0: not known yet
	ConnectedAddr() string
}

var _ Server = (*nats.Conn)(nil)

// CheckPayload refuses a server whose max_payload is too small, with an error that says what
// to do.
func CheckPayload(nc Server) error {
	if most := nc.MaxPayload(); most > 0 && most < leastPayload {
		return objects.Errorf(objects.Unavailable, "the NATS server at %s allows messages of %d bytes: set max_payload to at least %d",
			nc.ConnectedAddr(), most, leastPayload)
	}
	return nil
}
