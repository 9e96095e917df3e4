package resume

// Hello is the first message to a client on a connection.
type Hello struct {
	Token string `json:"token,omitempty"` // to come back with; "": this socket cannot come back
	Time  uint64 `json:"time,omitempty"`  // milliseconds for which the session may be away
	Back  bool   `json:"back,omitempty"`  // the session of the client's token has come back
	From  uint64 `json:"from,omitempty"`  // messages to the client before the next one
	Taken uint64 `json:"taken,omitempty"` // messages of the client that the object has taken

	Subprotocol string `json:"subprotocol,omitempty"` // agreed on with the object
	Auto        string `json:"auto,omitempty"`        // text message that the gateway answers by itself; not counted
}

// Client is a session at its client, over all of its connections.
type Client struct {
	Token    string // of the session; "": there is none yet
	Received uint64 // messages so far

	auto   string
	unsent []Message // sent, and not known to be taken, in order
	bytes  int       // of unsent
	sent   uint64    // messages before unsent
}

// Gap reports a loss to a client.
type Gap struct {
	Missed uint64 // messages to the client; 0: not known
	New    bool   // the socket is a new one to its object: the time to come back was over
	Unsure int    // messages of the client that may or may not have been taken
}

// MaxUnsent is how many bytes of messages that are not known to be taken a client keeps.
const MaxUnsent = 1 << 20

// Hello begins a connection. It returns the messages to send again, and the gap, nil for none. If the
// owner does not know what it has taken, nothing is sent again and the messages are Unsure.
func (c *Client) Hello(h Hello) (again []Message, gap *Gap) {
	fresh := c.Token != "" && !h.Back
	missed, missing := h.From-c.Received, h.Back && h.From != c.Received
	c.Token, c.auto, c.Received = h.Token, h.Auto, h.From
	unsure := 0
	if fresh || h.Taken > c.sent+uint64(len(c.unsent)) {
		unsure = len(c.unsent)
		c.unsent, c.bytes = nil, 0
	} else {
		c.Taken(h.Taken)
	}
	c.sent = h.Taken
	if fresh || missing || unsure > 0 {
		gap = &Gap{New: fresh, Unsure: unsure}
		if missing && missed < Jump {
			gap.Missed = missed
		}
	}
	return c.unsent, gap
}

// Taken notes how many messages the object has taken.
func (c *Client) Taken(n uint64) {
	for c.sent < n && len(c.unsent) > 0 {
		c.bytes -= len(c.unsent[0].Data)
		c.unsent = c.unsent[1:]
		c.sent++
	}
}

// Message notes a received message.
func (c *Client) Message() { c.Received++ }

// Send notes a message that is sent now or with the next connection. It reports false if more than MaxUnsent bytes
// would not be known to be taken.
func (c *Client) Send(m Message) bool {
	if !c.counts(m) {
		return true
	}
	if c.bytes > 0 && c.bytes+len(m.Data) > MaxUnsent {
		return false
	}
	c.unsent = append(c.unsent, m)
	c.bytes += len(m.Data)
	return true
}

// Unsend undoes the last Send.
func (c *Client) Unsend(m Message) {
	if c.counts(m) {
		c.unsent = c.unsent[:len(c.unsent)-1]
		c.bytes -= len(m.Data)
	}
}

// counts reports whether the session counts the message.
func (c *Client) counts(m Message) bool {
	return c.Token != "" && (c.auto == "" || m.Binary || string(m.Data) != c.auto)
}
