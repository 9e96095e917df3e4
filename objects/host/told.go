package host

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"holdfast/internal/wire"
	"holdfast/objects/internal/engine"
	"holdfast/objects/internal/tells"
)

// told is the part of an object that knows what it has told others and itself: which messages are under way, which
// receivers may forget their marks, and which senders to ask about theirs. Package tells decides about messages; told
// adds when. Only its methods use its fields. object.mu guards it. A nil told is that of an object that has told
// nothing.
type told struct {
	box    *tells.Outbox
	taking bool        // a goroutine takes batches
	timer  *time.Timer // fires when something is due; nil until it is needed
	write  time.Time   // when chores are written if no commit takes them along before; zero: there are none, or they are written next
	hurry  bool        // chores are written next
	asked  time.Time   // when a sender was asked last whether its mark is needed
	askAt  string      // the mark after which the next one is asked for
	cycle  time.Time   // when the first mark was asked for

	askers map[string]wire.ForgetBody // receivers that have asked whether their marks are needed, and are not answered yet; at most maxAskers
}

// Bounds of told messages.
const (
	maxTelling = 1024                 // batches that one host has under way
	maxAskers  = 1024                 // of one object; others ask again later
	toldSlice  = 2 * time.Millisecond // how long told messages are run before others get their turn
	askEvery   = time.Second          // between questions for marks
	askAgain   = 10 * time.Minute     // before a mark is asked for a second time, while there is room
)

// newTold returns the told of an object that has told nothing before this commit.
func newTold(self string, commit uint64) *told {
	t := &told{box: tells.New(self)}
	t.landed(commit)
	return t
}

// toldOf returns what a record has of told messages; nil: nothing. An entry that cannot be read stays where it is, and
// is reported as an error. Marks are of an earlier owner: their senders are asked from the first message on.
func toldOf(self string, data *engine.Data, now time.Time) (t *told, err error) {
	if marksIn(data) > 0 {
		t = &told{box: tells.New(self), cycle: now.Add(-askAgain)}
	}
	for _, prefix := range []string{engine.ParkedAt, engine.OutboxAt, engine.TimersAt} {
		for key, value := range data.Between(prefix, engine.After(prefix)).All() {
			if t == nil {
				t = &told{box: tells.New(self)}
			}
			if bad := t.note([]engine.Write{{Key: key, Value: value}}, 0); bad != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", key, bad))
			}
		}
	}
	return t, err
}

// marksIn returns of how many senders the object has a mark.
func marksIn(data *engine.Data) int {
	return data.Between(engine.MarksAt, engine.After(engine.MarksAt)).Len()
}

// toldCount returns the count of what the object has told.
func toldCount(data *engine.Data) (engine.Count, error) {
	return engine.DecodeCount(stored(data, engine.ToldCount))
}

func stored(data *engine.Data, key string) []byte {
	value, _ := data.Get(key)
	return value
}

// tellsAnything reports whether there are told messages among writes, which are sorted: the
// runtime's come first.
func tellsAnything(writes []engine.Write) bool {
	for _, w := range writes {
		if !strings.HasPrefix(w.Key, engine.Reserved) {
			return false
		}
		if tells.Reserved(w.Key) {
			return true
		}
	}
	return false
}

// note notes the told messages among writes that are part of a commit.
func (t *told) note(writes []engine.Write, commit uint64) (err error) {
	for _, w := range writes {
		if !strings.HasPrefix(w.Key, engine.Reserved) {
			break
		}
		if !tells.Reserved(w.Key) {
			continue
		}
		if bad := t.box.Note(w, commit); bad != nil {
			err = errors.Join(err, bad)
		}
	}
	return err
}

// hasChores reports whether told has something to write: messages that were handled are removed, and those that have
// failed are kept.
func (t *told) hasChores() bool { return t != nil && t.box.HasChores() }

// chores returns the writes that this commit has to contain.
func (t *told) chores(data *engine.Data, commit uint64) []engine.Write {
	t.write, t.hurry = time.Time{}, false
	return t.box.Chores(data.Get, commit)
}

// landed lets the messages leave that this commit has made durable.
func (t *told) landed(commit uint64) { t.box.Landed(commit) }

// len returns how many messages are under way.
func (t *told) len() int {
	if t == nil {
		return 0
	}
	return t.box.Len()
}

// busy reports whether the object must not be released: a told message is under way, or a receiver waits to hear
// whether it may forget.
func (t *told) busy() bool { return t != nil && (t.box.Busy() || len(t.askers) > 0) }

// need returns when the object has to be woken for its messages. soon reports whether a message to another object is
// under way.
func (t *told) need() (at time.Time, ok, soon bool) {
	if t == nil {
		return time.Time{}, false, false
	}
	at, ok = t.box.NextDue()
	return at, ok, t.box.Sending() > 0
}

// mayPark reports whether there is room for another parked message.
func (t *told) mayPark() bool { return t.box.MayPark() }

// toldMove is what can be done about told messages now.
type toldMove struct {
	take    bool     // the caller has batches taken
	forgets []forget // leave now
	due     bool     // the event loop has something to do
	timed   bool     // there is more to do at a time
	at      time.Time
}

// forget tells a receiver that the sender no longer needs the receiver's mark.
type forget struct {
	to         string
	born, last uint64
}

