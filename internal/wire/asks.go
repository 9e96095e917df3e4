package wire

// Messages between hosts about their objects' asks. Package asks decides when they are sent.

// Asked is what a host adds to the request of an object that asks another.
type Asked struct {
	ID     []byte // of the question, 16 bytes
	Caller string // the key of the object that asks
	Name   string // its name, "" for none
	Token  uint64 // of its owner
	N      uint64 // number of the ask, at that owner
	Long   bool   // the event may be repeated much later: an alarm or a tell
	Fence  bool   // asks of older owners of the caller must not run any more
	Root   string // the event that began the chain
	Chain  []Link // the objects that wait for the answer, the first to ask first
}

func (a *Asked) fields(c *coder) {
	c.bytes(1, &a.ID)
	text(c, 2, &a.Caller)
	text(c, 3, &a.Name)
	number(c, 4, &a.Token)
	number(c, 5, &a.N)
	c.bool(6, &a.Long)
	c.bool(7, &a.Fence)
	parts(c, 8, &a.Chain)
	text(c, 9, &a.Root)
}

// Link is one object of a chain.
type Link struct {
	Key   string
	Label string // for people
}

func (l *Link) fields(c *coder) {
	text(c, 1, &l.Key)
	text(c, 2, &l.Label)
}

// SettledAsks says that a caller's owner will not repeat its asks with numbers below Low, except those in Open.
type SettledAsks struct {
	Caller string
	Token  uint64 // of the owner that asked
	Low    uint64
	Open   []Number
}

func (s *SettledAsks) fields(c *coder) {
	text(c, 1, &s.Caller)
	number(c, 2, &s.Token)
	number(c, 3, &s.Low)
	parts(c, 4, &s.Open)
}

// Number is an element of a list of numbers.
type Number struct{ N uint64 }

func (n *Number) fields(c *coder) { number(c, 1, &n.N) }

// Waiting is an event that waits for the answer to an ask. A probe carries it from each waiting object to the one that it
// waits for.
type Waiting struct {
	Object string // of the event
	Event  string
	N      uint64 // number of the ask that the probe began with
	Root   string // the event that began the chain
	Time   int64  // of the root, in Unix milliseconds
	Depth  uint8  // how many objects wait for the event
	Hops   uint8  // how many objects have passed the probe on
}

func (w *Waiting) fields(c *coder) {
	text(c, 1, &w.Object)
	text(c, 2, &w.Event)
	number(c, 3, &w.N)
	text(c, 4, &w.Root)
	number(c, 5, &w.Time)
	number(c, 6, &w.Depth)
	number(c, 7, &w.Hops)
}

// IsProbe reports whether an encoded request is a probe.
func IsProbe(data []byte) bool { return is(data, Probe) }

// IsLook reports whether an encoded request is a look at the object.
func IsLook(data []byte) bool { return is(data, Look) }

// is reports whether an encoded request is of this kind, which is its first field.
func is(data []byte, kind Kind) bool {
	return len(data) >= 2 && data[0] == 1<<3 && data[1] == byte(kind)
}
