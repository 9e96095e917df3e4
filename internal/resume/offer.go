package resume

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
)

// Protocol is the subprotocol of clients whose sockets can come back. It is between the
// client and the gateway: the object agrees on subprotocols of its own beside it.
//
// A message that begins with a zero byte has a kind in its second byte, see below. All other
// messages are the object's or the client's own, unchanged, and are counted.
const Protocol = "holdfast.1"

// The kinds of messages that begin with a zero byte.
const (
	Escaped   = 0   // a message that itself begins with a zero byte, behind one more zero byte
	HelloKind = 'h' // to the client, first: a Hello, as JSON
	TakenKind = 'a' // to the client, after PingKind: how many of its messages were taken, in decimal
	Uncounted = 'u' // to the client: an automatic answer of the gateway, not counted
	PingKind  = 'p' // from the client
)

// returns begins the subprotocol by which a client resumes its session. The count of messages
// that the client has received follows, a dot, and the token.
const returns = "holdfast.resume."

// Bounds of tokens.
const (
	SecretSize = 16 // bytes
	MaxSession = 96 // bytes of a session's id
)

// Offer is a client's offer as it opens a socket.
type Offer struct {
	Resumes  bool   // the client speaks Protocol
	Session  string // id of the session to resume; "": none
	Secret   []byte
	Received uint64 // messages, in this session
}

var errToken = errors.New("the token to come back with is none")

// Offered splits a client's subprotocols, as its headers have them, into the offer to the gateway and the rest.
func Offered(lines []string) (offer Offer, rest []string, err error) {
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			name = strings.TrimSpace(name)
			token, comes := strings.CutPrefix(name, returns)
			switch {
			case name == Protocol:
				offer.Resumes = true
			case comes && offer.Session != "":
				return Offer{}, nil, errToken
			case comes:
				if err := offer.read(token); err != nil {
					return Offer{}, nil, err
				}
			case name != "":
				rest = append(rest, name)
			}
		}
	}
	if offer.Session != "" && !offer.Resumes {
		return Offer{}, nil, errToken
	}
	return offer, rest, nil
}

func (o *Offer) read(text string) error {
	count, token, _ := strings.Cut(text, ".")
	secret, session, _ := strings.Cut(token, ".")
	received, err := strconv.ParseUint(count, 10, 64)
	odd := func(r rune) bool { return r <= ' ' || r > '~' }
	if err != nil || session == "" || len(session) > MaxSession || strings.ContainsFunc(session, odd) {
		return errToken
	}
	if o.Secret, err = base64.RawURLEncoding.Strict().DecodeString(secret); err != nil || len(o.Secret) != SecretSize {
		return errToken
	}
	o.Session, o.Received = session, received
	return nil
}

// TokenOf returns the token by which a client resumes the session.
func TokenOf(session string, secret []byte) string {
	return base64.RawURLEncoding.EncodeToString(secret) + "." + session
}

// Subprotocols returns the client's offer for its next connection. Its own subprotocols follow them.
func (c *Client) Subprotocols() []string {
	if c.Token == "" {
		return []string{Protocol}
	}
	return []string{Protocol, returns + strconv.FormatUint(c.Received, 10) + "." + c.Token}
}

// Escape returns a message as it is sent.
func Escape(data []byte) []byte {
	if len(data) == 0 || data[0] != 0 {
		return data
	}
	return append([]byte{Escaped}, data...)
}

// Read returns the kind and the content of a received message. A counted message has the kind
// Escaped, whether it was escaped or not.
func Read(data []byte) (kind byte, rest []byte) {
	switch {
	case len(data) == 0 || data[0] != 0:
		return Escaped, data
	case len(data) == 1:
		return 0xff, nil // no gateway or client of ours sends it
	case data[1] == 0:
		return Escaped, data[1:]
	}
	return data[1], data[2:]
}
