package wire

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"holdfast/objects"
)

// Nearby is the gateways and hosts of one process that stand in one place. What a
// Client asks an object that is owned nearby goes straight to its mailbox, and the
// answer straight back. It is one more way for the same messages, which may be
// sent twice, late, or on both: whatever else is said, claims, frames and what is
// for sockets, goes through NATS. The zero value is nobody, and so is nil. Safe
// for concurrent use.
type Nearby struct {
	mu      sync.RWMutex // guards what follows
	hosts   []*Mailboxes
	clients map[string]*Client // by name
}

// Mailboxes puts a message to an object into its mailbox. It is false if the
// object is not served there, and nothing has happened then.
type Mailboxes func(msg *nats.Msg) bool

// Join has objects asked here, until leave is called.
func (n *Nearby) Join(boxes Mailboxes) (leave func()) {
	if n == nil {
		return func() {}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	host := &boxes
	n.hosts = append(n.hosts, host)
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.hosts = slices.DeleteFunc(slices.Clone(n.hosts), func(h *Mailboxes) bool { return h == host })
	}
}

// Answer hands a reply to the client that a request's reply subject names. It is
// false if none of these does. The reply is the client's from here on.
func (n *Nearby) Answer(subject string, reply *Reply) bool {
	if n == nil {
		return false
	}
	inbox, ok := strings.CutPrefix(subject, InboxPrefix)
	name, number, _ := strings.Cut(inbox, ".")
	if !ok {
		return false
	}
	n.mu.RLock()
	client := n.clients[name]
	n.mu.RUnlock()
	if client == nil {
		return false
	}
	asked, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return false // the answer to a frame
	}
	client.hand(asked, answer{reply: reply})
	return true
}

// ask is Ask for an object that is owned nearby; false if none is.
func (n *Nearby) ask(id objects.ID, inbox string, req *Request) bool {
	if n == nil {
		return false
	}
	n.mu.RLock()
	hosts := n.hosts
	n.mu.RUnlock()
	if len(hosts) == 0 {
		return false
	}
	msg := &nats.Msg{Subject: ObjectSubject(id), Reply: inbox, Data: Encode(req)}
	return slices.ContainsFunc(hosts, func(boxes *Mailboxes) bool { return (*boxes)(msg) })
}

func (n *Nearby) add(c *Client) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.clients == nil {
		n.clients = make(map[string]*Client)
	}
	n.clients[c.cfg.Name] = c
}

func (n *Nearby) remove(c *Client) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.clients, c.cfg.Name)
}
