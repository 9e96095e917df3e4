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

// Unknown stands for a count of missed messages that is not known.
const Unknown = -1

// handedOver is how many bytes of recent messages the next owner gets when the object moves, as at a host.
const handedOver = 64 << 10

// Lose breaks the connection, as a tunnel does, or a gateway that dies. A socket of a class with objects.Settings.Resume is
// then away: it stays among Tx.Sockets, and messages to it are kept. WebSocketClose comes, with 1006, when its time to
// come back is over (World.Advance). A socket of another class ends at once.
func (c *Client) Lose() {
	c.object.lose(c)
	c.object.world.deliver()
}

// ComeBack connects anew after Lose, as the same socket. The messages that were sent meanwhile follow (Next), except the missed
// ones, whose number may be Unknown. It reports false if there is no
// socket to come back to: the client has to Connect.
func (c *Client) ComeBack() (missed int, back bool) {
	missed, back = c.object.comeBack(c)
	c.object.world.deliver()
	return missed, back
}

// whole reports that a gateway has all that earlier owners have sent: in a world no message is ever under way.
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

// openSession has an accepted socket come back if it is lost. With mu held.
func (o *object) openSession(c *Client) {
	if o.sessions == nil {
		o.sessions = o.newSessions()
	}
	if o.sessions == nil {
		return
	}
	secret := []byte(rand.Text()) // a session has one; nobody asks here
	c.number = o.sessions.Open(c.ID(), secret, o.nextPlace())
}

// nextPlace returns an unused place. With mu held.
func (o *object) nextPlace() resume.Place {
	o.slots++
	return resume.Place{Gateway: "test", Slot: o.slots}
}

// noteSent keeps a message for those who may come back. With mu held.
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

// passSessions has the next owner know the sessions as the record and gateways have them, and of what was sent lately what
// is handed over; nothing if the owner before has died. With mu held.
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

// handOver returns what passSessions takes when the object moves in order. With mu held.
func (o *object) handOver() []byte {
	if o.sessions == nil {
		return nil
	}
	return o.sessions.HandOver(o.world.Now(), o.moves, handedOver)
}
