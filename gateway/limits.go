package gateway

import (
	"net/netip"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Limits bound the resources of clients. Zero fields mean the defaults. docs/limits.md says what a client sees at
// each of them.
type Limits struct {
	Body   int // 512 KiB: a request's body; 413 beyond
	Header int // 16 KiB: a request's line and headers; 431 beyond
	Frame  int // 64 KiB: a WebSocket message; 1009 beyond
	Queue  int // bytes that wait for one socket's client, 64 more for each message; 1013 beyond
	Memory int // 128 MiB: large bodies that are being received, all together; 503 beyond

	Streams int // responses that are written while they are read, all together; 503 beyond. Each takes up to 256 KiB

	Conns int // 100,000: connections, WebSockets among them; 503 beyond

	// Limits of one address, which is an IPv4 address or an IPv6 /64. Loopback addresses have no limit of their own:
	// their requests come from a proxy or from this machine.
	ConnsPer int // 1,000: connections; 429 beyond
	NewPer   int // new objects in a second; 429 beyond
}

// WithDefaults fills the zero fields.
func (l Limits) WithDefaults() Limits {
	set := func(n *int, otherwise int) {
		if *n <= 0 {
			*n = otherwise
		}
	}
	set(&l.Body, 512<<10)
	set(&l.Header, 16<<10)
	set(&l.Frame, 64<<10)
	set(&l.Queue, 1<<20)
	set(&l.Memory, 128<<20)
	set(&l.Streams, 1000)
	set(&l.Conns, 100_000)
	set(&l.ConnsPer, 1000)
	set(&l.NewPer, 100)
	l.Memory = max(l.Memory, l.Body) // one body at least
	return l
}

// newObjects bounds how many objects each address makes. An address has a second's worth in reserve. It pays after an
// object was made, because nobody knows before whether the object exists. An address in debt makes none until the debt
// is paid.
type newObjects struct {
	perSecond int

	mu   sync.Mutex // guards what follows
	left *lru.Cache[netip.Prefix, allowance]
}

// allowance is how many objects an address may still make, as of a time.
type allowance struct {
	left float64
	at   time.Time
}

// knownAddresses bounds the memory for addresses. A forgotten address has its whole reserve again.
const knownAddresses = 64 << 10

func newNewObjects(perSecond int) (*newObjects, error) {
	left, err := lru.New[netip.Prefix, allowance](knownAddresses)
	return &newObjects{perSecond: perSecond, left: left}, err
}

// allows reports whether an address may make an object now.
func (n *newObjects) allows(from netip.Prefix, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now(from, now).left >= 1
}

// made notes that an address has made an object.
func (n *newObjects) made(from netip.Prefix, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.now(from, now)
	a.left--
	n.left.Add(from, a)
}

// now returns an address's allowance now. With mu held.
func (n *newObjects) now(from netip.Prefix, now time.Time) allowance {
	most := float64(n.perSecond)
	a, known := n.left.Get(from)
	if !known {
		return allowance{most, now}
	}
	return allowance{min(most, a.left+most*now.Sub(a.at).Seconds()), now}
}
