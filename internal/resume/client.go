package resume

// Hello is the first that a client hears on a connection.
type Hello struct {
	Token string `json:"token,omitempty"` // to come back with; "": this socket cannot come back
	Time  uint64 `json:"time,omitempty"`  // milliseconds for which it may be away
	Back  bool   `json:"back,omitempty"`  // it is the session of before
	From  uint64 `json:"from,omitempty"`  // messages to it before those that follow
	Heard uint64 `json:"heard,omitempty"` // messages of the client that were taken

	Subprotocol string `json:"subprotocol,omitempty"` // that was agreed on with the object
	Auto        string `json:"auto,omitempty"`        // a text message that the gateway answers by itself, and that is not counted
}

// Client is a session at its client, over all of its connections.
type Client struct {
	Token    string // of the session; "": there is none yet
	Received uint64 // messages so far

	auto   string
	unsent []Message // that are not known to be taken, in order
	bytes  int
	sent   uint64 // messages before them
}

// Gap is what a client is told when it has missed something.
type Gap struct {
	Missed uint64 // messages; 0: nobody knows how many
	New    bool   // the socket is another one to its object: the time to come back was over
	Unsure int    // messages that were sent, of which nobody knows whether they were taken
}

// MaxUnsent is how many bytes a client keeps of messages that are not known to be taken.
const MaxUnsent = 1 << 20

// Hello begins a connection. It returns what is to be sent again, and what was missed; nil: nothing. What was sent and
// may have been taken is not sent again.
func (c *Client) Hello(h Hello) (again []Message, gap *Gap) {
	fresh := c.Token != "" && !h.Back
	missed, missing := h.From-c.Received, h.Back && h.From != c.Received
	c.Token, c.auto, c.Received = h.Token, h.Auto, h.From
	unsure := 0
	if fresh || h.Heard > c.sent+uint64(len(c.unsent)) {
		unsure = len(c.unsent)
		c.unsent, c.bytes = nil, 0
	} else {
		c.Heard(h.Heard)
	}
	c.sent = h.Heard
	if fresh || missing || unsure > 0 {
		gap = &Gap{New: fresh, Unsure: unsure}
		if missing && missed < Jump {
			gap.Missed = missed
		}
	}
	return c.unsent, gap
}

// Heard notes how many messages were taken.
func (c *Client) Heard(n uint64) {
	for c.sent < n && len(c.unsent) > 0 {
		c.bytes -= len(c.unsent[0].Data)
		c.unsent = c.unsent[1:]
		c.sent++
	}
}

// Message notes a message that was received.
func (c *Client) Message() { c.Received++ }

// Send notes a message that is sent, or to be sent with the next connection. It reports false if too many are not known
// to be taken.
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

// Unsend takes back the last message that Send has noted: it was not sent.
func (c *Client) Unsend(m Message) {
	if c.counts(m) {
		c.unsent = c.unsent[:len(c.unsent)-1]
		c.bytes -= len(m.Data)
	}
}

// counts reports whether a message is one of those that a session numbers.
func (c *Client) counts(m Message) bool {
	return c.Token != "" && (c.auto == "" || m.Binary || string(m.Data) != c.auto)
}
