package wire

import (
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// Nearby connects the gateways and hosts of one process in one region. A Client's request
// to an object that is owned nearby goes straight to its mailbox, and the answer straight
// back. Only requests and replies use Nearby; claims, frames and pushes go through NATS. A
// message is delivered before ask returns. A nil or zero Nearby reaches nobody. Safe for
// concurrent use.
type Nearby struct {
	mu      sync.RWMutex // guards what follows
	hosts   []*Mailboxes
	clients map[string]*Client // by name
}

// Mailboxes puts a message to an object into its mailbox. It reports false, and has
// done nothing, if the object is not served there.
type Mailboxes func(msg *nats.Msg) bool

// Join adds a host's mailboxes, until leave is called.
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

// Answer hands a reply to the client that a request's reply subject names. It reports
// false if the subject names no client here. The reply belongs to the client then.
func (n *Nearby) Answer(subject string, reply *Reply) bool {
	if n == nil {
		return false
	}
	inbox, ok := strings.CutPrefix(subject, InboxPrefix)
	request, number := lastTwo(inbox)
	name, named := strings.CutSuffix(inbox, "."+request+"."+number)
	if !ok || !named {
		return false
	}
	n.mu.RLock()
	client := n.clients[name]
	n.mu.RUnlock()
	if client == nil {
		return false // or the answer to a frame
	}
	if !reply.fits(client.cfg.NATS.MaxPayload()) { // the limit is the same as over NATS
		reply = reply.TooLarge()
	}
	return client.hand(subject, answer{reply: reply})
}

// ask is Ask for an object that is owned nearby. It reports false if the object is not
// owned nearby. It refuses a request of more than most bytes, as NATS would.
func (n *Nearby) ask(subject, inbox string, req *Request, most int64) (bool, error) {
	if n == nil {
		return false, nil
	}
	n.mu.RLock()
	hosts := n.hosts
	n.mu.RUnlock()
	if len(hosts) == 0 {
		return false, nil
	}
	msg := &nats.Msg{Subject: subject, Reply: inbox, Data: Encode(req)}
	if int64(len(msg.Data)) > most {
		return false, nats.ErrMaxPayload
	}
	return slices.ContainsFunc(hosts, func(boxes *Mailboxes) bool { return (*boxes)(msg) }), nil
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
