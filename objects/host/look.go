package host

import (
	"time"

	"github.com/nats-io/nats.go"

	"holdfast/internal/wire"
)

// wakefulness says whether an object's instance is in memory. It is replaced as a whole, so reading it needs no lock.
// It is small, because an object that sleeps keeps one.
type wakefulness struct {
	since       int64  // Unix milliseconds
	constructed uint32 // instances so far
	awake       bool
	woken       uint8 // the place in kindNames of the event for which the last instance was constructed
}

// noteAwake notes that the instance has been replaced or dropped. With mu held.
func (o *object) noteAwake(awake bool, now time.Time) {
	var next wakefulness
	if last := o.life.Load(); last != nil {
		next = *last
	}
	next.awake, next.since = awake, now.UnixMilli()
	if awake {
		next.constructed++
		ev := o.inHand.event
		if ev.kind == 0 { // no request has begun it
			ev = event{kind: wire.Closed}
		}
		next.woken = uint8(ev.index())
	}
	o.life.Store(&next)
}

// look answers a question about the object's life. It runs no event, so an object that sleeps goes on sleeping.
func (o *object) look(msg *nats.Msg) {
	stage, used, running := o.mailbox.activity()
	if stage != serving {
		o.in.redirect(msg, o.mailbox.claimToken())
		return
	}
	o.in.answer(msg.Reply, &wire.Reply{Owner: o.in.self(o.term.epoch), Token: o.term.token, Life: o.lives(used, running, time.Now())})
}

// lives returns the facts about the object's life. used is when the event in hand began, if one is running.
func (o *object) lives(used time.Time, running bool, now time.Time) *wire.Life {
	life := &wire.Life{Sockets: uint64(o.openSockets.Load())}
	since := now.Sub(o.term.since.time()).Milliseconds()
	if w := o.life.Load(); w != nil {
		life.Awake, life.Constructed, since = w.awake, uint64(w.constructed), now.UnixMilli()-w.since
		if w.constructed > 0 {
			life.Woken = kindNames[w.woken]
		}
	}
	life.Since = uint64(max(0, since))
	if running {
		life.Running = uint64(max(0, now.Sub(used).Milliseconds()))
	}
	return life
}
