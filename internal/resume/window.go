package resume

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Message is one message to a client.
type Message struct {
	Binary bool
	Data   []byte
}

// window keeps messages to the sessions of an object, the newest last.
type window struct {
	entries []entry
	bytes   int
	last    uint64 // entries so far
}

// entry is one message and the set of its receivers.
type entry struct {
	at time.Time
	Message
	to     set
	shared bool // the set is shared with the entry before
}

func (e *entry) size() int {
	const overhead = 64 // bytes, of the entry itself
	size := overhead + len(e.Data)
	if !e.shared {
		size += 8 * len(e.to)
	}
	return size
}

// set is a set of sessions, as bits by Session.set.
type set []uint64

func (s set) with(n uint32) set {
	for int(n/64) >= len(s) {
		s = append(s, 0)
	}
	s[n/64] |= 1 << (n % 64)
	return s
}

func (s set) has(n uint32) bool { return int(n/64) < len(s) && s[n/64]&(1<<(n%64)) != 0 }

func (w *window) add(settings Settings, e entry) {
	if n := len(w.entries); n > 0 && slices.Equal(w.entries[n-1].to, e.to) {
		e.to, e.shared = w.entries[n-1].to, true
	}
	w.entries = append(w.entries, e)
	w.bytes += e.size()
	w.last++
	w.trim(settings, e.at)
}

// trim drops the oldest entries until the rest is small and young enough.
func (w *window) trim(settings Settings, now time.Time) {
	n := 0
	for n < len(w.entries) && (w.bytes > settings.Bytes || now.Sub(w.entries[n].at) > settings.Time) {
		w.bytes -= w.entries[n].size()
		n++
		if n < len(w.entries) && w.entries[n].shared {
			w.bytes -= w.entries[n].size()
			w.entries[n].shared = false
			w.bytes += w.entries[n].size()
		}
	}
	clear(w.entries[:n])
	if w.entries = w.entries[n:]; len(w.entries) == 0 {
		w.entries, w.bytes = nil, 0
	}
}

// newest returns the newest messages to a session, in order, at most most.
func (w *window) newest(one *Session, most uint64) (found []Message) {
	first := w.last - uint64(len(w.entries)) // entries before those that are kept
	for i := len(w.entries) - 1; i >= 0 && uint64(len(found)) < most && first+uint64(i)+1 > one.since; i-- {
		if w.entries[i].to.has(one.set) {
			found = append(found, w.entries[i].Message)
		}
	}
	slices.Reverse(found)
	return found
}

// kept is the handed over counts and window of an owner.
type kept struct {
	Epoch    uint64                 `json:"e"` // of the owner
	Sessions map[string]keptSession `json:"s"`
	Messages []keptMessage          `json:"m,omitempty"`
}

// keptSession is a session and its count of messages when it was handed over.
type keptSession struct {
	Set   uint32 `json:"n"`
	Sent  uint64 `json:"c"`
	Since uint64 `json:"f,omitempty"` // messages handed over before the session began: its bit was another's before
}

type keptMessage struct {
	At     int64  `json:"t"` // Unix milliseconds
	Binary bool   `json:"b,omitempty"`
	Data   []byte `json:"d"`
	To     set    `json:"to"`
}

// HandOver encodes for the next owner the counts of messages to sessions and the newest part of the window, in about most
// bytes at most; nil if the window is empty and no session is away. epoch is that of the owner that hands over.
func (s *Sessions) HandOver(now time.Time, epoch uint64, most int) []byte {
	if !s.Trim(now) && s.Next().IsZero() {
		return nil
	}
	k := kept{Epoch: epoch, Sessions: make(map[string]keptSession, len(s.byID))}
	for id, one := range s.byID {
		if one.At == (Place{}) {
			one.jump()
		}
		most -= len(id) + 48
	}
	first := len(s.window.entries)
	for i, e := range slices.Backward(s.window.entries) {
		if most -= 4*len(e.Data)/3 + 20*len(e.to) + 48; most < 0 {
			break
		}
		first = i
	}
	before := s.window.last - uint64(len(s.window.entries)-first) // entries before those that are handed over
	for id, one := range s.byID {
		k.Sessions[id] = keptSession{one.set, one.Sent, max(one.since, before) - before}
	}
	for _, e := range s.window.entries[first:] {
		k.Messages = append(k.Messages, keptMessage{e.at.UnixMilli(), e.Binary, e.Data, e.to})
	}
	data, err := json.Marshal(k)
	if err != nil {
		panic(err) // our own types always encode
	}
	return data
}

// TakeOver begins the window with the messages that the owner before has handed over, after the sessions were adopted. It
// ignores data of another epoch than that owner's: messages sent later are not in them. It also ignores the messages of a
// session at a gateway whose count differs from the handed over one.
func (s *Sessions) TakeOver(data []byte, epoch uint64) error {
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return fmt.Errorf("what an earlier owner has handed over: %w", err)
	}
	if k.Epoch != epoch {
		return nil
	}
	type place struct {
		here  uint32
		since uint64
	}
	mine := make(map[uint32]place, len(k.Sessions)) // by place in sets, there
	for id, was := range k.Sessions {
		one := s.byID[id]
		if one == nil {
			continue
		}
		if one.At == (Place{}) {
			one.Sent, one.Lost = was.Sent, false
		}
		if one.Sent == was.Sent {
			mine[was.Set] = place{one.set, was.Since}
		}
	}
	for i, m := range k.Messages {
		var to set
		for there, p := range mine {
			if m.To.has(there) && uint64(i) >= p.since {
				to = to.with(p.here)
			}
		}
		if to != nil {
			s.window.add(s.settings, entry{at: time.UnixMilli(m.At), Message: Message{m.Binary, m.Data}, to: to})
		}
	}
	return nil
}