// move decides what can be done now. copies returns until when copies of messages may arrive that were sent before.
func (t *told) move(data *engine.Data, now time.Time, copies func(now time.Time) time.Time) (m toldMove) {
	if !t.taking && t.box.Ready(now) {
		t.taking, m.take = true, true
	}
	m.at, m.timed = t.box.Next()
	sooner := func(other time.Time) {
		if !m.timed || other.Before(m.at) {
			m.at, m.timed = other, true
		}
	}
	if t.box.HasForgets() || len(t.askers) > 0 {
		if until := copies(now); until.After(now) {
			sooner(until)
		} else {
			m.forgets = t.forgets(data)
		}
	}
	if !t.write.IsZero() {
		sooner(t.write)
	}
	_, m.due = t.box.Due(now)
	return m
}

// forgets removes and returns the news for receivers that may forget: those that have got everything, and those that
// have asked.
func (t *told) forgets(data *engine.Data) (all []forget) {
	count, err := toldCount(data)
	for _, f := range t.box.Forgets() {
		if err == nil {
			all = append(all, forget{f.To, count.Born, f.Last})
		}
	}
	for to, f := range t.askers {
		if t.box.MayForget(to, f.Last) {
			all = append(all, forget{to, f.Born, f.Last})
		}
	}
	t.askers = nil
	return all
}

// setTimer sets the timer. newTimer makes the first one.
func (t *told) setTimer(after time.Duration, newTimer func() *time.Timer) {
	if t.timer == nil {
		t.timer = newTimer()
	} else {
		t.timer.Reset(after)
	}
}

// stopTimer stops the timer.
func (t *told) stopTimer() {
	if t != nil && t.timer != nil {
		t.timer.Stop()
	}
}

// writesNext reports whether the time has come at which chores are written without another
// commit.
func (t *told) writesNext(now time.Time) bool {
	if t == nil || t.write.IsZero() || now.Before(t.write) {
		return false
	}
	t.write, t.hurry = time.Time{}, true
	return true
}

// take returns the next batch that may leave. It reports false, and the taking ends, if there is none.
func (t *told) take(now time.Time) (b tells.Batch, ok bool) {
	if b, ok = t.box.Take(now); !ok {
		t.taking = false
	}
	return b, ok
}

// answered notes the answer to a batch. young says that copies of messages may still arrive that were sent before. It
// reports whether the event loop has something to do.
func (t *told) answered(b tells.Batch, a tells.Answer, now time.Time, jitter float64, young bool) (due bool) {
	t.box.Answered(b, a, now, jitter, young)
	due = t.box.MustPark()
	switch {
	case t.box.HasChores() && (a.Soon || t.box.Hurry()):
		t.write, t.hurry = time.Time{}, true
		due = true
	case t.box.HasChores() && t.write.IsZero() && !t.hurry:
		t.write = now.Add(tells.RemoveAfter)
	}
	return due
}

// nextTold is what the event loop is to do next about told messages.
type nextTold struct {
	park, hook, chores bool
	at                 string // where the message is kept; "" for chores
	m                  engine.Told
}

// next decides what the event loop is to do next; false: nothing.
func (t *told) next(data *engine.Data, now time.Time) (next nextTold, ok bool, err error) {
	if t == nil {
		return next, false, nil
	}
	if m, at, ok := t.box.ToPark(data.Get); ok {
		return nextTold{park: true, at: at, m: m}, true, nil
	}
	n, hook := t.box.ToHook(now)
	at := engine.ParkedKey(n)
	if !hook {
		if at, ok = t.box.Due(now); !ok {
			return nextTold{chores: true}, t.box.HasChores() && t.hurry, nil
		}
	}
	m, err := engine.DecodeTold(stored(data, at))
	if err != nil { // it was read before
		return next, false, fmt.Errorf("%s: %w", at, err)
	}
	return nextTold{hook: hook, at: at, m: m}, true, nil
}

// noteAsker notes a receiver that has asked whether its mark is needed. It reports false if
// too many have; that one asks again.
func (t *told) noteAsker(f wire.ForgetBody) bool {
	if len(t.askers) >= maxAskers {
		return false
	}
	if t.askers == nil {
		t.askers = make(map[string]wire.ForgetBody)
	}
	t.askers[f.From] = f
	return true
}

// nextMark returns the mark whose sender is asked now whether it is needed; false: none is. It goes
// through the marks in turn, and asks for each at most every askAgain unless room is short.
func (t *told) nextMark(data *engine.Data, now time.Time, short bool) (sender string, mark tells.Mark, ok bool) {
	if t.cycle.IsZero() {
		t.cycle = now
	}
	if now.Sub(t.asked) < askEvery || !short && t.askAt == "" && now.Sub(t.cycle) < askAgain {
		return "", mark, false
	}
	t.asked = now
	from := max(t.askAt, engine.MarksAt)
	for key, value := range data.Between(from, engine.After(engine.MarksAt)).All() {
		if key <= t.askAt {
			continue
		}
		t.askAt = key
		sender, ok := tells.SenderOf(key)
		mark, err := engine.DecodeCount(value)
		return sender, mark, ok && err == nil
	}
	t.askAt, t.cycle = "", now
	return "", mark, false
}
