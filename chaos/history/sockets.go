package history

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// Sockets is the outcome for sockets and for messages to them.
//
// A message is certain if its sender's socket was open to the end, or if a socket that was open to
// the end has received it or a later one of the same sender. A socket that was open to the end must
// have received every certain message that was sent after its greeting; a socket that was closed
// must have received a sequence without a gap. The numbers after the groups of totals and closes
// are faults.
type Sockets struct {
	Opened int `json:"opened"`
	Heard  int `json:"heard"` // messages received by all sockets together
	Ends   int `json:"ends"`  // ends that an open socket had to be told

	ClosedIdle int            `json:"closedIdle"` // by a gateway that lived on
	ClosedBusy int            `json:"closedBusy"` // likewise, of sockets that send
	ClosedOwn  int            `json:"closedOwn"`  // because their gateway was gone
	Causes     map[string]int `json:"causes"`     // closes by code and reason, also those of gateways that were gone

	Missed    int `json:"missed"`    // messages that a socket should have received, without those of deaf ones
	Gapped    int `json:"gapped"`    // sockets that missed some
	Deaf      int `json:"deaf"`      // open sockets that received nothing of the roll call
	Doubled   int `json:"doubled"`   // messages that a socket had received before
	Disorder  int `json:"disorder"`  // messages that a socket received after a later one
	Untold    int `json:"untold"`    // ends that no open socket was told: the object did not know, or told nobody
	ToldTwice int `json:"toldTwice"` // ends or beginnings that one socket was told more than once
	ToldWrong int `json:"toldWrong"` // ends of sockets that were open to the end

	Flaws []string `json:"flaws,omitempty"`
}

// Faultless reports whether all numbers of faults are 0.
func (s Sockets) Faultless() bool {
	return s.Missed+s.Deaf+s.Doubled+s.Disorder+s.Untold+s.ToldTwice+s.ToldWrong == 0
}

// conn is all that is known of one socket.
type conn struct {
	*Opened
	closed *Closed
	sent   []*Sent
	heard  map[int][]*Heard // by sender, in the order of hearing
	told   map[string][]*Told

	certain int // number of its last certain message
	missed  int // messages of others
	deaf    bool
}

// whole reports whether the socket was open to the end: only its own client closed it, when
// everything was over.
func (c *conn) whole() bool { return c.closed == nil }

// name names the socket in a sentence.
func (c *conn) name() string {
	return fmt.Sprintf("socket %d (%s, %s, %s)", c.Conn, c.Role, c.Room, c.Gateway)
}

// CheckSockets judges the sockets. A history that has no roll call yet has no deaf sockets.
func CheckSockets(records []Record) Sockets {
	s := Sockets{Causes: make(map[string]int)}
	conns, roll := connsOf(records)
	s.closes(conns, faults(records))
	rooms := by(conns, func(c *conn) string { return c.Room })
	for _, room := range sorted(rooms) {
		s.room(rooms[room], roll)
	}
	for _, c := range conns {
		if c.missed > 0 {
			s.Gapped++
		}
	}
	return s
}

func connsOf(records []Record) ([]*conn, time.Duration) {
	var conns []*conn
	known := make(map[int]*conn)
	var roll time.Duration
	for _, r := range records {
		if r.Opened != nil {
			c := &conn{Opened: r.Opened, heard: make(map[int][]*Heard), told: make(map[string][]*Told)}
			conns, known[c.Conn] = append(conns, c), c
		}
		if r.Roll != nil {
			roll = r.Roll.At
		}
	}
	for _, r := range records { // now that all are known: a row may be written after what broke it
		switch {
		case r.Sent != nil && known[r.Sent.Conn] != nil:
			c := known[r.Sent.Conn]
			c.sent = append(c.sent, r.Sent)
		case r.Heard != nil && known[r.Heard.Conn] != nil:
			c := known[r.Heard.Conn]
			c.heard[r.Heard.From] = append(c.heard[r.Heard.From], r.Heard)
		case r.Told != nil && known[r.Told.Conn] != nil:
			c := known[r.Told.Conn]
			c.told[r.Told.User] = append(c.told[r.Told.User], r.Told)
		case r.Closed != nil && known[r.Closed.Conn] != nil:
			known[r.Closed.Conn].closed = r.Closed
		}
	}
	return conns, roll
}

