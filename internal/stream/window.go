package stream

import (
	"cmp"
	"slices"
	"time"
)

// kept is one number of a window.
type kept struct {
	seq   uint64
	kind  Kind
	slots []Slot
	body  []byte
	need  uint64 // the commit before which it may not leave
	at    time.Time
}

func (k *kept) size() int {
	const overhead = 32 // bytes, of the rest of a push
	return overhead + len(k.body) + 2*len(k.slots)
}

// number gives a push the lane's next number.
func (s *Sender) number(now time.Time, l *lane, k kept) {
	if l.head == 0 || l.start != 0 { // number 1 of a lane in the record is taken already
		l.head++
	}
	k.seq, k.at = l.head, now
	if k.kind != More {
		l.start = k.seq
	}
	l.window = append(l.window, k)
	l.size += k.size()
	l.quiet = false
}

// from returns the window from a number on, by binary search: a busy lane's window is long.
func (l *lane) from(seq uint64) []kept {
	i, _ := slices.BinarySearchFunc(l.window, seq, func(k kept, seq uint64) int { return cmp.Compare(k.seq, seq) })
	return l.window[i:]
}

// trim drops the oldest of the window, up to the number newest, until the window has at most
// most bytes and nothing from before since. Callers never let newest exceed the sent number: an unsent
// push that is dropped would be missing at every gateway.
func (l *lane) trim(newest uint64, most int, since time.Time) {
	n := 0
	for ; n < len(l.window) && l.window[n].seq <= newest && (l.size > most || l.window[n].at.Before(since)); n++ {
		l.size -= l.window[n].size()
	}
	l.drop(n)
}

func (l *lane) drop(n int) {
	clear(l.window[:n])
	if l.window = l.window[n:]; len(l.window) == 0 {
		l.window, l.size = nil, 0
	}
}

// Kept is the number of bytes that a gateway's lane keeps.
func (s *Sender) Kept(gateway string) int {
	if l := s.find(gateway); l != nil {
		return l.size
	}
	return 0
}

// Full reports whether more than a window waits to be sent to a gateway. The object
// takes no event until a commit has landed.
func (s *Sender) Full() bool {
	return slices.ContainsFunc(s.lanes, func(l *lane) bool {
		if l.size <= s.settings.Window {
			return false
		}
		waits := 0
		for i := len(l.window) - 1; i >= 0 && l.window[i].seq > l.sent; i-- {
			waits += l.window[i].size()
		}
		return waits > s.settings.Window
	})
}

// Shed drops all sent pushes of a lane's window, for want of memory. If the gateway lacks
// one of them the lane begins anew.
func (s *Sender) Shed(gateway string) {
	if l := s.find(gateway); l != nil {
		l.trim(l.sent, -1, time.Time{})
	}
}
