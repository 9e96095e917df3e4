package engine

import (
	"iter"
	"time"
)

// ConflateEvery is the shortest time between two frames of conflated values.
const ConflateEvery = 33 * time.Millisecond

const (
	maxWaiting     = 4096      // keys that wait at once
	maxWaitingSize = 256 << 10 // bytes of the values that wait at once
)

// Conflation holds an object's waiting conflated values: the newest of each key, until ConflateEvery after the last
// frame. Then one frame, a JSON array, brings all of them to every socket that asked for such frames. Before another
// message a socket first gets the values that wait for it. The caller supplies times and sockets. The zero Conflation
// has no members. Not safe for concurrent use.
type Conflation struct {
	members map[string]*member // by the socket's id
	values  []keyed            // in the order in which their keys were first sent
	at      map[string]int     // where in values a key is
	size    int                // bytes of the values
	last    uint64             // number of the newest value
	taken   uint64             // all members have the values up to this number
	left    time.Time          // when values were last sent to all
}

// member is a socket that asked for conflated frames.
type member struct {
	socket *Socket
	has    uint64 // the number of the newest value that it has, if more than Conflation.taken
}

// keyed is the newest value of a key.
type keyed struct {
	n    uint64
	data []byte
}

// Frame is one text message for some sockets.
type Frame struct {
	Sockets []*Socket
	Data    []byte
}

// Join adds a socket. It gets only later values.
func (c *Conflation) Join(s *Socket) {
	if c.members == nil {
		c.members = make(map[string]*member)
	}
	c.members[s.ID()] = &member{s, c.last}
}

// Leave removes a socket that has ended.
func (c *Conflation) Leave(id string) { delete(c.members, id) }

// Empty reports whether there are no members.
func (c *Conflation) Empty() bool { return len(c.members) == 0 }

// Waits reports whether values wait.
func (c *Conflation) Waits() bool { return len(c.values) > 0 }

// Due returns when the waiting values must be sent.
func (c *Conflation) Due() time.Time { return c.left.Add(ConflateEvery) }

// Full reports whether the waiting values must be sent before the key's next value, of so many bytes, is added.
func (c *Conflation) Full(key string, bytes int) bool {
	if i, waits := c.at[key]; waits {
		return c.size-len(c.values[i].data)+bytes > maxWaitingSize
	}
	return len(c.values) == maxWaiting || len(c.values) > 0 && c.size+bytes > maxWaitingSize
}

// Add adds a waiting value, in place of the key's earlier one.
func (c *Conflation) Add(key string, data []byte) {
	if c.at == nil {
		c.at = make(map[string]int)
	}
	c.last++
	c.size += len(data)
	if i, waits := c.at[key]; waits {
		c.size -= len(c.values[i].data)
		c.values[i] = keyed{c.last, data}
		return
	}
	c.at[key] = len(c.values)
	c.values = append(c.values, keyed{c.last, data})
}

// Behind yields the sockets for which values wait.
func (c *Conflation) Behind() iter.Seq[*Socket] {
	return func(yield func(*Socket) bool) {
		for _, m := range c.members {
			if c.lacks(m) && !yield(m.socket) {
				return
			}
		}
	}
}

func (c *Conflation) lacks(m *member) bool { return c.Waits() && max(m.has, c.taken) < c.last }

// Take returns the frames that wait for some of the sockets. From then on those sockets have the values.
func (c *Conflation) Take(sockets []*Socket) []Frame {
	if !c.Waits() {
		return nil
	}
	var frames frames
	for _, s := range sockets {
		if m := c.members[s.ID()]; m != nil && c.lacks(m) {
			frames.add(c, m)
			m.has = c.last
		}
	}
	return frames.all
}

// TakeAll returns the frames that wait for all sockets, and empties the Conflation.
func (c *Conflation) TakeAll(now time.Time) []Frame {
	var frames frames
	for _, m := range c.members {
		if c.lacks(m) {
			frames.add(c, m)
		}
	}
	clear(c.values)
	clear(c.at)
	c.values, c.size, c.taken, c.left = c.values[:0], 0, c.last, now
	return frames.all
}

// frames collects messages for sockets that lack different values. Most lack the same.
type frames struct {
	all   []Frame
	after []uint64 // of each frame, the number after which its values begin
}

func (f *frames) add(c *Conflation, m *member) {
	after := max(m.has, c.taken)
	for i, n := range f.after {
		if n == after {
			f.all[i].Sockets = append(f.all[i].Sockets, m.socket)
			return
		}
	}
	f.after = append(f.after, after)
	f.all = append(f.all, Frame{[]*Socket{m.socket}, c.array(after)})
}

// array returns the values after a number, as a JSON array.
func (c *Conflation) array(after uint64) []byte {
	out := append(make([]byte, 0, c.size+len(c.values)+1), '[')
	for _, v := range c.values {
		if v.n > after {
			if len(out) > 1 {
				out = append(out, ',')
			}
			out = append(out, v.data...)
		}
	}
	return append(out, ']')
}
