package resume

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
)

// Protocol is the subprotocol of clients that know how a socket comes back. It is between
// the client and the gateway: the object agrees on subprotocols of its own beside it.
//
// A message is as the object, or the client, has sent it, and counted, unless it begins with
// a zero byte. The byte after that says what it is: one of the kinds below.
const Protocol = "holdfast.1"

// The kinds of what begins with a zero byte.
const (
	Escaped   = 0   // a message that begins with a zero byte: this one stands before it
	HelloKind = 'h' // to the client, first: a Hello, as JSON
	HeardKind = 'a' // to the client, for PingKind: how many of its messages were taken, in decimal
	Uncounted = 'u' // to the client: a message that is not counted, which the gateway has answered by itself
	PingKind  = 'p' // from the client
)

// returns begins the subprotocol with which a client says that its session is to come back:
// the count of messages that it has received, a dot, and the token.
const returns = "holdfast.resume."

// Bounds of tokens.
const (
	SecretSize = 16 // bytes
	MaxSession = 96 // bytes of a session's id
)

// Offer is what a client says of sessions as it opens a socket.
type Offer struct {
	Resumes  bool   // it knows how a socket comes back
	Session  string // that is to come back; "": none
	Secret   []byte
	Received uint64 // messages, in this session
}

var errToken = errors.New("the token to come back with is none")

// Offered takes what is meant for the gateway out of a client's subprotocols, as its headers have them.
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

// TokenOf is what a client comes back with.
func TokenOf(session string, secret []byte) string {
	return base64.RawURLEncoding.EncodeToString(secret) + "." + session
}

// Subprotocols are what the client offers for its next connection, before those of its own.
func (c *Client) Subprotocols() []string {
	if c.Token == "" {
		return []string{Protocol}
	}
	return []string{Protocol, returns + strconv.FormatUint(c.Received, 10) + "." + c.Token}
}

// Escape is a message as it is sent.
func Escape(data []byte) []byte {
	if len(data) == 0 || data[0] != 0 {
		return data
	}
	return append([]byte{Escaped}, data...)
}

// Read is what was received: a message, or what stands behind a kind of its own. An empty
// message has the kind Escaped, too.
func Read(data []byte) (kind byte, rest []byte) {
	switch {
	case len(data) == 0 || data[0] != 0:
		return Escaped, data
	case len(data) == 1:
		return 0xff, nil // nobody of ours sends it
	case data[1] == 0:
		return Escaped, data[1:]
	}
	return data[1], data[2:]
}
