package objectstest

import (
	"crypto/rand"
	"maps"
	"slices"
	"strings"

	"holdfast/internal/resume"
	"holdfast/objects"
	"holdfast/objects/internal/engine"
)

// Unknown is the count of missed messages if it is not known.
const Unknown = -1

// handedOver is the size in bytes of the recent messages that the next owner gets when the object moves, as at a host.
const handedOver = 64 << 10

// Lose breaks the connection, as a tunnel does, or the death of a gateway. A socket of a class with
// objects.Settings.Resume is then away: it stays among Tx.Sockets, and messages to it are kept. When its time to come
// back is over (World.Advance), WebSocketClose runs with 1006. A socket of another class ends at once.
func (c *Client) Lose() {
	c.object.lose(c)
	c.object.world.deliver()
}

// ComeBack connects again after Lose, as the same socket. The messages that were sent meanwhile follow (Next), except
// missed ones, whose number may be Unknown. It reports false if the socket cannot come back: then the client has to
// Connect.
func (c *Client) ComeBack() (missed int, back bool) {
	missed, back = c.object.comeBack(c)
	c.object.world.deliver()
	return missed, back
}

// whole reports whether a gateway has everything that earlier owners have sent: always, because no message of a world
// is ever under way.
func whole(string) bool { return true }

// newSessions makes the object's sessions; nil if its class has none.
func (o *object) newSessions() *resume.Sessions {
	asks := o.class.Resume
	if asks.Time == 0 {
		return nil
	}
	if asks.Bytes == 0 {
		asks.Bytes = resume.DefaultWindow
	}
	return resume.New(resume.Settings{Bytes: asks.Bytes, Time: asks.Time})
}

// openSession gives an accepted socket a session, so that it may come back. With mu held.
func (o *object) openSession(c *Client) {
	if o.sessions == nil {
		o.sessions = o.newSessions()
	}
	if o.sessions == nil {
		return
	}
	secret := []byte(rand.Text()) // a session needs a secret; nothing checks it here
	c.number = o.sessions.Open(c.ID(), secret, o.nextPlace())
}

// nextPlace returns an unused place. With mu held.
func (o *object) nextPlace() resume.Place {
	o.slots++
	return resume.Place{Gateway: "test", Slot: o.slots}
}

// noteSent keeps a message for sockets that may come back. With mu held.
func (o *object) noteSent(m objects.Message, to []*engine.Socket) {
	if o.sessions == nil {
		return
	}
	numbers := make([]resume.Number, 0, len(to))
	for _, s := range to {
		if c, ok := o.clients[s.ID()]; ok {
			numbers = append(numbers, c.number)
		}
	}
	o.sessions.Add(o.world.Now(), resume.Message{Binary: m.Binary, Data: m.Data}, numbers)
}

func (o *object) lose(c *Client) {
	o.mu.Lock()
	defer o.mu.Unlock()
	how := engine.Close{Code: 1006}
	if one := o.session(c); one != nil && one.At != (resume.Place{}) && !c.over() {
		o.sessions.Left(o.world.Now(), one.At, whole)
		c.leave()
		return
	}
	if !c.isAway() && c.end(how) {
		o.ended = append(o.ended, end{c, how})
	}
	o.deliverEnds()
}

func (o *object) comeBack(c *Client) (missed int, back bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	one := o.session(c)
	if one == nil || c.over() || !c.isAway() {
		return 0, false
	}
	received := c.heard()
	r := o.sessions.Resume(one, received, o.nextPlace(), whole)
	c.back(r.Messages, r.From+uint64(len(r.Messages)))
	if r.From >= received+resume.Jump {
		return Unknown, true
	}
	return int(r.From - received), true
}

// session returns a client's session, nil for none. With mu held.
func (o *object) session(c *Client) *resume.Session {
	if o.sessions == nil {
		return nil
	}
	return o.sessions.Find(c.ID())
}

// endAway ends the sockets whose time to come back is over. With mu held.
func (o *object) endAway() {
	if o.sessions == nil {
		return
	}
	due := o.sessions.Due(o.world.Now())
	slices.SortFunc(due, func(a, b *resume.Session) int { return strings.Compare(a.ID, b.ID) })
	for _, one := range due {
		how := engine.Close{Code: 1006}
		if c := o.clients[one.ID]; c != nil && c.end(how) {
			o.ended = append(o.ended, end{c, how})
		}
	}
	o.deliverEnds()
}

// passSessions gives the next owner the sessions that the record and gateways know, and window, the recent messages
// that were handed over; nil if the owner before has died. With mu held.
func (o *object) passSessions(window []byte) {
	if o.sessions == nil {
		return
	}
	before := o.sessions
	o.sessions = o.newSessions()
	for _, c := range slices.SortedFunc(maps.Values(o.clients), byID) {
		if one := before.Find(c.ID()); one != nil {
			c.number = o.sessions.Adopt(resume.Session{ID: one.ID, Secret: one.Secret, At: one.At, Until: one.Until, Sent: one.Sent, Taken: one.Taken})
		}
	}
	if window != nil {
		if err := o.sessions.TakeOver(window, o.moves); err != nil {
			panic(err) // HandOver has encoded it
		}
	}
}

// handOver returns the window for passSessions when the object moves in order. With mu held.
func (o *object) handOver() []byte {
	if o.sessions == nil {
		return nil
	}
	return o.sessions.HandOver(o.world.Now(), o.moves, handedOver)
}
