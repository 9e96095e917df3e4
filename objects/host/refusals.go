package host

import (
	"sync"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects"
	"holdfast/objects/host/internal/record"
	"holdfast/objects/internal/engine"
)

// errFull is the error of an event that writes while the store has no room.
var errFull = &objects.Error{Code: objects.StorageFull, Message: "the store is full; nothing was changed"}

// roomFor refuses what an event has written if the store has no room for it.
func (o *object) roomFor(ev event, out engine.Outcome) error {
	switch room := o.in.store.Room(); {
	case room == record.Free:
		return nil
	case out.Changed() && o.memory.needsRoom(ev.kind, out), room == record.Exhausted && (len(out.Opened) > 0 || closesAway(out.Sends)):
		return errFull
	}
	return nil
}

// refusedWith is the answer to a request that changed nothing.
func (o *object) refusedWith(e *objects.Error) *wire.Reply {
	return &wire.Reply{Code: e.Code, Message: e.Message, Ref: e.Reference, Owner: o.in.self(o.term.epoch), Token: o.term.token}
}

// postponed is how long what cannot be refused waits while the store takes nothing.
const postponed = time.Second

// postpones reports whether a delivery is to be handled later: it would be part of a put, nobody can be told that it
// is refused for good, and the store takes nothing. The put's refusal would end the object, and the next owner would
// try again. The sender of a request sends it again; what is the object's own comes back.
func (o *object) postpones(d delivery) bool {
	if o.in.store.Room() != record.Exhausted {
		return false
	}
	switch d.kind {
	case request:
		if !isKind(d.msg.Data, wire.Closed) && !isKind(d.msg.Data, wire.Alarm) {
			return false
		}
		o.in.answer(o.mailbox.newestReply(d.msg.Reply), o.refusedWith(errFull))
	case gatewayLost, endsDue, toldDue, sleepDue:
		time.AfterFunc(postponed, func() { o.push(d) })
	default:
		return false
	}
	return true
}

const (
	unreadableFor = 10 * time.Second // a record that cannot be read is not read again for this long
	maxUnreadable = 1000             // records that are remembered
)

// unreadable are the records that could not be read lately. A client that keeps asking for a damaged object causes no
// reads and no lines in the log.
type unreadable struct {
	mu   sync.Mutex
	last map[string]refusedRecord // by the object's key
}

// refusedRecord is the error that stands for one of them, and until when.
type refusedRecord struct {
	refusal *objects.Error
	until   time.Time
}

// find returns the error for the record of this key; nil if the record must be read.
func (u *unreadable) find(key string, now time.Time) *objects.Error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if r, known := u.last[key]; known && now.Before(r.until) {
		return r.refusal
	}
	return nil
}

// add notes that a record cannot be read, and returns the error for it.
func (u *unreadable) add(key string, now time.Time) *objects.Error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil || len(u.last) >= maxUnreadable {
		u.last = make(map[string]refusedRecord)
	}
	e := &objects.Error{Code: objects.Internal, Message: "the object's record cannot be read; nothing was changed", Reference: wire.NewReference()}
	u.last[key] = refusedRecord{e, now.Add(unreadableFor)}
	return e
}