// closes counts the sockets that were closed, and why.
func (s *Sockets) closes(conns []*conn, faults []*Fault) {
	for _, c := range conns {
		s.Opened++
		if c.whole() || c.closed.Client {
			continue
		}
		s.Causes[strings.TrimSpace(fmt.Sprintf("%d %s", c.closed.Code, c.closed.Reason))]++
		gone := func(f *Fault) bool {
			return slices.Contains(f.Gone, c.Gateway) && c.closed.At >= f.At && c.closed.At <= f.Healed+late
		}
		switch {
		case slices.ContainsFunc(faults, gone):
			s.ClosedOwn++
		case c.Role == Idle:
			s.ClosedIdle++
		default:
			s.ClosedBusy++
		}
	}
}

func (s *Sockets) flaw(format string, args ...any) { s.Flaws = describe(s.Flaws, format, args...) }

func (s *Sockets) room(conns []*conn, roll time.Duration) {
	for _, sender := range conns {
		sender.certain = sender.lastCertain(conns)
	}
	s.findDeaf(conns, roll)
	for _, hearer := range conns {
		for _, sender := range conns {
			if sender != hearer {
				s.stream(hearer, sender)
			}
		}
	}
	for _, subject := range conns {
		s.beginning(subject, conns)
		s.end(subject, conns)
	}
}

// lastCertain returns the number of the sender's last certain message.
func (c *conn) lastCertain(conns []*conn) int {
	if c.whole() && len(c.sent) > 0 {
		return c.sent[len(c.sent)-1].N
	}
	last := 0
	for _, hearer := range conns {
		if hearer.whole() {
			for _, h := range hearer.heard[c.Conn] {
				last = max(last, h.Last)
			}
		}
	}
	return last
}

// findDeaf marks the open sockets that got no message after the roll call.
func (s *Sockets) findDeaf(conns []*conn, roll time.Duration) {
	if roll == 0 {
		return
	}
	for _, hearer := range conns {
		if !hearer.whole() || hearer.At > roll {
			continue
		}
		due, heard := 0, 0
		for _, sender := range conns {
			for _, m := range sender.sentAfter(roll) {
				if sender != hearer && m.N <= sender.certain {
					due++
					if contains(hearer.heard[sender.Conn], m.N) {
						heard++
					}
				}
			}
		}
		if due > 0 && heard == 0 {
			hearer.deaf = true
			s.Deaf++
			s.flaw("%s is open and deaf: it heard none of %d messages after %v", hearer.name(), due, roll)
		}
	}
}

// sentAfter returns the messages that the socket sent after a time.
func (c *conn) sentAfter(at time.Duration) []*Sent {
	return c.sent[sort.Search(len(c.sent), func(i int) bool { return c.sent[i].At > at }):]
}

func contains(spans []*Heard, n int) bool {
	return slices.ContainsFunc(spans, func(h *Heard) bool { return h.First <= n && n <= h.Last })
}

// stream checks the messages of one socket that another one received.
func (s *Sockets) stream(hearer, sender *conn) {
	spans := hearer.heard[sender.Conn]
	for _, h := range spans {
		s.Heard += h.Last - h.First + 1
	}
	distinct := merge(spans)
	s.repeated(hearer, sender, spans, distinct)

	first, last := 0, 0 // of what had to be heard
	if after := sender.sentAfter(hearer.At); len(after) > 0 {
		first = after[0].N
	}
	if len(distinct) > 0 {
		last = distinct[len(distinct)-1].Last
		if first == 0 || distinct[0].First < first {
			first = distinct[0].First
		}
	}
	if hearer.whole() {
		last = max(last, sender.certain)
	}
	if first == 0 || hearer.deaf {
		return
	}
	next := first
	for _, h := range distinct {
		s.missing(hearer, sender, next, h.First-1, h.At)
		next = max(next, h.Last+1)
	}
	s.missing(hearer, sender, next, last, 0)
}

// missing counts the messages first to last, if there are any.
func (s *Sockets) missing(hearer, sender *conn, first, last int, at time.Duration) {
	n := last - first + 1
	if n <= 0 {
		return
	}
	s.Missed += n
	hearer.missed += n
	when := "to the end"
	if at > 0 {
		when = fmt.Sprintf("and heard the next at %v", at)
	}
	s.flaw("%s missed %d to %d of socket %d %s", hearer.name(), first, last, sender.Conn, when)
}

// repeated counts the messages that were received twice, or out of order.
func (s *Sockets) repeated(hearer, sender *conn, spans, distinct []*Heard) {
	total, different, highest := 0, 0, 0
	for _, h := range spans {
		total += h.Last - h.First + 1
		if h.First <= highest {
			s.flaw("%s heard %d to %d of socket %d at %v, after %d", hearer.name(), h.First, h.Last, sender.Conn, h.At, highest)
			s.Disorder += min(h.Last, highest) - h.First + 1
		}
		highest = max(highest, h.Last)
	}
	for _, h := range distinct {
		different += h.Last - h.First + 1
	}
	s.Doubled += total - different
	s.Disorder -= total - different // a repeated message is no disorder
}

// merge returns the spans without overlaps, in the order of numbers.
func merge(spans []*Heard) []*Heard {
	var all []*Heard
	for _, h := range slices.SortedFunc(slices.Values(spans), func(a, b *Heard) int { return cmp.Compare(a.First, b.First) }) {
		if n := len(all); n > 0 && h.First <= all[n-1].Last+1 {
			all[n-1].Last = max(all[n-1].Last, h.Last)
			continue
		}
		span := *h
		all = append(all, &span)
	}
	return all
}

// beginning checks that the sockets that were there were told of a socket's beginning, once.
func (s *Sockets) beginning(subject *conn, conns []*conn) {
	heard := subject.whole()
	for _, c := range conns {
		heard = heard || c.whole() && c.times(subject.User, false) > 0
	}
	for _, c := range conns {
		n := c.times(subject.User, false)
		if n > 1 {
			s.ToldTwice++
			s.flaw("%s heard %d times that socket %d was there", c.name(), n, subject.Conn)
		}
		if n == 0 && heard && c != subject && c.whole() && !c.deaf && c.At < subject.Dialed {
			s.Missed++
			c.missed++
			s.flaw("%s did not hear that socket %d was there, at %v", c.name(), subject.Conn, subject.At)
		}
	}
}

// end checks that the sockets that knew a socket were told of its end, once.
func (s *Sockets) end(subject *conn, conns []*conn) {
	var due, heard []*conn
	for _, c := range conns {
		n := c.times(subject.User, true)
		switch {
		case n > 1:
			s.ToldTwice++
			s.flaw("%s heard %d times of the end of socket %d", c.name(), n, subject.Conn)
		case n > 0 && subject.whole():
			s.ToldWrong++
			s.flaw("%s heard of the end of socket %d, which is open", c.name(), subject.Conn)
		}
		if n > 0 {
			heard = append(heard, c)
		}
		knows := c.At < subject.Dialed || slices.Contains(c.Peers, subject.User)
		if c != subject && c.whole() && !c.deaf && knows {
			due = append(due, c)
		}
	}
	if subject.whole() || len(due) == 0 {
		return
	}
	s.Ends++
	if len(heard) == 0 {
		s.Untold++
		s.flaw("nobody heard of the end of %s at %v (%d %s)", subject.name(), subject.closed.At, subject.closed.Code, subject.closed.Reason)
		return
	}
	for _, c := range due {
		if c.times(subject.User, true) == 0 {
			s.Missed++
			c.missed++
			s.flaw("%s did not hear of the end of socket %d at %v", c.name(), subject.Conn, subject.closed.At)
		}
	}
}

// times returns how often the socket was told of a beginning or an end of a user.
func (c *conn) times(user string, end bool) int {
	n := 0
	for _, t := range c.told[user] {
		if t.End == end {
			n++
		}
	}
	return n
}
